"""A checkpoint of one project as that of another: through segbench's network, and proven by loading the result."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as to_safetensors
from torch import Tensor

from segbench.core import atomic
from segbench.core.errors import InvalidFault, RunFault, UsageFault
from segbench.core.spec import ModelSpec
from segbench.data.classes import class_table, table_names
from segbench.models.segmentor import Segmentor

from .convert_source import SEGBENCH, Source, open_source
from .foreign import family as families
from .foreign.open import open_foreign
from .native import WeightsHeader, build_from_weights, save_weights
from .published import PublishedCheckpoint

TOLERANCE = 1e-5  # of the largest logit; the same tensors in the same network differ by nothing
_SIZE = (96, 128)
_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")
# Projects whose test programs look for the tensors under ``state_dict``; the others take them as they are.
_WRAPPED = {"mmsegmentation", "nvlabs", "openseg", "semseg", "swin"}
# Those of them that look for names and colours of the classes under ``meta``.
_WITH_META = {"mmsegmentation", "nvlabs", "swin"}


@dataclass(frozen=True)
class Converted:
    """What was written.

    Attributes:
        path: the new file of weights.
        beside: names of the files that were written beside it.
        source: the old one.
        tensors: how many the new one has.
        difference: largest difference of the logits of one random input between the two, relative to the largest.
    """

    path: Path
    source: Source
    tensors: int
    difference: float
    beside: tuple[str, ...] = ()


def targets() -> tuple[str, ...]:
    """What a checkpoint can be turned into: segbench's own, and the families that know the way back."""
    return (SEGBENCH, *(name for name in families.family_names() if hasattr(families.family(name), "write")))


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
    """Write a checkpoint in another project's form; nothing is left behind that does not compute the same.

    Args:
        path: a weights file of segbench, or a checkpoint of a family.
        to: one of `targets`.
        output: the new file; ``.safetensors``, or else what ``torch.save`` writes. Of a project whose programs load
            folders the folder, or the file in it.
        force: write over a file that is there.
        dataset: the data set whose classes a foreign checkpoint predicts; None to conclude it.
        family: whose checkpoint it is; None to find out.
        published: what is known of the file, if anything is.

    Raises:
        UsageFault: no such target or data set, the file is of that form already, the classes cannot be concluded,
            or ``output`` is there already.
        MissingFault: there is no such file.
        InvalidFault: it does not read, a tensor has no place, or the other form cannot say the same.
        RunFault: the disk is full or not writable.
    """
    _check_target(to)
    output = _weights_file(output, to)
    if not force:
        _require_free(output)
    source = open_source(path, dataset=dataset, family=family, published=published)
    if source.family == to:
        raise UsageFault(f"{path} is a checkpoint of {to} already.", next=f"segbench eval --checkpoint {path}")
    if to == SEGBENCH and output.suffix != ".safetensors":
        raise UsageFault(
            f"Weights of segbench are *.safetensors, not {output.name}.",
            next="the same command with --output FILE.safetensors",
        )
    texts = _beside(to, source)
    if not force:
        _require_free(*(output.with_name(name) for name in texts))
    with _new(output) as new:
        if to == SEGBENCH:
            save_weights(new, source.segmentor, source.header)
            again, header = build_from_weights(new)
            model, count = header.model, len(again.state_dict())
        else:
            count = _write_foreign(new, to, source)
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
    """The new file's name, or the new folder's, where the user says none: in the current folder."""
    if _folder_file(to):
        return Path(f"{stem}-{to}")
    return Path(f"{stem}-{to}{'.safetensors' if to == SEGBENCH else '.pth'}")


def _folder_file(to: str) -> str:
    """What the file of weights is called in the folders that a project's programs load; empty if they load files."""
    return "" if to not in families.family_names() else getattr(families.family(to), "FILE_NAME", "")


def _weights_file(output: Path, to: str) -> Path:
    """Where the weights go.

    Raises:
        UsageFault: it is a file where a folder is wanted, or a folder where a file is.
    """
    name = _folder_file(to)
    if name and output.name != name:
        if output.suffix in _SUFFIXES or output.is_file():
            raise UsageFault(
                f"A checkpoint of {to} is a folder with {name} and what belongs to it, not {output.name}.",
                next=f"the same command with --output {output.with_suffix('')}",
            )
        return output / name
    if output.is_dir():
        raise UsageFault(
            f"{output} is a folder; the new file's name is wanted.", next="the same command with --output FILE"
        )
    return output


