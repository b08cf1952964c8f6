"""The program as a user types it: inside this process, which is quick, or in one of its own."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segbench.cli.main import main
from tests.waiting import PATIENCE

ROOT = Path(__file__).parents[1]
ROW = "contextrast-table6/layers-4-3"
# The smallest training that goes all the way: four steps of a network of 0.25 M parameters on 64x64 crops.
SETTINGS = {
    "schedule.steps": 4,
    "schedule.validate_every": 2,
    "schedule.batch_total": 2,
    "schedule.crop": "[64, 64]",
    "data.images": 4,
    "data.scale": 0.2,
}


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        return self.err.strip().splitlines()

    def fails(self, code: int) -> str:
        """Hold a failure to the promises of one: exit code, nothing on stdout, no traceback, ``Next:`` last."""
        assert self.code == code, self
        assert "Traceback" not in self.err
        assert self.lines[-1].startswith("Next: "), self.err
        assert len(self.lines) > 1
        return self.err


def segbench(*words: object) -> Done:
    """Run one command line in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(word) for word in words])
    return Done(code, out.getvalue(), err.getvalue())


def tiny(target: str = ROW, *words: object, out: Path, dataset: str = "camvid", **settings: object) -> list[str]:
    """Words of a smallest possible ``reproduce`` on generated scenes; settings with ``__`` for dots override."""
    changed = SETTINGS | {path.replace("__", "."): value for path, value in settings.items()}
    sets = [word for path, value in changed.items() for word in ("--set", f"{path}={value}")]
    return [
        "reproduce", target, "--dataset", dataset, "--budget", "smoke", *sets, "--out", str(out), *map(str, words),
    ]  # fmt: skip


def start(*words: object, group: bool = False, **environment: str) -> subprocess.Popen[str]:
    """Start one command line in a process of its own, one thread, as if typed outside the checkout.

    Args:
        words: of the command line.
        group: make it the leader of a process group, as a shell does, so that a signal can go to its children too.
        environment: variables to add.
    """
    own = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "segbench", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **own, **environment},
        # A suite that a shell started in its background ignores Ctrl-C, and hands that on.
        process_group=0 if group else None,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait(process: subprocess.Popen[str], *, seconds: float = PATIENCE) -> Done:
    out, err = process.communicate(timeout=seconds)
    return Done(process.returncode, out, err)
