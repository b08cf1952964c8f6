"""Convert a checkpoint to the format of another project, through segbench's network, and verify the result."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save as to_safetensors

from segbench.core import atomic
from segbench.core.errors import InvalidFault, RunFault, UsageFault
from segbench.core.spec import ModelSpec
from segbench.data.classes import class_table, table_names
from segbench.models.segmentor import Segmentor

from . import families
from .convertible import SEGBENCH, Convertible, open_convertible
from .family import Family
from .open import open_foreign
from .published import PublishedCheckpoint
from .weights_file import WeightsHeader, build_from_weights, save_weights

TOLERANCE = 1e-5  # relative to the largest logit; the same tensors in the same network give equal logits
_SIZE = (96, 128)
_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")


@dataclass(frozen=True)
class Converted:
    """A converted checkpoint.

    Attributes:
        path: the new file of weights.
        source: the checkpoint that was converted.
        tensors: number of tensors in the new file.
        difference: largest difference of the logits of one random input, relative to the largest logit.
        sidecars: names of the text files written beside it.
    """

    path: Path
    source: Convertible
    tensors: int
    difference: float
    sidecars: tuple[str, ...] = ()


def targets() -> tuple[str, ...]:
    """Return the formats that can be written: segbench's own, and those of families with a ``write``."""
    return (SEGBENCH, *(name for name, family in families.registered().items() if family.write is not None))


def convert(
    path: Path,
    to: str,
    *,
    output: Path,
    force: bool = False,
    dataset: str | None = None,
    family: str | None = None,
    published: PublishedCheckpoint | None = None,
) -> Converted:
    """Write a checkpoint in another project's format; the file is kept only if it computes the same.

    Args:
        path: a weights file of segbench, or a checkpoint of a family.
        to: one of `targets`.
        output: the new file: safetensors for ``.safetensors``, else written by ``torch.save``. For a project whose
            programs load folders, the folder or the file in it.
        force: overwrite an existing file.
        dataset: the data set whose classes a foreign checkpoint predicts; None to infer it.
        family: name of the checkpoint's family; None to recognise it.
        published: the published checkpoint that the file is; None if it is not known as one.

    Raises:
        UsageFault: no such target or data set, the file has that format already, the classes cannot be inferred, or
            ``output`` exists.
        MissingFault: there is no such file.
        InvalidFault: it cannot be read, a tensor does not fit, or the other format cannot express the network.
        RunFault: the disk is full or not writable.
    """
    _check_target(to)
    output = _weights_file(output, to)
    if not force:
        _require_free(output)
    source = open_convertible(path, dataset=dataset, family=family, published=published)
    if source.family == to:
        raise UsageFault(f"{path} is a checkpoint of {to} already.", next=f"segbench eval --checkpoint {path}")
    if to == SEGBENCH and output.suffix != ".safetensors":
        raise UsageFault(
            f"Weights of segbench are *.safetensors, not {output.name}.",
            next="the same command with --output FILE.safetensors",
        )
    texts = _sidecars(to, source)
    if not force:
        _require_free(*(output.with_name(name) for name in texts))
    with _temporary(output) as new:
        if to == SEGBENCH:
            save_weights(new, source.segmentor, source.header)
            again, header = build_from_weights(new)
            model, count = header.model, len(again.state_dict())
        else:
            count = _write_foreign(new, families.get(to), source)
            opened = open_foreign(new, family=to)
            again, model = opened.segmentor, opened.foreign.model
        _check_conventions(source.header.model, model, to)
        difference = _difference(source.segmentor, again)
        if not difference <= TOLERANCE:
            raise InvalidFault(
                f"{path.name} as a checkpoint of {to} computes other logits (relative difference {difference:.1e}).",
                next=f"segbench eval --checkpoint {path}",
            )
        for name, text in texts.items():
            atomic.write_text(output.with_name(name), text)
        with atomic.guarded(output):
            new.replace(output)
    return Converted(output, source, count, difference, tuple(texts))


def default_output(stem: str, to: str) -> Path:
    """Return the default name of the new file or folder, in the current folder."""
    if _weights_name(to):
        return Path(f"{stem}-{to}")
    return Path(f"{stem}-{to}{'.safetensors' if to == SEGBENCH else '.pth'}")


def _weights_name(to: str) -> str:
    known = families.registered()
    return known[to].weights_name if to in known else ""


