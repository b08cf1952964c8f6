"""Downloads, against a server on this machine that can be told to misbehave."""

import errno
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path

import filelock
import httpx
import pytest

from segbench.core import disk
from segbench.core.download import RetryPolicy, fetch
from segbench.core.errors import Busy, MissingFault, RunFault
from tests.file_server import CONTENT, FileServer, serving
from tests.waiting import wait_for

SUM = hashlib.sha256(CONTENT).hexdigest()
QUICK = RetryPolicy(backoff_seconds=0.001)


@pytest.fixture
def server() -> Iterator[FileServer]:
    server = FileServer()
    with serving(server):
        yield server


def get(server: FileServer, path: Path, *, attempts: int = 5, **more: object) -> str:
    policy = RetryPolicy(attempts=attempts, backoff_seconds=0.001)
    return fetch([server.url], path, **{"policy": policy, "next": "again", **more})  # type: ignore[arg-type]


def test_whole_file_with_checksum_and_progress(server: FileServer, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    path = tmp_path / "deep" / "archive.zip"
    assert get(server, path, checksums={"sha256": SUM}, progress=lambda done, total: seen.append((done, total))) == SUM
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert not list(path.parent.glob("*.part*"))


def test_dropped_connections_are_continued(server: FileServer, tmp_path: Path) -> None:
    server.drops = [1000, 5000, 0]
    get(server, tmp_path / "a.zip", checksums={"sha256": SUM})
    assert server.asked == [None, "bytes=1000-", "bytes=6000-", "bytes=6000-"]


@pytest.mark.parametrize("tenth", range(11))
def test_dropped_at_any_place_now_or_in_a_later_call(server: FileServer, tmp_path: Path, tenth: int) -> None:
    server.content = CONTENT[:5003]
    place = min(tenth * 501, 5002)
    server.breaks = {place}
    get(server, tmp_path / "now.zip")
    assert (tmp_path / "now.zip").read_bytes() == server.content
    server.breaks, server.asked = {place}, []
    with pytest.raises(MissingFault):
        get(server, tmp_path / "later.zip", attempts=1)
    get(server, tmp_path / "later.zip")
    assert server.asked[-1] == (f"bytes={place}-" if place else None)
    assert (tmp_path / "later.zip").read_bytes() == server.content


def test_end_that_only_the_checksum_tells_from_a_break(server: FileServer, tmp_path: Path) -> None:
    server.length, server.drops = False, [1000]
    with pytest.raises(MissingFault, match="SHA-256"):
        get(server, tmp_path / "a.zip", checksums={"sha256": SUM})
    assert get(server, tmp_path / "a.zip", checksums={"sha256": SUM}) == SUM


def test_later_call_goes_on_where_the_first_stopped(server: FileServer, tmp_path: Path) -> None:
    server.drops = [700]
    with pytest.raises(MissingFault, match=r"cut off at 700 B of 1\.0 MB.*are kept") as caught:
        get(server, tmp_path / "a.zip", attempts=1)
    assert caught.value.next == "again"
    assert not (tmp_path / "a.zip").exists()
    get(server, tmp_path / "a.zip", checksums={})
    assert server.asked[-1] == "bytes=700-"


def test_server_without_ranges_starts_over(server: FileServer, tmp_path: Path) -> None:
    server.ranges, server.drops = False, [1000]
    get(server, tmp_path / "a.zip", checksums={"sha256": SUM})
    assert (tmp_path / "a.zip").read_bytes() == CONTENT


@pytest.mark.parametrize("guard", ["If-Range", "the tag of the answer"])
@pytest.mark.parametrize("tags", [('"one"', '"two"'), (None, None), ('W/"one"', 'W/"two"')])
def test_file_that_changed_meanwhile_is_not_patched_together(
    server: FileServer, tmp_path: Path, tags: tuple[str | None, str | None], guard: str
) -> None:
    server.heeds_if_range = guard == "If-Range"
    server.tag_in_ranges = not server.heeds_if_range
    server.drops, server.tag = [1000], tags[0]
    with pytest.raises(MissingFault) as caught:
        get(server, tmp_path / "a.zip", attempts=1)
    assert ("are kept" in str(caught.value)) == (tags[0] == '"one"')  # what cannot be continued is not promised
    server.content, server.tag = CONTENT[::-1], tags[1]
    get(server, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT[::-1]


def test_dates_guard_ranges_if_they_are_old_enough(server: FileServer, tmp_path: Path) -> None:
    server.tag, server.changed, server.drops = None, "Tue, 01 Jan 2019 10:00:00 GMT", [1000]
    get(server, tmp_path / "old.zip")
    assert server.asked == [None, "bytes=1000-"]
    now = time.gmtime(time.time() + 60)  # however slow this machine is, the answer is no second later than that
    server.changed, server.drops, server.asked = time.strftime("%a, %d %b %Y %H:%M:%S GMT", now), [1000], []
    get(server, tmp_path / "new.zip")  # may have changed twice within that second
    assert server.asked == [None, None]


def test_complete_partial_file_is_taken(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def kill(done: int, total: int | None) -> None:
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get(server, tmp_path / "a.zip", progress=kill)
    assert get(server, tmp_path / "a.zip") == SUM
    assert server.asked == [None]


def test_partial_file_that_does_not_fit_its_note_is_begun_anew(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "a.zip.part").write_bytes(b"of who knows what")
    assert get(server, tmp_path / "a.zip") == SUM
    notes = ("[]", '{"schema": 1, "spans": [[0]]}', '{"schema": 2, "spans": [[0, null, 900]]}')
    for number, note in enumerate(notes):
        server.drops = [900]
        with pytest.raises(MissingFault):
            get(server, tmp_path / f"{number}.zip", attempts=1)
        (tmp_path / f"{number}.zip.part.json").write_text(note)
        assert get(server, tmp_path / f"{number}.zip") == SUM
    server.drops = [900]
    with pytest.raises(MissingFault):
        get(server, tmp_path / "b.zip", attempts=1)
    (tmp_path / "b.zip.part").write_bytes(CONTENT[:800])  # less than the note claims
    assert get(server, tmp_path / "b.zip") == SUM
    assert set(server.asked) == {None}


@pytest.mark.parametrize(
    ("done", "begin"), [((0, 5, 9), 0), ((300, 5, 9), 300), ((1000, 5, 9), 1005), ((1000, 1000, 9), 2009)]
)
def test_partial_file_of_several_connections_is_continued_behind_its_first_gap(
    server: FileServer, tmp_path: Path, done: tuple[int, ...], begin: int
) -> None:
    """Earlier versions fetched several spans of a file at once."""
    edges = (0, 1000, 2000, len(CONTENT))
    content, spans = bytearray(len(CONTENT)), []
    for (first, end), count in zip(pairwise(edges), done, strict=True):
        content[first : first + count] = CONTENT[first : first + count]
        spans.append([first, end, count])
    (tmp_path / "a.zip.part").write_bytes(content)
    source = hashlib.sha256(server.url.encode()).hexdigest()
    note = {"schema": 1, "source": source, "checksums": {}, "tag": server.tag, "total": len(CONTENT), "spans": spans}
    (tmp_path / "a.zip.part.json").write_text(json.dumps(note))
    assert get(server, tmp_path / "a.zip") == SUM
    assert server.asked == [f"bytes={begin}-" if begin else None]


def test_note_tells_no_secret_of_the_address(server: FileServer, tmp_path: Path) -> None:
    server.drops = [900]
    with pytest.raises(MissingFault):
        fetch([f"{server.url}?token=secret"], tmp_path / "a.zip", policy=RetryPolicy(attempts=1))
    assert "secret" not in (tmp_path / "a.zip.part.json").read_text()


MD5, SHA1 = hashlib.md5(CONTENT).hexdigest(), hashlib.sha1(CONTENT).hexdigest()
KNOWN, OTHER = {"md5": MD5, "sha1": SHA1}, {"md5": "c" * 32, "sha1": SHA1}


@pytest.mark.parametrize(
    ("checksums", "tag", "later", "address", "continued"),
    [
        ({}, '"x"', {}, "archive.zip", True),
        ({}, '"x"', {}, "mirror.zip", False),
        ({}, None, {}, "archive.zip", False),
        (KNOWN, None, KNOWN, "mirror.zip", True),
        (KNOWN, None, {"md5": MD5.upper()}, "mirror.zip", True),
        (KNOWN, '"x"', OTHER, "archive.zip", False),  # another file is wanted now
        (KNOWN, '"x"', {}, "mirror.zip", False),
        ({}, '"x"', KNOWN, "mirror.zip", False),
        ({}, '"x"', KNOWN, "archive.zip", True),
    ],
)
def test_what_is_continued(
    server: FileServer,
    tmp_path: Path,
    checksums: dict[str, str],
    tag: str | None,
    later: dict[str, str],
    address: str,
    continued: bool,
) -> None:
    server.tag, server.drops = tag, [900]
    with pytest.raises(MissingFault):
        get(server, tmp_path / "a.zip", attempts=1, checksums=checksums)
    with pytest.raises(MissingFault) if later is OTHER else nullcontext():
        fetch([f"{server.site}/{address}"], tmp_path / "a.zip", checksums=later, policy=QUICK)
    assert server.asked[1] == ("bytes=900-" if continued else None)


@pytest.mark.parametrize(("kind", "name"), [("md5", "MD5"), ("sha1", "SHA-1"), ("sha256", "SHA-256")])
def test_checksum_of_each_kind(server: FileServer, tmp_path: Path, kind: str, name: str) -> None:
    right = hashlib.new(kind, CONTENT).hexdigest()
    wrong = ("0" if right[0] != "0" else "1") + right[1:]
    with pytest.raises(MissingFault, match=rf"{name} {right}, the one published is {wrong}"):
        get(server, tmp_path / "a.zip", checksums={"sha256": SUM, kind: wrong})
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip.lock"]
    assert get(server, tmp_path / "a.zip", checksums={kind: right.upper()}) == SUM


def test_checksum_seen_first_is_held_to(server: FileServer, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    get(server, path)
    assert (tmp_path / "a.zip.sha256").read_text() == f"{SUM}  a.zip\n"
    path.unlink()
    server.content = CONTENT[1:]
    with pytest.raises(MissingFault, match="recorded"):
        get(server, path)
    (tmp_path / "a.zip.sha256").unlink()
    get(server, path)


def test_file_that_is_there_is_checked_not_fetched(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(CONTENT)
    assert get(server, tmp_path / "a.zip", checksums={"sha256": SUM}) == SUM
    assert server.asked == []
    (tmp_path / "a.zip").write_bytes(CONTENT[1:])
    with pytest.raises(MissingFault):
        get(server, tmp_path / "a.zip", checksums={"sha256": SUM})


def test_busy_server_is_asked_again_and_a_refusal_is_final(server: FileServer, tmp_path: Path) -> None:
    server.codes = [503, 429]
    assert get(server, tmp_path / "a.zip") == SUM
    server.codes = [404, 404]
    with pytest.raises(MissingFault, match="404"):
        get(server, tmp_path / "b.zip")
    assert len(server.asked) == 4


@pytest.mark.parametrize(("said", "seconds"), [("7", 7.0), ("600", 60.0), ("soon", 0.001), (None, 0.001)])
def test_server_says_how_long_to_wait(
    server: FileServer, tmp_path: Path, said: str | None, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    server.codes, server.retry_after = [503], said
    get(server, tmp_path / "a.zip")
    assert waits == [seconds]


def closed_port() -> str:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{closed.getsockname()[1]}"


def test_mirrors_in_their_order(server: FileServer, tmp_path: Path) -> None:
    server.missing = {"gone.zip"}
    urls = [f"{closed_port()}/a.zip", "http://no-such-host.invalid/a.zip", f"{server.site}/gone.zip", server.url]
    assert fetch(urls, tmp_path / "a.zip", policy=QUICK) == SUM
    assert server.paths == ["/gone.zip", "/archive.zip"]
    server.missing |= {"archive.zip"}
    with pytest.raises(MissingFault) as caught:
        fetch(urls, tmp_path / "b.zip", policy=QUICK)
    assert [next(url for url in urls if fault.startswith(url)) for fault in caught.value.faults] == urls
    assert "online" not in str(caught.value)  # somebody answered


def test_mirror_goes_on_only_with_what_is_certain_to_be_the_same(server: FileServer, tmp_path: Path) -> None:
    other = FileServer()
    with serving(other):
        other.tag = '"of its own"'
        server.drops = [1000, 0, 0]
        fetch([server.url, other.url], tmp_path / "a.zip", checksums={"sha256": SUM}, policy=QUICK)
        assert other.asked == ["bytes=1000-"]
        server.drops, other.asked = [1000, 0, 0, 0, 0], []
        with pytest.raises(MissingFault, match="are kept"):  # and not thrown away for a mirror
            fetch([server.url, other.url], tmp_path / "b.zip", policy=QUICK)
        fetch([other.url], tmp_path / "b.zip", policy=QUICK)
        assert other.asked == [None]
        assert (tmp_path / "b.zip").read_bytes() == CONTENT


def test_mirror_with_another_file_is_passed_over(server: FileServer, tmp_path: Path) -> None:
    server.files["bad.zip"] = b"another"
    urls = [f"{server.site}/bad.zip", server.url]
    assert fetch(urls, tmp_path / "a.zip", checksums={"sha256": SUM}, policy=QUICK) == SUM


def test_offline(tmp_path: Path) -> None:
    with pytest.raises(MissingFault, match="online"):
        fetch([f"{closed_port()}/a.zip"], tmp_path / "a.zip", policy=RetryPolicy(attempts=2, backoff_seconds=0.001))
    with pytest.raises(MissingFault):
        fetch(["ftp://127.0.0.1/a.zip"], tmp_path / "a.zip", policy=QUICK)


def test_web_page_and_refusal(server: FileServer, tmp_path: Path) -> None:
    server.content_type = "text/html; charset=utf-8"
    with pytest.raises(MissingFault, match=r"web page instead of the file\. Ask them\."):
        get(server, tmp_path / "a.zip", refusal="Ask them.")
    server.content_type, server.codes = None, [403, 404]
    with pytest.raises(MissingFault, match=r"403 Forbidden\. Ask them\."):
        get(server, tmp_path / "a.zip", refusal="Ask them.")
    with pytest.raises(MissingFault, match=r"404 Not Found\.$"):
        get(server, tmp_path / "a.zip", refusal="Ask them.")


def test_cookies_of_a_client_are_used(server: FileServer, tmp_path: Path) -> None:
    with httpx.Client(cookies={"session": "open"}) as client:
        get(server, tmp_path / "a.zip", client=client)
        assert not client.is_closed
    assert server.cookies == ["session=open"]


def test_no_room_is_said_before_anything_is_fetched(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1_500_000})())
    with pytest.raises(RunFault, match=rf"a\.zip needs 11\.2 GB, {tmp_path} has 1\.5 MB free") as caught:
        get(server, tmp_path / "a.zip", room_bytes=11_200_000_000 - len(CONTENT))
    assert caught.value.exit_code == 5
    assert not (tmp_path / "a.zip.part").exists()
    server.drops = [900_000]
    with pytest.raises(MissingFault):
        get(server, tmp_path / "a.zip", attempts=1)
    assert get(server, tmp_path / "a.zip", room_bytes=1_000_000) == SUM  # only what still lacks needs room


def test_disk_that_fills_up_keeps_what_there_is(server: FileServer, tmp_path: Path) -> None:
    def fill(done: int, total: int | None) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    server.drops = [500]
    with pytest.raises(RunFault, match=r"disk of .* is full; what was downloaded is kept"):
        get(server, tmp_path / "a.zip", progress=fill)
    assert get(server, tmp_path / "a.zip", checksums={}) == SUM
    assert server.asked[-1] == "bytes=500-"


def test_ctrl_c_keeps_what_there_is(server: FileServer, tmp_path: Path) -> None:
    def stop(done: int, total: int | None) -> None:
        if done >= 100_000:
            raise KeyboardInterrupt

    kept: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        get(server, tmp_path / "a.zip", progress=lambda done, total: (kept.append(done), stop(done, total)))
    assert get(server, tmp_path / "a.zip") == SUM
    assert server.asked == [None, f"bytes={kept[-1]}-"]


def test_two_at_once(server: FileServer, tmp_path: Path) -> None:
    with filelock.FileLock(tmp_path / "a.zip.lock"), pytest.raises(Busy, match="Another process"):
        get(server, tmp_path / "a.zip")


KILLED = """
import sys
from pathlib import Path
from segbench.core import partial
from segbench.core.download import fetch
partial._SAVE_SECONDS = 0.0
fetch([sys.argv[1]], Path(sys.argv[2]))
"""


def test_killed_and_started_again(server: FileServer, tmp_path: Path) -> None:
    """Kill -9 while bytes arrive: what was noted is not fetched again, and no byte is wrong."""

    def noted() -> int:
        return int(json.loads(note.read_text())["spans"][0][2]) if note.exists() else 0

    path, note = tmp_path / "a.zip", tmp_path / "a.zip.part.json"
    server.content, server.held = os.urandom(600_000), threading.Event()
    process = subprocess.Popen([sys.executable, "-c", KILLED, server.url, str(path)], text=True)
    wait_for(noted, process=process)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    server.held.set()
    server.held, server.asked = None, []
    begin = noted()
    get(server, path)
    assert path.read_bytes() == server.content
    assert server.asked == [f"bytes={begin}-"]


def test_offline_says_what_to_fetch_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGBENCH_OFFLINE", "1")
    with pytest.raises(MissingFault, match=r"x\.zip is not here and SEGBENCH_OFFLINE is set.*http://nowhere/x\.zip"):
        fetch(["http://nowhere/x.zip"], tmp_path / "x.zip")
    (tmp_path / "x.zip").write_bytes(b"here")
    fetch(["http://nowhere/x.zip"], tmp_path / "x.zip")
