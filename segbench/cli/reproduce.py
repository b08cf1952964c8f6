"""``segbench reproduce``: run a table and compare it with the publication."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from segbench.core.errors import ExitCode, UsageFault

from . import common

if TYPE_CHECKING:
    from rich.table import Table as View

    from segbench.reproduce.outcome import JobFailure
    from segbench.reproduce.plan import Plan
    from segbench.reproduce.table import TableRun

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
    weights: Annotated[
        str | None,
        typer.Option("--weights", metavar="released", help="Score weights that were released; nothing is trained."),
    ] = None,
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
    keep_checkpoints: Annotated[
        bool,
        typer.Option("--keep-checkpoints", help="Keep the weights of every validation too."),
    ] = False,
    jobs: Annotated[
        int,
        typer.Option("--jobs", metavar="N", min=1, help="Trainings at a time, each with memory of its own."),
    ] = 1,
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

    --jobs N runs N trainings at a time in processes of their own: it takes N times the memory, of the GPU too. On a CPU
    they share its threads; several GPUs are used in turn.
    """
    catalog = common.open_catalog(recipe)
    table, row = common.split_target(target)
    readings = common.pairs(reading, "--reading", command="reproduce")
    if weights is not None:
        from .rescore import RELEASED, refuse, rescore_table

        if weights != RELEASED:
            fault = f"--weights takes {RELEASED}, got {weights!r}; initial weights are --set weights.backbone=NAME."
            raise UsageFault(fault, next="segbench reproduce --help")
        refuse(
            {
                "--on": on is not None, "--budget": budget != "full", "--seeds": seeds != 1, "--seed": seed != 0,
                "--set": bool(setting), "--compile": compile is not None, "--deterministic": deterministic,
                "--micro-batch": micro_batch is not None, "--checkpoint-activations": checkpoint_activations,
                "--keep-checkpoints": keep_checkpoints, "--jobs": jobs != 1,
            }
        )  # fmt: skip
        rescore_table(
            catalog, table, row, dataset=dataset, readings=readings, dry_run=dry_run, strict=strict, device=device,
            precision=precision, no_cache=no_cache, data_root=data_root, out=out, quiet=quiet, json=json,
        )  # fmt: skip
        return

    from segbench.recipe.resolve import Request
    from segbench.reproduce.target import require_target

    require_target(catalog, table, row, dataset, on=on, budget=budget)

    cut = (("schedule.micro_batch", micro_batch),) if micro_batch is not None else ()
    request = Request(budget, seed, readings, (*common.settings(setting, command="reproduce"), *cut), on)

    from segbench.engine.runtime import choose_runtime
    from segbench.reproduce.folders import find_folders
    from segbench.reproduce.table import estimate_run, plan_table

    folders = find_folders(out, data_root, use_cache=not no_cache)
    runtime = choose_runtime(
        device,
        precision=precision,
        compile=compile,
        deterministic=deterministic,
        checkpoint_activations=checkpoint_activations,
        keep_validated=keep_checkpoints,
    )
    run = plan_table(catalog, table, folders, runtime, row=row, dataset=dataset, request=request, seeds=seeds)
    with common.busy("Estimating the time from a short probe ..."):
        estimate_run(run)
    if dry_run and json:
        common.print_json(run.as_json())
        return
    if dry_run or not quiet:
        _show_plan(run, jobs=jobs, started=not dry_run)
    if dry_run:
        return
    _may_start(run, yes=yes, no_input=no_input)

    from .live import Watcher
    from .stopping import Stopper

    with Stopper() as stop, Watcher(quiet=quiet, stop=stop, expected=run.plan.job_seconds()) as watcher:
        execution = run.execute(jobs=jobs, observer=watcher)
    from .report import finish, repeated

    repeat = repeated(dataset, data_root, out)
    datasets = [dataset] if dataset else None
    verdicts_hold = finish(catalog, table, folders.store, datasets=datasets, as_json=json, repeat=repeat)
    if execution.failed:
        _show_failures(execution.failed, run.target)
        codes = {failure.error.exit_code for failure in execution.failed}
        raise typer.Exit(ExitCode.FAILED if execution.done or len(codes) > 1 else codes.pop())
    if strict and not verdicts_hold:
        raise typer.Exit(ExitCode.OUTSIDE)


