"""``segbench reproduce``: run a table and compare it with the publication."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from segbench.core.errors import ExitCode, MissingFault, UsageFault

from . import common

if TYPE_CHECKING:
    from rich.table import Table

    from segbench.engine.runtime import Runtime
    from segbench.reproduce.execute import Failure
    from segbench.reproduce.plan import Plan

ASK_SECONDS = 3600.0


def command(
    target: Annotated[str, typer.Argument(help="TABLE or TABLE/ROW.")],
    dataset: Annotated[str | None, typer.Option("--dataset", help="Only this data set.")] = None,
    budget: Annotated[str, typer.Option("--budget", help="full (as published), small or smoke.")] = "full",
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="How many seeds a row.")] = 1,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The first seed.")] = 0,
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
    data_root: common.DataRoot = None,
    out: common.Out = None,
    quiet: common.Quiet = False,
    json: common.Json = False,
) -> None:
    """Run a table, or one row, and say whether its figures hold.

    segbench reproduce contextrast-table6 --budget smoke

    segbench reproduce contextrast-table6/layers-4-3 --dataset camvid --seeds 3
    """
    catalog = common.open_catalog(recipe)
    table, row = common.split_target(target)
    store = common.open_store(out)
    found = catalog.table(table)
    if row is not None:
        found.row(row)
    _check_dataset(found, row, dataset)

    from segbench.engine.runtime import choose_runtime
    from segbench.recipe.resolve import Request
    from segbench.reproduce.estimate import estimate_plan
    from segbench.reproduce.plan import as_json, make_plan

    request = Request(budget, seed, common.pairs(reading, "--reading"), common.settings(setting))
    runtime = choose_runtime(device, precision=precision, compile=compile, deterministic=deterministic)
    plan = make_plan(catalog, table, store, row=row, dataset=dataset, request=request, seeds=seeds, data_root=data_root)
    estimate_plan(plan, runtime)
    if dry_run and json:
        common.print_json(as_json(plan))
        return
    if dry_run or not quiet:
        _show_plan(plan, runtime, started=not dry_run)
    if dry_run:
        return
    _may_start(plan, runtime, target, yes=yes, no_input=no_input)

    from segbench.reproduce.execute import Context, execute

    from .live import Watcher
    from .stopping import Stopper

    with Stopper() as stop, Watcher(quiet=quiet) as watcher:
        context = Context(store, runtime, data_root, watcher, stop)
        outcome = execute(plan, context, announce=watcher.announce)
    from .report import finish

    verdicts_hold = finish(catalog, table, store, datasets=[dataset] if dataset else None, as_json=json)
    if outcome.failed:
        _show_failures(outcome.failed, target)
        raise typer.Exit(ExitCode.FAILED)
    if strict and not verdicts_hold:
        raise typer.Exit(ExitCode.OUTSIDE)


def _check_dataset(table, row: str | None, dataset: str | None) -> None:  # type: ignore[no-untyped-def]
    rows = [row] if row is not None else list(table.file.rows)
    known = list(dict.fromkeys(name for item in rows for name in table.datasets(item)))
    if dataset is not None and dataset not in known:
        raise UsageFault(
            f"{table.name} has no figures on {dataset!r}; it has {', '.join(known)}.",
            next=f"segbench list {table.name}",
        )


def _show_plan(plan: "Plan", runtime: "Runtime", *, started: bool) -> None:
    from rich.text import Text

    trainings = plan.trainings()
    done = sum(item.status == "done" for item in plan.items)
    shared = sum(item.status == "shared" for item in plan.items)
    waits = sum(item.status in ("waits", "unavailable") for item in plan.items)
    head = [f"{len(trainings)} trainings to do"]
    head += [f"{len(plan.counts())} counts to do"] if plan.counts() else []
    head += [f"{shared} shared"] if shared else []
    head += [f"{done} done"] if done else []
    head += [f"{waits} cannot run here yet"] if waits else []
    seconds = sum(item.seconds or 0.0 for item in plan.items)
    common.show(Text(f"{plan.table}  {plan.title}\n{', '.join(head)}"), _plan_view(plan), err=started)
    lines = [_readings_line(plan)]
    lines += [f"Needs:  {need}" for need in _needs(plan)]
    if trainings:
        name = runtime.describe()["device_name"]
        lines.append(
            f"About {common.duration(seconds)} in all, from a short probe on this machine ({runtime.device}, {name})."
        )
    lines.append("" if started else "Nothing has been started.")
    common.show(Text("\n".join(line for line in lines if line)), err=started)


def _plan_view(plan: "Plan") -> "Table":
    from rich.table import Table

    view = Table(box=None, pad_edge=False, header_style="bold")
    view.add_column("run", overflow="fold")
    view.add_column("data")
    for name in ("seed", "steps", "batch", "est. time", "memory"):
        view.add_column(name, justify="right")
    view.add_column("status", overflow="fold")
    for item in plan.items:
        training = item.resolved.ran.training
        counted = not item.training and item.status in ("to do", "done", "shared")
        stages = training.stages if training and not counted else ()
        steps = f"{sum(stage.schedule.steps for stage in stages):,}" if stages else "-"
        batch = str(sum(s.batch_total for s in stages[-1].streams.values())) if stages else "-"
        status = f"{item.status}: {item.reason}" if item.reason else item.status
        view.add_row(
            item.name, item.resolved.dataset, str(item.seed), steps, batch,
            common.duration(item.seconds), common.gigabytes(item.memory_bytes), status,
        )  # fmt: skip
    return view


def _readings_line(plan: "Plan") -> str:
    used = {use.name: use.option for item in plan.items for use in item.resolved.readings}
    if not used:
        return ""
    text = ", ".join(f"{name}={option}" for name, option in used.items())
    return f"Open readings used: {text}   (segbench show {plan.table} --readings)"


def _needs(plan: "Plan") -> list[str]:
    """Data and weights that are not there."""
    from segbench.data.facts import facts
    from segbench.models.weights import weights_need

    needs = []
    for item in plan.items:
        training = item.resolved.ran.training
        if item.status == "waits" and item.reason.startswith("data:") and training:
            data = next(iter(training.stages[-1].streams.values())).data
            known = facts(data.name)
            size = f"{known.size_bytes / 1e9:.1f} GB"
            needs.append(f"{known.title}, {size}. {known.licence}   Next: segbench data download {data.name}")
        if item.status == "to do" and training and item.training:
            needs += [
                need
                for stage in training.stages
                if (need := weights_need(stage.model.backbone, stage.weights.backbone))
            ]
    return list(dict.fromkeys(needs))


def _may_start(plan: "Plan", runtime: "Runtime", target: str, *, yes: bool, no_input: bool) -> None:
    """Refuse what cannot run, and what would take days unasked.

    Raises:
        MissingFault: nothing of the plan can run.
        UsageFault: a full budget on a CPU without ``--yes``, or the answer was no.
    """
    if plan.missing and not plan.trainings() and not plan.counts() and not any(i.status == "done" for i in plan.items):
        first = plan.items[0]
        needs_data = any(item.reason.startswith("data:") for item in plan.items)
        raise MissingFault(
            *(f"{plan.table} cannot run here: {reason}." for reason in plan.missing),
            next=f"segbench data download {first.resolved.ran.evaluation.data.name}"
            if needs_data and first.resolved.ran.evaluation
            else "segbench list",
        )
    if not plan.trainings() or yes:
        return
    seconds = sum(item.seconds or 0.0 for item in plan.items)
    if plan.request.budget == "full" and not runtime.is_cuda and not plan.request.settings:
        raise UsageFault(
            f"{target} at its full budget would take about {common.duration(seconds)} on this CPU.",
            next=f"segbench reproduce {target} --budget small, or the same command with --yes to insist",
        )
    if seconds > ASK_SECONDS and sys.stdin.isatty() and not no_input:
        typer.confirm(f"This takes about {common.duration(seconds)}. Start?", abort=True, err=True)


def _show_failures(failed: "list[Failure]", target: str) -> None:
    for failure in failed:
        for fault in failure.error.faults:
            typer.echo(f"{failure.item.name} · {failure.item.resolved.dataset}: {fault}", err=True)
    helps = list(dict.fromkeys(failure.error.next for failure in failed if failure.error.next))
    typer.echo(f"{len(failed)} failed; everything else is recorded.", err=True)
    typer.echo(f"Next: {helps[0] if helps else f'segbench reproduce {target}'}", err=True)
