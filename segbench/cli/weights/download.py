"""``segbench weights download``: download published weights, or take files that were brought, and verify them."""

import contextlib
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segbench.cli import common
from segbench.cli.data.shared import say
from segbench.core.errors import MissingFault, UsageFault
from segbench.core.offline import offline

from . import described

if TYPE_CHECKING:
    from segbench.checkpoints.backbone_weights import ListedWeights
    from segbench.checkpoints.published import PublishedCheckpoint


def command(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME...", help="Checkpoints or weights of backbones.")
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="Take this file, of one backbone, instead of downloading it."),
    ] = None,
    quiet: common.Quiet = False,
) -> None:
    """Download published weights; files that are here already are verified.

    \b
    Examples:
      segbench weights download mmseg-pspnet-r101-cityscapes-80k
      segbench weights download hf-segformer-b0-ade20k-512 timm/hrnet_w48.ms_in1k
    """
    from segbench.checkpoints.published import PublishedCheckpoint

    if not names:
        raise UsageFault("Name the weights to download.", next="segbench weights list")
    wanted = [described.find(name) for name in dict.fromkeys(names)]
    if source is not None:
        _brought(wanted, source)
        return
    faults: list[str] = []
    failed: list[str] = []
    for each in wanted:
        try:
            if isinstance(each, PublishedCheckpoint):
                _checkpoint(each, quiet=quiet)
            else:
                _backbone(each, quiet=quiet)
        except MissingFault as error:  # the others are downloaded all the same
            faults += error.faults
            failed.append(each.name if isinstance(each, PublishedCheckpoint) else each.published.name)
    if faults:
        from segbench.checkpoints.fetch import download_command

        again = download_command(*failed)
        raise MissingFault(*faults, next=f"{again}, on a connected machine" if offline() else again)
    scored = next((each.name for each in wanted if isinstance(each, PublishedCheckpoint)), None)
    typer.echo(f"Next: segbench eval --checkpoint {scored}" if scored else "Next: segbench list")


def _checkpoint(published: "PublishedCheckpoint", *, quiet: bool) -> None:
    from segbench.checkpoints.fetch import fetch_checkpoint, known_sha256, local_path
    from segbench.cli.live import Watcher

    bars: AbstractContextManager[None] = contextlib.nullcontext()
    if published.hub:
        bars = _hub_bars(published.hub, quiet=quiet or local_path(published) is not None)
    with bars, Watcher(quiet=quiet) as watcher:
        path = fetch_checkpoint(published, observer=watcher)
    say(" ok  ", f"{published.name}: {common.memory(path.stat().st_size)} in {path}")
    sha256 = known_sha256(published)
    mark, remark = " ok  ", "as first seen"
    if published.sha256_prefix:
        same = sha256.startswith(published.sha256_prefix)
        mark, remark = (mark, "begins as its name says") if same else (" --  ", "not as its name says, see above")
    say(mark, f"SHA-256 {sha256}: {remark}")
    say(" --  ", f"Licence: {published.licence}")


def _backbone(listed: "ListedWeights", *, quiet: bool) -> None:
    from segbench.checkpoints.backbone_weights import fetch_weights, local_weights

    name = listed.published.name
    with _hub_bars(name, quiet=quiet or local_weights(listed.published) is not None):
        path = fetch_weights(listed.published)
    say(" ok  ", f"{name}: {common.memory(path.stat().st_size)} in {path}")


def _brought(wanted: "list[PublishedCheckpoint | ListedWeights]", source: Path) -> None:
    """Keep a user's file as if it had been downloaded.

    Raises:
        UsageFault: it is not for one backbone.
        MissingFault, InvalidFault: there is no such file, or it is not the published one.
    """
    from segbench.checkpoints.backbone_weights import take_weights
    from segbench.checkpoints.published import PublishedCheckpoint

    (first, *others) = wanted
    if others or isinstance(first, PublishedCheckpoint):
        fault = "--from is the file of one backbone."
        if not others:
            raise UsageFault(fault, next=f"segbench eval --checkpoint {source}, which takes a checkpoint where it lies")
        raise UsageFault(fault, next="segbench weights download --help")
    path = take_weights(first, source)
    say(" ok  ", f"{first.published.name}: {common.memory(path.stat().st_size)}, copied to {path}")
    typer.echo("Next: segbench list")


@contextlib.contextmanager
def _hub_bars(name: str, *, quiet: bool) -> Iterator[None]:
    """Leave progress to the hub's own bar on a terminal; elsewhere print one line, or nothing."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if not quiet and not offline() and not sys.stderr.isatty():
        typer.echo(f"downloading {name}", err=True)
    change = (quiet or not sys.stderr.isatty()) and not are_progress_bars_disabled()
    if change:
        disable_progress_bars()
    try:
        yield
    finally:
        if change:
            enable_progress_bars()
