"""A file server on this machine that can be told to misbehave."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.waiting import PATIENCE

CONTENT = bytes(range(256)) * 4000


class FileServer(ThreadingHTTPServer):
    """Serves files by the last part of their path, in ranges if asked.

    Attributes:
        content: what every path holds that is not in ``files``.
        files: contents by name.
        tag: sent as ``ETag``; None for none.
        changed: sent as ``Last-Modified``.
        ranges: support ranges.
        heeds_if_range: refuse a range of another version.
        tag_in_ranges: send the tag with a range too.
        length: send ``Content-Length``.
        content_type: sent if not None.
        drops: after how many bytes each of the next answers breaks off.
        breaks: byte positions of the file at which an answer breaks off, each once.
        codes: the next answers are these and empty; ``missing`` paths are 404 for ever.
        retry_after: sent with ``codes``; None for none.
        asked: the ``Range`` of every request, in order; ``paths`` and ``cookies`` likewise.
        held: the last byte of an answer is sent once this is set; None for at once.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.files: dict[str, bytes] = {}
        self.tag: str | None = '"one"'
        self.changed: str | None = None
        self.ranges = self.heeds_if_range = self.length = self.tag_in_ranges = True
        self.content_type: str | None = None
        self.drops: list[int] = []
        self.breaks: set[int] = set()
        self.codes: list[int] = []
        self.retry_after: str | None = None
        self.missing: set[str] = set()
        self.asked: list[str | None] = []
        self.paths: list[str] = []
        self.cookies: list[str | None] = []
        self.lock = threading.Lock()
        self.held: threading.Event | None = None
        self.site = f"http://127.0.0.1:{self.server_address[1]}"
        self.url = f"{self.site}/archive.zip"


class Handler(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        server = self.server
        asked, name = self.headers.get("Range"), self.path.partition("?")[0].rsplit("/", 1)[-1]
        with server.lock:
            server.asked.append(asked)
            server.paths.append(self.path)
            server.cookies.append(self.headers.get("Cookie"))
            code = 404 if name in server.missing else server.codes.pop(0) if server.codes else None
        try:
            if code is not None:
                self.begin(code, {"Content-Length": "0", "Retry-After": server.retry_after})
            else:
                self.send(server.files.get(name, server.content), asked)
        except ConnectionError:
            pass  # the other side had enough

    def send(self, content: bytes, asked: str | None) -> None:
        server, begin, end = self.server, 0, len(content)
        headers = {"ETag": server.tag, "Last-Modified": server.changed, "Content-Type": server.content_type}
        same = self.headers.get("If-Range") in (None, server.tag, server.changed) or not server.heeds_if_range
        if asked and server.ranges and same:
            begin = int(asked.removeprefix("bytes=").removesuffix("-"))
            headers["ETag"] = server.tag if server.tag_in_ranges else None
            if begin >= len(content):
                self.begin(416, {"Content-Range": f"bytes */{len(content)}", "Content-Length": "0"})
                return
            headers["Content-Range"] = f"bytes {begin}-{end - 1}/{len(content)}"
        if server.length:
            headers["Content-Length"] = str(end - begin)
        with server.lock:  # before the headers: a client that has read them may already order the next fault
            stop = min([end, *(place for place in server.breaks if begin <= place < end)])
            server.breaks.discard(stop)
            stop = min(stop, begin + server.drops.pop(0)) if server.drops else stop
            held = server.held
        self.begin(206 if "Content-Range" in headers else 200, headers)
        ready = stop if held is None else max(begin, stop - 1)
        self.wfile.write(content[begin:ready])
        if held is not None:
            held.wait(PATIENCE)
            self.wfile.write(content[ready:stop])

    def begin(self, code: int, headers: dict[str, str | None]) -> None:
        self.send_response(code)
        for name, value in headers.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[None]:
    """Answer in the background."""
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
