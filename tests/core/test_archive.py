"""Archives, the hostile ones above all."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from segbench.core.archive import extract
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
