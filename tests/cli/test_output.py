"""Streams: plain text in pipes, live bars on terminals, JSON alone on stdout, and readers that go away."""

import io
import json
import os
import pty
import re
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from segbench.cli import live
from segbench.cli.common import duration, memory
from segbench.core.progress import Progress
from tests.program import ROOT, ROW, Done, segbench, start, tiny, wait
from tests.waiting import PATIENCE, wait_for

ESCAPE = "\x1b["


@pytest.mark.parametrize("words", [["list"], ["show", ROW], ["report", "contextrast-table7"], ["data", "list"]])
def test_pipes_get_plain_text(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    plain = segbench(*words).out
    assert ESCAPE not in plain
    assert all(line == line.rstrip() for line in plain.splitlines()), "no padding"
    assert max(map(len, plain.splitlines())) <= 140
    for name, value in {"FORCE_COLOR": "1", "NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "40"}.items():
        monkeypatch.setenv(name, value)
    assert segbench(*words).out == plain, "whatever the environment says about terminals"


def test_nothing_is_cut_off_in_a_pipe() -> None:
    assert "…" not in segbench("list", "--figures").out
    assert "neighborhood_uniformity_3_gain" in "".join(segbench("list", "contextrast-table4", "--figures").out.split())


def on_a_terminal(*words: object, columns: int = 100, environment: dict[str, str] | None = None) -> tuple[int, str]:
    """Run a command line with both streams on a pseudo-terminal."""
    master, slave = pty.openpty()
    own = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "COLUMNS": str(columns)}
    process = subprocess.Popen(
        [sys.executable, "-m", "segbench", *map(str, words)],
        stdin=slave, stdout=slave, stderr=slave, env={**os.environ, **own, **(environment or {})},
    )  # fmt: skip
    os.close(slave)
    guard = threading.Timer(PATIENCE, process.kill)
    guard.start()
    text = b""
    with suppress(OSError):  # the other end is closed
        while piece := os.read(master, 65536):
            text += piece
    guard.cancel()
    os.close(master)
    return process.wait(), text.decode()


def test_terminals_get_colour_unless_it_is_not_wanted() -> None:
    code, text = on_a_terminal("list", columns=80)
    assert code == 0 and ESCAPE in text
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert max(map(len, plain.splitlines())) <= 80
    assert ESCAPE not in on_a_terminal("list", environment={"TERM": "dumb"})[1]
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]", on_a_terminal("list", environment={"NO_COLOR": "1"})[1])


@pytest.mark.slow
def test_a_run_on_a_terminal_shows_a_live_bar(tmp_path: Path) -> None:
    code, text = on_a_terminal(*tiny(out=tmp_path, schedule__steps=8, schedule__validate_every=8))
    assert code == 0
    assert "━" in text, "the bar"
    assert "validation mIoU" in text
    assert "not comparable" in text


@pytest.mark.slow
def test_json_on_stdout_logs_on_stderr(tmp_path: Path) -> None:
    done = wait(start(*tiny(ROW, "--json", out=tmp_path)))
    assert done.code == 0
    assert json.loads(done.out)["schema"] == 1
    assert "1 training to do" in done.err and ESCAPE not in done.err


def test_a_reader_that_goes_away_is_no_fault() -> None:
    process = start("list", "--figures")
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline().startswith("table ")
    process.stdout.close()
    assert process.wait(timeout=PATIENCE) == 0
    assert process.stderr.read() == ""


def test_debug_shows_the_traceback_of_an_expected_failure() -> None:
    done = wait(start("--debug", "show", "nosuch"))
    assert done.code == 2
    assert "Traceback" in done.err and done.lines[-1] == "Next: segbench list"


def test_a_bug_says_that_it_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("segbench.recipe.catalog.load_catalog", broken)
    done = segbench("list")
    assert done.code == 1
    assert "ZeroDivisionError: by zero" in done.err
    assert "This is a bug of segbench" in done.lines[-1]


