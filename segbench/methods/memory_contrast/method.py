"""SemiSeg-Contrastive (Alonso et al., ICCV 2021, arXiv 2104.13415), after its released code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from segbench.core.errors import InvalidFault
from segbench.data.augmentation.augment import padding_colour
from segbench.data.augmentation.batchwise import Augmented, BatchAugmenter
from segbench.losses.class_memory import ClassMemory
from segbench.losses.cross_entropy import cross_entropy, labelled_weight
from segbench.losses.entropy import normalized_entropy
from segbench.losses.memory_contrast import memory_contrast
from segbench.losses.pseudo_labels import confidence_cross_entropy, gaussian_ramp
from segbench.losses.resize import resize_labels
from segbench.methods.base import Best, Method, ParamGroup
from segbench.methods.ema import Buffers, EmaModel, cosine_decay

from .balance import ClassBalance
from .duplicates import updates_of
from .heads import Mlp, Selectors
from .options import Options

if TYPE_CHECKING:
    from segbench.core.spec import InputSpec, StreamSpec
    from segbench.data.batch import Batch
    from segbench.methods.step import StepInfo
    from segbench.models.segmentor import Segmentor

IGNORE_INDEX = 255


class MemoryContrast(Method):
    """Cross-entropy on labels and pseudo-labels, entropy, and contrast with a memory of every class.

    Losses: ``ce``, ``pseudo``, ``entropy``, and later ``contrast`` of labelled and ``contrast_u`` of unlabelled images.
    Labels of the unlabelled stream are never read.

    Args:
        options: options of the method.
        segmentor: network to train, the student; it is the one that is evaluated.
        num_classes: C.
        seed: seed of all draws.
    """

    restarted: Tensor
    last_labels: Tensor | None

    def __init__(self, options: Options, segmentor: Segmentor, *, num_classes: int, seed: int) -> None:
        super().__init__(segmentor, seed=seed)
        self.options, self.num_classes = options, num_classes
        # In training mode its own passes move a teacher's statistics; in evaluation mode they follow the student's.
        buffers: Buffers = "keep" if options.teacher_mode == "train" else "average"
        self.teacher = EmaModel(segmentor, buffers=buffers)
        self.heads: nn.ModuleDict | None = None
        if options.contrasts:
            hidden, dim = options.hidden_dim, options.embedding_dim
            self.heads = nn.ModuleDict(
                {
                    "projection": Mlp(segmentor.embedding_channels, hidden, dim),
                    "prediction": Mlp(dim, hidden, dim),
                    "selectors": Selectors(num_classes, dim, slope=options.selector_slope),
                }
            )
            if options.memory_weights == "rescaled":
                self.heads["memory_selectors"] = Selectors(num_classes, dim, slope=options.selector_slope)
            self.teacher_heads = EmaModel(self.heads, buffers=buffers)
            if options.restart_after_steps is not None:
                self.best_heads = EmaModel(self.heads, buffers="copy")
            self.memory = ClassMemory(num_classes, options.memory_size_per_class, dim)
        self.balance: ClassBalance | None = None
        self.register_buffer("restarted", torch.zeros((), dtype=torch.int64))  # step of the last restart
        self.register_buffer("last_labels", None)
        self._streams: Mapping[str, StreamSpec] = {}
        self._input: InputSpec | None = None
        self._denominators: dict[str, Tensor] = {}

    def see_data(self, streams: Mapping[str, StreamSpec], *, input: InputSpec, images: Mapping[str, int]) -> None:
        wanted = {"labelled", "unlabelled"} | ({"source"} if self.options.source_period else set())
        if wanted != set(streams):
            needs, has = (", ".join(sorted(names)) for names in (wanted, set(streams)))
            fault = f"The method memory-contrast needs the streams {needs}; the stage has {has}."
            raise InvalidFault(fault, next="segbench list")
        self._streams, self._input = streams, input
        if self.options.class_weights is not None:
            labelled, unlabelled = (
                images.get(name, 0) // streams[name].batch_total for name in ("labelled", "unlabelled")
            )
            self.balance = ClassBalance(self.num_classes, labelled_steps=labelled, window=unlabelled)
        if self.options.source_labels == "stale":
            spec = streams["labelled"]
            unknown = torch.full((spec.batch_total, *spec.crop), IGNORE_INDEX)
            self.register_buffer("last_labels", unknown)

    def train(self, mode: bool = True) -> MemoryContrast:
        super().train(mode)
        if self.options.teacher_mode == "eval":
            self.teacher.eval()
            if self.heads is not None:
                self.teacher_heads.eval()
        return self

    def forward(self, batches: dict[str, Batch], info: StepInfo) -> dict[str, Tensor]:
        options, step = self.options, info.step
        if step == 0:
            self._copy_to_teacher()  # after initial weights have been loaded
        from_source = options.takes_source(step, info.steps)
        stream = "source" if from_source else "labelled"
        pseudo, confidence = self._pseudo_labels(batches["unlabelled"].images)
        weights = self._class_weights(batches["labelled"].target, pseudo, step=step, count=not from_source)
        weak = self._augmented(stream, batches[stream].images, batches[stream].target, step=step)
        strong = self._views(batches["unlabelled"].images, pseudo, confidence, step=step)
        # Two passes, so that no layer's statistics mix labelled and unlabelled images.
        unlabelled, labelled = self.segmentor(strong.images), self.segmentor(weak.images)

        size = (weak.labels.shape[-2], weak.labels.shape[-1])
        logits = self.segmentor.resize(unlabelled.logits, size)
        assert strong.confidence is not None
        valid = strong.labels != IGNORE_INDEX
        losses = {
            "ce": cross_entropy(self.segmentor.resize(labelled.logits, size), weak.labels, class_weights=weights),
            "pseudo": options.pseudo_label_weight
            * gaussian_ramp(step, options.ramp_up_steps)
            * confidence_cross_entropy(
                logits, strong.labels, strong.confidence, power=options.confidence_power, class_weights=weights
            ),
            "entropy": options.entropy_weight * normalized_entropy(logits, valid, broadcast=options.entropy_broadcast),
        }
        one = torch.ones((), device=logits.device)
        self._denominators = {
            "ce": labelled_weight(weak.labels, class_weights=weights),
            "pseudo": one * valid.numel(),
            "entropy": valid.sum(),
        }
        if self.heads is None:
            return losses
        if step > options.memory_from_steps and not from_source:
            self._remember(weak)
        # Before the contrast begins its heads get no gradient, so that no optimiser moves them.
        begun = step > options.contrast_from_steps
        for name, weight, output, labels in (
            ("contrast", options.labelled_contrast_weight, labelled, self._labels_of(weak, from_source=from_source)),
            ("contrast_u", options.unlabelled_contrast_weight, unlabelled, strong.labels),
        ):
            if weight:
                losses[name] = weight * self._contrast(output.embedding, labels) if begun else 0 * one
                self._denominators[name] = one
        return losses

    def loss_normalizers(self, batches: dict[str, Batch]) -> dict[str, Tensor]:
        return self._denominators

    def after_step(self, info: StepInfo) -> None:
        options = self.options
        decay = cosine_decay(info, start=options.teacher_momentum, warmup=options.teacher_warmup_factor)
        self.teacher.update(self.segmentor, decay=decay)
        if self.heads is not None:
            self.teacher_heads.update(self.heads, decay=decay)

    def on_validation(self, info: StepInfo, miou: float | None, best: Best | None) -> None:
        patience = self.options.restart_after_steps
        if patience is None or best is None:
            return
        if self.heads is not None and best.step == info.step:
            self.best_heads.update(self.heads, decay=0.0)
        since = max(best.step, int(self.restarted.item()))
        if info.step - since > patience:
            self.segmentor.load_state_dict(best.weights())
            if self.heads is not None:
                self.heads.load_state_dict(self.best_heads.network.state_dict())
            self._copy_to_teacher()
            self.restarted.fill_(info.step)

    def refreshes(self) -> int:
        return self.options.norm_refresh_steps

    def refresh(self, batches: dict[str, Batch]) -> None:
        self.segmentor(batches["unlabelled"].images)

    def param_groups(self) -> list[ParamGroup]:
        """Return the groups of every method, with the heads apart, split by how often a step updates a parameter.

        The heads get their first gradient when the contrast begins: fused SGD wants a group to begin all at once.
        """
        groups = [split for group in super().param_groups() for split in _apart(group, "heads.")]
        if not self.options.duplicate_updates:
            return groups
        return [split for group in groups for split in updates_of(group)]

    def _copy_to_teacher(self) -> None:
        self.teacher.update(self.segmentor, decay=0.0)
        if self.heads is not None:
            self.teacher_heads.update(self.heads, decay=0.0)

    @torch.no_grad()
    def _pseudo_labels(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the teacher's labels (N, H, W) int64 and their confidence (N, H, W) of images as they are."""
        size = (images.shape[-2], images.shape[-1])
        confidence, labels = self.segmentor.resize(self.teacher.network(images).logits, size).softmax(1).max(1)
        return labels, confidence

    def _class_weights(self, target: Tensor, pseudo: Tensor, *, step: int, count: bool) -> Tensor | None:
        """Count the labels as they are before any augmentation, and return the class weights of the step."""
        if self.balance is None:
            return None
        if count:
            self.balance.update(target, pseudo)
        return self.balance.weights() if step > self.options.class_weights_from_steps else None

    def _views(self, images: Tensor, labels: Tensor, confidence: Tensor, *, step: int) -> Augmented:
        """Return all strong views of a batch one after the other."""
        mix = step > self.options.classmix_from_steps
        views = [
            self._augmented("unlabelled", images, labels, step=step, view=view, confidence=confidence, mix=mix)
            for view in range(1, self.options.views + 1)
        ]
        sure = [view.confidence for view in views if view.confidence is not None]
        return Augmented(torch.cat([v.images for v in views]), torch.cat([v.labels for v in views]), torch.cat(sure))

    def _augmented(
        self,
        stream: str,
        images: Tensor,
        labels: Tensor,
        *,
        step: int,
        view: int = 0,
        confidence: Tensor | None = None,
        mix: bool = True,
    ) -> Augmented:
        """Augment a normalised batch where that is left to the method; the result is normalised again."""
        spec = self._streams[stream].augmentation if stream in self._streams else None
        if spec is None or self._input is None or spec.applied_by != "method":
            return Augmented(images, labels, confidence)
        fill = padding_colour(spec, self._input)
        augmenter = BatchAugmenter(spec, batch_total=len(images), seed=self.seed, stream=stream, fill=fill)
        return augmenter.of_normalised(
            images, labels, self._input, step=step, view=view, confidence=confidence, mix=mix
        )

    @torch.no_grad()
    def _remember(self, weak: Augmented) -> None:
        """Put the teacher's projections of pixels that it is right and sure about into the memory."""
        options, heads = self.options, self.teacher_heads.network
        output = self.teacher.network(weak.images)
        size = (weak.labels.shape[-2], weak.labels.shape[-1])
        confidence, predicted = self.segmentor.resize(output.logits, size).softmax(1).max(1)
        sure = (predicted == weak.labels) & (confidence > options.memory_confidence)
        features, keep = _rows(output.embedding, sure)
        labels = _rows(output.embedding, weak.labels)[1]
        assert isinstance(heads, nn.ModuleDict)
        projected = heads["projection"](features, keep)
        self.memory.add(
            projected,
            labels,
            keep,
            heads["selectors"](projected, labels, keep),
            limit=options.memory_new_per_image * len(weak.images),
            rank=options.memory_rank,
        )

    def _labels_of(self, weak: Augmented, *, from_source: bool) -> Tensor:
        """Return the labels that a labelled batch is contrasted with."""
        if self.last_labels is None:
            return weak.labels
        if not from_source:
            self.last_labels.copy_(weak.labels)
        return self.last_labels

    def _contrast(self, embedding: Tensor, target: Tensor) -> Tensor:
        """Contrast the student's features (N, K, h, w) with the memory by labels (N, H, W)."""
        assert self.heads is not None
        features, labels = _rows(embedding, target)
        valid = labels != IGNORE_INDEX
        predicted = self.heads["prediction"](self.heads["projection"](features, valid), valid)
        vectors, filled = self.memory.vectors, self.memory.mask()
        of_memory = None
        if "memory_selectors" in self.heads:
            selectors = self.heads["memory_selectors"]
            assert isinstance(selectors, Selectors)
            of_memory = selectors.of_memory(nn.functional.normalize(vectors, dim=2), filled)
        return memory_contrast(
            predicted,
            labels,
            valid,
            vectors,
            filled,
            feature_scores=self.heads["selectors"](predicted.detach(), labels, valid),
            memory_scores=of_memory,
        )


def _apart(group: ParamGroup, prefix: str) -> list[ParamGroup]:
    """Split off the parameters whose names begin with a prefix."""
    own = [item for item in group.params if item[0].startswith(prefix)]
    rest = [item for item in group.params if not item[0].startswith(prefix)]
    named = ((group.name, rest), (prefix.rstrip("."), own))
    return [replace(group, name=name, params=params) for name, params in named if params]


def _rows(embedding: Tensor, maps: Tensor) -> tuple[Tensor, Tensor]:
    """Return features (N h w, K) of an embedding (N, K, h, w), and a map (N, H, W) at their places, (N h w,)."""
    size = (embedding.shape[-2], embedding.shape[-1])
    return embedding.permute(0, 2, 3, 1).flatten(0, 2), resize_labels(maps, size).flatten()


def build(options: Options, segmentor: Segmentor, *, num_classes: int, seed: int) -> MemoryContrast:
    """Build the method."""
    return MemoryContrast(options, segmentor, num_classes=num_classes, seed=seed)
