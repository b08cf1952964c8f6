"""The labelled images of a training are written down, follow its seed if they shall, and cannot change under it."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from segbench.core.errors import InvalidFault
from segbench.core.progress import Observer
from segbench.core.spec import StageSpec, StreamSpec, SubsetSpec
from segbench.data.open import open_dataset
from segbench.engine.labelled import LABELLED, labelled, note_labelled
from tests.engine.tiny import DATA, stage, train


def with_subset(**subset: object) -> StageSpec:
    return stage(steps=1, data=DATA.model_copy(update={"subset": SubsetSpec.model_validate(subset)}))


def written(folder: Path) -> dict[str, dict[str, object]]:
    return json.loads((folder / LABELLED).read_text())["streams"]


def test_a_training_leaves_its_list(tmp_path: Path) -> None:
    train(with_subset(count=2, draw=7), tmp_path)
    (entry,) = labelled(tmp_path, "train")
    assert (entry["stage"], entry["stream"], entry["count"], entry["draw"]) == ("train", "labelled", 2, 7)
    drawn = open_dataset(DATA.model_copy(update={"subset": SubsetSpec(count=2, draw=7)}))
    assert entry["keys"] == [drawn.key(0), drawn.key(1)] == written(tmp_path)["labelled"]["keys"]
    assert entry["sha256"] == hashlib.sha256("".join(f"{key}\n" for key in entry["keys"]).encode()).hexdigest()


def test_all_labels_leave_no_list(tmp_path: Path) -> None:
    train(stage(steps=1), tmp_path)
    assert not (tmp_path / LABELLED).exists()
    assert labelled(tmp_path, "train") == []


def test_a_draw_follows_the_seed(tmp_path: Path) -> None:
    spec = with_subset(count=2, draw=None)
    lists = []
    for seed in range(4):
        train(spec, tmp_path / str(seed), seed=seed)
        lists.append(written(tmp_path / str(seed))["labelled"])
    assert [entry["draw"] for entry in lists] == [0, 1, 2, 3]
    assert len({entry["sha256"] for entry in lists}) > 1


def note(spec: StageSpec, folder: Path, *, goes_on: bool) -> None:
    data = {name: open_dataset(stream.data) for name, stream in spec.streams.items()}
    note_labelled(spec, folder, data, seed=0, goes_on=goes_on)


def test_other_images_are_refused_once_it_has_begun(tmp_path: Path) -> None:
    note(with_subset(count=2), tmp_path, goes_on=False)
    before = written(tmp_path)
    note(with_subset(count=2), tmp_path, goes_on=True)
    with pytest.raises(InvalidFault, match="other labelled images"):
        note(with_subset(count=3), tmp_path, goes_on=True)
    assert written(tmp_path) == before
    note(with_subset(count=3), tmp_path, goes_on=False)
    assert written(tmp_path)["labelled"]["count"] == 3, "nothing was trained yet"
    (tmp_path / LABELLED).write_text("{")
    with pytest.raises(InvalidFault, match="does not read"):
        labelled(tmp_path, "train")


def test_only_streams_with_labels_are_listed(tmp_path: Path) -> None:
    spec = with_subset(count=2)
    stream = spec.streams["labelled"]
    rest = StreamSpec(
        data=stream.data.model_copy(update={"unlabelled_rest": True}), crop=stream.crop, batch_total=stream.batch_total
    )
    note(spec.model_copy(update={"streams": {"labelled": stream, "unlabelled": rest}}), tmp_path, goes_on=False)
    assert set(written(tmp_path)) == {"labelled"}


def test_a_long_list_is_kept_whole(tmp_path: Path) -> None:
    data = DATA.model_copy(update={"images": 800, "subset": SubsetSpec(count=596)})
    note(stage(steps=1, data=data), tmp_path, goes_on=False)
    (entry,) = labelled(tmp_path, "train")
    assert entry["keys"] == written(tmp_path)["labelled"]["keys"]
    assert len(set(entry["keys"])) == entry["count"] == 596


def test_a_class_that_no_label_shows_is_told_once_and_recorded(tmp_path: Path) -> None:
    notes: list[str] = []

    class Listening(Observer):
        def note(self, text: str) -> None:
            notes.append(text)

    spec = with_subset(count=1)
    data = open_dataset(spec.primary_stream.data)
    shown = set(np.unique(data.read(0)[1]))
    wanted = [name for index, name in enumerate(data.classes.names) if index not in shown]
    assert wanted, "take another seed: this image shows every class"
    for goes_on in (False, True):
        note_labelled(spec, tmp_path, {"labelled": data}, seed=0, goes_on=goes_on, observer=Listening())
    assert notes == [f"the 1 labelled images show no pixel of {', '.join(wanted)}"]
    (entry,) = labelled(tmp_path, "train")
    assert entry["missing"] == wanted and entry["of"] == 5
    note_labelled(with_subset(count=4), tmp_path / "many", {"labelled": open_dataset(DATA)}, seed=0, goes_on=False)


def test_images_by_name() -> None:
    names = [open_dataset(DATA).key(index) for index in (3, 1)]
    names.sort()
    chosen = open_dataset(DATA.model_copy(update={"subset": SubsetSpec(rule="list", count=2, keys=tuple(names))}))
    assert [chosen.key(index) for index in range(2)] == sorted(names)
    wrong = SubsetSpec(rule="list", count=2, keys=("train/generated_0000", names[0]))
    with pytest.raises(InvalidFault, match=r"camvid has no image 'train/generated_0000'\. Close: train/"):
        open_dataset(DATA.model_copy(update={"subset": wrong}))


@pytest.mark.parametrize(
    ("subset", "says"),
    [
        ({"rule": "list", "count": 2, "keys": ["a", "a"]}, "keys names a more than once"),
        ({"rule": "list", "count": 2, "keys": ["a"]}, "count is 2, but keys names 1 images"),
        ({"rule": "list", "count": 2, "keys": ["b", "a"]}, "keys must be sorted"),
        ({"rule": "list", "count": 2}, "rule list requires keys"),
        ({"rule": "random", "count": 1, "keys": ["a"]}, "no other rule has them"),
        ({"count": 0}, "greater than 0"),
    ],
)
def test_lists_that_cannot_be(subset: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        SubsetSpec.model_validate(subset)
