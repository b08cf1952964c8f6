"""Losses that run away and disks that are full: a clear line, and nothing that was kept is lost."""

import errno
import io
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import segbench.engine.train as engine
from segbench.checkpoints import training_state, weights_file
from segbench.core.errors import InvalidFault, MissingFault, RunFault
from segbench.core.spec import DataSpec, StageSpec
from segbench.data.images import read_image
from segbench.engine.folder import BEST, LAST, STATE, SUMMARY, read_summary
from segbench.methods.base import Method
from tests.data.camvid_tree import places, write_tree
from tests.engine.conftest import Straight
from tests.engine.tiny import EVERY_STEP, last, same, stage, stopped, train

Terms = dict[str, Tensor]


def spoil(monkeypatch: pytest.MonkeyPatch, change: Callable[[Method, Terms, int], Terms]) -> None:
    """Change the losses of every method that is built from now on."""
    build = engine.build_method

    def spoiled(spec: StageSpec, **more: Any) -> Method:
        method = build(spec, **more)
        forward = method.forward
        method.forward = lambda batches, info: change(method, forward(batches, info), info.step)  # type: ignore[method-assign]
        return method

    monkeypatch.setattr(engine, "build_method", spoiled)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_loss_that_is_not_finite(tmp_path: Path, straight: Straight, value: float) -> None:
    spec = stage("mscs", steps=5)
    with pytest.MonkeyPatch.context() as patch:
        spoil(patch, lambda _, terms, step: {**terms, "ccs": terms["ccs"] + (value if step == 3 else 0)})
        with pytest.raises(RunFault, match=rf"The loss 'ccs' became {value} at step 4\.") as caught:
            train(spec, tmp_path / "parts", save=EVERY_STEP)
    assert len(caught.value.faults) == 1
    assert "lr" in caught.value.next
    state = training_state.load_state(tmp_path / "parts" / STATE)
    assert state is not None
    assert state["step"] == 3
    assert not (tmp_path / "parts" / LAST).exists()
    train(spec, tmp_path / "parts")
    assert same(last(tmp_path / "parts"), last(straight(spec)))


def test_first_bad_step_is_named_though_losses_are_looked_at_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, lambda _, terms, step: {"ce": terms["ce"] * (float("nan") if step >= 1 else 1)})
    with pytest.raises(RunFault, match=r"'ce' became nan at step 2\."):
        train(stage(steps=6), tmp_path)


def _gradient_of_nan(method: Method, terms: Terms, step: int) -> Terms:
    weight = next(method.parameters())
    # The value of the added term is 0; its gradient is 0 * infinity.
    extra = (weight - weight.detach()).square().sum().sqrt() * 0 if step == 2 else 0
    return {"ce": terms["ce"] + extra}


@pytest.mark.parametrize("steps", [3, 5])
def test_finite_loss_with_a_gradient_that_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """Neither the state nor the weights of a finished training may be the ones that it left behind."""
    spoil(monkeypatch, _gradient_of_nan)
    with pytest.raises(RunFault, match="not finite after step 3"):
        train(stage(steps=steps), tmp_path, save=EVERY_STEP)
    state = training_state.load_state(tmp_path / STATE)
    assert state is not None
    assert state["step"] == 2
    assert not (tmp_path / LAST).exists()


def test_learning_rate_that_blows_up(tmp_path: Path) -> None:
    with pytest.raises(RunFault, match=r"not finite|became"):
        train(stage(steps=8, lr=1e30), tmp_path)
    assert not (tmp_path / LAST).exists()


def full_disk(monkeypatch: pytest.MonkeyPatch, name: str, *, times: int = 1, code: int = errno.ENOSPC) -> None:
    """Let the flush to disk of files of that name fail."""
    flush, left = os.fsync, [times]

    def fails(handle: int) -> None:
        if f"/.{name}." in str(Path(f"/proc/self/fd/{handle}").readlink()) and left[0]:
            left[0] -= 1
            raise OSError(code, os.strerror(code))
        flush(handle)

    monkeypatch.setattr(os, "fsync", fails)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
