"""``segbench data``: the command-line layer over the data room, which has tests of its own."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from segbench.core.registry import names
from tests.data.camvid_tree import packed, places, tree_options, write_tree
from tests.program import segbench


def test_list(tmp_path: Path, camvid: Path) -> None:
    entries = {entry["name"]: entry for entry in segbench("data", "list", "--json", "--data-root", camvid).json}
    assert set(entries) == set(names("dataset"))
    assert entries["camvid"]["status"] == "ready"
    assert entries["camvid"]["splits"] == {"train": 5, "val": 2, "test": 3}
    assert entries["cityscapes"]["status"] == "no reader yet"
    done = segbench("data", "list", "--data-root", camvid)
    assert f"They are looked for below {camvid} " in done.out
    assert done.out.splitlines()[-1] == "Next: segbench data verify camvid"
    absent = segbench("data", "list", "--data-root", tmp_path / "nothing")
    assert absent.out.splitlines()[-1] == "Next: segbench data download camvid"
    assert not (tmp_path / "nothing").exists()


def test_verify(camvid: Path) -> None:
    done = segbench("data", "verify", "camvid", "--data-root", camvid)
    assert done.code == 0
    assert done.out.startswith(" ok  5 train, 2 val, 3 test pairs of 48x64")
    assert "(as verified before)" not in done.out
    assert "(as verified before)" in segbench("data", "verify", "camvid", "--data-root", camvid).out
    assert "(as verified before)" not in segbench("data", "verify", "camvid", "--redo", "--data-root", camvid).out
    data = segbench("data", "verify", "camvid", "--json", "--data-root", camvid).json
    assert (data["schema"], data["ok"], data["folder"]) == (1, True, str(camvid / "camvid"))


def test_verify_names_every_fault(camvid: Path) -> None:
    images, labels = places(camvid / "camvid", "train")
    (labels / "seq_00001.png").unlink()
    (images / "seq_00003.png").write_bytes(b"no image")
    done = segbench("data", "verify", "camvid", "--data-root", camvid)
    text = done.fails(3)
    assert "seq_00001.png: this label is missing" in text and "seq_00003.png" in text
    assert done.out == ""
    as_json = segbench("data", "verify", "camvid", "--json", "--data-root", camvid)
    assert as_json.code == 3
    assert as_json.json["ok"] is False
    assert as_json.json["lines"] == as_json.lines[:-1]


@pytest.mark.parametrize("command", ["verify", "download"])
def test_unknown_and_absent(command: str, tmp_path: Path) -> None:
    done = segbench("data", command, "camvidd", "--data-root", tmp_path)
    assert "No dataset 'camvidd'. Known: camvid." in done.fails(2)
    done = segbench("data", command, "cityscapes", "--data-root", tmp_path)
    assert "Cityscapes" in done.fails(3)
    assert segbench("data", "verify", "camvid", "--data-root", tmp_path).lines[-1].endswith("data download camvid")


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A local address that serves a miniature archive of CamVid."""
    archive = packed(write_tree(tmp_path / "source", layout="segnet"))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/camvid.zip" else 404)
            self.send_header("Content-Length", str(len(archive) if self.path == "/camvid.zip" else 0))
            self.end_headers()
            if self.path == "/camvid.zip":
                self.wfile.write(archive)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_download(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segbench.data.sets.camvid.options.Options", tree_options)
    root = tmp_path / "data"
    words = ["data", "download", "camvid", "--data-root", root, "--url", f"{address}/camvid.zip"]
    done = segbench(*words)
    assert done.code == 0, done.err
    assert " ok  5 train, 2 val, 3 test pairs" in done.out
    assert segbench("data", "list", "--json", "--data-root", root).json[1]["status"] == "ready"
    again = segbench(*words, "--quiet")
    assert (again.code, again.err) == (0, "")
    replaced = segbench(*words, "--replace")
    assert replaced.code == 0
    assert (root / "camvid.before-1").is_dir()


def test_download_that_is_not_there(address: str, tmp_path: Path) -> None:
    words = ["data", "download", "camvid", "--data-root", tmp_path / "data", "--url", f"{address}/nothing.zip"]
    assert "404" in segbench(*words).fails(3)
    (tmp_path / "file").write_text("")
    for root in (tmp_path / "file", tmp_path / "file" / "below"):
        words = ["data", "download", "camvid", "--data-root", root, "--url", f"{address}/camvid.zip"]
        assert f"{root} cannot be made" in segbench(*words).fails(5)
