"""Options that every extra loss shares."""

from typing import ClassVar, Literal

from segbench.core.spec import Options, setting


class LossOptions(Options):
    """A loss beside the cross-entropy that is a mean over the labelled pixels of a batch.

    Attributes:
        title: the loss in words, for deviations and reports.
    """

    title: ClassVar[str]

    weight: float = setting(1.0, ge=0, description="its factor beside the cross-entropy's")

    @property
    def resolution(self) -> Literal["logits", "labels"]:
        """Resolution at which the loss takes logits and labels: that of the labels, or that of the logits."""
        return "labels"

    @property
    def group(self) -> int | Literal["batch"] | None:
        """Number of successive images that one value is computed over; None if pixels count alike in any batch."""
        return None

    def factor(self, progress: float) -> float:
        """Return the factor beside the cross-entropy's with a share of the training done, 0 to 1."""
        return self.weight


class GroupLossOptions(LossOptions):
    """A loss that is computed over groups of images and then averaged over the groups."""

    images_per_group: int | None = setting(
        2, gt=0, description="images that it is formed over, those of one GPU in the releases; None: the batch"
    )

    @property
    def group(self) -> int | Literal["batch"] | None:
        return self.images_per_group or "batch"