@pytest.mark.parametrize(
    ("name", "code", "reason"),
    [(name, errno.ENOSPC, "the disk is full") for name in (STATE, BEST, LAST, SUMMARY)]
    + [(STATE, errno.EDQUOT, "the quota is used up")],
)
def test_disk_full(tmp_path: Path, straight: Straight, name: str, code: int, reason: str) -> None:
    data = DataSpec(name="camvid", source="generated", images=2, size=(32, 64))
    spec = stage(steps=4, validate_every=2, data=data)
    whole, done = straight(spec), read_summary(straight(spec))
    folder = tmp_path / "parts"
    stopped(spec, folder, 1)
    with pytest.MonkeyPatch.context() as patch:
        full_disk(patch, name, code=code)
        with pytest.raises(RunFault, match=reason) as caught:
            train(spec, folder)
    assert str(folder / name) in str(caught.value)
    assert caught.value.exit_code == 5
    assert "--out" in caught.value.next
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]
    state = training_state.load_state(folder / STATE)
    assert state is not None
    # What is older than the fault is intact; the state was written before anything else was.
    assert state["step"] == {STATE: 1, BEST: 2, LAST: 4, SUMMARY: 4}[name]
    again = train(spec, folder)
    assert same(last(folder), last(straight(spec)))
    assert same(weights_file.load_weights(folder / BEST)[1], weights_file.load_weights(whole / BEST)[1])
    assert done is not None
    assert (again.best, again.last) == (done.best, done.last)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("kilobytes", [0.1, 4000])
def test_disk_that_fills_up_while_a_state_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kilobytes: float
) -> None:
    """The kernel's own refusal, in the middle of torch's archive."""
    path = tmp_path / STATE
    training_state.save_state(path, {"step": 1})

    def on_full_disk(**_: Any) -> tuple[int, str]:
        return os.open("/dev/full", os.O_WRONLY), str(tmp_path / ".temporary")

    monkeypatch.setattr(tempfile, "mkstemp", on_full_disk)
    with pytest.raises(RunFault, match="the disk is full"):
        training_state.save_state(path, {"step": 2, "big": torch.rand(int(kilobytes * 250))})
    monkeypatch.undo()
    assert training_state.load_state(path) == {"step": 1}


class Fills(io.FileIO):
    """Takes what is small, as a disk with little space does; so closing the file raises nothing more."""

    def write(self, data: Any) -> int:
        if len(data) > 1 << 16:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(data) or 0


def test_disk_with_too_little_space_for_a_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch then complains of its archive, which would look like a bug."""
    path = tmp_path / STATE
    training_state.save_state(path, {"step": 1})
    monkeypatch.setattr(os, "fdopen", lambda handle, _: io.BufferedWriter(Fills(handle, "w")))
    with pytest.raises(RunFault, match="the disk is full"):
        training_state.save_state(path, {"step": 2, "big": torch.rand(100_000)})
    monkeypatch.undo()
    assert [item.name for item in tmp_path.iterdir()] == [STATE]
    assert training_state.load_state(path) == {"step": 1}


def test_state_that_torch_cannot_write_is_a_bug(tmp_path: Path) -> None:
    with pytest.raises((RuntimeError, TypeError, AttributeError, ValueError)):
        training_state.save_state(tmp_path / STATE, {"step": (number for number in range(3))})
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folder_that_is_not_writable(tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir()
    folder.chmod(0o500)
    for place in (folder, folder / "inside"):
        with pytest.raises(RunFault, match="no permission"):
            train(stage(steps=1), place)


def test_folder_on_a_read_only_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open

    def refuses(path: Any, flags: int, *more: Any, **options: Any) -> int:
        if str(path).startswith(str(tmp_path)) and flags & (os.O_WRONLY | os.O_RDWR):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return opened(path, flags, *more, **options)

    monkeypatch.setattr(os, "open", refuses)
    with pytest.raises(RunFault, match="read-only"):
        train(stage(steps=1), tmp_path)


def test_folder_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here")
    with pytest.raises(RunFault, match="not a folder"):
        train(stage(steps=1), tmp_path / "file" / "training")


@pytest.mark.parametrize("workers", [0, 2])
def test_corrupt_training_image_is_named_and_the_training_resumable(tmp_path: Path, workers: int) -> None:
    write_tree(tmp_path / "data" / "camvid")
    spec = stage(steps=4, data=DataSpec(name="camvid"))
    train(spec, tmp_path / "straight", data_root=tmp_path / "data")
    path = sorted(places(tmp_path / "data" / "camvid", "train")[0].iterdir())[0]
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(MissingFault, match=path.stem):
        read_image(path)
    with pytest.raises(MissingFault, match=path.stem) as caught:
        train(spec, tmp_path / "parts", data_root=tmp_path / "data", workers=workers, save=EVERY_STEP)
    assert caught.value.next
    path.write_bytes(content)
    train(spec, tmp_path / "parts", data_root=tmp_path / "data", workers=workers)
    assert same(last(tmp_path / "parts"), last(tmp_path / "straight"))


@pytest.mark.parametrize("change", [{"schedule": {"ema_decay": 0.99}}])
def test_what_is_not_built_yet_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    plain = stage(steps=1)
    data = plain.model_dump()
    data["schedule"] |= change.get("schedule", {})
    spec = StageSpec.model_validate(data | {key: value for key, value in change.items() if key != "schedule"})
    with pytest.raises(InvalidFault, match="not supported yet"):
        train(spec, tmp_path)
