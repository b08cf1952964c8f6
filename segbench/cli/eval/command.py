"""Options of ``segbench eval``."""

from pathlib import Path
from typing import Annotated

import typer

from segbench.cli import common
from segbench.cli.profiled import Profiles
from segbench.core.errors import UsageFault

from .parsing import HELP, parse_scales, parse_size, refuse


def command(
    checkpoint: Annotated[
        str | None,
        typer.Option(
            "--checkpoint",
            metavar="FILE",
            help="A weights file, another project's checkpoint, its URL, hf:ORG/NAME[@REVISION] or a registered name.",
            show_default=False,
        ),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option("--predictions", metavar="FOLDER", help="Score label PNGs of any program instead."),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", metavar="NAME", help="Default: that of its classes.")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option("--split", metavar="NAME", help="train, val or test; default: val if there is one."),
    ] = None,
    classes: Annotated[
        str | None, typer.Option("--classes", metavar="TABLE", help="A variant, such as pascal-context-60.")
    ] = None,
    protocol: Annotated[
        str | None, typer.Option("--protocol", metavar="NAME", help="whole (default), ms-flip, slide or published.")
    ] = None,
    window: Annotated[
        str | None, typer.Option("--window", metavar="HxW", help="Size of the windows of --protocol slide.")
    ] = None,
    stride: Annotated[
        str | None, typer.Option("--stride", metavar="HxW", help="Stride of the windows; default: two thirds.")
    ] = None,
    scales: Annotated[
        str | None, typer.Option("--scales", metavar="A,B", help="In place of the protocol's scales.")
    ] = None,
    flip: Annotated[bool | None, typer.Option("--flip/--no-flip", help="Score the mirrored image too.")] = None,
    scale: Annotated[
        float | None,
        typer.Option("--scale", metavar="X", min=0.05, max=4.0, help="Resize images and labels; default: as trained."),
    ] = None,
    absent: Annotated[
        str,
        typer.Option("--absent", metavar="RULE", help="Classes neither labelled nor predicted: exclude, zero or one."),
    ] = "exclude",
    family: Annotated[
        str | None,
        typer.Option("--family", metavar="NAME", help="Project that published the checkpoint; default: detected."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="MODULE:FUNCTION", help="A function that builds your own network."),
    ] = None,
    channels: Annotated[
        str | None, typer.Option("--channels", metavar="ORDER", help="rgb or bgr, in place of the file's own.")
    ] = None,
    mean: Annotated[
        str | None,
        typer.Option("--mean", metavar="PRESET|R,G,B", help="imagenet, half, unit, caffe, semiseg, or numbers."),
    ] = None,
    std: Annotated[str | None, typer.Option("--std", metavar="PRESET|R,G,B", help="As --mean.")] = None,
    align_corners: Annotated[
        bool | None, typer.Option("--align-corners/--no-align-corners", help="In place of the file's own.")
    ] = None,
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial", help="Initialise at random what the file lacks; a deviation.")
    ] = False,
    ema: Annotated[bool, typer.Option("--ema", help="Use the moving average of the weights.")] = False,
    profile: Profiles = None,
    row: Annotated[
        str | None,
        typer.Option("--as", metavar="TABLE/ROW", help="Score it by this row's protocol, as evidence for its figure."),
    ] = None,
    reading: common.Readings = None,
    recipe: common.Recipe = None,
    sweep: Annotated[bool, typer.Option("--sweep", help="Score under the conventions that people get wrong.")] = False,
    axes: Annotated[
        str | None,
        typer.Option("--axes", metavar="A,B", help="Axes of --sweep: channels, normalisation, align, scales, window."),
    ] = None,
    encoding: Annotated[
        str | None,
        typer.Option("--encoding", metavar="NAME", help="Values of --predictions: train-ids or label-ids."),
    ] = None,
    device: common.Device = "auto",
    precision: common.Precision = "auto",
    no_cache: common.NoCache = False,
    data_root: common.DataRoot = None,
    out: common.Out = None,
    quiet: common.Quiet = False,
    json: common.Json = False,
) -> None:
    """Score any checkpoint: IoU by class, mIoU, accuracy, speed.

    \b
    Examples:
      segbench eval --checkpoint last.safetensors --dataset camvid --split test
      segbench eval --checkpoint model.pth --dataset cityscapes --sweep
    """
    from segbench.metrics.profiles import parse_profiles
    from segbench.reproduce.evaluate.request import EvalRequest, absent_rule

    absent_rule(absent)
    profiles = parse_profiles(profile or (), command="eval --checkpoint FILE")
    if (checkpoint is None) == (predictions is None):
        raise UsageFault("Either --checkpoint or --predictions is scored.", next=HELP)
    if predictions is not None:
        of_networks = {
            "--channels": channels,
            "--mean": mean,
            "--std": std,
            "--protocol": protocol,
            "--window": window,
            "--stride": stride,
            "--scales": scales,
            "--flip": flip,
            "--scale": scale,
            "--family": family,
            "--model": model,
            "--align-corners": align_corners,
            "--allow-partial": allow_partial or None,
            "--ema": ema or None,
            "--sweep": sweep or axes or None,
            "--as": row,
            "--reading": reading,
        }
        refuse(of_networks, "--predictions")
        from .predictions import score_folder

        score_folder(
            predictions,
            dataset,
            split,
            classes=classes,
            encoding=encoding,
            absent=absent,
            data_root=data_root,
            out=out,
            profiles=profiles,
            quiet=quiet,
            json=json,
        )
        return
    assert checkpoint is not None
    refuse({"--encoding": encoding}, "--checkpoint")
    from segbench.checkpoints.conventions import parse_convention

    request = EvalRequest(
        checkpoint,
        dataset=dataset,
        split=split,
        classes=classes,
        protocol=protocol,
        scale=scale,
        absent=absent,
        family=family,
        model=model,
        convention=parse_convention(channels=channels, mean=mean, std=std, align_corners=align_corners),
        window=parse_size("--window", window),
        stride=parse_size("--stride", stride),
        scales=parse_scales(scales),
        flip=flip,
        allow_partial=allow_partial,
        averaged=ema,
    )
    if row is not None:
        protocol_of_row: dict[str, object] = {
            "--split": split,
            "--classes": classes,
            "--protocol": protocol,
            "--window": window,
        }
        protocol_of_row |= {"--stride": stride, "--scales": scales, "--flip": flip, "--scale": scale}
        refuse(protocol_of_row | {"--absent": None if absent == "exclude" else absent}, "--as")
        from segbench.reproduce.evaluate.row import as_row, scored_row

        readings = common.pairs(reading, "--reading", command="eval")
        table, name = common.split_target(row)
        if name is None:
            raise UsageFault(f"--as takes TABLE/ROW, got {row!r}.", next=f"segbench list {table}")
        request = as_row(request, scored_row(common.open_catalog(recipe), table, name, dataset, readings))
    else:
        refuse({"--reading": reading}, "a protocol that no row states: it needs --as TABLE/ROW")
    from segbench.engine.runtime import choose_runtime
    from segbench.reproduce.evaluate.sweep import parse_axes
    from segbench.reproduce.folders import find_folders

    from .single import score_one
    from .sweep import score_many

    wanted = parse_axes(axes) if sweep or axes is not None else ()
    runtime = choose_runtime(device, precision=precision)
    folders = find_folders(out, data_root, use_cache=not no_cache)
    if wanted:
        refuse({"--profile": profile}, "--sweep")
        score_many(request, wanted, folders, runtime, quiet=quiet, json=json)
    else:
        score_one(request, folders, runtime, profiles=profiles, quiet=quiet, json=json)