def _show_plan(run: "TableRun", *, jobs: int, started: bool) -> None:
    from rich.text import Text

    plan, runtime = run.plan, run.runtime
    trainings, counts = plan.trainings(), plan.counts()
    tally = {name: sum(item.status == name for item in plan.items) for name in ("shared", "done")}
    waits = sum(item.status == "waits" for item in plan.items)
    head = [f"{common.many(len(trainings), 'training')} to do"] if trainings or not counts else []
    head += [f"{common.many(len(counts), 'count')} to do, nothing to train"] if counts else []
    head += [f"{count} {name}" for name, count in tally.items() if count]
    head += [f"{waits} cannot run here yet"] if waits else []
    common.show(Text(f"{plan.table}  {plan.title}\n{', '.join(head)}"), _plan_view(plan), err=started)
    lines = [_readings_line(plan)]
    lines += ["\n        Next: ".join(filter(None, ("Needs:  " + each.what, each.next))) for each in run.needs]
    lines += [f"Images: {preparation}" for preparation in run.prepares]
    if trainings:
        lines += _too_large(run)
        name = runtime.describe()["device_name"]
        how = "in all" if jobs == 1 else f"one after the other, {jobs} at a time here"
        lines.append(
            f"About {common.duration(plan.seconds)} {how}, from a short probe on this machine "
            f"({runtime.device}, {name})."
        )
    lines.append("" if started else "Nothing has been started.")
    common.show(Text("\n".join(line for line in lines if line)), err=started)


def _too_large(run: "TableRun") -> list[str]:
    """Return a line on rows that will probably not fit into the device's memory."""
    if not run.too_large:
        return []
    there = common.memory(run.runtime.memory_bytes())
    return [
        f"Memory: {run.runtime.device} has {there}, probably too little for {', '.join(run.too_large)}   "
        f"Next: segbench doctor {run.plan.table}"
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
    line = f"Open readings used: {text}   (segbench show {plan.table} --readings)"
    if plan.recollections:
        line += f"\nRecollections that nobody has checked: {', '.join(plan.recollections)}"
    return line


def _may_start(run: "TableRun", *, yes: bool, no_input: bool) -> None:
    """Refuse what cannot run, and what would take days unasked.

    Raises:
        MissingFault: nothing of the plan can run.
        UsageFault: a full budget on a CPU, or on recollections that were not asked for, without ``--yes``.
        Exit: the user was asked and said no.
    """
    run.require_runnable()
    plan = run.plan
    if not plan.trainings() or yes:
        return
    if plan.request.budget == "full" and plan.recollections:
        groups = dict.fromkeys(
            f"{use.reading.group or use.name}={use.option}"
            for item in plan.items
            for use in item.resolved.readings
            if use.name in plan.recollections
        )
        asked = "".join(f" --reading {each}" for each in groups)
        raise UsageFault(
            f"{run.target} rests on recollections that nobody has checked: {', '.join(plan.recollections)}.",
            next=f"segbench reproduce {run.target}{asked}, to take them knowingly, or the same command with --yes",
        )
    slow = not plan.request.settings or plan.seconds > ASK_SECONDS
    if plan.request.budget == "full" and not run.runtime.is_cuda and slow:
        raise UsageFault(
            f"{run.target} at its full budget would take about {common.duration(plan.seconds)} on this CPU.",
            next=f"segbench reproduce {run.target} --budget small, or the same command with --yes to insist",
        )
    if plan.seconds > ASK_SECONDS and sys.stdin.isatty() and not no_input:
        typer.echo(f"This takes about {common.duration(plan.seconds)}. Start? [y/N] ", err=True, nl=False)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            typer.echo("Nothing has been started.", err=True)
            raise typer.Exit(ExitCode.INTERRUPTED)


def _show_failures(failed: "list[JobFailure]", target: str) -> None:
    """Print every fault once, with the runs that it stopped."""
    runs: dict[str, list[str]] = {}
    for failure in failed:
        for fault in failure.error.faults:
            runs.setdefault(fault, []).append(failure.job.label)
    for fault, names in runs.items():
        typer.echo(f"{fault}   ({', '.join(dict.fromkeys(names))})", err=True)
    helps = list(dict.fromkeys(failure.error.next for failure in failed if failure.error.next))
    typer.echo(f"{common.many(len(failed), 'training')} failed; everything else is recorded.", err=True)
    typer.echo(f"Next: {helps[0] if helps else f'segbench reproduce {target}'}", err=True)
