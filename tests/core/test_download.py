"""Downloads against a server on this machine that can be told to misbehave."""

import errno
import hashlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from segbench.core import download
from segbench.core.download import fetch
from segbench.core.errors import MissingFault, RunFault

CONTENT = bytes(range(256)) * 4000
SUM = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves ``content``; ``drops`` says after how many bytes each of the next answers breaks off."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.tag: str | None = '"one"'
        self.ranges = True
        self.drops: list[int] = []
        self.codes: list[int] = []
        self.asked: list[str | None] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}/archive.zip"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server, begin = self.server, 0
        asked = self.headers.get("Range")
        server.asked.append(asked)
        if server.codes:
            self.send_response(server.codes.pop(0))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        same = self.headers.get("If-Range") in (None, server.tag)
        if asked and server.ranges and same:
            begin = int(asked.removeprefix("bytes=").removesuffix("-"))
            if begin >= len(server.content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(server.content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{len(server.content) - 1}/{len(server.content)}")
        else:
            self.send_response(200)
        if server.tag:
            self.send_header("ETag", server.tag)
        body = server.content[begin:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: server.drops.pop(0)] if server.drops else body)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def get(server: Server, path: Path, **more: object) -> str:
    return fetch(server.url, path, **{"backoff_seconds": 0.001, "next": "again", **more})  # type: ignore[arg-type]


def test_whole_file_with_checksum_and_progress(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    path = tmp_path / "deep" / "archive.zip"
    assert get(server, path, sha256=SUM, progress=lambda done, total: seen.append((done, total))) == SUM
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert not list(path.parent.glob("*.part*"))


def test_dropped_connections_are_continued(server: Server, tmp_path: Path) -> None:
    server.drops = [1000, 5000, 0]
    get(server, tmp_path / "a.zip", sha256=SUM)
    assert server.asked == [None, "bytes=1000-", "bytes=6000-", "bytes=6000-"]


def test_later_call_goes_on_where_the_first_stopped(server: Server, tmp_path: Path) -> None:
    server.drops = [700]
    with pytest.raises(MissingFault, match=r"cut off.*are kept") as caught:
        get(server, tmp_path / "a.zip", attempts=1)
    assert caught.value.next == "again"
    assert not (tmp_path / "a.zip").exists()
    get(server, tmp_path / "a.zip", sha256=SUM)
    assert server.asked[-1] == "bytes=700-"


def test_server_without_ranges_starts_over(server: Server, tmp_path: Path) -> None:
    server.ranges, server.drops = False, [1000]
    get(server, tmp_path / "a.zip", sha256=SUM)
    assert (tmp_path / "a.zip").read_bytes() == CONTENT


def test_file_that_changed_meanwhile_is_not_patched_together(server: Server, tmp_path: Path) -> None:
    server.drops = [1000]
    with pytest.raises(MissingFault):
        get(server, tmp_path / "a.zip", attempts=1)
    server.content, server.tag = CONTENT[::-1], '"two"'
    get(server, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT[::-1]


def test_part_that_is_complete_is_taken(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.zip.part").write_bytes(CONTENT)
    assert get(server, tmp_path / "a.zip") == SUM


def test_part_longer_than_the_file_is_thrown_away(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.zip.part").write_bytes(CONTENT + b"more")
    assert get(server, tmp_path / "a.zip") == SUM


def test_wrong_checksum(server: Server, tmp_path: Path) -> None:
    with pytest.raises(MissingFault, match="published"):
        get(server, tmp_path / "a.zip", sha256="0" * 64)
    assert not (tmp_path / "a.zip").exists()
    assert not (tmp_path / "a.zip.part").exists()


def test_checksum_seen_first_is_held_to(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    get(server, path)
    assert (tmp_path / "a.zip.sha256").read_text() == f"{SUM}  a.zip\n"
    path.unlink()
    server.content = CONTENT[1:]
    with pytest.raises(MissingFault, match="recorded"):
        get(server, path)
    (tmp_path / "a.zip.sha256").unlink()
    get(server, path)


def test_file_that_is_there_is_checked_not_fetched(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(CONTENT)
    assert get(server, tmp_path / "a.zip", sha256=SUM) == SUM
    assert server.asked == []
    (tmp_path / "a.zip").write_bytes(CONTENT[1:])
    with pytest.raises(MissingFault):
        get(server, tmp_path / "a.zip", sha256=SUM)


def test_busy_server_is_asked_again_and_a_refusal_is_final(server: Server, tmp_path: Path) -> None:
    server.codes = [503, 429]
    assert get(server, tmp_path / "a.zip") == SUM
    server.codes = [404, 404]
    with pytest.raises(MissingFault, match="404"):
        get(server, tmp_path / "b.zip")
    assert len(server.asked) == 4


def test_offline(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/a.zip"
    with pytest.raises(MissingFault, match="online"):
        fetch(url, tmp_path / "a.zip", attempts=2, backoff_seconds=0.001)
    with pytest.raises(MissingFault):
        fetch("ftp://127.0.0.1/a.zip", tmp_path / "a.zip", attempts=1)


def test_no_room(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10})())
    with pytest.raises(RunFault, match="free"):
        get(server, tmp_path / "a.zip")


def test_disk_that_fills_up_keeps_what_there_is(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(response: httpx.Response) -> Iterator[bytes]:
        yield CONTENT[:500]
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(httpx.Response, "iter_raw", full)
        with pytest.raises(RunFault, match="full"):
            get(server, tmp_path / "a.zip")
    assert get(server, tmp_path / "a.zip", sha256=SUM) == SUM
    assert server.asked[-1] == "bytes=500-"


def test_two_at_once(server: Server, tmp_path: Path) -> None:
    import filelock

    with filelock.FileLock(tmp_path / "a.zip.lock"), pytest.raises(RunFault, match="Another process"):
        get(server, tmp_path / "a.zip")