def _weights_file(output: Path, to: str) -> Path:
    """Return the path of the weights.

    Raises:
        UsageFault: ``output`` is a file and must be a folder, or the other way round.
    """
    name = _weights_name(to)
    if name and output.name != name:
        if output.suffix in _SUFFIXES or output.is_file():
            raise UsageFault(
                f"A checkpoint of {to} is a folder with {name} and its configuration, not {output.name}.",
                next=f"the same command with --output {output.with_suffix('')}",
            )
        return output / name
    if output.is_dir():
        raise UsageFault(
            f"{output} is a folder; --output must name the new file.", next="the same command with --output FILE"
        )
    return output


def _require_free(*files: Path) -> None:
    """Raise if one of the files exists.

    Raises:
        UsageFault: it does.
    """
    for each in files:
        if each.exists():
            raise UsageFault(f"{each} exists already and is not overwritten.", next="the same command with --force")


def _sidecars(to: str, source: Convertible) -> dict[str, str]:
    """Return the text files that a project's programs need beside the weights, by name."""
    family = families.registered().get(to)
    if family is None or family.sidecars is None:
        return {}
    if family.write is not None:  # has the better message for networks that the project does not have
        family.write(source.segmentor.state_dict(), source.header.model)
    return family.sidecars(source.header.model, source.header.classes)


def _check_target(to: str) -> None:
    known = targets()
    if to in known:
        return
    said = f"A checkpoint cannot be converted to {to!r}"
    if to in families.registered():
        said = f"Checkpoints of {families.get(to).title} can be read, but not written"
    raise UsageFault(f"{said}. Known: {', '.join(known)}.", next="segbench weights convert --help")


def _write_foreign(path: Path, family: Family, source: Convertible) -> int:
    """Write a project's own format; return the number of tensors."""
    assert family.write is not None
    header = source.header
    try:
        written = family.write(source.segmentor.state_dict(), header.model)
    except (KeyError, IndexError) as error:
        fault = f"{family.name} has no checkpoints of such a network: {error} is missing."
        raise InvalidFault(fault, next="segbench weights convert --help") from error
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in written.items()}
    if path.suffix == ".safetensors":
        atomic.write_bytes(path, to_safetensors(tensors, {"format": "pt"}))
        return len(tensors)
    content = tensors if family.pack is None else family.pack(tensors, header.classes, _colours(header))
    atomic.write(path, lambda file: torch.save(content, file))
    return len(tensors)


def _colours(header: WeightsHeader) -> list[Sequence[int]] | None:
    """Return the colours of the classes; None if they are not the classes of the data set."""
    if header.dataset in table_names() and class_table(header.dataset).names == header.classes:
        return [entry.color for entry in class_table(header.dataset).classes]
    return None


def _check_conventions(before: ModelSpec, after: ModelSpec, to: str) -> None:
    """Raise if a reader of the new file would normalise or resize in another way.

    Raises:
        InvalidFault: one line for each difference.
    """
    pairs = {
        "resizes align corners": (before.align_corners, after.align_corners),
        "channels": (before.input.channels, after.input.channels),
        "mean": (before.input.mean, after.input.mean),
        "std": (before.input.std, after.input.std),
    }
    faults = [
        f"A checkpoint of {to} cannot express it: {what} {now}, but {was} in the original."
        for what, (was, now) in pairs.items()
        if was != now
    ]
    if faults:
        raise InvalidFault(*faults, next="segbench weights convert --help")


@torch.inference_mode()
def _difference(one: Segmentor, other: Segmentor) -> float:
    """Return the largest difference of two networks' logits of one random input, relative to the largest logit."""
    image = torch.randn(1, 3, *_SIZE, generator=torch.Generator().manual_seed(0))
    wanted, got = (network.eval()(image).logits for network in (one, other))
    if wanted.shape != got.shape:
        return float("inf")
    return float((wanted - got).abs().max() / wanted.abs().max().clamp(min=torch.finfo(wanted.dtype).tiny))


@contextlib.contextmanager
def _temporary(output: Path) -> Iterator[Path]:
    """Yield a path beside ``output`` with its suffix; a file that is left there is removed."""
    new = output.with_name(f".{output.stem}.new{output.suffix}")
    made = not output.parent.exists()
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFault(
            f"{output.parent} cannot be created: {error.strerror}.", next="the same command with --output FILE"
        ) from error
    try:
        yield new
    finally:
        new.unlink(missing_ok=True)
        if made and not output.exists():
            with contextlib.suppress(OSError):  # not empty, or gone
                output.parent.rmdir()
