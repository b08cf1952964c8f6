"""A training whose later stages learn from labels that an earlier one gives."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from segbench.checkpoints.weights_file import build_from_weights, load_weights
from segbench.core.errors import Interrupted, InvalidFault, MissingFault
from segbench.core.progress import Observer
from segbench.core.spec import Choice, DataSpec, StageSpec, StreamSpec, SubsetSpec, TrainingSpec
from segbench.data import label_sets
from segbench.data.colour import normalise
from segbench.data.open import _Generated, open_dataset
from segbench.engine.folder import LAST
from segbench.engine.labelling import make_label_set
from segbench.engine.runtime import Runtime
from segbench.reproduce.folders import Folders
from segbench.reproduce.training import train
from tests.engine.tiny import DATA, same, stage

FEW = DATA.model_copy(update={"subset": SubsetSpec(count=2)})
REST = FEW.model_copy(update={"unlabelled_rest": True})
RUNTIME = Runtime(workers=0, checkpoint_seconds=0)


def stream(data: DataSpec) -> StreamSpec:
    return StreamSpec(data=data, crop=(32, 64), batch_total=2)


def pipeline(*, threshold: float | None = 0.15, method: str = "supervised") -> TrainingSpec:
    teacher = stage(steps=2).model_copy(update={"name": "teacher", "streams": {"labelled": stream(FEW)}})
    pseudo = REST.model_copy(update={"labels_from": "teacher", "labels_threshold": threshold})
    own = {} if method == "supervised" else {"embedding_dim": 8, "resize_size": [8, 16]}
    both = Choice(name=method, options={**own, "streams": ["labelled", "pseudo"]})
    changes = {"name": "final", "streams": {"labelled": stream(FEW), "pseudo": stream(pseudo)}, "method": both}
    return TrainingSpec(stages=(teacher, StageSpec.model_validate({**dict(stage(steps=3)), **changes})))


@pytest.fixture
def folders(tmp_path: Path):
    def made(name: str = "results") -> Folders:
        return Folders(tmp_path / name, tmp_path / "data")

    return made


class After(Observer):
    """Ask to stop when a question is put for the given time."""

    def __init__(self, calls: int) -> None:
        self.left = calls

    def stop_requested(self) -> bool:
        self.left -= 1
        return self.left <= 0


def the_set(folder: Path) -> label_sets.LabelSet:
    (path,) = folder.glob("trainings/*/label_sets/*")
    return label_sets.open_label_set(path)


@pytest.mark.parametrize("threshold", [None, 0.15])
def test_labels_are_those_of_the_network(folders, tmp_path: Path, threshold) -> None:
    train(pipeline(threshold=threshold), folders(), RUNTIME)
    found, images = the_set(tmp_path / "results"), open_dataset(REST)
    assert set(found.images) == {images.key(index) for index in range(3)}  # the two labelled ones are not among them
    network, header = build_from_weights(found.folder.parents[1] / LAST)
    kept = np.zeros(0, bool)
    for index in range(3):
        pixels = torch.tensor(images.read(index)[0]).permute(2, 0, 1)[None] / 255
        with torch.no_grad():
            logits = network(normalise(pixels, header.model.input)).logits
        scores = F.interpolate(logits, (48, 96), mode="bilinear", align_corners=network.align_corners).softmax(1)[0]
        wanted = scores.argmax(0)
        if threshold is not None:
            wanted[scores.amax(0) < threshold] = 255
        labels = found.read(images.key(index))
        assert np.array_equal(labels, wanted.numpy())
        kept = np.append(kept, labels.ravel() != 255)
    assert found.kept == pytest.approx(kept.mean()) and (threshold is None) == kept.all()
    assert sum(found.shares) == pytest.approx(1)


@pytest.mark.parametrize("method", ["supervised", "label-contrast"])
def test_stopped_anywhere_it_ends_with_the_same_weights(folders, method: str) -> None:
    """In the teacher, between two labelled images, and in the last stage."""
    spec = pipeline(method=method)
    whole, _ = train(spec, folders("straight"), RUNTIME)
    stops, said = 0, []
    for calls in (1, 2, 2, 1, 2, 10**6):
        try:
            parts, _ = train(spec, folders("parts"), RUNTIME, observer=After(calls))
        except Interrupted as stopped:
            stops += 1
            said += stopped.faults
    assert stops == 5 and any("images are labelled" in fault for fault in said), said
    assert same(load_weights(whole / LAST)[1], load_weights(parts / LAST)[1])


def test_true_labels_of_the_rest_are_never_read(folders, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = pipeline()
    first, _ = train(spec, folders("first"), RUNTIME)
    few, read = open_dataset(FEW), _Generated.read
    labelled = {few.key(index) for index in range(2)}

    def corrupted(self: _Generated, index: int):
        image, label = read(self, index)
        return image, label if self.key(index) in labelled else np.full_like(label, 3)

    monkeypatch.setattr(_Generated, "read", corrupted)
    second, _ = train(spec, folders("second"), RUNTIME)
    assert same(load_weights(first / LAST)[1], load_weights(second / LAST)[1])


def test_what_is_done_is_not_labelled_again(folders, tmp_path: Path) -> None:
    spec = pipeline()
    train(spec, folders(), RUNTIME)
    found = the_set(tmp_path / "results")
    for path in found.folder.rglob("*.png"):
        path.unlink()
    train(spec, folders(), RUNTIME)  # the last stage is done, so nobody asks for labels


def test_a_damaged_set_stops_the_next_stage(folders, tmp_path: Path) -> None:
    spec = pipeline()
    with pytest.raises(Interrupted):
        train(spec, folders(), RUNTIME, observer=After(6))
    found = the_set(tmp_path / "results")
    label_sets.label_file(found.folder, next(iter(found.images))).write_bytes(b"")
    with pytest.raises(MissingFault, match="not a grey 8-bit PNG"):
        train(spec, folders(), RUNTIME)


def test_a_set_of_other_weights_is_stale(folders, tmp_path: Path) -> None:
    weights, _ = train(TrainingSpec(stages=pipeline().stages[:1]), folders(), RUNTIME)
    data = REST.model_copy(update={"labels_from": "teacher"})
    options = {"stage": "teacher", "training": "abc", "seed": 0, "runtime": RUNTIME}
    folder = make_label_set(weights / LAST, data, **options)
    assert make_label_set(weights / LAST, data, **options) == folder
    with pytest.raises(InvalidFault, match="was made with another training"):
        make_label_set(weights / LAST, data, **{**options, "training": "xyz"})
