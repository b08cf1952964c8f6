"""Downloads in several connections, and the note of what has arrived."""

import hashlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from segbench.core import parts
from segbench.core.download import Manners, fetch
from segbench.core.errors import MissingFault, RunFault
from segbench.core.parts import Partial, Span
from tests.file_server import CONTENT, FileServer, serving


@pytest.fixture
def server() -> Iterator[FileServer]:
    server = FileServer()
    server.only_ranges = True
    with serving(server):
        yield server


def get(server: FileServer, path: Path, *, attempts: int = 5, connections: int = 4, **more: object) -> None:
    manners = Manners(attempts=attempts, backoff_seconds=0.001, connections=connections, parallel_from_bytes=1000)
    fetch([server.url], path, **{"manners": manners, **more})  # type: ignore[arg-type]


def test_every_byte_comes_once_from_several_connections(server: FileServer, tmp_path: Path) -> None:
    server.pace = 2e6
    seen: list[int] = []
    get(server, tmp_path / "a.zip", progress=lambda done, total: seen.append(done))
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert server.busiest >= 4
    length = len(CONTENT)
    quarters = [f"bytes={length * i // 4}-{length * (i + 1) // 4 - 1 if i < 3 else ''}" for i in range(4)]
    assert server.asked[0] is None
    assert sorted(filter(None, server.asked)) == sorted(quarters)
    assert seen[-1] == max(seen) == length


def test_small_files_and_shy_servers_get_one_connection(server: FileServer, tmp_path: Path) -> None:
    manners = Manners(parallel_from_bytes=len(CONTENT) + 1)
    fetch([server.url], tmp_path / "small.zip", manners=manners)
    server.advertised = False
    get(server, tmp_path / "shy.zip")
    server.advertised, server.tag = True, None  # nothing would tell that the parts are of one file
    get(server, tmp_path / "nameless.zip")
    assert server.asked == [None] * 3


def test_checksum_allows_parts_without_a_tag(server: FileServer, tmp_path: Path) -> None:
    server.tag = None
    get(server, tmp_path / "a.zip", checksums={"md5": hashlib.md5(CONTENT).hexdigest()})
    assert len(server.asked) == 5


@pytest.mark.parametrize("tenth", range(11))
def test_dropped_at_any_place_now_or_in_a_later_call(server: FileServer, tmp_path: Path, tenth: int) -> None:
    server.content = CONTENT[:5003]
    place = min(tenth * 501, 5002)
    server.breaks = {place, (place + 1700) % 5003}
    get(server, tmp_path / "now.zip")
    assert (tmp_path / "now.zip").read_bytes() == server.content
    server.breaks, server.asked = {place}, []
    with pytest.raises(MissingFault):
        get(server, tmp_path / "later.zip", attempts=1)
    get(server, tmp_path / "later.zip")
    assert (tmp_path / "later.zip").read_bytes() == server.content
    assert server.asked.count(None) == 1  # it did not begin anew


