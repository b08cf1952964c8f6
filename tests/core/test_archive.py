"""Archives, the hostile ones above all."""

import errno
import io
import tarfile
import zipfile
from pathlib import Path
from typing import IO

import pytest

from segbench.core import archive as module
from segbench.core import disk
from segbench.core.archive import Conflict, extract
from segbench.core.errors import MissingFault, RunFault


def make_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def make_tar(path: Path, members: dict[str, bytes], *, links: dict[str, str] | None = None) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for name, aim in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, aim
            archive.addfile(info)
    return path


def everything(name: str) -> str:
    return name


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_selected_members_under_their_new_names(tmp_path: Path, make) -> None:
    archive = make(tmp_path / "a", {"top/keep/x.png": b"x", "top/keep/y.png": b"y", "top/other": b"z"})
    target = tmp_path / "set"
    strip = lambda name: name.removeprefix("top/keep/") if "keep" in name else None  # noqa: E731
    assert extract(archive, target, select=strip, max_bytes=100) == 2
    assert names(target) == ["x.png", "y.png"]
    assert (target / "y.png").read_bytes() == b"y"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "set"]


@pytest.mark.parametrize("make", [make_zip, make_tar])
@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/evil", "a\\..\\evil", "C:/evil"])
def test_paths_outside_are_refused(tmp_path: Path, make, name: str) -> None:
    archive = make(tmp_path / "a", {"good": b"1", name: b"2"})
    with pytest.raises(MissingFault, match="inside its folder"):
        extract(archive, tmp_path / "sub" / "set", select=everything, max_bytes=100)
    assert names(tmp_path) == ["a"]


