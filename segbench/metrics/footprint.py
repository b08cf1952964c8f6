"""Bytes of activations, counted by shapes on the meta device: without memory or arithmetic.

``count_saved`` counts the tensors that a forward pass saves for its backward pass, ``count_peak`` the most bytes alive
at once in inference. Both count storages, so that views and tensors changed in place count once.
"""

import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

# Functions that autocast on CUDA runs in the low precision, and in float32, as far as networks here use them
# (PyTorch's documentation, "CUDA Ops that can autocast").
_LOW = {
    torch.conv1d, torch.conv2d, torch.conv_transpose2d, F.linear, torch.matmul, torch.bmm, torch.mm, torch.addmm,
    torch.baddbmm,
    torch.einsum, torch.Tensor.matmul, torch.Tensor.__matmul__, torch.Tensor.bmm, torch.Tensor.mm,
}  # fmt: skip
_HIGH = {
    F.interpolate, F.layer_norm, torch.layer_norm, F.group_norm, F.softmax, torch.softmax, torch.Tensor.softmax,
    F.normalize,
}  # fmt: skip


@dataclass(frozen=True)
class SavedBytes:
    """Activations that a forward pass saves for its backward pass, in bytes.

    Attributes:
        everything: all saved tensors; without parameters and buffers, but with their copies in a low precision.
        checkpointed: peak with activation checkpointing: the larger of what is saved after the forward pass and what
            is alive when a piece has been recomputed, its successors being freed.
        largest: the largest saved tensor.
        transient: peak of the forward pass beyond the bytes that it has saved in the end.
    """

    everything: int
    checkpointed: int
    largest: int
    transient: int


def count_saved(run: Callable[[], object], *, owned: Iterable[Tensor], pieces: Sequence[nn.Module] = ()) -> SavedBytes:
    """Count the activations that a forward pass saves.

    Args:
        run: a forward pass with gradients, on the meta device.
        owned: tensors that are not activations: parameters and buffers.
        pieces: modules that checkpointing would recompute, none inside another.
    """
    counter, live = _Counter(owned), _Live()
    hooks = [piece.register_forward_pre_hook(counter.enter) for piece in pieces]
    hooks += [piece.register_forward_hook(counter.leave) for piece in pieces]
    try:
        with torch.autograd.graph.saved_tensors_hooks(counter.pack, _unpack), live:
            result = run()
    finally:
        for hook in hooks:
            hook.remove()
    del result
    return counter.saved(transient=live.peak - live.now)


