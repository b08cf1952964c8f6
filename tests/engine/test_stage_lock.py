"""Two processes on one training: one works, the other says so; a dead one holds nothing."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from segbench.core.errors import RunFault
from segbench.engine.folder import LAST, stage_lock
from tests.engine.tiny import after, stage, stopped, train

HOLD = """
import sys
from pathlib import Path
from segbench.engine.folder import stage_lock
with stage_lock(Path(sys.argv[1]), "abc123"):
    assert "torch" not in sys.modules
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the folder's lock."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([".", *sys.path])}
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_second_process_is_told_and_a_killed_one_lets_go(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(RunFault, match="Another process is working on training abc123") as caught:
        train(stage(steps=1), tmp_path)
    assert caught.value.exit_code == 5
    assert "wait for it" in caught.value.next
    assert not (tmp_path / LAST).exists()
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert train(stage(steps=1), tmp_path).steps == 1


def test_second_run_in_one_process_is_told_too(tmp_path: Path) -> None:
    with stage_lock(tmp_path, "abc123"), pytest.raises(RunFault, match="abc123"):
        train(stage(steps=1), tmp_path)


def test_lock_is_released_however_a_training_ends(tmp_path: Path) -> None:
    stopped(stage(steps=3), tmp_path, 1)
    with pytest.raises(KeyboardInterrupt):
        train(stage(steps=3), tmp_path, stop=lambda: _press())
    assert train(stage(steps=3), tmp_path, stop=after(99)).steps == 3


def _press() -> bool:
    raise KeyboardInterrupt