def test_links_are_refused(tmp_path: Path) -> None:
    tar = make_tar(tmp_path / "a.tgz", {"good": b"1"}, links={"bad": "/etc"})
    with pytest.raises(MissingFault, match="plain file"):
        extract(tar, tmp_path / "set", select=everything, max_bytes=100)
    linked = zipfile.ZipInfo("bad")
    linked.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(linked, "/etc/passwd")
    with pytest.raises(MissingFault, match="plain file"):
        extract(tmp_path / "a.zip", tmp_path / "set", select=everything, max_bytes=100)
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_bomb_is_refused(tmp_path: Path, make) -> None:
    archive = make(tmp_path / "a", {"big": bytes(5_000_000)})
    with pytest.raises(MissingFault, match=r"more than 1\.0 MB"):
        extract(archive, tmp_path / "set", select=everything, max_bytes=1_000_000)
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_same_target_twice_is_refused(tmp_path: Path, make) -> None:
    archive = make(tmp_path / "a", {"x/1": b"1", "y/1": b"2"})
    with pytest.raises(MissingFault, match="twice"):
        extract(archive, tmp_path / "set", select=lambda name: name[-1], max_bytes=100)


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_damaged_archives(tmp_path: Path, make) -> None:
    data = bytearray(make(tmp_path / "a", {"x": bytes(range(256)) * 40}).read_bytes())
    (tmp_path / "cut").write_bytes(data[: len(data) // 2])
    middle = len(data) // 3
    data[middle : middle + 20] = bytes(20)
    (tmp_path / "flipped").write_bytes(data)
    (tmp_path / "text").write_bytes(b"<html>not found</html>")
    for name in ("cut", "flipped", "text"):
        with pytest.raises(MissingFault):
            extract(tmp_path / name, tmp_path / "set", select=everything, max_bytes=1_000_000)
        assert not (tmp_path / "set").exists()


def test_nothing_selected_and_target_in_use(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a", {"x": b"1"})
    with pytest.raises(MissingFault, match="none of the expected"):
        extract(archive, tmp_path / "set", select=lambda name: None, max_bytes=100)
    (tmp_path / "set").mkdir()
    assert extract(archive, tmp_path / "set", select=everything, max_bytes=100) == 1
    with pytest.raises(RunFault, match="not empty"):
        extract(archive, tmp_path / "set", select=everything, max_bytes=100)


def test_missing_archive(tmp_path: Path) -> None:
    with pytest.raises(RunFault, match="gone"):
        extract(tmp_path / "gone", tmp_path / "set", select=everything, max_bytes=100)


def test_some_members_of_a_tgz_with_dotted_paths(tmp_path: Path) -> None:
    tgz = make_tar(
        tmp_path / "a.tgz",
        {"./set/images/1.jpg": b"one", "./set/images/2.txt": b"no", "./set/labels/1.mat": b"label"},
        links={"./set/latest": "images"},  # a link that nobody wants does no harm
    )
    wanted = lambda name: name.removeprefix("set/") if name.startswith("set/") and name[-4:] != ".txt" else None  # noqa: E731
    only_files = lambda name: wanted(name) if "." in name else None  # noqa: E731
    assert extract(tgz, tmp_path / "set", select=only_files, max_bytes=100) == 2
    assert names(tmp_path / "set") == ["images/1.jpg", "labels/1.mat"]


def test_progress_ends_at_the_whole(tmp_path: Path) -> None:
    members = {name: bytes(3_000_000) for name in "abc"}
    seen: list[tuple[int, int | None]] = []
    for archive in (make_zip(tmp_path / "a.zip", members | {"other": b"1"}), make_tar(tmp_path / "a.tgz", members)):
        seen.clear()
        extract(
            archive,
            tmp_path / archive.suffix,
            select=lambda name: name if name != "other" else None,
            max_bytes=10**8,
            progress=lambda done, total: seen.append((done, total)),
        )
        assert len(seen) == 9
        assert [done for done, _ in seen] == sorted(done for done, _ in seen)
        total = 9_000_000 if archive.suffix == ".zip" else archive.stat().st_size
        assert seen[-1][1] == total
        assert 0.9 * total < seen[-1][0] <= total


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_present_files_are_compared_and_not_written_again(tmp_path: Path, make) -> None:
    archive = make(tmp_path / "a", {"x/1": b"one", "x/2": b"two", "3": b"three"})
    before = tmp_path / "before"
    (before / "x").mkdir(parents=True)
    (before / "x" / "1").write_bytes(b"one")
    (before / "of another archive").write_bytes(b"")
    assert extract(archive, tmp_path / "new", select=everything, max_bytes=100, present=before) == 3
    assert names(tmp_path / "new") == ["3", "x/2"]
    for other in (b"One", b"on", b"one and more", b""):
        (before / "x" / "1").write_bytes(other)
        with pytest.raises(Conflict, match="is another file"):
            extract(archive, tmp_path / "newer", select=everything, max_bytes=100, present=before)
        assert (before / "x" / "1").read_bytes() == other
        assert not (tmp_path / "newer").exists()


def test_all_present_is_no_archive_without_files(tmp_path: Path) -> None:
    (tmp_path / "before").mkdir()
    (tmp_path / "before" / "1").write_bytes(b"one")
    archive = make_zip(tmp_path / "a", {"1": b"one"})
    assert extract(archive, tmp_path / "new", select=everything, max_bytes=100, present=tmp_path / "before") == 1


def test_twice_in_one_archive_is_refused_even_if_present(tmp_path: Path) -> None:
    (tmp_path / "1").write_bytes(b"1")
    archive = make_tar(tmp_path / "a", {"x/1": b"1", "y/1": b"1"})
    with pytest.raises(MissingFault, match="twice"):
        extract(archive, tmp_path / "set", select=lambda name: name[-1], max_bytes=100, present=tmp_path)


def test_encrypted_zip_is_refused(tmp_path: Path) -> None:
    data = bytearray(make_zip(tmp_path / "a", {"x": b"1"}).read_bytes())
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the flags of both headers of the member
        data[data.index(mark) + place] |= 1
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(MissingFault, match="encrypted"):
        extract(tmp_path / "a", tmp_path / "set", select=everything, max_bytes=100)


def test_room_is_asked_for_before_a_zip_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = make_zip(tmp_path / "a.zip", {"wanted": bytes(5_000), "unwanted": bytes(10**6)})
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 4_000})())
    with pytest.raises(RunFault, match=r"needs 5\.0 kB, .* has 4\.0 kB free"):
        extract(archive, tmp_path / "set", select=lambda name: name if name == "wanted" else None, max_bytes=10**7)


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_disk_that_fills_up_in_the_middle(tmp_path: Path, make, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = make(tmp_path / "a", {"1": b"one", "2": b"two"})
    whole = archive.read_bytes()

    def opened(path: Path, name: str, *, comparing: bool) -> IO[bytes]:
        if name == "2":
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(path, name, comparing=comparing)

    original = module._opened
    with monkeypatch.context() as patch:
        patch.setattr(module, "_opened", opened)
        with pytest.raises(RunFault, match=r"disk of .* is full; a was not unpacked"):
            extract(archive, tmp_path / "set", select=everything, max_bytes=100, next="again")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert archive.read_bytes() == whole
    assert extract(archive, tmp_path / "set", select=everything, max_bytes=100) == 2
