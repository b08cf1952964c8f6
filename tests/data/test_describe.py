"""The state of a data set by its folders alone."""

import os
import shutil
from pathlib import Path

import pytest

from segbench.core.errors import UsageFault
from segbench.data.describe import State, describe, folder_bytes
from segbench.data.presence import NO_READER
from tests.data.camvid_tree import places, tree_options, write_tree
from tests.data.status import data_status
from tests.unread import unread_set


def state(root: Path, **facts: object) -> State:
    return describe("camvid", root, options=tree_options().model_copy(update=facts))


def test_complete_by_names_alone(tree: Path) -> None:
    for folder in places(tree / "camvid", "train"):
        (folder / "seq_00000.png").write_bytes(b"no image")  # for verify to find, which opens files
    found = state(tree)
    assert (found.status, found.folder, found.layout) == ("ready", tree / "camvid", "")
    assert [(part.split, part.found, part.status) for part in found.splits] == [
        ("train", 5, "ready"),
        ("val", 2, "ready"),
        ("test", 3, "ready"),
    ]


def test_parts(tree: Path) -> None:
    (places(tree / "camvid", "train")[1] / "seq_00000.png").unlink()
    for folder in places(tree / "camvid", "test"):
        shutil.rmtree(folder)
    assert [part.status for part in state(tree).splits] == ["4 of 5", "ready", "missing"]
    assert state(tree).status == "incomplete: 6 of 10"
    assert state(tree, optional=("test",)).status == "incomplete: 6 of 7"
    assert [part.optional for part in state(tree, optional=("test",)).splits] == [False, False, True]


def test_too_many_are_not_ready(tree: Path) -> None:
    images_folder, labels = places(tree / "camvid", "val")
    for folder in (images_folder, labels):
        shutil.copy(folder / "seq_00000.png", folder / "seq_00009.png")
    assert [part.status for part in state(tree).splits] == ["ready", "3 instead of 2", "ready"]
    assert state(tree, splits={"train": (5,), "val": (2, 3), "test": (3,)}).status == "ready"


def test_a_plan_asks_only_for_what_it_needs(tree: Path) -> None:
    for folder in places(tree / "camvid", "test"):
        shutil.rmtree(folder)
    options = tree_options()
    assert data_status("camvid", tree, options=options) == "incomplete: 7 of 10"
    assert data_status("camvid", tree, options=options, splits=["train", "val"]) == "ready"
    assert data_status("camvid", tree, options=options, splits=["test"]) == "missing"
    optional = options.model_copy(update={"optional": ("test",)})
    assert data_status("camvid", tree, options=optional) == "ready"
    assert data_status("camvid", tree, options=optional, splits=["val", "test"]) == "incomplete: 2 of 5"
    with pytest.raises(UsageFault, match="no split 'vall'"):
        data_status("camvid", tree, options=options, splits=["vall"])


def test_links_count_where_they_lead_somewhere(tree: Path) -> None:
    path = places(tree / "camvid", "val")[0] / "seq_00000.png"
    path.rename(tree / "elsewhere.png")
    path.symlink_to(tree / "elsewhere.png")
    assert state(tree).status == "ready"
    (tree / "elsewhere.png").unlink()
    assert state(tree).splits[1].status == "1 of 2"


def test_absent_and_unread(tmp_path: Path) -> None:
    found = state(tmp_path)
    assert (found.status, found.folder) == ("missing", None)
    assert [part.found for part in found.splits] == [0, 0, 0]
    (tmp_path / "camvid").mkdir()
    assert state(tmp_path).status == "missing"
    with unread_set() as name:
        assert describe(name, tmp_path).status == data_status(name, tmp_path, splits=["val"]) == NO_READER
    with pytest.raises(UsageFault):
        describe("camvit", tmp_path)


def test_what_is_prepared_is_counted(tree: Path) -> None:
    assert state(tree).prepared_bytes == 0
    folder = Path(os.environ["SEGBENCH_CACHE"]) / "prepared" / "camvid" / "val"
    folder.mkdir(parents=True)
    (folder / "pixels").write_bytes(bytes(1000))
    (folder.parent / "index").write_bytes(bytes(24))
    assert state(tree).prepared_bytes == 1024 == folder_bytes(folder.parent)


def test_a_list_that_is_gone_is_a_missing_split(tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "camvid", layout="segnet")
    (folder / "val.txt").write_text("")
    assert [part.status for part in state(tmp_path).splits] == ["ready", "missing", "ready"]
