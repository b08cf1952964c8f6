"""``segbench data``: the command-line layer over the data room, which has tests of its own."""

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from segbench.cli import common
from segbench.core.registry import names
from segbench.data.classes import class_table
from segbench.data.facts import facts
from tests.data.camvid_tree import COUNTS, arrays, packed, places, tree_options, write_tree
from tests.data.parted import parted_options, write_archives
from tests.file_server import FileServer, serving
from tests.program import segbench
from tests.unread import unread_set


def test_list(tmp_path: Path, camvid: Path) -> None:
    entries = {entry["name"]: entry for entry in segbench("data", "list", "--json", "--data-root", camvid).json}
    assert set(entries) == set(names("dataset"))
    assert entries["camvid"]["status"] == "ready"
    assert {split: found["found"] for split, found in entries["camvid"]["splits"].items()} == COUNTS
    assert {found["status"] for found in entries["camvid"]["splits"].values()} == {"ready"}
    assert entries["cityscapes"]["status"] == "missing"
    with unread_set() as name:
        entries = {entry["name"]: entry for entry in segbench("data", "list", "--json", "--data-root", camvid).json}
        assert entries[name]["status"] == "no reader yet"
    done = segbench("data", "list", "--data-root", camvid)
    assert f"They are looked for below {camvid} " in done.out
    assert done.out.splitlines()[-1] == "Next: segbench data verify camvid"
    absent = segbench("data", "list", "--data-root", tmp_path / "nothing")
    assert absent.out.splitlines()[-1] == "Next: segbench data download camvid"
    assert not (tmp_path / "nothing").exists()


