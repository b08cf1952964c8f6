"""Training steps and predictions on fake tensors of a fake accelerator, in a process of their own.

A fake tensor has no values, and its device is one that PyTorch knows and no machine has: whatever looks at a value,
takes a shape from one, or mixes devices raises. What passes here never makes an accelerator's queue wait. The process
prints JSON: fault by case, empty if there is none.
"""

import contextlib
import json
import sys
import traceback
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from segbench.core import registry
from segbench.core.spec import Choice, ModelSpec, StageSpec
from segbench.data.classes import class_table
from segbench.data.loader import DeviceTransform, RawBatch
from segbench.engine.micro_batch import backward
from segbench.engine.optim import build_optimizer, update
from segbench.methods.base import Method
from segbench.methods.build import build_method
from segbench.methods.step import StepInfo
from segbench.models.segmentor import Segmentor, build_segmentor
from segbench.recipe.catalog import load_catalog, recipes_root
from segbench.recipe.resolve import Request, resolve

DEVICE = "lazy"
LATE = 10**6
# Rows by method, and settings that lead into its other branches; every registered method has at least one.
ROWS: dict[str, list[tuple[str, str, dict[str, Any]]]] = {
    "supervised": [
        ("contrastiveseg-table2/ce", "cityscapes", {}),
        ("contrastiveseg-table2/ce", "cityscapes", {"method.ohem": {"threshold": 0.7, "min_share": 0.1}}),
        ("label-efficient-figure1/596-scratch", "cityscapes", {}),
    ],
    "pixel-contrast": [
        ("contrastiveseg-table2/ce+contrast", "cityscapes", {}),
        ("contrastiveseg-table2/ce+contrast", "cityscapes", {"method.form": "paper", "method.keys": "memory"}),
    ],
    "contextrast": [("contextrast-table6/layers-4-3-2-1", "camvid", {})],
    "mscs": [("contextrast-main-table1/hrnet+mscs", "camvid", {})],
    "segsort": [("contrastiveseg-table1/segsort", "cityscapes", {})],
    "memory-contrast": [
        ("semiseg-table1/imagenet-deeplabv2-1_30", "cityscapes", {}),
        ("semiseg-table1/imagenet-deeplabv3plus-1_30", "cityscapes", {"method.memory_weights": "rescaled"}),
        ("semiseg-table3/gta5-deeplabv3plus-1_30", "cityscapes", {"method.source_labels": "stale"}),
    ],
    "label-contrast": [
        ("label-efficient-table1/cityscapes-596-contrast", "cityscapes", {}),
        ("label-efficient-table1/cityscapes-596-contrast", "cityscapes",
         {"stages.pretrain.method.loss": "cross", "stages.pretrain.method.form": "released"}),
    ],
    "fusion-contrast": [
        ("cfn-claims/cfn-hrnet", "cityscapes", {}),
        ("cfn-claims/cfn-pspnet", "cityscapes", {"method.form": "spatial", "method.double_softmax": True}),
    ],
}  # fmt: skip


class Plain:
    """The part of a runtime that a step asks for."""

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        return contextlib.nullcontext()


def stages() -> Iterator[tuple[str, StageSpec]]:
    """Yield every stage of the rows, tiny."""
    catalog = load_catalog(recipes_root())
    for method, rows in ROWS.items():
        for target, dataset, changes in rows:
            table, _, row = target.partition("/")
            settings = (("schedule.steps", 4), *changes.items())
            found = resolve(catalog, table, row, dataset, Request("smoke", settings=settings))
            assert found.ran.training is not None, found.ran.faults
            for stage in found.ran.training.stages:
                if stage.method.name == method:
                    yield f"{method} {target} {stage.name} {changes}", stage


def losses() -> Iterator[tuple[str, StageSpec]]:
    """Yield a stage for every extra loss."""
    (_, plain), *_ = stages()
    for name in registry.names("loss"):
        method = Choice(name="supervised", options={"extra_loss": {"name": name}})
        yield f"extra loss {name}", plain.model_copy(update={"method": method})


def place(module: nn.Module) -> None:
    """Replace a module's tensors by fake ones on the accelerator; copies of modules need real tensors before."""
    moved: dict[int, Tensor] = {}
    for each in module.modules():
        for held in (each._parameters, each._buffers):
            for name, tensor in held.items():
                if tensor is None:
                    continue
                if id(tensor) not in moved:
                    there = torch.empty(tensor.shape, dtype=tensor.dtype, device=DEVICE)
                    own = isinstance(tensor, nn.Parameter)
                    moved[id(tensor)] = nn.Parameter(there, requires_grad=tensor.requires_grad) if own else there
                held[name] = moved[id(tensor)]  # type: ignore[assignment]


def step(stage: StageSpec, when: int, *, micro_batches: int = 1) -> None:
    """Do a training step with everything around it."""
    data = stage.primary_stream.data
    classes = class_table(data.classes or data.name).num_classes
    method: Method = build_method(stage, num_classes=classes, images=dict.fromkeys(stage.streams, 8)).train()
    options = registry.options_of("method", stage.method.name).model_validate(stage.method.options)
    needed = options.needs_stages()
    if needed:
        teacher = build_segmentor(stage.model, num_classes=classes).eval()
        method.receive(dict.fromkeys(needed, teacher.requires_grad_(False)))
    with FakeTensorMode():
        place(method)
        run(method, stage, when, micro_batches)


