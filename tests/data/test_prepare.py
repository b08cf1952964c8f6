"""Preparing a split: whatever happens meanwhile, nothing half is taken, and what is whole is kept."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections import namedtuple
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from segbench.core.errors import Busy, Interrupted, MissingFault, RunFault
from segbench.core.spec import DataSpec
from segbench.data import images
from segbench.data.open import open_dataset
from segbench.data.prepared import cache, prepare, space
from segbench.data.prepared.cache import Split
from tests.data.camvid_tree import places
from tests.data.observing import Seen
from tests.data.sized_tree import SIZES, change_image, left_behind, same, split_of, streamed
from tests.waiting import PATIENCE

ROOT = Path(__file__).parents[2]
PROGRAM = """
import os, signal, sys
from pathlib import Path
from segbench.core.spec import DataSpec
from segbench.data import images
from segbench.data.prepared import prepare
from segbench.core.progress import Observer
from segbench.data.handle import find_dataset
from segbench.data.open import list_splits

read, number = images.read_image, []
images.read_image = lambda path: number.append(path) or read(path)
def count(done, total):
    if sys.argv[2] == "kill" and done == 4:
        os.kill(os.getpid(), signal.SIGKILL)
observer = Observer()
observer.counter = lambda title, unit: count
(split,) = list_splits(find_dataset("camvid", Path(sys.argv[1])), DataSpec(name="camvid"))
print(prepare.prepare(split, workers=1, observer=observer).read(2)[0].sum(), len(number))
"""


def run(root: Path, how: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", PROGRAM, str(root), how]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def test_kill_9_and_on_from_there(root: Path, decoded: list[str]) -> None:
    process = run(root, "kill")
    process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGKILL
    split = split_of(root)
    assert cache.find(split)[0] is None
    assert cache.INDEX not in left_behind(split) and len(left_behind(split)) == 2
    assert same(open_dataset(DataSpec(name="camvid"), root=root), streamed(root)), "half a split is not used"
    decoded.clear()
    seen = Seen()
    prepared = prepare.prepare(split, observer=seen)
    assert sorted(decoded) == ["a_00004.png", "a_00005.png"], "by several threads"
    assert seen.notes == ["camvid train: 4 of 6 images were prepared before."]
    assert same(prepared, streamed(root)) and prepared.broken() == []
    assert len(left_behind(split)) == 2


@pytest.mark.parametrize(
    ("harm", "again"),
    [
        (lambda pixels, journal: pixels.write_bytes(pixels.read_bytes()[:-50]), 3),
        (lambda pixels, journal: pixels.write_bytes(b"\1" + pixels.read_bytes()[1:]), 6),
        (lambda pixels, journal: pixels.write_bytes(pixels.read_bytes() + b"torn"), 2),
        (lambda pixels, journal: pixels.unlink(), 6),
        (lambda pixels, journal: journal.write_bytes(journal.read_bytes()[:-5]), 3),
        (lambda pixels, journal: journal.write_bytes(b"{}\n"), 6),
    ],
)
def test_what_was_left_is_trusted_up_to_the_first_fault(
    root: Path, harm: Callable[[Path, Path], object], again: int, decoded: list[str]
) -> None:
    split = split_of(root)
    with pytest.raises(Interrupted, match="4 images of it are kept"):
        stop_after(split, 4)
    pixels, journal = next(split.place.glob("pixels-*")), split.place / "index.part"
    harm(pixels, journal)
    decoded.clear()
    prepared = prepare.prepare(split)
    assert len(decoded) == again
    assert same(prepared, streamed(root)) and prepared.broken() == []
    assert len(left_behind(split)) == 2


def stop_after(split: Split, count: int) -> None:
    seen = Seen(stop=lambda: len(seen.counts) == count)
    prepare.prepare(split, observer=seen)


def test_what_was_left_of_changed_files_is_not_taken(root: Path, decoded: list[str]) -> None:
    split = split_of(root)
    with pytest.raises(Interrupted):
        stop_after(split, 4)
    change_image(root)
    decoded.clear()
    assert same(prepare.prepare(split_of(root)), streamed(root))
    assert "a_00000.png" not in decoded[:5] and len(decoded[:5]) == 5


def test_processes_at_the_same_time_decode_once(root: Path) -> None:
    processes = [run(root, "go") for _ in range(2)]
    answers = [process.communicate(timeout=PATIENCE) for process in processes]
    assert all(process.returncode == 0 for process in processes), answers
    sums, decodes = zip(*(map(int, out.split()) for out, _ in answers), strict=True)
    assert set(sums) == {int(streamed(root).read(2)[0].sum())}
    assert sorted(decodes) == [0, 6]


def test_one_works_while_others_wait_and_say_so(root: Path) -> None:
    split = split_of(root)
    waiting, results = threading.Event(), []
    seen = Seen(on_note=lambda text: waiting.set())

    def second() -> None:
        results.append(prepare.prepare(split, observer=seen))

    thread = threading.Thread(target=second)

    def count(done: int, total: int | None) -> None:
        if done == 1:
            thread.start()
            assert waiting.wait(PATIENCE)
            with pytest.raises(Busy):
                space.remove("camvid")

    results.append(prepare.prepare(split, observer=Seen(on_count=count)))
    thread.join(PATIENCE)
    assert seen.notes == ["Another process is preparing camvid train; waiting for it."]
    assert [same(result, streamed(root)) for result in results] == [True, True]


def test_waiting_can_be_stopped(root: Path) -> None:
    split = split_of(root)

    def count(done: int, total: int | None) -> None:
        if done == 1:
            caught: list[BaseException] = []

            def wait() -> None:
                try:
                    prepare.prepare(split, observer=Seen(stop=lambda: True))
                except Interrupted as error:
                    caught.append(error)

            thread = threading.Thread(target=wait)
            thread.start()
            thread.join(PATIENCE)
            assert "while waiting" in str(caught[0])

    assert same(prepare.prepare(split, observer=Seen(on_count=count)), streamed(root))


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(path.read_bytes()[:90]), lambda path: path.unlink()])
@pytest.mark.parametrize("half", [0, 1])
def test_broken_file_is_named_and_nothing_half_is_left(root: Path, damage: Callable[[Path], object], half: int) -> None:
    split = split_of(root)
    damage(places(root / "camvid", "train")[half] / "a_00004.png")
    with pytest.raises(MissingFault, match=r"a_00004\.png") as caught:
        prepare.prepare(split)
    assert caught.value.next.startswith("segbench data verify")
    assert left_behind(split) == []


def test_file_that_changes_while_it_is_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = images.read_image

    def slow(path: Path) -> np.ndarray:
        pixels = read(path)
        if path.name == "a_00002.png":
            os.utime(path, ns=(7, 7))
        return pixels

    monkeypatch.setattr(images, "read_image", slow)
    with pytest.raises(MissingFault, match=r"a_00002\.png: it or its label changed"):
        prepare.prepare(split_of(root))


@pytest.mark.parametrize("when", ["while writing", "at the end"])
def test_full_disk_leaves_nothing(root: Path, when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    split = split_of(root)
    calls: list[int] = []

    def full(*_: object) -> bytes:
        calls.append(1)
        if when == "at the end" or len(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return b"[]\n"

    monkeypatch.setattr(*((prepare.os, "fsync") if when == "at the end" else (cache.Entry, "line")), full)
    with pytest.raises(RunFault, match="the disk is full; the part that was written has been removed") as caught:
        prepare.prepare(split)
    assert "SEGBENCH_CACHE" in caught.value.next
    assert left_behind(split) == []
    calls.clear()
    seen = Seen()
    dataset = open_dataset(DataSpec(name="camvid"), root=root, cache="make", observer=seen)
    assert same(dataset, streamed(root)), "slower, and the same"
    assert "the disk is full" in seen.notes[0] and "decoded whenever it is used" in seen.notes[0]


Usage = namedtuple("Usage", "total used free")


def test_no_room(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    split = replace(split_of(root), native_size=None)
    needed = sum(4 * height * width for height, width in SIZES)
    free = space.SPARE_BYTES + needed
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**12, 0, free))
    assert space.room(split) == (needed, free)
    assert space.room(replace(split_of(root, scale=0.5), native_size=None)).needed < needed / 3
    assert space.room(replace(split, native_size=(10, 10))).needed == 6 * 400
    free -= 1
    with pytest.raises(RunFault, match="no room"):
        prepare.prepare(split)
    assert left_behind(split) == []
    free += 1
    assert len(prepare.prepare(split)) == 6


def test_cache_that_cannot_be_written(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SEGBENCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(RunFault, match="cannot be prepared"):
        prepare.prepare(split_of(root))
    assert same(open_dataset(DataSpec(name="camvid"), root=root, cache="make"), streamed(root))
