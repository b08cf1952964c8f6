"""The Cityscapes account, against a site on this machine that behaves as csDownload expects it to."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import platformdirs
import pytest

from segbench.core.errors import InvalidFault, MissingFault, SegbenchError
from segbench.data.facts import facts
from segbench.data.fetching.accounts import account
from segbench.data.fetching.accounts.cityscapes import PASSWORD, SITE, USERNAME
from segbench.data.fetching.download import download
from segbench.data.sets.camvid.options import Options
from tests.data.parted import parted_options, write_archives
from tests.file_server import serving

SECRET = "correct horse & battery=staple"
FORM = b"<html><form action='/login'><input name='username'><input type='password' name='password'></form></html>"


class Site(ThreadingHTTPServer):
    """A login, checksums and files; ``packages`` are the files by number."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server_address[1]}"
        self.packages: dict[str, bytes] = {}
        self.sums = self.licence = True
        self.login_code: int | None = None
        self.page = FORM
        self.asked: list[str] = []


class Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        self.server.asked.append(f"GET {self.path}")
        path, _, query = self.path.partition("?")
        known = "session=open" in (self.headers.get("Cookie") or "")
        data = self.server.packages.get(parse_qs(query).get("packageID", [""])[0], b"")
        if path == "/md5-sum/" and known and self.server.sums:
            self.answer(200, f"{hashlib.md5(data).hexdigest()}  some.zip\n".encode(), "text/plain")
        elif path == "/file-handling/" and known and self.server.licence:
            self.answer(200, data, "application/zip")
        else:
            self.answer(200, self.server.page, "text/html")

    def do_POST(self) -> None:
        self.server.asked.append(f"POST {self.path}")
        fields = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        right = fields == {"username": ["me@example.org"], "password": [SECRET], "submit": ["Login"]}
        code = self.server.login_code or (302 if right else 200)
        self.answer(
            code, self.server.page, "text/html", {"Set-Cookie": "session=open", "Location": "/"} if right else {}
        )

    def answer(self, code: int, body: bytes, kind: str, more: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **(more or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Site]:
    site = Site()
    monkeypatch.setenv(SITE, site.address)
    monkeypatch.setenv(USERNAME, "me@example.org")
    monkeypatch.setenv(PASSWORD, SECRET)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "user"))
    with serving(site):
        yield site


@pytest.fixture
def closed(site: Site, tmp_path: Path) -> Options:
    """A miniature data set of which two archives stand behind the account."""
    (tmp_path / "origin").mkdir()
    archives = write_archives(tmp_path / "origin")
    options = parted_options(archives)
    numbers = {"lists.zip": "1", "train.zip": "3"}
    site.packages = {number: archives[name].read_bytes() for name, number in numbers.items()}
    behind = tuple(
        item.model_copy(
            update={
                "urls": (f"https://www.cityscapes-dataset.com/file-handling/?packageID={numbers[item.name]}",),
                "account": "cityscapes",
            }
        )
        for item in options.archives
        if item.name in numbers
    )
    return options.model_copy(update={"archives": behind, "splits": {"train": (5,)}})


def fails(closed: Options, root: Path, told: str) -> SegbenchError:
    with pytest.raises(SegbenchError, match=told) as caught:
        download("camvid", root, options=closed)
    chain: list[BaseException | None] = [caught.value]
    while chain[-1] is not None:  # not even for a traceback
        assert SECRET not in str(chain[-1])
        chain.append(chain[-1].__cause__)
    return caught.value


def test_one_login_for_all_archives(site: Site, closed: Options, tmp_path: Path) -> None:
    download("camvid", tmp_path / "data", options=closed)
    assert site.asked == [
        "GET /login",
        "POST /login",
        "GET /md5-sum/?packageID=1",
        "GET /file-handling/?packageID=1",
        "GET /md5-sum/?packageID=3",
        "GET /file-handling/?packageID=3",
    ]
    stored = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert SECRET.encode() not in stored and b"horse" not in stored