def test_list_tells_splits_apart(camvid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (places(camvid / "camvid", "val")[1] / "seq_00001.png").unlink()
    for folder in places(camvid / "camvid", "test"):
        shutil.rmtree(folder)
    more = {"optional": ("test",), "secret": ("test",)}
    options = tree_options(size=(48, 64)).model_copy(update=more)
    monkeypatch.setattr("segbench.data.sets.camvid.options.Options", lambda: options)
    prepared = tmp_path / "user" / "cache" / "prepared" / "camvid" / "val"
    prepared.mkdir(parents=True)
    (prepared / "pixels").write_bytes(bytes(2_000_000))
    entry = segbench("data", "list", "--json", "--data-root", camvid).json[1]
    assert (entry["name"], entry["status"]) == ("camvid", "incomplete: 6 of 7")
    assert [split["status"] for split in entry["splits"].values()] == ["ready", "1 of 2", "missing"]
    assert entry["prepared_bytes"] == 2_000_000
    text = segbench("data", "list", "--data-root", camvid).out
    assert "1 of 2" in text and "missing, optional, no labels" in text and "+2 MB cache" in text
    assert "SEGBENCH_CITYSCAPES_USERNAME" in text and "CC BY-NC 4.0" in " ".join(text.split())
    assert segbench("data", "list", "camvid", "--json", "--data-root", camvid).json["splits"] == entry["splits"]


@pytest.mark.parametrize("name", names("dataset"))
def test_list_of_one(name: str, tmp_path: Path) -> None:
    known = facts(name)
    done = segbench("data", "list", name, "--data-root", tmp_path / "nothing")
    assert done.code == 0 and done.err == ""
    text = " ".join(done.out.split())
    assert f"{known.title} ({name}): missing" in text
    for archive in known.archives:
        assert archive.name in text
        assert all(url in text for url in archive.urls)
        assert all(value in text for value in archive.checksums.values())
    for split, counts in known.splits.items():
        assert split in text and all(f"{count:,}" in text for count in counts)
    for table in (known.table, *known.variants):
        assert table in text
    assert all(" ".join(line.split()) in text for line in (known.licence, known.obtain, *known.notes))
    assert done.out.splitlines()[-1].startswith("Next: segbench data ")
    data = segbench("data", "list", name, "--json", "--data-root", tmp_path / "nothing").json
    assert (data["schema"], data["name"], data["status"]) == (1, name, "missing")
    assert [len(table["classes"]) for table in data["class_tables"]] == [
        class_table(table).num_classes for table in (known.table, *known.variants)
    ]


def test_list_of_one_that_is_here(camvid: Path) -> None:
    done = segbench("data", "list", "camvid", "--data-root", camvid)
    assert done.out.startswith(f"CamVid (camvid): ready in {camvid / 'camvid'}\nImages 48x64 (height x width)")
    assert done.out.splitlines()[-1] == "Next: segbench data verify camvid"
    assert "No dataset 'camvit'" in segbench("data", "list", "camvit").fails(2)


def test_verify(camvid: Path) -> None:
    done = segbench("data", "verify", "camvid", "--data-root", camvid)
    assert done.code == 0
    assert done.out.startswith(f"CamVid: {camvid / 'camvid'}\n")
    assert " ok  5 train, 2 val and 3 test images, every label is there\n" in done.out
    assert "images of 48x64" in done.out
    assert done.out.splitlines()[-1] == "Next: segbench list"
    assert ", as verified before" not in done.out
    assert ", as verified before\n" in segbench("data", "verify", "camvid", "--data-root", camvid).out
    assert ", as verified before" not in segbench("data", "verify", "camvid", "--redo", "--data-root", camvid).out
    data = segbench("data", "verify", "camvid", "--json", "--data-root", camvid).json
    assert (data["schema"], data["ok"], data["folder"]) == (2, True, str(camvid / "camvid"))


def test_verify_shows_shares_that_add_up(camvid: Path) -> None:
    out = segbench("data", "verify", "camvid", "--data-root", camvid).out
    head, *rows = out.splitlines()[2:15]
    assert head.split() == ["train", "val", "test"]
    assert [row.rsplit(maxsplit=3)[0] for row in rows] == [*class_table("camvid").names, "(ignored)"]
    shares = [[float(cell) for cell in row.rsplit(maxsplit=3)[1:]] for row in rows]
    for split, column in zip(COUNTS, zip(*shares, strict=True), strict=True):
        labels = [arrays(split, number, size=(48, 64))[1] for number in range(COUNTS[split])]
        true = [
            100 * sum(int((label == value).sum()) for label in labels) / (len(labels) * 48 * 64) for value in range(12)
        ]
        assert column == pytest.approx(true, abs=0.006)


def test_verify_of_one_split(camvid: Path) -> None:
    (places(camvid / "camvid", "train")[0] / "seq_00001.png").unlink()
    done = segbench("data", "verify", "camvid", "--split", "val", "--split", "test", "--data-root", camvid)
    assert done.code == 0
    assert " ok  2 val and 3 test images" in done.out
    data = segbench("data", "verify", "camvid", "--split", "val", "--json", "--data-root", camvid).json
    assert list(data["splits"]) == ["val"]
    assert "no split 'vall'" in segbench("data", "verify", "camvid", "--split", "vall", "--data-root", camvid).fails(2)


def test_verify_names_every_fault(camvid: Path) -> None:
    images, labels = places(camvid / "camvid", "train")
    (labels / "seq_00001.png").unlink()
    (images / "seq_00003.png").write_bytes(b"no image")
    done = segbench("data", "verify", "camvid", "--data-root", camvid)
    assert done.fails(3).splitlines() == [
        "CamVid cannot be used like this: 2 faults of 2 kinds.",
        "Next: segbench data download camvid --replace",
    ]
    assert done.out.splitlines()[-3:] == [
        " !!  train/labels/seq_00001.png: this label is missing; put it back or download again.",
        " !!  train/images/seq_00003.png is not a PNG file; replace this file.",
        "     Next: segbench data download camvid --replace",
    ]
    assert " ok  2 val and 3 test images" in done.out, "what is right is said too"
    as_json = segbench("data", "verify", "camvid", "--json", "--data-root", camvid)
    assert (as_json.code, as_json.json["ok"], as_json.err) == (3, False, done.err)
    faults = [finding for finding in as_json.json["findings"] if finding["level"] == "fault"]
    assert [fault["kind"] for fault in faults] == ["no label", "broken image"]
    assert str(labels / "seq_00001.png") in faults[0]["text"]
    assert all(fault["fix"] == "segbench data download camvid --replace" for fault in faults)


def test_verify_says_five_of_a_kind_and_json_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {"train": 9, "val": 2, "test": 3}
    monkeypatch.setattr("segbench.data.sets.camvid.options.Options", lambda: tree_options(counts))
    folder = write_tree(tmp_path / "data" / "camvid", counts=counts)
    for path in places(folder, "train")[1].iterdir():
        path.unlink()
    words = ["data", "verify", "camvid", "--data-root", tmp_path / "data"]
    out = segbench(*words).out
    assert out.count(" !!  ") == 6
    assert " !!  ... and 4 more of this kind (no label).\n" in out
    assert out.count("     Next: ") == 1
    assert sum(finding["level"] == "fault" for finding in segbench(*words, "--json").json["findings"]) == 9


def test_verify_of_what_is_not_there_is_json_too(tmp_path: Path) -> None:
    done = segbench("data", "verify", "camvid", "--json", "--data-root", tmp_path)
    assert done.code == 3
    assert (done.json["ok"], done.json["folder"]) == (False, None)
    assert "is not under" in done.json["findings"][0]["text"]


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_verify_fits_a_terminal(camvid: Path, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    (places(camvid / "camvid", "train")[1] / "seq_00001.png").write_bytes(b"")
    terminal = Console(width=columns, force_terminal=True)
    monkeypatch.setattr(common, "console", lambda **_: terminal)
    done = segbench("data", "verify", "camvid", "--quiet", "--data-root", camvid)
    lines = done.out.splitlines()
    assert max(len(line) for line in lines if str(camvid) not in line) <= columns
    assert " !!  train/labels/seq_00001.png is empty; replace this file." in lines
    assert any(line.startswith(" ok  5 train, 2 val") for line in lines)


@pytest.mark.parametrize("command", ["verify", "download"])
def test_unknown_and_absent(command: str, tmp_path: Path) -> None:
    done = segbench("data", command, "camvidd", "--data-root", tmp_path)
    assert "No dataset 'camvidd'. Close: camvid." in done.fails(2)
    done = segbench("data", command, "cityscapes", "--data-root", tmp_path)
    assert "Cityscapes" in done.fails(3)
    assert segbench("data", "verify", "camvid", "--data-root", tmp_path).lines[-1].endswith("data download camvid")


@pytest.fixture
def server() -> Iterator[FileServer]:
    server = FileServer()
    with serving(server):
        yield server


@pytest.fixture
def address(server: FileServer, tmp_path: Path) -> str:
    """A local address that serves a miniature archive of CamVid."""
    server.files["camvid.zip"] = packed(write_tree(tmp_path / "source", layout="segnet"))
    server.missing = {"nothing.zip"}
    return server.site


@pytest.fixture
def parted(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root, and facts of a miniature CamVid in four archives that the server has."""
    (tmp_path / "origin").mkdir()
    archives = write_archives(tmp_path / "origin")
    server.files |= {name: path.read_bytes() for name, path in archives.items()}
    options = parted_options(archives, server.site)
    monkeypatch.setattr("segbench.data.sets.camvid.options.Options", lambda: options)
    return tmp_path / "data"


def test_download(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segbench.data.sets.camvid.options.Options", tree_options)
    root = tmp_path / "data"
    words = ["data", "download", "camvid", "--data-root", root, "--url", f"{address}/camvid.zip"]
    done = segbench(*words)
    assert done.code == 0, done.err
    assert " ok  5 train, 2 val and 3 test images" in done.out
    assert segbench("data", "list", "--json", "--data-root", root).json[1]["status"] == "ready"
    again = segbench(*words, "--quiet")
    assert (again.code, again.err) == (0, "")
    replaced = segbench(*words, "--replace")
    assert replaced.code == 0
    assert (root / "camvid.before-1").is_dir()


def test_download_of_several_archives(server: FileServer, parted: Path) -> None:
    done = segbench("data", "download", "camvid", "--data-root", parted, "--keep-archives")
    assert done.code == 0, done.err
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in server.files.items()}
    table = [line.split() for line in done.out.splitlines()[:4]]
    assert table == [["archive", "files", "SHA-256"]] + [
        [name, files, sums[name]] for name, files in (("lists.zip", "3"), ("train.zip", "10"), ("val.tar", "4"))
    ]
    assert done.lines[0].startswith("CamVid: 3 archives, about ")  # and how much room there is, before all else
    assert " free)" in done.lines[1]
    assert [line.split("  ")[:2] for line in done.lines[2:]] == [
        ["1 of 3", "lists.zip"],
        ["2 of 3", "train.zip"],
        ["3 of 3", "val.tar"],
    ]
    assert (parted / ".segbench" / "camvid" / "val.tar").read_bytes() == server.files["val.tar"]
    more = segbench("data", "download", "camvid", "--split", "test", "--data-root", parted)
    assert (more.code, server.paths[3:]) == (0, ["/test.tgz"])
    assert "no split 'tets'" in segbench("data", "download", "camvid", "--split", "tets").fails(2)


def test_download_that_is_cut_off_shows_what_is_there_and_how_to_go_on(server: FileServer, parted: Path) -> None:
    words = ["data", "download", "camvid", "--split", "train", "--data-root", parted]
    server.drops = [100_000, 5_000, 0, 0, 0, 0, 0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.sleep", lambda seconds: None)
        done = segbench(*words)
    assert done.code == 3
    assert done.out.splitlines()[1].startswith("lists.zip ")
    assert "is cut off at 5.0 kB of " in done.err and " that were downloaded are kept." in done.err
    assert done.lines[-1] == f"Next: segbench {' '.join(map(str, words))}"
    assert segbench(*words).code == 0


def test_ctrl_c_of_a_download(server: FileServer, parted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    words = ["data", "download", "camvid", "--data-root", parted, "--replace"]
    with monkeypatch.context() as patch:
        patch.setattr("segbench.core.transfer.Transfer.run", interrupt)
        done = segbench(*words)
    assert (done.code, done.lines[-2:]) == (
        130,
        ["Stopped; nothing had arrived yet.", f"Next: segbench {' '.join(map(str, words))}"],
    )


def test_download_that_is_not_there(address: str, tmp_path: Path) -> None:
    words = ["data", "download", "camvid", "--data-root", tmp_path / "data", "--url", f"{address}/nothing.zip"]
    assert "404" in segbench(*words).fails(3)
    (tmp_path / "file").write_text("")
    for root in (tmp_path / "file", tmp_path / "file" / "below"):
        words = ["data", "download", "camvid", "--data-root", root, "--url", f"{address}/camvid.zip"]
        assert f"{root} cannot be created" in segbench(*words).fails(5)