def run(method: Method, stage: StageSpec, when: int, micro_batches: int) -> None:
    """Do the same with a method that is on the accelerator."""
    method.generator = lambda *_, **__: None  # type: ignore[method-assign]
    batches = {}
    for name, stream in stage.streams.items():
        raw = RawBatch(
            torch.zeros(stream.batch_total, 3, *stream.crop, dtype=torch.uint8),
            torch.zeros(stream.batch_total, *stream.crop, dtype=torch.uint8),
            ("",) * stream.batch_total,
            when,
            torch.zeros(stream.batch_total, stream.crop[0]),
            torch.zeros(stream.batch_total, stream.crop[1]),
        )
        transform = DeviceTransform(
            stream.augmentation,
            batch_total=stream.batch_total,
            input=stage.model.input,
            device=DEVICE,
            seed=0,
            stream=name,
        )
        batches[name] = transform(raw)
    optimizer = build_optimizer(stage.schedule.optimizer, method, fused=False)
    info = StepInfo(when, LATE + 2, micro_batches=micro_batches)
    backward(method, batches, info=info, runtime=Plain())  # type: ignore[arg-type]
    update(optimizer)
    optimizer.zero_grad(set_to_none=True)
    method.after_step(info)


def networks() -> Iterator[tuple[str, ModelSpec]]:
    """Yield every backbone with one decoder, and every decoder with one backbone."""

    def small(kind: str, name: str) -> Choice:
        return Choice(name=name, options=dict(registry.options_of(kind, name).SMOKE))

    for name in registry.names("backbone"):
        yield f"backbone {name}", ModelSpec(backbone=small("backbone", name), decoder=small("decoder", "concat"))
    for name in registry.names("decoder"):
        if name not in ("concat", "segsort"):  # the one above; that of a method which brings its bank
            yield f"decoder {name}", ModelSpec(backbone=small("backbone", "resnet"), decoder=small("decoder", name))


def both_modes(spec: ModelSpec) -> None:
    """Train on a batch and predict one."""
    network = build_segmentor(spec, num_classes=5)
    with FakeTensorMode():
        place(network)
        pass_through(network)


def pass_through(network: Segmentor) -> None:
    """Do the same with a network that is on the accelerator."""
    images, rows = torch.zeros(2, 3, 64, 96, device=DEVICE), torch.zeros(2, 64, device=DEVICE)
    given = (images, rows) if network.wants_rows else (images,)
    output = network.train()(*given)
    sum(
        (each.sum() for each in (output.logits, output.embedding, *output.aux.values())),
        start=torch.zeros((), device=DEVICE),
    ).backward()
    with torch.no_grad():
        network.resize(network.eval()(*given).logits, (64, 96)).argmax(1)


def slips() -> Iterator[tuple[str, Callable[[Tensor], object]]]:
    """Yield what must raise: a look at a value, a shape from one, two devices."""
    yield "item", lambda x: x.sum().item()
    yield "bool", lambda x: bool((x > 0).any())
    yield "list", lambda x: x.tolist()
    yield "nonzero", lambda x: x.nonzero()
    yield "mask", lambda x: x[x > 0]
    yield "unique", lambda x: x.unique()
    yield "devices", lambda x: x + torch.ones(4, 3)
    yield "default device", lambda x: x * torch.tensor([1.0, 2.0, 3.0])


def slipped(slip: Callable[[Tensor], object]) -> None:
    with FakeTensorMode():
        slip(torch.zeros(4, 3, device=DEVICE))


def attempt(work: Callable[[], object]) -> str:
    try:
        work()
    except Exception:  # whatever it is, the test shows it
        return traceback.format_exc()
    return ""


def main() -> dict[str, str]:
    torch.lazy = SimpleNamespace(is_available=lambda: True)  # what recomputation asks a device for
    found = {}
    for name, slip in slips():
        raised = attempt(lambda slip=slip: slipped(slip))  # type: ignore[misc]
        found[f"slip {name}"] = "" if raised else "it does not raise"
    for name, stage in stages():
        found[f"{name} first step"] = attempt(lambda stage=stage: step(stage, 0))  # type: ignore[misc]
        options = registry.options_of("method", stage.method.name)
        cuts = 2 if options.whole_batches is None and stage.primary_stream.batch_total % 2 == 0 else 1
        found[f"{name} later"] = attempt(lambda stage=stage, cuts=cuts: step(stage, LATE, micro_batches=cuts))  # type: ignore[misc]
    for name, stage in losses():
        found[name] = attempt(lambda stage=stage: step(stage, LATE))  # type: ignore[misc]
    for name, spec in networks():
        found[name] = attempt(lambda spec=spec: both_modes(spec))  # type: ignore[misc]
    found["every method has a row"] = ", ".join(set(registry.names("method")) - ROWS.keys())
    return found


if __name__ == "__main__":
    json.dump(main(), sys.stdout)
