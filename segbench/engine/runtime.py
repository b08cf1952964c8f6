"""Device, precision, compilation and determinism of a run; none of it belongs to a protocol."""

import os
import platform
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import nn

from segbench.core.errors import UsageFault
from segbench.models.segmentor import Segmentor

from .allocator import keep_large_blocks
from .recompute import checkpoint_activations

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Runtime:
    """Settings of a run that are not part of a protocol.

    Attributes:
        device: a torch device name.
        precision: ``bfloat16`` means autocast; weights and losses stay float32.
        channels_last: memory layout of images and weights.
        compile: whether the network is compiled for training.
        deterministic: whether only deterministic kernels are allowed.
        checkpoint_activations: whether a backbone's activations are recomputed for its gradients instead of kept.
        workers: loader threads; 0 reads when a batch is asked for.
        checkpoint_seconds: interval between saves; a kill loses no more work.
        keep_validated: whether the weights of every validation stay, as ``step-NNNNNN.safetensors``.
    """

    device: str = "cpu"
    precision: Precision = "float32"
    channels_last: bool = False
    compile: bool = False
    deterministic: bool = False
    checkpoint_activations: bool = False
    workers: int = 0
    checkpoint_seconds: float = 60.0
    keep_validated: bool = False

    @property
    def is_cuda(self) -> bool:
        return self.device.startswith("cuda")

    @property
    def fuses(self) -> bool:
        """True if optimisers have a fused kernel on the device; on a CPU it is three times as fast."""
        return self.device.split(":")[0] in ("cpu", "cuda", "mps")

    def apply(self) -> None:
        """Set process-wide switches; called once per training."""
        if self.is_cuda and self.deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(self.deterministic)
        torch.backends.cudnn.benchmark = self.is_cuda and not self.deterministic
        if self.device == "cpu":
            keep_large_blocks()
        if self.is_cuda:
            # The peak of an earlier training in this process must not count.
            torch.cuda.reset_peak_memory_stats(self.device)
        if self.compile:
            # Nor its compiled code: after a few networks the recompilation limit would silently stop compiling.
            torch.compiler.reset()

    def autocast(self) -> AbstractContextManager[Any]:
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.split(":")[0], dtype=torch.bfloat16)

    def place(self, module: nn.Module) -> nn.Module:
        """Move a module to the device in the run's memory layout."""
        if self.channels_last:
            return module.to(self.device).to(memory_format=torch.channels_last)
        return module.to(self.device)

    def prepare_network(self, network: Segmentor) -> None:
        """Enable activation checkpointing and compilation of a network in place, if set; names and tensors stay.

        Only the network is compiled: random draws of a method are keyed on the step, and a compiled method would be
        recompiled at each step up to the recompilation limit.
        """
        if self.checkpoint_activations:
            checkpoint_activations(network.backbone)
        if self.compile:
            network.compile()

    def synchronize(self) -> None:
        """Wait for the device, as is needed around every measured time."""
        if self.is_cuda:
            torch.cuda.synchronize(self.device)

    def peak_memory_bytes(self) -> int:
        """Return the peak memory so far, of the device or, on a CPU, of the process."""
        if self.is_cuda:
            return torch.cuda.max_memory_allocated(self.device)
        try:
            import resource
        except ImportError:  # not on Windows
            return 0
        unit = 1 if platform.system() == "Darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

    def memory_bytes(self) -> int | None:
        """Return the memory of the device; None on a CPU, where programs share it."""
        return torch.cuda.get_device_properties(self.device).total_memory if self.is_cuda else None

    def describe(self) -> dict[str, Any]:
        """Return the description of machine and settings for a record."""
        name = torch.cuda.get_device_name(self.device) if self.is_cuda else platform.machine()
        left = ("checkpoint_seconds", "workers", "keep_validated")
        own = {key: value for key, value in asdict(self).items() if key not in left}
        return {
            **own,
            "device_name": name,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "python": platform.python_version(),
            "platform": platform.system(),
        }


def choose_runtime(
    device: str = "auto",
    *,
    precision: str = "auto",
    compile: bool | None = None,
    deterministic: bool = False,
    checkpoint_activations: bool = False,
    workers: int | None = None,
    keep_validated: bool = False,
) -> Runtime:
    """Return the runtime for the user's settings, with fast defaults on CUDA and plain float32 on a CPU.

    Raises:
        UsageFault: the device does not exist here, or settings cannot be combined.
    """
    if compile and checkpoint_activations:
        fault = "A compiled network chooses by itself which activations it keeps: --compile cannot be combined with"
        raise UsageFault(f"{fault} --checkpoint-activations.", next="the same command with --no-compile")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(device).type
    except RuntimeError:
        raise UsageFault(
            f"{device!r} is no device; use auto, cpu, cuda or cuda:N.", next="the same command with --device auto"
        ) from None
    if kind == "cuda":
        count = torch.cuda.device_count()
        index = torch.device(device).index or 0
        if index >= count:
            raise UsageFault(
                f"There is no device {device}: {count} CUDA devices here.", next="the same command with --device cpu"
            )
    on_cuda = kind == "cuda"
    if precision == "auto":
        precision = "bfloat16" if on_cuda else "float32"
    if precision not in ("float32", "bfloat16"):
        raise UsageFault(
            f"{precision!r} is no precision; use auto, float32 or bfloat16.",
            next="the same command with --precision auto",
        )
    return Runtime(
        device=device,
        precision="bfloat16" if precision == "bfloat16" else "float32",
        channels_last=True,
        compile=on_cuda and not deterministic and not checkpoint_activations if compile is None else compile,
        deterministic=deterministic,
        checkpoint_activations=checkpoint_activations,
        keep_validated=keep_validated,
        workers=(min(8, os.cpu_count() or 1) if on_cuda else 1) if workers is None else workers,
    )
