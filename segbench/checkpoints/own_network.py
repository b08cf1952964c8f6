"""A network of the user's own code: the function that builds it, and the logits in whatever it returns."""

import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from segbench.core.errors import InvalidFault, RunFault, UsageFault, first_line
from segbench.models.out_of_memory import is_exhausted
from segbench.models.segmentor import Segmentor, SegmentorOutput

_HELP = "segbench eval --help"
_KEYS = ("out", "logits")


@dataclass(frozen=True)
class Builder:
    """A function that builds a network.

    Attributes:
        name: ``module:function``, as typed.
        function: takes the number of classes, and the checkpoint's path if it accepts a second argument.
        source: SHA-256 of its file; empty if unknown.
    """

    name: str
    function: Callable[..., Any]
    source: str

    def __call__(self, num_classes: int, checkpoint: Path) -> nn.Module:
        """Build the network.

        Raises:
            InvalidFault: the function fails, or does not return a network.
        """
        try:
            inspect.signature(self.function).bind(num_classes, checkpoint)
            arguments: tuple[Any, ...] = (num_classes, checkpoint)
        except (TypeError, ValueError):  # no second argument, or no signature
            arguments = (num_classes,)
        try:
            network = self.function(*arguments)
        except Exception as error:  # whatever the user's code raises
            raise InvalidFault(
                f"{self.name} fails: {first_line(error, named=True)}", next=f"python -m pdb -m {self.module}"
            ) from error
        if not isinstance(network, nn.Module):
            raise InvalidFault(f"{self.name} returns {type(network).__name__}, not an nn.Module.", next=_HELP)
        return network

    @property
    def module(self) -> str:
        return self.name.partition(":")[0]


class OwnNetwork(Segmentor):
    """Any network that turns images into logits, as a segmentor without backbone and decoder.

    Args:
        network: maps (N, 3, H, W) images to (N, C, h, w) logits, or to a mapping with ``out`` or ``logits``, an object
            with ``logits``, or a sequence that begins with them.
        num_classes: C.
        align_corners: of the resize of its logits.
        name: for messages.
    """

    def __init__(self, network: nn.Module, *, num_classes: int, align_corners: bool, name: str) -> None:
        nn.Module.__init__(self)
        self.network = network
        self.num_classes = num_classes
        self.align_corners = align_corners
        self.name = name

    def forward(self, images: Tensor, rows: Tensor | None = None) -> SegmentorOutput:
        """Compute the logits of (N, 3, H, W) images; ``rows`` are ignored.

        Raises:
            RunFault: the network fails.
            InvalidFault: it does not return logits of that many classes.
        """
        try:
            output = self.network(images)
        except Exception as error:  # whatever the user's code raises
            if is_exhausted(error):
                raise
            shown = "x".join(map(str, images.shape))
            raise RunFault(
                f"{self.name} fails on images of {shown}: {first_line(error, named=True)}", next=_HELP
            ) from error
        logits = _logits(output)
        if logits is None:
            raise InvalidFault(
                f"{self.name} returns {type(output).__name__} without logits; return a tensor, or a dict with "
                f"{' or '.join(map(repr, _KEYS))}.",
                next=_HELP,
            )
        if logits.ndim != 4 or logits.shape[:2] != (len(images), self.num_classes):
            raise InvalidFault(
                f"{self.name} returns {tuple(logits.shape)}, not (images, {self.num_classes} classes, rows, columns).",
                next=_HELP,
            )
        return SegmentorOutput(logits, (), logits, {})


def find_builder(name: str) -> Builder:
    """Import the user's function; the current directory comes first, as for ``python -m``.

    Raises:
        UsageFault: not ``module:function``, or there is no such module or function.
        InvalidFault: the module cannot be imported.
    """
    module_name, colon, function_name = name.partition(":")
    if not colon or not module_name or not function_name.isidentifier():
        raise UsageFault(f"--model takes MODULE:FUNCTION, got {name!r}.", next=_HELP)
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    importlib.invalidate_caches()
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise UsageFault(
                f"There is no module {module_name!r} in {here} or among the packages.", next=_HELP
            ) from error
        raise InvalidFault(f"{module_name} cannot be imported: {first_line(error, named=True)}", next=_HELP) from error
    except Exception as error:  # whatever the user's code raises
        raise InvalidFault(f"{module_name} cannot be imported: {first_line(error, named=True)}", next=_HELP) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise UsageFault(f"{module_name} has no function {function_name!r}.", next=_HELP)
    file = getattr(module, "__file__", None)
    source = hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else ""
    return Builder(name, function, source)


def _logits(output: Any) -> Tensor | None:
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping):
        found = next((output[key] for key in _KEYS if key in output), None)
    elif isinstance(output, list | tuple) and not hasattr(output, "logits"):
        found = output[0] if output else None
    else:
        found = getattr(output, "logits", None)
    return found if isinstance(found, Tensor) else None
