"""``segbench reproduce``: run a table and compare it with the publication."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from segbench.core.errors import ExitCode, MissingFault, UsageFault
from segbench.core.to_fetch import ToFetch

from . import common

if TYPE_CHECKING:
    from rich.table import Table as View

    from segbench.engine.runtime import Runtime
    from segbench.recipe.catalog import Table
    from segbench.reproduce.execute import Failure
    from segbench.reproduce.plan import Plan
    from segbench.reproduce.preparation import Preparation

ASK_SECONDS = 3600.0


def command(
    target: common.Target,
    dataset: Annotated[str | None, typer.Option("--dataset", metavar="NAME", help="Only this data set.")] = None,
    on: common.On = None,
    budget: common.Budget = "full",
    seeds: Annotated[int, typer.Option("--seeds", metavar="N", min=1, help="How many seeds a row.")] = 1,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="The first seed.")] = 0,
    reading: common.Readings = None,
    setting: common.Settings = None,
    recipe: common.Recipe = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; run a full budget on a CPU too.")] = False,
    no_input: Annotated[bool, typer.Option("--no-input", help="Never ask.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 6 unless every verdict is good.")] = False,
    device: common.Device = "auto",
    precision: common.Precision = "auto",
    compile: Annotated[bool | None, typer.Option("--compile/--no-compile", help="torch.compile.")] = None,
    deterministic: Annotated[bool, typer.Option("--deterministic", help="Only deterministic kernels.")] = False,
    micro_batch: Annotated[
        int | None,
        typer.Option("--micro-batch", metavar="N", min=1, help="Images of a forward pass; less memory, a deviation."),
    ] = None,
    checkpoint_activations: Annotated[
        bool, typer.Option("--checkpoint-activations", help="Less memory, a third slower; same figures.")
    ] = False,
    no_cache: common.NoCache = False,
    data_root: common.DataRoot = None,
    out: common.Out = None,
    quiet: common.Quiet = False,
    json: common.Json = False,
) -> None:
    """Run a table, or one row, and say whether its figures hold.

    \b
    Examples:
      segbench reproduce contextrast-table6 --budget smoke
      segbench reproduce contextrast-table6/layers-4-3 --dataset camvid --seeds 3
    """
    catalog = common.open_catalog(recipe)
    table, row = common.split_target(target)
    store = common.open_store(out)
    found = catalog.table(table)
    if row is not None:
        found.row(row)
    _check_dataset(found, target, dataset, on=on, budget=budget)

    from segbench.recipe.resolve import Request

    cut = (("schedule.micro_batch", micro_batch),) if micro_batch is not None else ()
    readings = common.pairs(reading, "--reading", command="reproduce")
    request = Request(budget, seed, readings, (*common.settings(setting, command="reproduce"), *cut), on)

    from segbench.engine.runtime import choose_runtime
    from segbench.reproduce.estimates import estimate_plan
    from segbench.reproduce.plan import as_json, make_plan
    from segbench.reproduce.preparation import preparations

    runtime = choose_runtime(
        device,
        precision=precision,
        compile=compile,
        deterministic=deterministic,
        checkpoint_activations=checkpoint_activations,
    )
    plan = make_plan(catalog, table, store, row=row, dataset=dataset, request=request, seeds=seeds, data_root=data_root)
    _check_cut(plan, micro_batch)
    with common.busy("Estimating the time from a short probe ..."):
        estimate_plan(plan, runtime, store)
    prepares = [] if no_cache else preparations(plan, data_root)
    if dry_run and json:
        made = [preparation.as_json() for preparation in prepares]
        common.print_json({**as_json(plan), "needs": [each._asdict() for each in _needs(plan)], "prepares": made})
        return
    if dry_run or not quiet:
        _show_plan(plan, runtime, prepares, started=not dry_run)
    if dry_run:
        return
    narrowed = target + (f" --dataset {dataset}" if dataset else "") + (f" --on {on}" if on else "")
    _may_start(plan, runtime, narrowed, yes=yes, no_input=no_input)

    from segbench.reproduce.execute import Context, execute

    from .live import Watcher
    from .stopping import Stopper

    with Stopper() as stop, Watcher(quiet=quiet, stop=stop) as watcher:
        context = Context(store, runtime, data_root, watcher, stop, stream=no_cache)
        outcome = execute(plan, context, announce=watcher.announce)
    from .report import finish, repeated

    repeat = repeated(dataset, data_root, out)
    verdicts_hold = finish(catalog, table, store, datasets=[dataset] if dataset else None, as_json=json, repeat=repeat)
    if outcome.failed:
        _show_failures(outcome.failed, narrowed)
        codes = {failure.error.exit_code for failure in outcome.failed}
        raise typer.Exit(ExitCode.FAILED if outcome.done or len(codes) > 1 else codes.pop())
    if strict and not verdicts_hold:
        raise typer.Exit(ExitCode.OUTSIDE)


def _check_dataset(table: "Table", target: str, dataset: str | None, *, on: str | None, budget: str) -> None:
    """Raise UsageFault unless what is asked for has figures on the data set, and --on one protocol to go by."""
    row = common.split_target(target)[1]
    rows = [row] if row is not None else list(table.file.rows)
    known = list(dict.fromkeys(name for item in rows for name in table.datasets(item)))
    small = "" if budget == "full" else f" --budget {budget}"
    if on is not None and dataset is None and len(known) > 1 and on not in known:
        raise UsageFault(
            f"{target} has protocols for {', '.join(known)}: with --on, --dataset says which of them to go by.",
            next=f"segbench reproduce {target} --dataset {known[0]} --on {on}{small}",
        )
    if dataset is not None and dataset not in known:
        from segbench.core.registry import is_registered

        there = is_registered("dataset", dataset)
        raise UsageFault(
            f"{table.name} has no figures on {dataset!r}; it has {', '.join(known)}.",
            next=f"segbench reproduce {target} --on {on or dataset}{small}" if there else f"segbench list {table.name}",
        )


def _check_cut(plan: "Plan", micro_batch: int | None) -> None:
    """Refuse a micro-batch that cuts no batch: it would change nothing."""
    trainings = [item.resolved.ran.training for item in plan.items]
    parts = [stage.parts for training in trainings if training is not None for stage in training.stages]
    if micro_batch is not None and max(parts, default=1) == 1:
        raise UsageFault(
            f"--micro-batch {micro_batch} cuts nothing: no batch here has more images.",
            next=f"segbench reproduce {plan.table} --dry-run",
        )


def _show_plan(plan: "Plan", runtime: "Runtime", prepares: "list[Preparation]", *, started: bool) -> None:
    from rich.text import Text

    trainings, counts = plan.trainings(), plan.counts()
    tally = {name: sum(item.status == name for item in plan.items) for name in ("shared", "done")}
    waits = sum(item.status == "waits" for item in plan.items)
    head = [f"{common.many(len(trainings), 'training')} to do"] if trainings or not counts else []
    head += [f"{common.many(len(counts), 'count')} to do, nothing to train"] if counts else []
    head += [f"{count} {name}" for name, count in tally.items() if count]
    head += [f"{waits} cannot run here yet"] if waits else []
    common.show(Text(f"{plan.table}  {plan.title}\n{', '.join(head)}"), _plan_view(plan), err=started)
    lines = [_readings_line(plan)]
    lines += ["\n        Next: ".join(filter(None, ("Needs:  " + each.what, each.next))) for each in _needs(plan)]
    lines += [f"Images: {preparation}" for preparation in prepares]
    if trainings:
        name = runtime.describe()["device_name"]
        lines += _too_large(plan, runtime)
        lines.append(
            f"About {common.duration(plan.seconds)} in all, from a short probe on this machine "
            f"({runtime.device}, {name})."
        )
    lines.append("" if started else "Nothing has been started.")
    common.show(Text("\n".join(line for line in lines if line)), err=started)


def _too_large(plan: "Plan", runtime: "Runtime") -> list[str]:
    """What the device's memory will probably not hold, and who knows what to do."""
    there = runtime.memory_bytes()
    large = [item for item in plan.items if there is not None and (item.memory_bytes or 0) > there]
    if not large:
        return []
    names = ", ".join(dict.fromkeys(item.name for item in large))
    return [
        f"Memory: {runtime.device} has {common.memory(there)}, probably too little for {names}   "
        f"Next: segbench doctor {plan.table}"
    ]


