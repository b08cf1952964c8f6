"""A semi-supervised training stopped anywhere: thresholds, restart and refreshed statistics included."""

from pathlib import Path
from typing import Any

import pytest

from segbench.checkpoints.weights_file import load_weights
from segbench.core.errors import Interrupted, InvalidFault
from segbench.core.spec import AugmentationSpec, BlurSpec, Choice, JitterSpec, StageSpec, StreamSpec, SubsetSpec
from segbench.engine.folder import BEST, LAST, REFRESHED
from tests.engine.tiny import DATA, EVERY_STEP, after, same, stage, train

TOGETHER = AugmentationSpec(
    scale=(0.75, 1.75),
    flip=0.5,
    classmix=0.5,
    jitter=JitterSpec(brightness=(-0.1, 0.1), style="kornia041"),
    decisions="batch",
    applied_by="method",
)
STRONG = TOGETHER.model_copy(update={"classmix": 1.0, "blur": BlurSpec(probability=0.5, kernel=5, axes=(0.1, 1.5))})
VALIDATION = 5  # images, each of which asks whether to stop


def semi(**options: Any) -> StageSpec:
    few = DATA.model_copy(update={"subset": SubsetSpec(count=2)})
    rest = few.model_copy(update={"unlabelled_rest": True})
    own = {
        "embedding_dim": 8,
        "hidden_dim": 8,
        "memory_size_per_class": 6,
        "memory_from_steps": 0,
        "contrast_from_steps": 1,
        "classmix_from_steps": 1,
        "class_weights_from_steps": 1,
        "class_weights": "sqrt_median_frequency",
        "memory_confidence": 0.0,
        "ramp_up_steps": 3,
        "restart_after_steps": 1,
        "norm_refresh_steps": 3,
        "duplicate_updates": True,
    }
    spec = stage(steps=8, validate_every=2)
    streams = {
        "labelled": StreamSpec(data=few, crop=(32, 64), batch_total=2, augmentation=TOGETHER),
        "unlabelled": StreamSpec(data=rest, crop=(32, 64), batch_total=1, augmentation=STRONG),
    }
    method = Choice(name="memory-contrast", options=own | options)
    return StageSpec.model_validate({**dict(spec), "streams": streams, "method": method})


def test_stopped_anywhere_it_ends_with_the_same_weights(tmp_path: Path) -> None:
    straight = train(semi(), tmp_path / "straight")
    assert straight.refreshed is not None and straight.refreshed["batches"] == 3
    assert any(point["loss_contrast"] > 0 for point in straight.curve)
    stops = 0
    # Each after two steps or a validation and a step, and in the middle of the refreshment.
    summary = None
    for calls in (1, 2, VALIDATION + 2, 1, 2 * VALIDATION, VALIDATION + 2, VALIDATION + 3, 10**6):
        try:
            summary = train(semi(), tmp_path / "pieces", stop=after(calls), save=EVERY_STEP)
            break
        except Interrupted:
            stops += 1
    assert stops > 4 and summary is not None
    assert (summary.curve, summary.refreshed, summary.best) == (straight.curve, straight.refreshed, straight.best)
    for name in (LAST, BEST, *([REFRESHED] if straight.refreshed["better"] else [])):
        found, expected = (load_weights(tmp_path / folder / name)[1] for folder in ("pieces", "straight"))
        assert same(found, expected), name


def test_refreshed_weights_count_only_if_they_are_better(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Statistics alone differ from the best weights; a worse score leaves no file."""
    better, worse = None, False
    for seed in range(40):  # another version of torch draws otherwise
        folder = tmp_path / str(seed)
        summary = train(semi(restart_after_steps=None), folder, seed=seed)
        found, best = summary.refreshed, summary.best
        assert found is not None and best is not None
        assert found["better"] == (found["miou"] > best["miou"])
        assert (folder / REFRESHED).is_file() == found["better"]
        better, worse = (folder, worse) if found["better"] else (better, True)
        if better is not None and worse:
            break
    assert better is not None and worse, "no seed of 40 got better, or none did not"
    before, refreshed = (load_weights(better / name)[1] for name in (BEST, REFRESHED))
    changed = {name for name in before if not same(before[name], refreshed[name])}
    assert changed and all("running_" in name or "num_batches" in name for name in changed)


def test_no_refreshment_leaves_no_trace(tmp_path: Path) -> None:
    assert train(semi(norm_refresh_steps=0), tmp_path).refreshed is None
    assert not (tmp_path / REFRESHED).exists()


def test_streams_of_other_classes_are_refused(tmp_path: Path) -> None:
    spec = semi()
    other = spec.streams["unlabelled"].data.model_copy(update={"name": "cityscapes"})
    streams = {**spec.streams, "unlabelled": spec.streams["unlabelled"].model_copy(update={"data": other})}
    with pytest.raises(
        InvalidFault, match="stream 'unlabelled': the 19 classes of cityscapes are not the 11 of camvid"
    ):
        train(spec.model_copy(update={"streams": streams}), tmp_path)
