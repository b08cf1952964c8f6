"""Votes of windows, scales and mirrors are added as they are: a soft-max would weigh them anew."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from segbench.core.spec import DataSpec, EvaluationSpec, InputSpec
from segbench.engine.predict import predict
from segbench.engine.runtime import Runtime
from segbench.models.segmentor import Segmentor, SegmentorOutput

PLAIN = InputSpec(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


class Answers(Segmentor):
    """A network whose three scores, at stride 4, are the colours."""

    def __init__(self, *, votes: bool) -> None:
        torch.nn.Module.__init__(self)
        self.num_classes, self.align_corners, self.votes = 3, False, votes

    def forward(self, images: Tensor, rows: Tensor | None = None) -> SegmentorOutput:
        scores = F.avg_pool2d(images, 4)
        return SegmentorOutput(scores, (), scores, {})


def by_hand(image: Tensor, scales: tuple[float, ...]) -> Tensor:
    """Sum over scales and mirrors of the mean over windows 16 x 16 every 8 x 8 of the enlarged scores."""
    network, size = Answers(votes=True), image.shape[-2:]
    total = torch.zeros(1, 3, *size)
    for scale in scales:
        scaled = (round(size[0] * scale), round(size[1] * scale))
        shown = F.interpolate(image / 255, size=scaled, mode="bilinear", align_corners=False)
        for mirrored in (False, True):
            view = shown.flip(-1) if mirrored else shown
            votes, times = torch.zeros(1, 3, *scaled), torch.zeros(scaled)
            tops, lefts = (sorted({*range(0, side - 16, 8), side - 16}) for side in scaled)
            for top in tops:
                for left in lefts:
                    window = view[..., top : top + 16, left : left + 16]
                    part = F.interpolate(network(window).logits, size=(16, 16), mode="bilinear", align_corners=False)
                    votes[..., top : top + 16, left : left + 16] += part
                    times[top : top + 16, left : left + 16] += 1
            whole = F.interpolate(votes / times, size=size, mode="bilinear", align_corners=False)
            total += whole.flip(-1) if mirrored else whole
    return total.argmax(1)


def predicted(image: Tensor, *, votes: bool, **protocol: object) -> Tensor:
    spec = EvaluationSpec(
        data=DataSpec(name="camvid"), mode="slide", window=(16, 16), stride=(8, 8), flip=True, **protocol
    )
    size = (image.shape[-2], image.shape[-1])
    found = predict(Answers(votes=votes), image.byte(), spec, input=PLAIN, size=size, runtime=Runtime())
    return found.long()


@pytest.mark.parametrize("scales", [(1.0,), (1.0, 1.5, 2.0)])
def test_votes_are_added(scales: tuple[float, ...]) -> None:
    torch.manual_seed(0)
    image = torch.randint(0, 256, (1, 3, 8, 12)).float().repeat_interleave(3, 2).repeat_interleave(3, 3)
    expected = by_hand(image, scales)
    assert len(expected.unique()) == 3
    for protocol in (
        {"fuse": "logits"},
        {"fuse": "probabilities"},
        {"fuse": "probabilities", "overlap": "probabilities"},
    ):
        assert torch.equal(predicted(image, votes=True, scales=scales, **protocol), expected)
    assert torch.equal(predicted(image, votes=False, scales=scales, fuse="logits"), expected)


def test_logits_are_not() -> None:
    """The same numbers, thirty times as large, as logits: a soft-max makes a difference that this test would see."""
    torch.manual_seed(0)
    image = torch.randint(0, 256, (1, 3, 8, 12)).float().repeat_interleave(3, 2).repeat_interleave(3, 3)

    class Loud(Answers):
        def forward(self, images: Tensor, rows: Tensor | None = None) -> SegmentorOutput:
            found = super().forward(images)
            return found._replace(logits=30 * found.logits)

    spec = EvaluationSpec(data=DataSpec(name="camvid"), scales=(1.0, 2.0), flip=True, fuse="probabilities")
    one, other = (
        predict(Loud(votes=votes), image.byte(), spec, input=PLAIN, size=(24, 36), runtime=Runtime())
        for votes in (False, True)
    )
    assert not torch.equal(one, other)