def _plan_view(plan: "Plan") -> "View":
    right = ("seed", "steps", "batch", "est. time", "memory")
    view = common.table("run", "data", *right, "status", right=right)
    for item in plan.items:
        status = item.reason if item.status == "waits" else f"{item.status} {item.reason}".strip()
        view.add_row(
            item.name, item.resolved.runs_on, str(item.seed), f"{item.steps:,}" if item.steps else "-",
            str(item.batch_total or "-"), common.duration(item.seconds), common.memory(item.memory_bytes), status,
        )  # fmt: skip
    return view


def _readings_line(plan: "Plan") -> str:
    if not plan.readings:
        return ""
    text = ", ".join(f"{name}={option}" for name, option in plan.readings.items())
    return f"Open readings used: {text}   (segbench show {plan.table} --readings)"


def _needs(plan: "Plan") -> list[ToFetch]:
    """Data, lists and weights that are not there."""
    from segbench.checkpoints.backbone_weights import weights_need
    from segbench.data.facts import facts
    from segbench.data.subsets import published_need

    needs = []
    for name in plan.lacking_data:
        known = facts(name)
        size = f"{known.size_bytes / 1e9:.1f} GB"
        needs.append(ToFetch(f"{known.title}, {size}. {known.licence}", f"segbench data download {name}"))
    for spec, _ in plan.trainings().values():
        found = [
            weights_need(stage.model.backbone, stage.weights.backbone, file=stage.weights.file) for stage in spec.stages
        ]
        lists = [published_need(stream.data) for stage in spec.stages for stream in stage.streams.values()]
        needs += [need for need in (*found, *lists) if need]
    return list(dict.fromkeys(needs))