def test_files_of_the_real_facts_are_asked_for_by_number(site: Site) -> None:
    addresses = [account("cityscapes").address(item.urls[0]) for item in facts("cityscapes").archives]
    assert addresses == [f"{site.address}/file-handling/?packageID={number}" for number in (3, 1)]


def test_checksum_of_the_site_is_held_to(site: Site, closed: Options, tmp_path: Path) -> None:
    with closing(account("cityscapes").session()) as client:
        lists = closed.archives[0]
        right = {"md5": hashlib.md5(site.packages["1"]).hexdigest()}
        assert account("cityscapes").checksum(client, lists) == right
        site.sums = False
        assert account("cityscapes").checksum(client, lists) == {}
    site.packages["3"] += b"more"  # the published SHA-256 of the facts holds too
    fails(closed, tmp_path / "data", r"train\.zip has SHA-256")


def test_no_credentials(site: Site, closed: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PASSWORD)
    assert PASSWORD in str(fails(closed, tmp_path / "data", "is not set"))
    monkeypatch.delenv(USERNAME)
    error = fails(closed, tmp_path / "data", r"register at https://www\.cityscapes-dataset\.com/register/")
    assert error.exit_code == 3
    assert USERNAME in str(error) and PASSWORD in str(error)
    assert "segbench data prepare cityscapes --from FOLDER" in str(error)
    assert site.asked == []


def test_credentials_of_csdownload(
    site: Site, closed: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(USERNAME)
    monkeypatch.delenv(PASSWORD)
    place = Path(platformdirs.user_data_dir("cityscapesscripts", "cityscapes")) / "credentials.json"
    assert place.is_relative_to(tmp_path)
    place.parent.mkdir(parents=True)
    for text in ("{", "[]", '{"username": "me"}', '{"username": "me", "password": 1}'):
        place.write_text(text)
        assert isinstance(fails(closed, tmp_path / "data", r"credentials\.json should hold"), InvalidFault)
    place.write_text(json.dumps({"username": "me@example.org", "password": SECRET}))
    download("camvid", tmp_path / "data", options=closed)
    place.write_text(json.dumps({"username": "me@example.org", "password": "wrong"}))
    fails(closed, tmp_path / "other", rf"refuses the user name or the password from {place}")
    assert place.exists()


def test_refused_password(site: Site, closed: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(USERNAME, "somebody@example.org")
    error = fails(closed, tmp_path / "data", rf"refuses the user name or the password from {USERNAME} and {PASSWORD}")
    assert error.exit_code == 3
    assert "GET /file-handling/?packageID=1" not in site.asked


def test_login_page_that_changed(site: Site, closed: Options, tmp_path: Path) -> None:
    for code, page in ((404, FORM), (200, b"<html>Welcome to our new site</html>"), (500, b"")):
        site.login_code, site.page = code, page
        error = fails(closed, tmp_path / "data", rf"login page .* has changed \(it answers {code}\)")
        assert error.next == "segbench data prepare cityscapes --from FOLDER"


def test_licence_that_is_not_accepted(site: Site, closed: Options, tmp_path: Path) -> None:
    site.licence = False
    error = fails(closed, tmp_path / "data", r"web page instead of the file\. The login succeeded, .*licence")
    assert isinstance(error, MissingFault)
    assert not list((tmp_path / "data").rglob("*.part"))


def test_offline(closed: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SITE, "http://127.0.0.1:9")
    fails(closed, tmp_path / "data", r"login cannot be reached .*online")


def test_password_is_not_sent_in_the_clear(closed: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SITE, "http://example.org")
    fails(closed, tmp_path / "data", "must begin with https")


def test_archive_by_hand_needs_no_login(site: Site, closed: Options, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for number, name in (("1", "lists.zip"), ("3", "train.zip")):
        (tmp_path / "data" / name).write_bytes(site.packages[number])
    download("camvid", tmp_path / "data", options=closed)
    assert site.asked == []
