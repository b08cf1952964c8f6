"""``segbench eval``: score a checkpoint."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segbench.core.errors import InvalidFault, UsageFault

from . import common

if TYPE_CHECKING:
    from segbench.engine.checkpoint import WeightsHeader
    from segbench.engine.evaluate import Evaluation

PROTOCOLS: dict[str, dict[str, Any]] = {
    "whole": {},
    "ms-flip": {"scales": (0.75, 1.0, 1.25, 1.5, 1.75, 2.0), "flip": True},
}


def command(
    checkpoint: Annotated[Path, typer.Option("--checkpoint", help="A weights file (*.safetensors).")],
    dataset: Annotated[str | None, typer.Option("--dataset", help="Default: the one it was trained on.")] = None,
    split: Annotated[str, typer.Option("--split", help="train, val or test.")] = "val",
    protocol: Annotated[str, typer.Option("--protocol", help="whole or ms-flip.")] = "whole",
    scale: Annotated[
        float | None, typer.Option("--scale", min=0.05, max=4.0, help="Resize images and labels; default: as trained.")
    ] = None,
    absent: Annotated[
        str, typer.Option("--absent", help="IoU of classes neither labelled nor predicted: exclude, zero or one.")
    ] = "exclude",
    device: common.Device = "auto",
    precision: common.Precision = "auto",
    data_root: common.DataRoot = None,
    out: common.Out = None,
    quiet: common.Quiet = False,
    json: common.Json = False,
) -> None:
    """Per-class IoU, mIoU, pixel accuracy and seconds per image of a checkpoint.

    segbench eval --checkpoint last.safetensors --dataset camvid --split test

    segbench eval --checkpoint best.safetensors --protocol ms-flip --json
    """
    if protocol not in PROTOCOLS:
        raise UsageFault(f"No protocol {protocol!r}. Known: {', '.join(PROTOCOLS)}.", next="segbench eval --help")
    if absent not in ("exclude", "zero", "one"):
        raise UsageFault(f"--absent takes exclude, zero or one, got {absent!r}.", next="segbench eval --help")
    from segbench.engine.checkpoint import load_weights

    header, _ = load_weights(checkpoint)
    name = dataset or header.dataset
    _check_classes(checkpoint, header, name)

    from segbench.core.spec import DataSpec, EvaluationSpec
    from segbench.engine.runtime import choose_runtime
    from segbench.reproduce.execute import Context, score

    from .live import Watcher
    from .stopping import Stopper

    factor = header.data_scale if scale is None else scale
    generated = header.data_source == "generated"
    data = DataSpec(
        name=name,
        splits=(split,),
        scale=factor,
        source="generated" if generated else "folder",
        images=header.data_images if generated else None,
    )
    spec = EvaluationSpec(data=data, absent=absent, **PROTOCOLS[protocol])
    store = common.open_store(out)
    runtime = choose_runtime(device, precision=precision)
    with Stopper() as stop, Watcher(quiet=quiet) as watcher:
        watcher.announce(f"{checkpoint.name} · {name} {split}", 1, 1)
        result, classes, parameters = score(checkpoint, spec, Context(store, runtime, data_root, watcher, stop))
    record = _record(checkpoint, header, spec, result, classes, parameters, runtime)
    store.write(record, result.counts())
    if json:
        common.print_json(record.model_dump(mode="json", by_alias=True))
        return
    _show(record, header, factor)


def _check_classes(path: Path, header: "WeightsHeader", dataset: str) -> None:
    """Refuse a data set whose classes are not the checkpoint's.

    Raises:
        UsageFault: there is no such data set.
        InvalidFault: other classes.
    """
    from segbench.core.registry import close_names
    from segbench.data.classes import class_table, table_names

    known = table_names()
    if dataset not in known:
        close = close_names(dataset, known) or known
        raise UsageFault(f"No data set {dataset!r}. Known: {', '.join(close)}.", next="segbench data list")
    table = class_table(dataset)
    own = next((name for name in known if tuple(class_table(name).names) == header.classes), header.dataset)
    if table.num_classes != len(header.classes):
        raise InvalidFault(
            f"The checkpoint predicts {len(header.classes)} classes, {dataset} has {table.num_classes}: "
            "its scores would mean nothing.",
            next=f"segbench eval --checkpoint {path} --dataset {own}",
        )
    if tuple(table.names) != header.classes:
        raise InvalidFault(
            f"The checkpoint's classes are not those of {dataset}, or in another order.",
            next=f"segbench eval --checkpoint {path} --dataset {own}",
        )


def _record(path: Path, header, spec, result: "Evaluation", classes, parameters: float, runtime):  # type: ignore[no-untyped-def]
    import hashlib

    from segbench.core.spec import evaluation_id
    from segbench.reproduce.execute import provenance
    from segbench.results.record import Record

    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return Record(
        id=evaluation_id(sha256, spec),
        kind="checkpoint",
        training=sha256,
        family=sha256,
        dataset=spec.data.name,
        split=spec.data.splits[0],
        training_spec={"training": header.training, "model": header.model.canonical(), "step": header.step},
        evaluation_spec=spec.canonical(),
        figures={**result.figures(absent=spec.absent), "params_m": parameters},
        per_class=dict(zip(classes, result.per_class(), strict=True)),
        images=len(result.keys),
        timings={"seconds_per_image": result.seconds_per_image},
        provenance={**provenance(runtime), "file": path.name},
        counts=f"{evaluation_id(sha256, spec)}.npz",
    )


def _show(record: Any, header: "WeightsHeader", factor: float) -> None:
    from rich.table import Table
    from rich.text import Text

    from segbench.models.labels import model_label

    how = " · ".join(
        part
        for part in (
            f"{model_label(header.model)}, {len(header.classes)} classes, step {header.step:,}",
            f"images at {factor:g} of their size" if factor != 1 else "",
            "generated scenes" if header.data_source == "generated" else "",
        )
        if part
    )
    view = Table(box=None, pad_edge=False, header_style="bold")
    view.add_column("class")
    view.add_column("IoU (%)", justify="right")
    view.add_column("")
    for name, value in record.per_class.items():
        bar = "" if value is None else "█" * round(value / 4)
        view.add_row(name, "-" if value is None else f"{value:.2f}", bar)
    figures = record.figures
    common.show(
        Text(f"{record.provenance['file']} · {how}"),
        Text(f"{record.dataset} {record.split}, {record.images} images"),
        view,
        Text(
            f"\nmIoU {figures['miou']:.2f}   pixel accuracy {figures['pixel_accuracy']:.2f}   "
            f"mean class accuracy {figures['mean_class_accuracy']:.2f}   Dice {figures['dice']:.2f}   "
            f"{record.timings['seconds_per_image']:.3f} s/image   {figures['params_m']:.2f} M parameters"
        ),
    )