def _may_start(plan: "Plan", runtime: "Runtime", target: str, *, yes: bool, no_input: bool) -> None:
    """Refuse what cannot run, and what would take days unasked.

    Raises:
        MissingFault: nothing of the plan can run.
        UsageFault: a full budget on a CPU without ``--yes``.
        Exit: the user was asked and said no.
    """
    if plan.items and all(item.status == "waits" for item in plan.items):
        faults = [f"{plan.table} cannot run here: {reason}." for reason in plan.missing]
        raise MissingFault(*faults, next=_way_out(plan, target))
    if not plan.trainings() or yes:
        return
    slow = not plan.request.settings or plan.seconds > ASK_SECONDS
    if plan.request.budget == "full" and not runtime.is_cuda and slow:
        raise UsageFault(
            f"{target} at its full budget would take about {common.duration(plan.seconds)} on this CPU.",
            next=f"segbench reproduce {target} --budget small, or the same command with --yes to insist",
        )
    if plan.seconds > ASK_SECONDS and sys.stdin.isatty() and not no_input:
        typer.echo(f"This takes about {common.duration(plan.seconds)}. Start? [y/N] ", err=True, nl=False)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            typer.echo("Nothing has been started.", err=True)
            raise typer.Exit(ExitCode.INTERRUPTED)


def _way_out(plan: "Plan", target: str) -> str:
    """What helps where nothing can run: getting the data, doing without it, or looking for something else."""
    if plan.lacking_data:
        return f"segbench data download {plan.lacking_data[0]}"
    only_data = all(reason.startswith("waits for data set ") for reason in plan.missing)
    return f"segbench reproduce {target} --budget smoke" if only_data else "segbench list"


def _show_failures(failed: "list[Failure]", target: str) -> None:
    """Every fault once, with the runs that it stopped."""
    runs: dict[str, list[str]] = {}
    for failure in failed:
        for fault in failure.error.faults:
            runs.setdefault(fault, []).append(f"{failure.item.name} on {failure.item.resolved.runs_on}")
    for fault, names in runs.items():
        typer.echo(f"{fault}   ({', '.join(dict.fromkeys(names))})", err=True)
    helps = list(dict.fromkeys(failure.error.next for failure in failed if failure.error.next))
    typer.echo(f"{common.many(len(failed), 'training')} failed; everything else is recorded.", err=True)
    typer.echo(f"Next: {helps[0] if helps else f'segbench reproduce {target}'}", err=True)
