"""Feature scores of a network, collected while a split is scored if the protocol asks for them."""

import torch
from torch import Tensor

from segbench.core.errors import InvalidFault
from segbench.core.spec import FeatureSpec, InputSpec
from segbench.data.colour import normalise
from segbench.losses.resize import resize_labels
from segbench.metrics.features import ClassFeatures, FeatureScores
from segbench.models.segmentor import Segmentor, SegmentorOutput

from .runtime import Runtime


def require_layer(spec: FeatureSpec, layers: int) -> None:
    """Raise InvalidFault if the encoder has too few layers for the one whose features are scored."""
    if spec.layer is not None and spec.layer > layers:
        raise InvalidFault(
            f"evaluation.features.layer is {spec.layer}, but this encoder has {layers} layers.",
            next=f"the same command with --set evaluation.features.layer={layers}",
        )


class FeatureCounts:
    """Features of the classes of a split.

    Args:
        segmentor: network in evaluation mode.
        spec: selection of features.
        input: channel order and normalisation.
        runtime: device and precision.

    Raises:
        InvalidFault: the encoder does not have the layer.
    """

    def __init__(self, segmentor: Segmentor, spec: FeatureSpec, *, input: InputSpec, runtime: Runtime) -> None:
        require_layer(spec, len(segmentor.layer_strides))
        self._segmentor, self._spec, self._input, self._runtime = segmentor, spec, input, runtime
        self._features = ClassFeatures(
            segmentor.num_classes,
            length=spec.length,
            per_class=spec.per_class,
            seed=spec.seed,
            device=runtime.device,
        )

    def count(self, image: Tensor, target: Tensor, *, key: str) -> None:
        """Add an image: (1, 3, H, W) uint8 RGB on the device, its label (1, h, w) and its name."""
        features = self._map(normalise(image.float() / 255.0, self._input))[0]
        labels = resize_labels(target.cpu(), (features.shape[-2], features.shape[-1]))[0]
        self._features.update(features, labels.to(torch.uint8).numpy(), key=key)

    def scores(self) -> FeatureScores:
        return self._features.scores()

    def _map(self, images: Tensor) -> Tensor:
        if self._runtime.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        with self._runtime.autocast():
            if self._spec.layer is None:
                output: SegmentorOutput = self._segmentor(images)
                return output.embedding
            # Not those of the output, which a decoder may replace by its own.
            layers: tuple[Tensor, ...] = self._segmentor.backbone(images)
            return layers[self._spec.layer - 1]
