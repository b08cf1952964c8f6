"""The labelled images of a training are written down, follow its seed if they shall, and cannot change under it."""

import hashlib
import json
from pathlib import Path

import pytest

from segbench.core.errors import InvalidFault
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