class _Counter:
    """Storages by identity; each is held so that its id is not reused."""

    def __init__(self, owned: Iterable[Tensor]) -> None:
        self._owned = {id(tensor.untyped_storage()): tensor.untyped_storage() for tensor in owned}
        self._outside: dict[int, Any] = {}  # saved outside of the pieces
        self._handed: dict[int, Any] = {}  # the same and the inputs of pieces: saved with checkpointing
        self._pieces: list[tuple[dict[int, Any], dict[int, Any]]] = []  # for each, what is saved before and in it
        self._within = False

    def pack(self, tensor: Tensor) -> Tensor:
        for place in (self._pieces[-1][1],) if self._within else (self._outside, self._handed):
            self._put(tensor, place)
        return tensor

    def enter(self, piece: nn.Module, inputs: tuple[Any, ...]) -> None:
        for tensor in tree_leaves(inputs):
            if isinstance(tensor, Tensor):
                self._put(tensor, self._handed)
        self._pieces.append((self._handed.copy(), {}))
        self._within = True

    def leave(self, piece: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        self._within = False

    def saved(self, *, transient: int) -> SavedBytes:
        everything = self._outside.copy()
        moments = [_bytes(self._handed)]
        for before, inside in self._pieces:
            everything |= inside
            moments.append(_bytes(before | inside))
        largest = max((storage.nbytes() for storage in everything.values()), default=0)
        return SavedBytes(_bytes(everything), max(moments), largest, transient)

    def _put(self, tensor: Tensor, place: dict[int, Any]) -> None:
        storage = tensor.untyped_storage()
        if id(storage) not in self._owned:
            place[id(storage)] = storage


def _bytes(storages: dict[int, Any]) -> int:
    return sum(storage.nbytes() for storage in storages.values())


def _unpack(tensor: Tensor) -> Tensor:
    return tensor


def count_peak(run: Callable[[], object]) -> int:
    """Return the most bytes alive at once of the tensors that ``run`` makes, without gradients."""
    live = _Live()
    with torch.no_grad(), live:
        run()
    return live.peak


class _Live(TorchDispatchMode):
    """Bytes of all live tensors that were made in this mode."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        given: set[int] | None = None
        for tensor in tree_leaves(out):
            if not isinstance(tensor, Tensor) or id(tensor.untyped_storage()) in self._known:
                continue
            if given is None:
                given = {id(x.untyped_storage()) for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)}
            if id(tensor.untyped_storage()) not in given:
                self._born(tensor.untyped_storage())
        return out

    def _born(self, storage: Any) -> None:
        self._known[id(storage)] = storage.nbytes()
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._gone, id(storage))

    def _gone(self, key: int) -> None:
        self.now -= self._known.pop(key)


def emulate_autocast(modules: Iterable[nn.Module], dtype: torch.dtype) -> None:
    """Patch modules in place to compute on the meta device as they do on CUDA under autocast to ``dtype``.

    The meta device has no autocast of its own. Attention saves what fused kernels do, not the matrix of scores.
    """
    mode = _Cast(dtype)
    for module in modules:
        module.forward = _within(mode, module.forward)


def _within(mode: TorchFunctionMode, forward: Callable[..., Any]) -> Callable[..., Any]:
    def run(*inputs: Any, **named: Any) -> Any:
        with mode:
            return forward(*inputs, **named)

    return run


class _Cast(TorchFunctionMode):
    """Autocast by function, as on CUDA."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self._dtype = dtype
        self._copies: dict[nn.Parameter, Tensor] = {}  # autocast casts each weight once

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            query, key, value = map(self._low, args[:3])
            mask = kwargs.get("attn_mask", args[3] if len(args) > 3 else None)
            return _Attention.apply(query, key, value, self._low(mask))
        if func is F.batch_norm:
            return _normalised(*args, **kwargs)
        if func in _LOW:
            args, kwargs = tree_map(self._low, (args, kwargs))
        elif func in _HIGH:
            args, kwargs = tree_map(_high, (args, kwargs))
        return func(*args, **kwargs)

    def _low(self, value: Any) -> Any:
        if not isinstance(value, Tensor) or value.dtype != torch.float32 or self._dtype == torch.float32:
            return value
        if not isinstance(value, nn.Parameter):
            return value.to(self._dtype)
        if value not in self._copies:
            self._copies[value] = value.to(self._dtype)
        return self._copies[value]


def _high(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.dtype in (torch.bfloat16, torch.float16) else value


def _normalised(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Compute the shapes of ``torch.nn.functional.batch_norm`` in a tenth of the time, with its check."""
    if training and x.numel() == x.shape[1]:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {x.shape}")
    normalised: Tensor = _Normalisation.apply(x, weight, bias)
    return normalised


class _Normalisation(torch.autograd.Function):
    """Shapes of batch normalisation, which saves its input, scale, mean and deviation."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        mean, deviation = (x.new_empty(x.shape[1], dtype=torch.float32) for _ in range(2))
        ctx.save_for_backward(x, weight, mean, deviation)
        return torch.empty_like(x)


class _Attention(torch.autograd.Function):
    """Shapes of fused attention, which saves its inputs, its output and a log-sum-exp of each row of scores."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        out = query.new_empty(*query.shape[:-1], value.shape[-1])
        sums = query.new_empty(query.shape[:-1], dtype=torch.float32)
        ctx.save_for_backward(query, key, value, mask, out, sums)
        return out