def progress(done: int, **more: object) -> Progress:
    return Progress("train", done, 100, {"ce": 1.5}, 0.01, 20.0, 3_000_000_000, 90.0, **more)  # type: ignore[arg-type]


def test_a_plain_line_every_thirty_seconds(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    clock = iter(range(0, 1000, 7))
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))
    with live.Watcher(expected=(50.0, 100.0, 600.0)) as watcher:
        watcher.announce("row · camvid", 2, 3)
        for step in range(1, 11):
            watcher.report(progress(step, miou=33.3))
        watcher.announce("other", 3, 3)
        watcher.report(progress(1))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "2 of 3  row · camvid"
    assert lines[1] == (
        "  train: step 1 of 100  ce 1.500  lr 1.00e-02  20.0 images/s  3.0 GB  val mIoU 33.3  2 min left, 12 min in all"
    )
    assert [line.split()[2] for line in lines[1:3]] == ["1", "6"], "five reports, seven seconds apart"
    assert lines[-2:] == ["3 of 3  other", lines[-1]]
    assert "in all" not in lines[-1]


def test_jobs_that_run_at_once_have_lines_of_their_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter(range(0, 1000, 7))
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))
    with live.Watcher(expected=(100.0, 600.0)) as watcher:
        for number, job in enumerate(("plain", "other"), 1):
            watcher.announce(job, number, 2)
        for step in range(1, 9):
            watcher.report(progress(step, job=("plain", "other")[step % 2]))
    lines = capsys.readouterr().err.splitlines()[2:]
    assert [line.split()[:4] for line in lines] == [
        [job, "train:", "step", step] for job, step in (("other", "1"), ("plain", "2"), ("other", "7"), ("plain", "8"))
    ], "one in thirty seconds each"
    assert not any("in all" in line for line in lines)


class Terminal(io.StringIO):
    """A stream that somebody looks at."""

    def isatty(self) -> bool:
        return True


def test_a_live_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr("sys.stderr", screen)
    with live.Watcher() as watcher:
        watcher.announce("row · camvid", 2, 3)
        watcher.report(progress(40))
        wait_for(lambda: "step 40 of 100" in screen.getvalue())  # it is drawn four times a second
        watcher.note("step 40: validation mIoU 12.34")
        watcher.counter("camvid: verify", "pairs")(3, 7)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    assert "2 of 3  row · camvid" in text and "━" in text
    assert "train: step 40 of 100" in text
    assert "step 40: validation mIoU 12.34" in text
    assert "3 of 7 pairs" in text


@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_a_dumb_terminal_gets_plain_lines(term: str, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr("sys.stderr", screen)
    with live.Watcher() as watcher:
        watcher.announce("row", 1, 1)
        watcher.report(progress(40))
    assert ESCAPE not in screen.getvalue()
    assert screen.getvalue().splitlines()[0] == "1 of 1  row"


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with live.Watcher(quiet=True) as watcher:
        watcher.announce("row", 1, 1)
        watcher.report(progress(40))
        watcher.note("a note")
        watcher.counter("camvid: verify", "pairs")(3, 7)
    assert capsys.readouterr() == ("", "")


def test_a_counter(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    clock = iter((0.0, 10.0, 40.0, 100.0))
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    with live.Watcher() as watcher:
        report = watcher.counter("camvid: download", "bytes")
        for done in (0, 10_000_000, 40_000_000):
            report(done, 80_000_000)
        watcher.counter("quick", "pairs")(1, None)
    assert capsys.readouterr().err == "camvid: download: 40 of 80 MB  1.0 MB/s\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0.4, "0 s"), (89, "89 s"), (90, "2 min"), (3570, "1 h 00 min"), (7500, "2 h 05 min"),
     (172800, "2 d 0 h"), (273600, "3 d 4 h")],
)  # fmt: skip
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_memory() -> None:
    assert [memory(count) for count in (None, 1, 21_000_000, 3_240_000_000)] == ["-", "1 MB", "21 MB", "3.2 GB"]


def test_fails_is_a_real_check() -> None:
    with pytest.raises(AssertionError):
        Done(2, "", "no way out\n").fails(2)
