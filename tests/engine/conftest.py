"""Process-wide switches go back after each test; what many tests share is drawn and trained once."""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

import segbench.data.open
from segbench.core.spec import StageSpec
from tests.engine.tiny import train

Straight = Callable[[StageSpec], Path]


@pytest.fixture(autouse=True)
def _switches() -> Iterator[None]:
    yield
    if torch.are_deterministic_algorithms_enabled():
        torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark = False


@pytest.fixture(scope="session", autouse=True)
def _drawn_once() -> Iterator[None]:
    """Keep generated pictures; nobody writes to them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segbench.data.open, "render", functools.cache(segbench.data.open.render))
        yield


@pytest.fixture(scope="session")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Straight:
    """A function that gives the folder of a stage that was trained without a stop; not to be written to."""
    folders: dict[str, Path] = {}

    def trained(spec: StageSpec) -> Path:
        if spec.id() not in folders:
            folders[spec.id()] = tmp_path_factory.mktemp("straight")
            train(spec, folders[spec.id()])
        return folders[spec.id()]

    return trained
