"""A network of the user's own code: a function that builds it, and whatever it answers as logits."""

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
        name: ``module:function``, as it was typed.
        function: of the number of classes, and of the checkpoint's path if it takes one.
        source: SHA-256 of the file it stands in; empty if that is not known.
    """

    name: str
    function: Callable[..., Any]
    source: str

    def __call__(self, num_classes: int, checkpoint: Path) -> nn.Module:
        """Build the network.

        Raises:
            InvalidFault: the function fails, or gives no network.
        """
        try:
            inspect.signature(self.function).bind(num_classes, checkpoint)
            words: tuple[Any, ...] = (num_classes, checkpoint)
        except (TypeError, ValueError):  # it takes no second one, or does not say
            words = (num_classes,)
        try:
            network = self.function(*words)
        except Exception as error:  # whatever the user's code raises
            raise InvalidFault(
                f"{self.name} fails: {first_line(error, named=True)}", next=f"python -m pdb -m {self.module}"
            ) from error
        if not isinstance(network, nn.Module):
            raise InvalidFault(f"{self.name} gives a {type(network).__name__}, not an nn.Module.", next=_HELP)
        return network

    @property
    def module(self) -> str:
        return self.name.partition(":")[0]


class OwnNetwork(Segmentor):
    """Any network that turns images into logits, as a segmentor that has nothing else.

    Args:
        network: (N, 3, H, W) images to (N, C, h, w) logits, or to something that holds them: a mapping with ``out`` or
            ``logits``, an object with ``logits``, or a sequence that begins with them.
        num_classes: C.
        align_corners: how its logits are enlarged.
        name: for messages.
    """

    def __init__(self, network: nn.Module, *, num_classes: int, align_corners: bool, name: str) -> None:
        nn.Module.__init__(self)
        self.network = network
        self.num_classes = num_classes
        self.align_corners = align_corners
        self.name = name

    def forward(self, images: Tensor, rows: Tensor | None = None) -> SegmentorOutput:
        """Logits of (N, 3, H, W) images, and nothing else; ``rows`` are nothing to it.

        Raises:
            RunFault: the network fails.
            InvalidFault: what it gives are no logits of that many classes.
        """
        try:
            answer = self.network(images)
        except Exception as error:  # whatever the user's code raises
            if is_exhausted(error):
                raise
            shown = "x".join(map(str, images.shape))
            raise RunFault(
                f"{self.name} fails on images of {shown}: {first_line(error, named=True)}", next=_HELP
            ) from error
        logits = _logits(answer)
        if logits is None:
            raise InvalidFault(
                f"{self.name} answers with a {type(answer).__name__} in which no logits are found: a tensor, or a dict "
                f"with {' or '.join(map(repr, _KEYS))}, is wanted.",
                next=_HELP,
            )
        if logits.ndim != 4 or logits.shape[:2] != (len(images), self.num_classes):
            raise InvalidFault(
                f"{self.name} gives {tuple(logits.shape)}, not (images, {self.num_classes} classes, rows, columns).",
                next=_HELP,
            )
        return SegmentorOutput(logits, (), logits, {})


def find_builder(name: str) -> Builder:
    """Import the user's function; the current directory comes first, as for ``python -m``.

    Raises:
        UsageFault: it is not written as ``module:function``, or there is no such module or function.
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


def _logits(answer: Any) -> Tensor | None:
    if isinstance(answer, Tensor):
        return answer
    if isinstance(answer, Mapping):
        found = next((answer[key] for key in _KEYS if key in answer), None)
    elif isinstance(answer, list | tuple) and not hasattr(answer, "logits"):
        found = answer[0] if answer else None
    else:
        found = getattr(answer, "logits", None)
    return found if isinstance(found, Tensor) else None
