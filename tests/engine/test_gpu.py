"""What only a CUDA device can show; run with ``make gpu``."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from segbench.checkpoints import training_state
from segbench.checkpoints.weights_file import build_from_weights
from segbench.core.errors import RunFault
from segbench.core.spec import DataSpec, EvaluationSpec, InputSpec, StageSpec
from segbench.data.open import open_dataset
from segbench.engine.evaluate import evaluate
from segbench.engine.folder import BEST, LAST, STATE
from segbench.engine.inputs import NO_INPUTS
from segbench.engine.runtime import Runtime, choose_runtime
from segbench.engine.stage_data import open_stage_data
from segbench.engine.train import TrainingRun
from tests.engine.tiny import METHODS, last, same, stage, stopped, train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
DEVICE = "cuda"
FAST: dict[str, Any] = {"device": DEVICE, "precision": "bfloat16", "channels_last": True, "compile": True, "workers": 2}
EXACT: dict[str, Any] = {"device": DEVICE, "deterministic": True, "workers": 2}
DATA = DataSpec(name="camvid", source="generated", images=4, size=(96, 128))
METHODS_AND_OPTIMIZERS = [(method, "sgd") for method in METHODS] + [("contextrast", "adamw")]


@pytest.fixture(autouse=True)
def _no_tf32() -> Iterator[None]:
    """Comparisons with the CPU are of float32."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


def test_defaults() -> None:
    runtime = choose_runtime("auto")
    assert (runtime.device, runtime.precision, runtime.channels_last, runtime.compile) == (
        DEVICE,
        "bfloat16",
        True,
        True,
    )
    assert not choose_runtime("auto", deterministic=True).compile


@pytest.mark.parametrize("method", METHODS)
def test_fast_training_and_evaluation(tmp_path: Path, method: str) -> None:
    spec = stage(method, steps=3, validate_every=2, data=DATA)
    summary = train(spec, tmp_path / "gpu", runtime=Runtime(**FAST))
    expected = train(spec, tmp_path / "cpu")
    assert summary.losses["ce"] == pytest.approx(expected.losses["ce"], rel=0.1)
    assert [point["step"] for point in summary.curve] == [2, 3]
    assert 0 < summary.peak_memory_bytes < 2**33
    assert all(tensor.dtype in (torch.float32, torch.int64) for tensor in last(tmp_path / "gpu").values())
    assert (tmp_path / "gpu" / BEST).exists()