def _require_free(*files: Path) -> None:
    """Refuse to write over something.

    Raises:
        UsageFault: one of the files is there.
    """
    for each in files:
        if each.exists():
            raise UsageFault(f"{each} is there already; it is not written over.", next="the same command with --force")


def _beside(to: str, source: Source) -> dict[str, str]:
    """The texts that a project's programs want beside the weights, by file name."""
    beside = None if to == SEGBENCH else getattr(families.family(to), "beside", None)
    if beside is None:
        return {}
    # what the project does not have at all is said by its way back, and better
    families.family(to).write(source.segmentor.state_dict(), source.header.model)
    texts: dict[str, str] = beside(source.header.model, source.header.classes)
    return texts


def _check_target(to: str) -> None:
    known = targets()
    if to in known:
        return
    said = f"A checkpoint cannot be turned into {to!r}"
    if to in families.family_names():
        title = families.family(to).TITLE
        said = f"Checkpoints of {title} can be read, but not written"
    raise UsageFault(f"{said}. Known: {', '.join(known)}.", next="segbench weights convert --help")


def _write_foreign(path: Path, to: str, source: Source) -> int:
    """Write a project's own form; returns the number of tensors."""
    try:
        written: dict[str, Tensor] = families.family(to).write(source.segmentor.state_dict(), source.header.model)
    except (KeyError, IndexError) as error:
        fault = f"{to} has no checkpoints of such a network: {error} is missing."
        raise InvalidFault(fault, next="segbench weights convert --help") from error
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in written.items()}
    if path.suffix == ".safetensors":
        atomic.write_bytes(path, to_safetensors(tensors, {"format": "pt"}))
        return len(tensors)
    content: dict[str, Any] = {"state_dict": tensors} if to in _WRAPPED else dict(tensors)
    if to in _WITH_META:
        content = {"meta": _meta(source.header), **content}
    atomic.write(path, lambda file: torch.save(content, file))
    return len(tensors)


def _meta(header: WeightsHeader) -> dict[str, Any]:
    """Names and colours of the classes, as MMSegmentation keeps them in a checkpoint."""
    meta: dict[str, Any] = {"CLASSES": list(header.classes)}
    if header.dataset in table_names() and class_table(header.dataset).names == header.classes:
        meta["PALETTE"] = [list(entry.color) for entry in class_table(header.dataset).classes]
    return meta


def _check_conventions(before: ModelSpec, after: ModelSpec, to: str) -> None:
    """Whether a reader of the new file would feed and resize as the old one wants it.

    Raises:
        InvalidFault: no.
    """
    pairs = {
        "resizes align corners": (before.align_corners, after.align_corners),
        "channels": (before.input.channels, after.input.channels),
        "mean": (before.input.mean, after.input.mean),
        "std": (before.input.std, after.input.std),
    }
    faults = [
        f"A checkpoint of {to} cannot say it: {what} {now}, but {was} in the original."
        for what, (was, now) in pairs.items()
        if was != now
    ]
    if faults:
        raise InvalidFault(*faults, next="segbench weights convert --help")


@torch.inference_mode()
def _difference(one: Segmentor, other: Segmentor) -> float:
    """Largest difference of two networks' logits of one random input, relative to the largest logit."""
    image = torch.randn(1, 3, *_SIZE, generator=torch.Generator().manual_seed(0))
    wanted, got = (network.eval()(image).logits for network in (one, other))
    if wanted.shape != got.shape:
        return float("inf")
    return float((wanted - got).abs().max() / wanted.abs().max().clamp(min=torch.finfo(wanted.dtype).tiny))


@contextlib.contextmanager
def _new(output: Path) -> Iterator[Path]:
    """A place beside ``output`` with its suffix; whatever lies there at the end is removed."""
    new = output.with_name(f".{output.stem}.new{output.suffix}")
    made = not output.parent.exists()
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFault(
            f"{output.parent} cannot be made: {error.strerror}.", next="the same command with --output FILE"
        ) from error
    try:
        yield new
    finally:
        new.unlink(missing_ok=True)
        if made and not output.exists():
            with contextlib.suppress(OSError):  # not empty, or gone
                output.parent.rmdir()
