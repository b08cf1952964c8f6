"""The in-place activated batch norm of PyTorch 0.4's time (Rota Bulo et al. 2018, arXiv 1712.02616) as a plain one.

Its code (version 0.1, as the official HRNet and openseg ship it) scales by ``|weight| + eps`` where batch norm scales
by ``weight``; the statistics are the same. It counts no batches: files of it have no ``num_batches_tracked``, which
those of PyTorch's own batch norm have since 0.4.1.
"""

from torch import Tensor

from ..family import StateDict

_EPS = 1e-5
NOTE = "It was saved by in-place batch norm: its scales w are |w| + 0.00001 here, which computes the same."


def is_counted(state: StateDict) -> bool:
    """Return True if batch norms have counters of their batches."""
    return any(name.endswith(".num_batches_tracked") for name in state)


def as_plain(state: StateDict) -> dict[str, Tensor]:
    """Return the tensors with scales that make a plain batch norm compute the same."""
    return {
        name: tensor.abs() + _EPS
        if f"{name.rpartition('.')[0]}.running_mean" in state and name.endswith(".weight")
        else tensor
        for name, tensor in state.items()
    }
