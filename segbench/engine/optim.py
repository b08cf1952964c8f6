"""Optimisers and learning rates."""

import math
from collections import Counter
from typing import Any

import torch
from torch import nn

from segbench.core.spec import OptimizerSpec, PolicySpec
from segbench.methods.base import Method, ParamGroup

_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def learning_rate(policy: PolicySpec, base: float, *, step: int, steps: int) -> float:
    """Return the learning rate of a step, in closed form so that a resumed run needs no state.

    ``(base - min_lr) * (1 - step/steps)^power + min_lr`` for poly, times a linear ramp from ``warmup_ratio`` to 1 over
    ``warmup_steps``. A base rate below ``min_lr`` stays as it is.

    Args:
        policy: the schedule.
        base: base learning rate.
        step: index of the step, from 0.
        steps: total number of steps.
    """
    progress = step / steps
    if policy.name == "poly":
        factor = (1.0 - progress) ** policy.power
    elif policy.name == "cosine":
        factor = 0.5 * (1.0 + math.cos(math.pi * progress))
    else:
        factor = 1.0
    lowest = min(policy.min_lr, base)
    rate = (base - lowest) * factor + lowest
    if step < policy.warmup_steps:
        ramp = step / policy.warmup_steps
        rate *= policy.warmup_ratio + (1.0 - policy.warmup_ratio) * ramp
    return rate


def build_optimizer(spec: OptimizerSpec, method: Method, *, fused: bool) -> torch.optim.Optimizer:
    """Build the optimiser over a method's parameter groups, split where parameters are exempt from weight decay.

    Raises:
        ValueError: the method's groups leave out a trained parameter, or name one twice.
    """
    exempt = _without_decay(spec, method)
    groups: list[dict[str, Any]] = []
    own = method.param_groups()
    _require_complete(own, method)
    for group in own:
        own_decay = spec.weight_decay if group.weight_decay is None else group.weight_decay
        for decay in dict.fromkeys((own_decay, 0.0)):
            params = [p for name, p in group.params if (0.0 if name in exempt else own_decay) == decay]
            if params:
                groups.append(
                    {
                        "params": params,
                        "lr": spec.lr * group.lr_multiplier,
                        "lr_multiplier": group.lr_multiplier,
                        "weight_decay": decay,
                        "updates_per_step": group.updates_per_step,
                    }
                )
    if spec.name == "sgd":
        return torch.optim.SGD(groups, lr=spec.lr, momentum=spec.momentum, fused=fused)
    kind = torch.optim.AdamW if spec.name == "adamw" else torch.optim.Adam
    return kind(groups, lr=spec.lr, betas=spec.betas, fused=fused)


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of every group to ``lr`` times its multiplier."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_multiplier"]


def update(optimizer: torch.optim.Optimizer, *, reset: bool = False) -> None:
    """Do one step, in which groups with more `ParamGroup.updates_per_step` are updated that often.

    Every further update is a full one with the same gradient. The gradients of groups that are done are dropped.

    Args:
        optimizer: its gradients are there.
        reset: forget all moments first, as if it had just been made.
    """
    if reset:
        optimizer.state.clear()
    optimizer.step()
    wanted = [group.get("updates_per_step", 1) for group in optimizer.param_groups]  # not in older saved states
    for done in range(1, max(wanted)):
        for group, updates in zip(optimizer.param_groups, wanted, strict=True):
            if updates <= done:
                for parameter in group["params"]:
                    parameter.grad = None
        optimizer.step()


def _require_complete(groups: list[ParamGroup], method: Method) -> None:
    """Raise on a trained parameter that no group or several groups name."""
    named = Counter(name for group in groups for name, _ in group.params)
    wanted = {name for name, parameter in method.named_parameters() if parameter.requires_grad}
    if named != Counter(wanted):
        wrong = sorted((set(named) ^ wanted) | {name for name, count in named.items() if count > 1})
        raise ValueError(f"each trained parameter must be in exactly one group; look at {', '.join(wrong[:3])}")


def _without_decay(spec: OptimizerSpec, method: Method) -> set[str]:
    """Return the names of the parameters without weight decay."""
    exempt: set[str] = set()
    for prefix, module in method.named_modules():
        dot = f"{prefix}." if prefix else ""
        own = [dot + name for name, _ in module.named_parameters(recurse=False)]
        if "norm" in spec.no_decay and isinstance(module, _NORMS):
            exempt.update(own)
        if "bias" in spec.no_decay:
            exempt.update(name for name in own if name.endswith("bias"))
        if "depthwise" in spec.no_decay and isinstance(module, _CONVOLUTIONS) and _is_depthwise(module):
            exempt.add(f"{dot}weight")
        if "position" in spec.no_decay:
            exempt.update(name for name in own if "position" in name.rsplit(".", 1)[-1])
    return exempt


def _is_depthwise(convolution: nn.Conv1d | nn.Conv2d | nn.Conv3d) -> bool:
    """Return whether each of several channels is filtered by itself."""
    return convolution.groups == convolution.in_channels > 1
