"""The machine: deterministic runs, reduced precision, layouts, compiling, and what a user may ask for."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import segbench.engine.train as engine
from segbench.core.errors import UsageFault
from segbench.engine.folder import LAST
from segbench.engine.runtime import Runtime, choose_runtime
from segbench.engine.train import TrainingRun
from tests.engine.tiny import METHODS, last, same, stage, stopped, train


@pytest.mark.parametrize("method", METHODS)
def test_deterministic_runs_are_equal(tmp_path: Path, method: str) -> None:
    runtime = Runtime(deterministic=True)
    for name in ("a", "b"):
        train(stage(method, steps=3), tmp_path / name, runtime=runtime)
        assert torch.are_deterministic_algorithms_enabled()
    assert same(last(tmp_path / "a"), last(tmp_path / "b"))
    assert (tmp_path / "a" / LAST).read_bytes() == (tmp_path / "b" / LAST).read_bytes()


def test_the_next_training_need_not_be_deterministic(tmp_path: Path) -> None:
    train(stage(steps=1), tmp_path / "a", runtime=Runtime(deterministic=True))
    train(stage(steps=1), tmp_path / "b")
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("method", METHODS)
def test_bfloat16(tmp_path: Path, method: str) -> None:
    spec = stage(method, steps=4, validate_every=2)
    low = train(spec, tmp_path / "low", runtime=Runtime(precision="bfloat16"))
    high = train(spec, tmp_path / "high")
    assert all(tensor.dtype in (torch.float32, torch.int64) for tensor in last(tmp_path / "low").values())
    assert low.losses.keys() == high.losses.keys()
    for point, other in zip(low.curve, high.curve, strict=True):
        assert point["loss_ce"] == pytest.approx(other["loss_ce"], rel=0.1)
        assert point["loss_ce"] != other["loss_ce"]


def test_bfloat16_resumes_bitwise(tmp_path: Path) -> None:
    spec, runtime = stage("contextrast", steps=4), Runtime(precision="bfloat16")
    train(spec, tmp_path / "straight", runtime=runtime)
    stopped(spec, tmp_path / "parts", 2, runtime=runtime)
    train(spec, tmp_path / "parts", runtime=runtime)
    assert same(last(tmp_path / "parts"), last(tmp_path / "straight"))


def test_channels_last_is_only_a_layout(tmp_path: Path) -> None:
    spec, runtime = stage(steps=2), Runtime(channels_last=True)
    train(spec, tmp_path / "last", runtime=runtime)
    train(spec, tmp_path / "first")
    first = last(tmp_path / "first")
    for name, tensor in last(tmp_path / "last").items():
        torch.testing.assert_close(tensor, first[name], rtol=1e-2, atol=1e-3)
    stopped(spec, tmp_path / "parts", 1, runtime=runtime)
    train(spec, tmp_path / "parts", runtime=runtime)
    assert same(last(tmp_path / "parts"), last(tmp_path / "last"))


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[torch.fx.GraphModule]]:
    """Compiling stops after tracing, which is where recompilations come from; graphs traced so far."""
    graphs: list[torch.fx.GraphModule] = []

    def keep(graph: torch.fx.GraphModule, _: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    compile = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda module: compile(module, backend=keep))
    yield graphs
    torch.compiler.reset()


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_network_is_compiled_once(tmp_path: Path, method: str, traced: list[torch.fx.GraphModule]) -> None:
    """Not once a step, nor for the validation's sizes, nor in pieces."""
    spec = stage(method, steps=5, validate_every=2)
    compiled = train(spec, tmp_path / "compiled", runtime=Runtime(compile=True))
    assert len(traced) == 1
    plain = train(spec, tmp_path / "plain")
    assert same(last(tmp_path / "compiled"), last(tmp_path / "plain"))
    assert compiled.best == plain.best


@pytest.mark.slow
def test_every_training_of_a_process_is_compiled(tmp_path: Path, traced: list[torch.fx.GraphModule]) -> None:
    """However many came before it; the limit of recompilations counts all networks of a process."""
    with torch._dynamo.config.patch(recompile_limit=1):
        for number in range(2):
            train(stage(steps=1), tmp_path / str(number), runtime=Runtime(compile=True))
            assert len(traced) == number + 1


def test_seconds_leave_out_saving_and_validation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And count everything else, the loader included."""
    clock = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])

    def takes(seconds: float, owner: Any, name: str) -> None:
        function = getattr(owner, name)

        def slow(*arguments: Any, **options: Any) -> Any:
            clock[0] += seconds
            return function(*arguments, **options)

        monkeypatch.setattr(owner, name, slow)

    takes(0.25, TrainingRun, "_train_step")
    takes(100.0, TrainingRun, "_save")
    takes(1000.0, engine, "validate")
    summary = train(stage(steps=6, validate_every=3), tmp_path, save=0.5)
    assert summary.seconds == pytest.approx(1.5)
    assert summary.seconds_per_step == pytest.approx(0.25)


def test_seconds_add_up_over_a_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    step = TrainingRun._train_step

    def slow(run: TrainingRun, batches: Any) -> None:
        clock[0] += 2.0
        step(run, batches)

    monkeypatch.setattr(TrainingRun, "_train_step", slow)
    assert stopped(stage(steps=5), tmp_path, 2)["seconds"] == pytest.approx(4)
    clock[0] += 500
    assert train(stage(steps=5), tmp_path).seconds == pytest.approx(10)


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "nonsense:x"])
def test_devices_that_are_not_there(device: str) -> None:
    with pytest.raises(UsageFault) as caught:
        choose_runtime(device)
    assert caught.value.exit_code == 2
    assert caught.value.next.startswith("the same command with --device ")


def test_defaults_on_a_cpu() -> None:
    runtime = choose_runtime("cpu")
    assert (runtime.device, runtime.precision, runtime.compile) == ("cpu", "float32", False)
    assert choose_runtime("cpu", precision="bfloat16").precision == "bfloat16"
    with pytest.raises(UsageFault, match="precision"):
        choose_runtime("cpu", precision="float16")
