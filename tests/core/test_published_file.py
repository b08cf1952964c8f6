"""Published files in a cache folder: downloaded once, verified on every use, by one process at a time."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import filelock
import pytest

from segbench.core.download import RetryPolicy
from segbench.core.errors import Busy, MissingFault
from segbench.core.progress import Count, Observer
from segbench.core.published_file import PublishedFile, fetch_published
from tests.file_server import CONTENT, FileServer, serving

SUM = hashlib.sha256(CONTENT).hexdigest()
QUICK = RetryPolicy(attempts=2, backoff_seconds=0.001)


@pytest.fixture
def server() -> Iterator[FileServer]:
    server = FileServer()
    with serving(server):
        yield server


@pytest.mark.parametrize("checksums", [{"sha256": SUM}, {"sha256": SUM[:8]}, {"md5": hashlib.md5(CONTENT).hexdigest()}])
def test_downloaded_once_and_then_only_read(server: FileServer, tmp_path: Path, checksums: dict[str, str]) -> None:
    file = PublishedFile("city/list.pkl", (server.url,), checksums)
    path = fetch_published(file, tmp_path / "first", policy=QUICK)
    assert path == tmp_path / "first" / "city" / "list.pkl" and path.read_bytes() == CONTENT
    (tmp_path / "second" / "city").mkdir(parents=True)
    path.rename(tmp_path / "second" / "city" / "list.pkl")
    path = fetch_published(file, tmp_path / "second", policy=QUICK)
    assert [each.name for each in path.parent.iterdir()] == ["list.pkl"], "a folder that is read-only serves too"
    assert len(server.asked) == 1


@pytest.mark.parametrize("checksums", [{}, {"sha256": SUM[:8]}])
def test_without_a_complete_digest_the_first_file_is_held_to(
    server: FileServer, tmp_path: Path, checksums: dict[str, str]
) -> None:
    file = PublishedFile("a.pth", (server.url,), checksums)
    path = fetch_published(file, tmp_path, policy=QUICK)
    record = tmp_path / "a.pth.sha256"
    record.write_text(record.read_text().replace(SUM[-4:], "beef"))
    with pytest.raises(MissingFault, match=r"recorded in .*a\.pth\.sha256"):
        fetch_published(file, tmp_path, policy=QUICK)
    assert not path.exists()


def test_another_file_is_removed_and_downloaded_by_the_next_call(server: FileServer, tmp_path: Path) -> None:
    file = PublishedFile("a.pth", (server.url,), {"sha256": SUM[:8]})
    (tmp_path / "a.pth").write_bytes(b"another")
    with pytest.raises(MissingFault, match=rf"the one published begins with {SUM[:8]}: it was removed") as caught:
        fetch_published(file, tmp_path, policy=QUICK, next="again")
    assert caught.value.faults[-1] == f"A copy brought by hand belongs at {tmp_path / 'a.pth'}."
    assert caught.value.next == "again"
    assert fetch_published(file, tmp_path, policy=QUICK).read_bytes() == CONTENT
    with pytest.raises(MissingFault, match=f"published begins with {SUM[:2]}"):  # too few digits prove nothing
        fetch_published(PublishedFile("b.pth", (server.url,), {"sha256": SUM[:2]}), tmp_path, policy=QUICK)


class Waiting(Observer):
    """Lets the other process finish as soon as it is waited for."""

    def __init__(self, lock: filelock.FileLock) -> None:
        self.lock, self.notes, self.counted = lock, list[str](), list[int]()

    def note(self, text: str) -> None:
        self.notes.append(text)
        self.lock.release()

    def counter(self, title: str, unit: str) -> Count:
        assert (title, unit) == ("a.pth: download", "bytes")
        return lambda done, total: self.counted.append(done)


def test_one_process_downloads_and_others_wait(server: FileServer, tmp_path: Path) -> None:
    file = PublishedFile("a.pth", (server.url,))
    lock = filelock.FileLock(tmp_path / "a.pth.wait")
    lock.acquire()
    with pytest.raises(Busy, match=r"Another process has been downloading .*a\.pth"):
        fetch_published(file, tmp_path, policy=QUICK, wait_seconds=0.0)
    watch = Waiting(lock)
    fetch_published(file, tmp_path, policy=QUICK, observer=watch)
    assert watch.notes == ["Another process is downloading a.pth; waiting for it."]
    assert watch.counted[-1] == len(CONTENT)
