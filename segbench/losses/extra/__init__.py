"""Losses that a recipe can add to the cross-entropy as ``method.extra_loss: {name: ...}``, one module each.

A module is free of torch when it is imported. It defines ``Options``, derived from ``LossOptions`` (a mean over
labelled pixels) or ``GroupLossOptions`` (a value a group of images), and one of

- ``loss(logits, target, options) -> Tensor``: a scalar, before the factor, of logits (N, C, H, W) and target (N, H, W)
  int64, where values outside 0..C-1 are ignored;
- ``build(options, *, num_classes) -> nn.Module``: the same as a module called with logits and target, where the loss
  has parameters.
"""
