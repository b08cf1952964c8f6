"""Optimizer, learning-rate policy and length of a stage."""

from typing import Literal

from .base import Spec, setting


class OptimizerSpec(Spec):
    """An optimizer of PyTorch with its hyper-parameters."""

    name: Literal["sgd", "adamw", "adam"]
    lr: float = setting(gt=0)
    momentum: float = setting(0.0, ge=0, lt=1)
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = setting(0.0, ge=0)
    no_decay: tuple[Literal["norm", "bias", "position", "depthwise"], ...] = setting(
        (), description="parameters without weight decay; depthwise: kernels of depthwise convolutions"
    )


class PolicySpec(Spec):
    """Learning rate over steps: ``((base - min_lr) * (1 - t/T)^power + min_lr) * warm-up`` for poly."""

    name: Literal["poly", "constant", "cosine"] = "poly"
    power: float = setting(0.9, gt=0)
    min_lr: float = setting(0.0, ge=0, description="learning rate that poly and cosine end at")
    warmup_steps: int = setting(0, ge=0, counts_steps=True)
    warmup_ratio: float = setting(1e-6, ge=0, le=1)


class ScheduleSpec(Spec):
    """Steps of a stage, how they update the weights, and how often it is validated."""

    steps: int = setting(gt=0, counts_steps=True)
    optimizer: OptimizerSpec
    policy: PolicySpec = PolicySpec()
    validate_every: int | None = setting(None, gt=0, counts_steps=True, material=False)
    reset_optimizer: bool = setting(False, description="the optimizer forgets its moments before every step")
    ema_decay: float | None = setting(None, ge=0, lt=1)
    micro_batch: int | None = setting(
        None, gt=0, description="images per forward pass over all devices; gradients are accumulated over the batch"
    )
