"""Metric profiles: one set of counts under the conventions that papers and tools use (numpy, no torch).

A profile is a convention with a name. All start from the same counts of every image, so none needs the network again.
Only ``standard`` is compared with publications, unless a recipe says otherwise.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from segbench.core.errors import UsageFault
from segbench.core.registry import choices

from . import scores
from .scores import Tally

EPSILON = 1e-7  # in the denominator of CFN's baselines
ALL = "all"


@dataclass(frozen=True)
class ProfileScores:
    """Scores of a profile in percent; NaN where it defines none.

    Attributes:
        miou: mean IoU.
        dice: mean Dice coefficient.
        accuracy: what the convention calls the accuracy of pixels.
    """

    miou: float
    dice: float
    accuracy: float


@dataclass(frozen=True)
class Profile:
    """A convention.

    Attributes:
        name: its name on the command line.
        says: one sentence: what it does, and who does so.
        score: maps the counts of every image, each (N, C), to the scores.
    """

    name: str
    says: str
    score: Callable[[Tally], ProfileScores]


def _of_set(absent: scores.Absent) -> Callable[[Tally], ProfileScores]:
    def score(images: Tally) -> ProfileScores:
        total = images.total()
        return _percent(
            scores.miou(total, absent=absent), scores.mean_dice(total, absent=absent), scores.pixel_accuracy(total)
        )

    return score


def _labelled_only(images: Tally) -> ProfileScores:
    total = images.total()
    there = total.target > 0
    chosen = Tally(total.true_positive[there], total.predicted[there], total.target[there])
    return _percent(
        scores.miou(chosen, absent="exclude"), scores.mean_dice(chosen, absent="exclude"), scores.pixel_accuracy(total)
    )


def _without_first(images: Tally) -> ProfileScores:
    total = images.total()
    rest = Tally(total.true_positive[1:], total.predicted[1:], total.target[1:])
    return _percent(
        scores.miou(rest, absent="exclude"), scores.mean_dice(rest, absent="exclude"), scores.pixel_accuracy(rest)
    )


def _micro(images: Tally) -> ProfileScores:
    total = images.total()
    hit, either = total.true_positive.sum(), total.predicted.sum() + total.target.sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        return _percent(np.divide(hit, either - hit), scores.micro_dice(total), scores.pixel_accuracy(total))


def _per_image(images: Tally) -> ProfileScores:
    return _mean(
        scores.miou(images, absent="exclude"), scores.mean_dice(images, absent="exclude"), scores.pixel_accuracy(images)
    )


def _per_image_labelled(images: Tally) -> ProfileScores:
    there = images.target > 0
    iou, dice = scores.iou_per_class(images), scores.dice_per_class(images)
    means = [_mean_where(values, there) for values in (iou, dice)]
    return _mean(means[0], means[1], scores.pixel_accuracy(images))


def _cfn(*, absent_is_one: bool) -> Callable[[Tally], ProfileScores]:
    def score(images: Tally) -> ProfileScores:
        hit = images.true_positive.astype(np.float64)
        union = images.predicted + images.target - hit
        iou = (hit + 1) / (union + 1) if absent_is_one else hit / (union + EPSILON)
        pixels = images.target.sum(-1)
        # A smoothing of 1, over all classes of an image.
        dice = (2 * hit.sum(-1) + 1) / (images.predicted.sum(-1) + pixels + 1)
        wrong = (images.predicted + images.target - 2 * hit).sum(-1)
        with np.errstate(invalid="ignore", divide="ignore"):
            entries = 1 - wrong / (pixels * hit.shape[-1])
        return _mean(iou.mean(-1), dice, entries)

    return score


PROFILES: dict[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile(
            "standard",
            "One count over the whole set; a class that is neither labelled nor predicted is left out. "
            "cityscapesScripts, MMSegmentation, torchmetrics.",
            _of_set("exclude"),
        ),
        Profile("absent-0", "The same, but such a class counts 0.", _of_set("zero")),
        Profile("absent-1", "The same, but such a class counts 1.", _of_set("one")),
        Profile(
            "labelled-only",
            "The same over the classes that are labelled somewhere: what is only predicted costs no class of its own.",
            _labelled_only,
        ),
        Profile(
            "without-class-0",
            "The same without class 0, such as a background; its pixels still are wrong for the others. The accuracy "
            "is the recall of the other classes' pixels.",
            _without_first,
        ),
        Profile(
            "micro",
            "Pooled over the classes: pixels count alike. Dice and accuracy are then one and the same.",
            _micro,
        ),
        Profile(
            "per-image",
            "The mean over the images of each image's mean over the classes that it shows or is predicted to show.",
            _per_image,
        ),
        Profile(
            "per-image-labelled",
            "The same over the classes that are labelled in the image.",
            _per_image_labelled,
        ),
        Profile(
            "cfn-baselines",
            "As the public code of CFN scores its baselines, from hard labels in place of thresholded scores: the mean "
            "over the images, a class absent from an image counts 0; the accuracy is over one-hot entries.",
            _cfn(absent_is_one=False),
        ),
        Profile(
            "cfn-released",
            "As the public code of CFN scores its own model, from hard labels in place of probabilities: the mean over "
            "the images with a smoothing of 1, so that a class absent from an image counts 1.",
            _cfn(absent_is_one=True),
        ),
    )
}


def parse_profiles(names: Iterable[str], *, command: str) -> tuple[str, ...]:
    """Return the profiles that are asked for, each once, in the order of `PROFILES` for ``all``.

    Args:
        names: names, or lists of them with commas, or ``all``.
        command: of segbench, for the fault.

    Raises:
        UsageFault: an unknown name; close ones are suggested.
    """
    wanted: dict[str, None] = {}
    for name in (part.strip() for names_ in names for part in names_.split(",")):
        if name == ALL:
            wanted |= dict.fromkeys(PROFILES)
        elif name in PROFILES:
            wanted[name] = None
        else:
            hint = choices(name, [*PROFILES, ALL])
            raise UsageFault(f"No profile {name!r}. {hint}.", next=f"segbench {command} --profile {ALL}")
    return tuple(wanted)


def score_profiles(images: Tally, names: Iterable[str]) -> dict[str, ProfileScores]:
    """Return the scores of profiles.

    Args:
        images: counts of every image, each (N, C) int64.
        names: of `PROFILES`.
    """
    return {name: PROFILES[name].score(images) for name in names}


def explain(images: Tally, found: dict[str, ProfileScores]) -> str:
    """Return in one sentence how far profiles are apart and what of the counts makes them so; empty for one profile."""
    known = {name: each.miou for name, each in found.items() if not np.isnan(each.miou)}
    if len(known) < 2:
        return ""
    lowest, highest = min(known, key=known.__getitem__), max(known, key=known.__getitem__)
    total, number = images.total(), images.target.shape[-1]
    absent = int(((total.target == 0) & (total.predicted == 0)).sum())
    shown = ((images.target > 0) | (images.predicted > 0)).sum(-1)
    text = f"{known[highest] - known[lowest]:.1f} points lie between {lowest} and {highest}: "
    text += f"an image shows or is predicted to show {shown.mean():.1f} of {number} classes on average"
    if absent:
        text += f", {absent} occur in no image"
    only = int(((total.target == 0) & (total.predicted > 0)).sum())
    if only:
        text += f", {only} are predicted and never labelled"
    return f"{text}."


def _mean_where(values: scores.Scores, there: np.ndarray) -> scores.Scores:
    """Return the mean over the last axis where ``there``; NaN where that is nowhere."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(there, np.nan_to_num(values), 0).sum(-1) / there.sum(-1)


def _mean(*values: scores.Scores) -> ProfileScores:
    """Return means over the images that have a score."""
    found = [each[~np.isnan(each)] for each in values]
    return ProfileScores(*(100 * float(each.mean()) if len(each) else float("nan") for each in found))


def _percent(*values: scores.Scores) -> ProfileScores:
    return ProfileScores(*(100 * float(value) for value in values))
