"""A stand-in for the Hugging Face Hub on this machine: as much of it as downloading a file needs."""

import hashlib
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

from tests.file_server import FileServer, Handler

_COMMIT = "0123456789abcdef0123456789abcdef01234567"


class HubServer(FileServer):
    """Serves repositories by name.

    Attributes:
        repositories: files by name, by repository.
    """

    def __init__(self, repositories: dict[str, dict[str, bytes]]) -> None:
        super().__init__()
        self.repositories = repositories
        self.RequestHandlerClass: type[BaseHTTPRequestHandler] = _HubHandler


class _HubHandler(Handler):
    server: HubServer

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        content = self._answer()
        if content is not None:
            self.wfile.write(content)

    def _answer(self) -> bytes | None:
        with self.server.lock:
            self.server.paths.append(f"{self.command} {self.path}")
        repository, _, rest = urlsplit(self.path).path.strip("/").partition("/resolve/")
        content = self.server.repositories.get(repository, {}).get(rest.partition("/")[2])
        if content is None:
            why = "EntryNotFound" if repository in self.server.repositories else "RepoNotFound"
            self.begin(404, {"X-Error-Code": why, "Content-Length": "0"})
            return None
        tag = hashlib.sha256(content).hexdigest()  # as of every large file there
        self.begin(200, {"X-Repo-Commit": _COMMIT, "ETag": f'"{tag}"', "Content-Length": str(len(content))})
        return content