@pytest.mark.parametrize("method", METHODS)
def test_float32_agrees_with_the_cpu(tmp_path: Path, method: str) -> None:
    """After one step; later ones drift apart, and draws differ between devices."""
    spec = stage(method, steps=1, data=DATA)
    train(spec, tmp_path / "gpu", runtime=Runtime(device=DEVICE))
    train(spec, tmp_path / "cpu")
    one, other = last(tmp_path / "gpu"), last(tmp_path / "cpu")
    for name in ("backbone.bn1.running_mean", "backbone.conv1.weight"):
        torch.testing.assert_close(one[name], other[name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("method", "optimizer"), METHODS_AND_OPTIMIZERS)
def test_deterministic_resume_is_bitwise(tmp_path: Path, method: str, optimizer: str) -> None:
    spec, runtime = stage(method, optimizer=optimizer, data=DATA, validate_every=3), Runtime(**EXACT)
    plain = spec.model_copy(update={"schedule": spec.schedule.model_copy(update={"validate_every": None})})
    train(plain, tmp_path / "straight", runtime=runtime)
    stopped(plain, tmp_path / "parts", 2, runtime=runtime)
    train(plain, tmp_path / "parts", runtime=runtime)
    assert same(last(tmp_path / "parts"), last(tmp_path / "straight"))
    train(spec, tmp_path / "validated", runtime=runtime)
    assert same(last(tmp_path / "validated"), last(tmp_path / "straight"))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_fast_resume(tmp_path: Path, optimizer: str) -> None:
    spec, runtime = stage("contextrast", optimizer=optimizer, data=DATA), Runtime(**FAST)
    state = stopped(spec, tmp_path, 3, runtime=runtime)
    assert all(not tensor.is_cuda for tensor in state["method"].values())  # a state is read to the CPU
    assert train(spec, tmp_path, runtime=runtime).steps == 6


@pytest.mark.parametrize(("first", "second"), [(DEVICE, "cpu"), ("cpu", DEVICE)])
def test_resume_on_another_device(tmp_path: Path, first: str, second: str) -> None:
    spec = stage(optimizer="adamw", data=DATA)
    stopped(spec, tmp_path, 3, runtime=Runtime(device=first))
    assert train(spec, tmp_path, runtime=Runtime(device=second)).steps == 6


@pytest.mark.parametrize(
    "protocol",
    [{}, {"scales": (0.75, 1.25), "flip": True}, {"mode": "slide", "window": (64, 64), "stride": (32, 48)}],
)
def test_counts_equal_those_of_the_cpu(tmp_path: Path, protocol: dict[str, Any]) -> None:
    train(stage(steps=3, data=DATA), tmp_path)
    images = open_dataset(DATA.model_copy(update={"splits": ("val",)}))
    results = []
    for runtime in (Runtime(), Runtime(device=DEVICE, workers=3), Runtime(device=DEVICE, channels_last=True)):
        network, header = build_from_weights(tmp_path / LAST)
        runtime.place(network)
        spec = EvaluationSpec(data=DATA, **protocol)
        results.append(evaluate(network, images, spec, input=header.model.input, runtime=runtime))
    cpu, *others = results
    for result in others:
        assert result.keys == cpu.keys
        assert result.matrix.sum(1).tolist() == cpu.matrix.sum(1).tolist()
        assert result.tally.target.tolist() == cpu.tally.target.tolist()
        # Two classes that are all but equal may change places.
        assert np.abs(result.matrix - cpu.matrix).sum() <= 2e-3 * cpu.matrix.sum()
        assert result.tally.predicted.sum(0).tolist() == result.matrix.sum(0).tolist()


def _prepared(spec: StageSpec, folder: Path, runtime: Runtime) -> TrainingRun:
    run = TrainingRun(spec, open_stage_data(spec, seed=3), folder, training="abc123", seed=3, runtime=runtime)
    run.prepare(NO_INPUTS)
    run.method.train()
    return run


@pytest.fixture
def no_waiting() -> Iterator[None]:
    """Fixture for the end: whatever happens, waiting is allowed again."""
    yield
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize(("method", "optimizer"), METHODS_AND_OPTIMIZERS)
def test_a_step_never_waits_for_the_device(tmp_path: Path, method: str, optimizer: str, compile: bool) -> None:
    """Forward, backward, optimiser, learning rate and bookkeeping."""
    run = _prepared(stage(method, optimizer=optimizer, data=DATA), tmp_path, Runtime(**{**FAST, "compile": compile}))
    batches = run._batches()
    ready = [next(batches) for _ in range(5)]
    batches.close()
    for batch in ready[:2]:  # compiling and choosing kernels may wait
        run._train_step(batch)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    for batch in ready[2:]:
        run._train_step(batch)
    torch.cuda.set_sync_debug_mode("default")
    assert all(np.isfinite(value) for value in run.losses.fetch().values())


@pytest.mark.usefixtures("no_waiting")
def test_making_a_batch_never_waits_for_the_device(tmp_path: Path) -> None:
    """Copies, jitter and normalisation are queued like everything else."""
    run = _prepared(stage(data=DATA), tmp_path, Runtime(device=DEVICE, channels_last=True))
    batches = run._batches()
    next(batches)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    for _ in range(3):
        next(batches)
    torch.cuda.set_sync_debug_mode("default")
    batches.close()


def test_the_debug_mode_would_have_noticed() -> None:
    value = torch.ones(1, device=DEVICE)
    torch.cuda.set_sync_debug_mode("error")
    try:
        with pytest.raises(RuntimeError, match="synchroniz"):
            value.item()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_loss_that_is_not_finite_keeps_the_earlier_state(tmp_path: Path) -> None:
    with pytest.raises(RunFault, match=r"not finite|became"):
        train(stage(steps=30, lr=1e30, data=DATA), tmp_path, runtime=Runtime(device=DEVICE, checkpoint_seconds=0.0))
    state = training_state.load_state(tmp_path / STATE)
    if state is not None:
        assert all(bool(tensor.isfinite().all()) for tensor in state["method"].values())
    assert not (tmp_path / LAST).exists()


def test_peak_memory_is_that_of_one_training(tmp_path: Path) -> None:
    big = DATA.model_copy(update={"size": (400, 800)})
    wide = stage(steps=1, data=big)
    wide = wide.model_copy(
        update={"streams": {"labelled": wide.streams["labelled"].model_copy(update={"crop": (384, 768)})}}
    )
    runtime = Runtime(device=DEVICE)
    large = train(wide, tmp_path / "large", runtime=runtime)
    small = train(stage(steps=1, data=DATA), tmp_path / "small", runtime=runtime)
    assert small.peak_memory_bytes < large.peak_memory_bytes / 2


def test_scoring_does_not_keep_images_on_the_device() -> None:
    """Memory does not grow with the number of images beyond their counts."""
    from segbench.models.segmentor import build_segmentor
    from tests.engine.tiny import CLASSES, model

    network = build_segmentor(model(), num_classes=CLASSES).to(DEVICE)
    images = open_dataset(DATA.model_copy(update={"splits": ("val",), "images": 40}))
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    evaluate(network, images, EvaluationSpec(data=DATA), input=InputSpec(), runtime=Runtime(device=DEVICE))
    assert torch.cuda.memory_allocated() - before < 2**20
