"""Data sets from what the user has: archives fetched by hand, or folders somebody extracted."""

import hashlib
from pathlib import Path

import filelock
import pytest

from segbench.core.errors import Busy, Interrupted, MissingFault, RunFault, UsageFault
from segbench.data.fetching.assemble import assemble
from segbench.data.fetching.ledger import Entry
from segbench.data.sets.camvid.options import Options
from segbench.data.verify import verify
from tests.data.camvid_tree import write_tree
from tests.data.parted import parted_options, write_archives


@pytest.fixture
def archives(tmp_path: Path) -> dict[str, Path]:
    """Archives in the folder ``origin``, by name."""
    (tmp_path / "origin").mkdir()
    return write_archives(tmp_path / "origin")


@pytest.fixture
def options(archives: dict[str, Path]) -> Options:
    return parted_options(archives)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_archives_by_hand_in_any_order(tmp_path: Path, archives: dict[str, Path], options: Options) -> None:
    before, seen = contents(tmp_path / "origin"), list[Entry]()
    sources = [archives["val.tar"], archives["lists.zip"], archives["train.zip"]]
    folder = assemble("camvid", tmp_path / "data", sources, options=options, unpacked=seen.append)
    assert folder == tmp_path / "data" / "camvid"
    assert [(entry.name, entry.files) for entry in seen] == [("val.tar", 4), ("lists.zip", 3), ("train.zip", 10)]
    assert seen[0].sha256 == hashlib.sha256(archives["val.tar"].read_bytes()).hexdigest()
    verify("camvid", tmp_path / "data", options=options)
    assert contents(tmp_path / "origin") == before
    assert assemble("camvid", tmp_path / "data", sources, options=options, unpacked=seen.append) == folder
    assert len(seen) == 3  # nothing was unpacked again


def test_folder_of_archives(tmp_path: Path, archives: dict[str, Path], options: Options) -> None:
    (tmp_path / "origin" / "tree").rename(tmp_path / "tree")
    before = contents(tmp_path / "origin")
    assemble("camvid", tmp_path / "data", [tmp_path / "origin"], options=options)
    verify("camvid", tmp_path / "data", splits=["train", "val", "test"], options=options)  # test lay there too
    assert contents(tmp_path / "origin") == before


@pytest.mark.parametrize("place", ["", "camvid"])
def test_archives_that_lie_in_the_data_root(
    tmp_path: Path, archives: dict[str, Path], options: Options, place: str
) -> None:
    lying = tmp_path / "data" / place
    lying.mkdir(parents=True)
    for name in ("lists.zip", "train.zip", "val.tar"):
        archives[name].rename(lying / name)
    assemble("camvid", tmp_path / "data", options=options)
    verify("camvid", tmp_path / "data", options=options)
    assert {path.name for path in lying.glob("*.*")} >= {"lists.zip", "train.zip", "val.tar"}


def test_archive_that_lacks_is_named_and_the_others_are_kept(
    tmp_path: Path, archives: dict[str, Path], options: Options
) -> None:
    sources = [archives["train.zip"]]
    with pytest.raises(MissingFault, match=r"still lacks lists\.zip, val\.tar; what was unpacked is kept") as caught:
        assemble("camvid", tmp_path / "data", sources, options=options)
    assert caught.value.next == "segbench data prepare camvid --from lists.zip"
    assert len(list((tmp_path / "data/camvid/train").iterdir())) == 5
    assemble("camvid", tmp_path / "data", [archives["val.tar"], archives["lists.zip"]], options=options)
    verify("camvid", tmp_path / "data", options=options)


def test_archive_that_is_named_is_wanted(tmp_path: Path, archives: dict[str, Path], options: Options) -> None:
    rest = [path for name, path in archives.items() if name != "test.tgz"]
    assemble("camvid", tmp_path / "data", rest, options=options)
    assemble("camvid", tmp_path / "data", [archives["test.tgz"]], options=options)
    verify("camvid", tmp_path / "data", splits=["test"], options=options)


def test_renamed_archives(tmp_path: Path, archives: dict[str, Path], options: Options) -> None:
    archives["train.zip"] = archives["train.zip"].rename(tmp_path / "t (1).zip")  # known by its size
    archives["val.tar"] = archives["val.tar"].rename(tmp_path / "v")  # known by its MD5
    assemble("camvid", tmp_path / "data", list(archives.values()), options=options)
    verify("camvid", tmp_path / "data", options=options)
    lists = archives["lists.zip"].rename(tmp_path / "l.zip")
    with pytest.raises(MissingFault, match=r"l\.zip is none of .*No size or checksum of lists\.zip or test\.tgz is"):
        assemble("camvid", tmp_path / "data", [lists], options=options)


def test_damaged_archives(tmp_path: Path, archives: dict[str, Path], options: Options) -> None:
    def bad(name: str, change: bytes | int, told: str) -> None:
        data = archives[name].read_bytes()
        changed = data[:change] if isinstance(change, int) else data + change
        archives[name].write_bytes(changed)
        with pytest.raises(MissingFault, match=told):
            assemble("camvid", tmp_path / "data", [archives[name]], options=options)
        assert archives[name].read_bytes() == changed  # the user's file stays
        assert not (tmp_path / "data" / "camvid" / "train").exists()

    bad("train.zip", 5000, r"train\.zip is cut off at 5\.0 kB of \d+\.\d kB")
    archives["train.zip"].write_bytes(b"")
    bad("train.zip", archives["val.tar"].read_bytes() * 2, "another file")
    bad("val.tar", 5000, r"has md5 [0-9a-f]{32}, published is [0-9a-f]{32}")
    bad("test.tgz", 700, "is damaged or no archive")
    bad("lists.zip", 100, "is damaged or no archive")


