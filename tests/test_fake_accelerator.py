"""No training step waits for the device: the cases of `tests.fake_accelerator`."""

import json
import os
import subprocess
import sys

import pytest

from tests.program import ROOT

# SegSort counts its segments, whose number depends on values.
WAITING = {"segsort contrastiveseg-table1/segsort": "aten.nonzero.default"}


@pytest.fixture(scope="module")
def faults() -> dict[str, str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.fake_accelerator"],
        env=environment, cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


def test_no_method_and_no_network_waits_for_the_device(faults: dict[str, str]) -> None:
    waiting = {name: fault for name, fault in faults.items() if fault}
    known = {name: fault for name, fault in waiting.items() for known in WAITING if name.startswith(known)}
    assert waiting == known, "\n".join(f"{name}\n{fault}" for name, fault in waiting.items() if name not in known)
    assert all(any(reason in fault for reason in WAITING.values()) for fault in known.values())
    for name in WAITING:
        assert any(each.startswith(name) for each in known), f"{name} waits no more: take it off the list"


def test_there_was_something_to_find(faults: dict[str, str]) -> None:
    """Every kind of slip raises, and cases of every kind were there."""
    for kind in ("slip", "extra loss", "backbone", "decoder", "memory-contrast", "label-contrast", "fusion-contrast"):
        assert any(name.startswith(kind) for name in faults), kind
    assert len(faults) > 50