def test_going_on_with_other_numbers_of_connections(server: FileServer, tmp_path: Path) -> None:
    server.breaks = {len(CONTENT) // 8, len(CONTENT) - 5}
    with pytest.raises(MissingFault):
        get(server, tmp_path / "a.zip", attempts=1)
    get(server, tmp_path / "a.zip", connections=1)
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert server.asked.count(None) == 1


def test_server_that_sends_more_than_it_was_asked_for(server: FileServer, tmp_path: Path) -> None:
    server.generous, seen = True, list[int]()
    get(server, tmp_path / "a.zip", progress=lambda done, total: seen.append(done))
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert seen[-1] == len(CONTENT)


def test_server_that_promises_ranges_and_gives_none(server: FileServer, tmp_path: Path) -> None:
    server.ranges = False
    get(server, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert server.asked[-1] is None and len(server.asked) > 2  # one stream in the end


@pytest.mark.parametrize("heeds", [True, False])
def test_file_that_changes_between_parts_is_never_mixed(server: FileServer, tmp_path: Path, heeds: bool) -> None:
    server.heeds_if_range = heeds
    server.breaks = {place * len(CONTENT) // 4 + 100 for place in range(4)}
    with pytest.raises(MissingFault):
        get(server, tmp_path / "a.zip", attempts=1)
    server.content, server.tag, server.breaks = CONTENT[::-1], '"two"', set()
    get(server, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT[::-1]


def test_file_that_changes_while_parts_are_under_way(server: FileServer, tmp_path: Path) -> None:
    changing = threading.Event()

    def change(done: int, total: int | None) -> None:
        if not changing.is_set():
            changing.set()
            server.content, server.tag = CONTENT[::-1], '"two"'

    server.breaks = {place * len(CONTENT) // 4 + 100 for place in range(4)}
    get(server, tmp_path / "a.zip", progress=change)
    assert (tmp_path / "a.zip").read_bytes() == CONTENT[::-1]


def test_full_disk_stops_all_connections_and_keeps_what_is_noted(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Partial, span: Span, count: int) -> int:
        if self.have + count > 300_000:
            raise OSError(28, "No space left on device")
        return wrote(self, span, count)

    wrote = Partial.wrote
    with monkeypatch.context() as patch:
        patch.setattr(Partial, "wrote", full)
        with pytest.raises(RunFault, match=r"disk of .* is full"):
            get(server, tmp_path / "a.zip")
    kept = sum(done for _, _, done in json.loads((tmp_path / "a.zip.part.json").read_text())["spans"])
    assert 0 < kept <= 300_000
    get(server, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert server.asked.count(None) == 1


def test_ctrl_c_keeps_what_there_is(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.pace = 1e6
    stopped = threading.Event()

    def wait(self: threading.Event, timeout: float | None = None) -> bool:
        if Partial(tmp_path / "a.zip", {}).have > 100_000 and threading.current_thread() is threading.main_thread():
            stopped.set()
            raise KeyboardInterrupt
        return waiting(self, timeout)

    waiting = threading.Event.wait
    with monkeypatch.context() as patch:
        patch.setattr(parts, "_SAVE_SECONDS", 0.0)
        patch.setattr(threading.Event, "wait", wait)
        with pytest.raises(KeyboardInterrupt):
            get(server, tmp_path / "a.zip")
    assert stopped.is_set()
    server.pace = None
    get(server, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert server.asked.count(None) == 1


def test_note_tells_no_secret_of_the_address(tmp_path: Path) -> None:
    partial = Partial(tmp_path / "a.zip", {})
    partial.turn_to("https://example.org/a.zip?token=secret")
    partial.begin([Span(0, 10)], total=10, tag='"x"')
    assert "secret" not in (tmp_path / "a.zip.part.json").read_text()


def test_what_may_be_continued(tmp_path: Path) -> None:
    def begun(checksums: dict[str, str], tag: str | None) -> None:
        partial = Partial(tmp_path / "a.zip", checksums)
        partial.turn_to("first")
        partial.begin([Span(0, 10)], total=10, tag=tag)
        partial.file.write_bytes(b"12345")
        partial.wrote(partial.spans[0], 5)
        partial.save()

    def goes_on(checksums: dict[str, str], address: str) -> int:
        partial = Partial(tmp_path / "a.zip", checksums)
        partial.turn_to(address)
        return partial.have

    known, other = {"md5": "aa", "sha1": "bb"}, {"md5": "cc", "sha1": "bb"}
    for checksums, tag, later, address, kept in (
        ({}, '"x"', {}, "first", 5),
        ({}, '"x"', {}, "second", 0),
        ({}, None, {}, "first", 0),
        (known, None, known, "second", 5),
        (known, None, {"md5": "aa"}, "second", 5),
        (known, '"x"', other, "first", 0),  # another file is wanted now
        (known, '"x"', {}, "second", 0),
        ({}, '"x"', known, "second", 0),
        ({}, '"x"', known, "first", 5),
    ):
        begun(checksums, tag)
        assert goes_on(later, address) == kept, (checksums, tag, later, address)