@pytest.mark.parametrize("layout", ["segnet", "split"])
@pytest.mark.parametrize("around", [True, False])
def test_extracted_folder_is_linked(tmp_path: Path, options: Options, layout: str, around: bool) -> None:
    """The folder itself whatever its name, or the one around it if it has one that the reader knows."""
    own = write_tree(tmp_path / "elsewhere" / ("CamVid" if around else "unzipped here"), layout=layout)
    before = contents(own)
    folder = assemble("camvid", tmp_path / "data", [own.parent if around else own], options=options)
    assert folder == tmp_path / "data" / "camvid"
    assert folder.is_symlink() and folder.resolve() == own.resolve()
    verify("camvid", tmp_path / "data", options=options)
    assert contents(own) == before
    assert assemble("camvid", tmp_path / "data", [own], options=options) == folder  # the same again
    assert not list((tmp_path / "data" / ".segbench" / "camvid").iterdir())


def test_extracted_folder_with_its_archives_is_linked(
    tmp_path: Path, archives: dict[str, Path], options: Options
) -> None:
    own = write_tree(tmp_path / "own", layout="segnet")
    archives["train.zip"].rename(own / "train.zip")
    assert assemble("camvid", tmp_path / "data", [own], options=options).is_symlink()


def test_what_is_there_is_not_overwritten(tmp_path: Path, archives: dict[str, Path], options: Options) -> None:
    own, root = write_tree(tmp_path / "own"), tmp_path / "data"
    there = write_tree(root / "camvid", counts={"train": 1})
    before = contents(there)
    with pytest.raises(RunFault, match=r"camvid exists and stays as it is") as caught:
        assemble("camvid", root, [own], options=options)
    assert caught.value.next == f"segbench data prepare camvid --from {own} --data-root {root} --replace"
    with pytest.raises(RunFault, match="was not made by segbench"):
        assemble("camvid", root, list(archives.values()), options=options)
    assert contents(there) == before
    assert assemble("camvid", root, [own], options=options, replace=True).is_symlink()
    assert contents(root / "camvid.before-1") == before
    assemble("camvid", root, list(archives.values()), options=options, replace=True)
    assert (root / "camvid.before-2").is_symlink() and not (root / "camvid").is_symlink()
    verify("camvid", root, options=options)


def test_link_takes_the_place_of_archives_too(tmp_path: Path, archives: dict[str, Path], options: Options) -> None:
    root, own = tmp_path / "data", write_tree(tmp_path / "own")
    (root / "camvid").mkdir(parents=True)
    archives["val.tar"].rename(root / "camvid" / "val.tar")
    assert assemble("camvid", root, [own], options=options, replace=True).is_symlink()
    assert (root / "camvid.before-1" / "val.tar").exists()


def test_folder_that_is_the_data_sets_own(tmp_path: Path, options: Options) -> None:
    own = write_tree(tmp_path / "data" / "camvid")
    assert assemble("camvid", tmp_path / "data", [own], options=options) == own
    assert not own.is_symlink()
    assert assemble("camvid", tmp_path / "data", options=options) == own


def test_things_that_are_no_part_of_it(tmp_path: Path, archives: dict[str, Path], options: Options) -> None:
    root, own = tmp_path / "data", write_tree(tmp_path / "own")
    with pytest.raises(MissingFault, match=r"There is no .*nowhere"):
        assemble("camvid", root, [tmp_path / "nowhere"], options=options)
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingFault, match="neither an archive of CamVid nor its files"):
        assemble("camvid", root, [tmp_path / "empty"], options=options)
    with pytest.raises(UsageFault, match="not both"):
        assemble("camvid", root, [own, archives["train.zip"]], options=options)
    with pytest.raises(UsageFault):
        assemble("camvid", root, [own], splits=["tets"], options=options)
    with pytest.raises(MissingFault) as caught:
        assemble("camvid", root, options=options)
    assert caught.value.next == "segbench data download camvid"
    assert not (root / "camvid").exists() and not (root / "camvid").is_symlink()


def test_system_without_links(tmp_path: Path, options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(self: Path, target: Path, target_is_directory: bool = False) -> None:
        raise OSError(1314, "A required privilege is not held by the client")

    own = write_tree(tmp_path / "own" / "camvid")
    monkeypatch.setattr(Path, "symlink_to", forbidden)
    with pytest.raises(RunFault, match=r"No link to .* can be made here .*: copy it to .*data/camvid, or ") as caught:
        assemble("camvid", tmp_path / "data", [own], options=options)
    words = caught.value.next.split()
    assert words[:-1] == ["segbench", "data", "verify", "camvid", "--data-root"]
    verify("camvid", Path(words[-1]), options=options)  # and that works


def test_read_only_data_root_is_only_read(tmp_path: Path, options: Options) -> None:
    write_tree(tmp_path / "data" / "camvid")
    assemble("camvid", tmp_path / "data", options=options)
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["camvid"]


def test_ctrl_c_and_somebody_else(tmp_path: Path, archives: dict[str, Path], options: Options) -> None:
    def interrupt(entry: Entry) -> None:
        raise KeyboardInterrupt

    sources = [archives[name] for name in ("lists.zip", "train.zip", "val.tar")]
    with pytest.raises(Interrupted, match="Stopped; 0 of 3 archives"):
        assemble("camvid", tmp_path / "data", sources, options=options, unpacked=interrupt)
    with filelock.FileLock(tmp_path / "data/.segbench/camvid.lock"), pytest.raises(Busy, match="Another process"):
        assemble("camvid", tmp_path / "data", sources, options=options)
    seen: list[Entry] = []
    assemble("camvid", tmp_path / "data", sources, options=options, unpacked=seen.append)
    assert [entry.name for entry in seen] == ["train.zip", "val.tar"]
