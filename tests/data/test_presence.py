"""One handle of a data set, and one answer to whether its files are there."""

from pathlib import Path

import pytest

from segbench.core.errors import InvalidFault, MissingFault, UsageFault
from segbench.core.spec import DataSpec
from segbench.data.handle import find_dataset
from segbench.data.open import list_splits, open_dataset
from segbench.data.presence import presence
from segbench.data.sets.camvid import reader
from tests.data.camvid_tree import places, tree_options


def test_absent_files_are_named_and_opening_names_the_same(tree: Path) -> None:
    images, labels = places(tree / "camvid", "train")
    gone = [images / "seq_00001.png", labels / "seq_00003.png"]
    for path in gone:
        path.unlink()
    dataset = find_dataset("camvid", tree, options=tree_options())
    train, val, _ = presence(dataset).splits
    assert list(train.absent) == gone and train.found == 3 and not train.ready
    assert val.absent == () and val.ready
    with pytest.raises(MissingFault) as caught:
        open_dataset(DataSpec(name="camvid", splits=("train", "val")), root=tree)
    assert caught.value.faults == tuple(f"{path}: is missing" for path in gone)
    assert caught.value.next == "segbench data verify camvid"


def test_an_empty_split_and_an_absent_folder(tree: Path, tmp_path: Path) -> None:
    for folder in places(tree / "camvid", "val"):
        for path in folder.iterdir():
            path.unlink()
    with pytest.raises(MissingFault, match="holds no images of val"):
        list_splits(find_dataset("camvid", tree), DataSpec(name="camvid", splits=("val",)))
    nowhere = find_dataset("camvid", tmp_path / "nowhere")
    assert nowhere.folder is None and nowhere.layout == ""
    assert {split.status for split in presence(nowhere).splits} == {"missing"}
    with pytest.raises(MissingFault, match="CamVid is not under"):
        nowhere.pairs("train")


def test_the_folder_is_located_once_for_all_that_opening_does(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    located: list[Path] = []
    locate = reader.locate
    monkeypatch.setattr(reader, "locate", lambda root: located.append(root) or locate(root))
    spec = DataSpec(name="camvid", splits=("train", "val"), subset={"rule": "balanced", "count": 2, "draw": 0})
    open_dataset(spec, root=tree)
    assert located == [tree]


def test_a_handle_refuses_other_tables_and_splits(tree: Path) -> None:
    dataset = find_dataset("camvid", tree)
    assert dataset.table().name == "camvid" and dataset.table("camvid-12").num_classes == 12
    with pytest.raises(InvalidFault, match="class table 'voc2012' does not fit"):
        dataset.table("voc2012")
    with pytest.raises(UsageFault, match="no split 'dev'"):
        dataset.pairs("dev")
    with pytest.raises(UsageFault):
        find_dataset("camvit", tree)
