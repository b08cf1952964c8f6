"""``segbench eval``: score a checkpoint."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segbench.core.errors import InvalidFault, UsageFault

from . import common

if TYPE_CHECKING:
    from rich.table import Table

    from segbench.core.spec import EvaluationSpec
    from segbench.engine.checkpoint import WeightsHeader
    from segbench.engine.evaluate import Evaluation
    from segbench.engine.runtime import Runtime
    from segbench.results.record import Record

PROTOCOLS: dict[str, dict[str, Any]] = {
    "whole": {},
    "ms-flip": {"scales": (0.75, 1.0, 1.25, 1.5, 1.75, 2.0), "flip": True},
}
MEANS = {"miou": "mIoU", "iiou": "iIoU", "category_miou": "category mIoU", "category_iiou": "category iIoU"}


def command(
    checkpoint: Annotated[
        Path, typer.Option("--checkpoint", metavar="FILE", help="A weights file (*.safetensors).", show_default=False)
    ],
    dataset: Annotated[
        str | None, typer.Option("--dataset", metavar="NAME", help="Default: the one it was trained on.")
    ] = None,
    split: Annotated[str, typer.Option("--split", metavar="NAME", help="train, val or test.")] = "val",
    protocol: Annotated[str, typer.Option("--protocol", metavar="NAME", help="whole or ms-flip.")] = "whole",
    scale: Annotated[
        float | None,
        typer.Option("--scale", metavar="X", min=0.05, max=4.0, help="Resize images and labels; default: as trained."),
    ] = None,
    absent: Annotated[
        str,
        typer.Option("--absent", metavar="RULE", help="Classes neither labelled nor predicted: exclude, zero or one."),
    ] = "exclude",
    device: common.Device = "auto",
    precision: common.Precision = "auto",
    no_cache: common.NoCache = False,
    data_root: common.DataRoot = None,
    out: common.Out = None,
    quiet: common.Quiet = False,
    json: common.Json = False,
) -> None:
    """Score a checkpoint: IoU by class, mIoU, accuracy, speed.

    \b
    Examples:
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
    store.check_writable()
    runtime = choose_runtime(device, precision=precision)
    with Stopper() as stop, Watcher(quiet=quiet) as watcher:
        watcher.announce(f"{checkpoint.name} · {name} {split}", 1, 1)
        context = Context(store, runtime, data_root, watcher, stop, stream=no_cache)
        result, _, parameters = score(checkpoint, spec, context)
    record = _record(checkpoint, header, spec, result, parameters, runtime)
    store.write(record, result.counts())
    if json:
        common.print_json(record.model_dump(mode="json", by_alias=True))
        return
    _show(record, header, factor)
    other = "ms-flip" if protocol == "whole" else "whole"
    typer.echo(f"Next: segbench eval --checkpoint {checkpoint} --split {split} --protocol {other}")


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


def _record(
    path: Path,
    header: "WeightsHeader",
    spec: "EvaluationSpec",
    result: "Evaluation",
    parameters: float,
    runtime: "Runtime",
) -> "Record":
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
        per_class=dict(zip(header.classes, result.per_class(), strict=True)),
        benchmark=result.benchmark_scores(),
        images=len(result.keys),
        timings={"seconds_per_image": result.seconds_per_image},
        provenance={**provenance(runtime), "file": path.name},
        counts=f"{evaluation_id(sha256, spec)}.npz",
    )


def _show(record: "Record", header: "WeightsHeader", factor: float) -> None:
    from rich.text import Text

    from segbench.models.labels import model_label

    network = [f"{model_label(header.model)}, {len(header.classes)} classes, step {header.step:,}"]
    network += [f"training {header.training}"] if header.training else []
    scored = [f"{record.dataset} {record.split}, {common.many(record.images, 'image')}"]
    scored += ["generated scenes, as in its training"] if header.data_source == "generated" else []
    scored += [f"at {factor:g} of their size"] if factor != 1 else []
    benchmark, figures = record.benchmark, record.figures
    views = [_scores("class", record.per_class, benchmark.get("class_iiou"))]
    if "category_iou" in benchmark:
        views.append(_scores("category", benchmark["category_iou"], benchmark.get("category_iiou")))
    values = [f"pixel accuracy {_number(figures.get('pixel_accuracy'))}"]
    values += [f"class accuracy {_number(figures.get('mean_class_accuracy'))}", f"Dice {_number(figures.get('dice'))}"]
    values += [f"{record.timings['seconds_per_image']:.3f} s/image"]
    values += [f"{_number(figures.get('params_m'))} M parameters"]
    means = [f"{title} {_number(figures.get(name))}" for name, title in MEANS.items() if name in {"miou", *figures}]
    # the benchmark's four averages get a line of their own, the last one
    lines = [values, means] if benchmark else [[*means, *values]]
    floor = figures.get("constant_miou")
    common.show(
        Text(f"{record.provenance['file']} · {' · '.join(network)}"),
        Text(" · ".join(scored)),
        *(item for view in views for item in (view, Text(""))),
        *([Text(f"best constant prediction: mIoU {_number(floor)}")] if floor is not None else []),
        *(Text("   ".join(line)) for line in lines),
    )


def _scores(what: str, iou: dict[str, float | None], iiou: dict[str, float | None] | None) -> "Table":
    """IoU of classes or categories with a bar, and iIoU where the benchmark has one."""
    columns = ["IoU (%)"] + (["iIoU (%)"] if iiou is not None else [])
    view = common.table(what, *columns, "", right=tuple(columns))
    for name, value in iou.items():
        cells = [_number(value)] + ([_number(iiou.get(name))] if iiou is not None else [])
        view.add_row(name, *cells, "" if value is None else "█" * round(value / 4))
    return view


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
