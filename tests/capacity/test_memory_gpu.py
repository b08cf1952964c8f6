"""Estimates of memory against a CUDA device's own account; run with ``make gpu``."""

import pytest
import torch

from segbench.core.spec import Choice, StageSpec
from segbench.data.batch import Batch
from segbench.engine.micro_batch import backward
from segbench.engine.optim import build_optimizer
from segbench.engine.runtime import Precision, Runtime
from segbench.methods.build import build_method
from segbench.methods.step import StepInfo
from tests.capacity.test_memory import memory_of, stage

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
WIDE = Choice(name="hrnetv2", options={"width": 18})
DEEP = Choice(name="resnet", options={"output_stride": 8})


def peak(one: StageSpec, runtime: Runtime) -> int:
    """Most bytes that three steps have allocated at once."""
    runtime.apply()
    method = build_method(one, num_classes=11).train()
    runtime.place(method)
    runtime.prepare_network(method.segmentor)
    optimizer = build_optimizer(one.schedule.optimizer, method, fused=runtime.fuses)
    stream = one.streams["labelled"]
    target = torch.randint(0, 11, (stream.batch_total, 8, 8)).repeat_interleave(stream.crop[0] // 8, 1)
    target = target.repeat_interleave(stream.crop[1] // 8, 2)
    batch = Batch(torch.randn(stream.batch_total, 3, *stream.crop), target).to("cuda", channels_last=True)
    for step in range(3):
        info = StepInfo(step, 10, micro_batches=one.micro_batches)
        backward(method, {"labelled": batch}, info=info, runtime=runtime)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return runtime.peak_memory_bytes()


@pytest.mark.parametrize("backbone", [WIDE, DEEP], ids=["hrnet", "resnet"])
@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
@pytest.mark.parametrize("checkpoint", [False, True])
def test_an_estimate_is_enough_and_not_far_too_much(backbone: Choice, precision: Precision, checkpoint: bool) -> None:
    decoder = "concat" if backbone is WIDE else "deeplabv3"
    one = stage(8, backbone=backbone, decoder=decoder, crop=(512, 512))
    runtime = Runtime(device="cuda", precision=precision, channels_last=True, checkpoint_activations=checkpoint)
    measured = peak(one, runtime)
    found = memory_of(one, precision=precision, checkpoint=checkpoint)
    assert measured < found.total
    assert found.total - found.reserve < 1.6 * measured


def test_a_micro_batch_needs_less() -> None:
    runtime = Runtime(device="cuda", precision="bfloat16", channels_last=True)
    cut = stage(8, backbone=WIDE, crop=(512, 512), micro_batch=2)
    assert peak(cut, runtime) < 0.5 * peak(stage(8, backbone=WIDE, crop=(512, 512)), runtime)
    assert peak(cut, runtime) < memory_of(cut).total
