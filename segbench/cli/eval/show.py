"""Output of an evaluation: scores by class with bars, costs, and the averages last."""

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from segbench.checkpoints.loaded_model import LoadedModel
from segbench.checkpoints.published import PublishedCheckpoint, PublishedFigure
from segbench.cli import common
from segbench.core.spec import EvaluationSpec
from segbench.reproduce.evaluate.protocol import SCALES, describe, same_protocol
from segbench.results.record import Record

MEANS = {"miou": "mIoU", "iiou": "iIoU", "category_miou": "category mIoU", "category_iiou": "category iIoU"}


def show(record: Record, model: LoadedModel, spec: EvaluationSpec, *, on_device: bool) -> None:
    """Print a record."""
    lines: list[RenderableType] = []
    if (header := model.header) is not None:
        network = [f"{model.network}, {model.num_classes} classes, step {header.step:,}"]
        network += [f"training {header.training}"] if header.training else []
        lines.append(Text(f"{record.provenance['file']} · {' · '.join(network)}"))
    scored = [f"{record.dataset} {record.split}, {common.many(record.images, 'image')}"]
    scored += ["generated scenes, as in its training"] if spec.data.source == "generated" else []
    scored += [f"at {spec.data.scale:g} of their size"] if spec.data.scale != 1 else []
    scored += [describe(spec)] if describe(spec) != "single scale" else []
    common.show(*lines, Text(" · ".join(scored)), *(Text(f"Deviation: {each['says']}.") for each in record.deviations))
    scores(record)
    timings = [f"{record.timings['seconds_per_image']:.3f} s/image"] if record.timings else []
    averages(record, [*timings, *_costs(record, on_device=on_device)])


def scores(record: Record) -> None:
    """Print IoU by class, and by category if the benchmark has categories."""
    benchmark = record.benchmark
    views = [_scores("class", record.per_class, benchmark.get("class_iiou"))]
    if "category_iou" in benchmark:
        views.append(_scores("category", benchmark["category_iou"], benchmark.get("category_iiou")))
    common.show(*(item for view in views for item in (view, Text(""))))


def averages(record: Record, first: list[str]) -> None:
    """Print costs, if there are any, and averages; the most important line last."""
    figures = record.figures
    values = [f"pixel accuracy {number(figures.get('pixel_accuracy'))}"]
    values += [f"class accuracy {number(figures.get('mean_class_accuracy'))}", f"Dice {number(figures.get('dice'))}"]
    means = [f"{title} {number(figures.get(name))}" for name, title in MEANS.items() if name in {"miou", *figures}]
    floor = figures.get("constant_miou")
    lines = [[f"best constant prediction: mIoU {number(floor)}"]] if floor is not None else []
    # The benchmark's four averages get a line of their own, the last one.
    lines += [first] if first else []
    lines += [values, means] if record.benchmark else [[*means, *values]]
    common.show(*(Text("   ".join(line)) for line in lines))


def compared(record: Record, spec: EvaluationSpec, published: PublishedCheckpoint, command: str) -> tuple[str, str]:
    """Return a sentence or two on the published figures beside the measured ones, and the next command.

    The command is empty if the published protocol is what ran.
    """
    figures = [figure for figure in published.figures if figure.metric in ("miou", "pixel_accuracy")]
    if not figures or (published.data, published.split) != (record.dataset, record.split):
        said = ", ".join(_printed(figure) for figure in figures) or "nothing"
        return f"Published for this file: {said}, on {published.data} {published.split}.", ""
    alike = next((each for each in figures if each.evaluation and same_protocol(each.evaluation, spec)), None)
    if alike is not None:
        measured = record.figures.get(alike.metric)
        beyond = (
            f" That protocol also has what is not done here: {alike.protocol.beyond}." if alike.protocol.beyond else ""
        )
        here = f"Here: {number(measured)}"
        if measured is not None:
            here += f" ({measured - float(alike.value):+.2f})"
        return f"Published for this file: {_printed(alike)}. {here}.{beyond}", ""
    said = f"Published for this file: {', '.join(map(_printed, figures))}. You ran: {describe(spec)}."
    fields = next((each.protocol.fields for each in figures if each.evaluation is not None), None)
    if fields is None:
        return said, ""
    sizing = {"enlarge"}  # the project's own in every protocol
    plain = {key: value for key, value in fields.items() if key not in sizing} == {"scales": [*SCALES], "flip": True}
    return said, f"{command} --protocol {'ms-flip' if plain else 'published'}"


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _printed(figure: PublishedFigure) -> str:
    sure = {"read": "", "user": ", measured by a user", "recalled": ", from memory"}[figure.certainty]
    metric = "" if figure.metric == "miou" else "pixel accuracy "
    return f"{metric}{figure.value} ({figure.protocol.short}{sure})"


def _costs(record: Record, *, on_device: bool) -> list[str]:
    peak = int(record.timings.get("peak_memory_bytes", 0))
    words = []
    if peak > 0:
        words.append(f"{common.memory(peak)} at most" if on_device else f"process grew by {common.memory(peak)}")
    words.append(f"{number(record.figures.get('params_m'))} M parameters")
    cost = record.provenance.get("cost")
    flops = record.figures.get("flops_g")
    if cost is not None and flops is not None:
        height, width = cost["input"]
        words.append(f"{flops:,.1f} G multiply-adds at {height}x{width} ({cost['rule']})")
    return words


def _scores(what: str, iou: dict[str, float | None], iiou: dict[str, float | None] | None) -> Table:
    """IoU of classes or categories with a bar, and iIoU where the benchmark has one."""
    columns = ["IoU (%)"] + (["iIoU (%)"] if iiou is not None else [])
    view = common.table(what, *columns, "", right=tuple(columns))
    for name, value in iou.items():
        cells = [number(value)] + ([number(iiou.get(name))] if iiou is not None else [])
        view.add_row(name, *cells, "" if value is None else "█" * round(value / 4))
    return view
