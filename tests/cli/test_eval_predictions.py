"""``segbench eval --predictions``: label files of any program, held to the official evaluator where there is one."""

from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from segbench.data.classes import class_table
from segbench.data.sets.cityscapes.labels import labels
from tests.data.official.cityscapes import arrays, frames
from tests.metrics.judge import evaluator
from tests.program import Done, segbench

Array = NDArray[np.uint8]
FRAMES = [frame for split, frame in frames() if split == "val"]
IDS = np.array([label.id for label in labels() if 0 <= label.train_id < 255], np.uint8)


def predicted(frame: str, *, void: bool = False) -> Array:
    """Train ids that are right in most places; with ``void``, label ids of which some are not scored."""
    rng = np.random.default_rng(list(frame.encode()))
    truth = class_table("cityscapes").to_train_ids(arrays(frame)[1])
    wrong = (rng.random(truth.shape) < 0.3) | (truth == 255)
    train_ids = np.where(wrong, rng.integers(0, 19, truth.shape), truth).astype(np.uint8)
    if not void:
        return train_ids
    ids = IDS[train_ids]
    ids[rng.random(ids.shape) < 0.1] = 30  # trailers: of the category of vehicles, and not scored
    ids[rng.random(ids.shape) < 0.05] = 4
    return ids


def write(folder: Path, files: dict[str, Array], *, palette: bool = False) -> Path:
    for name, values in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(values)
        if palette:
            image.putpalette(class_table("cityscapes").palette().tobytes())
        image.save(path)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "found", {f"{frame}_pred.png": predicted(frame) for frame in FRAMES})


def score(folder: Path, *words: object, data: Path, out: Path, dataset: str = "cityscapes") -> Done:
    return segbench("eval", "--predictions", folder, "--dataset", dataset, "--data-root", data, "--out", out, *words)


def judged(folder: Path, files: dict[str, Array], data: Path, official: ModuleType) -> dict[str, Any]:
    """What the official evaluator says of label ids."""
    write(folder, files)
    truth = sorted((data / "cityscapes").rglob("val/*/*_gtFine_labelIds.png"))
    return official.evaluateImgLists([str(folder / name) for name in sorted(files)], [str(file) for file in truth],
                                     official.args)  # fmt: skip


@pytest.fixture(scope="module")
def official() -> ModuleType:
    return evaluator()


@pytest.mark.parametrize("void", [False, True])
def test_scores_are_the_official_evaluators(void: bool, cityscapes: Path, tmp_path: Path, official: ModuleType) -> None:
    ids = {f"{frame}.png": (predicted(frame, void=True) if void else IDS[predicted(frame)]) for frame in FRAMES}
    expected = judged(tmp_path / "official", ids, cityscapes, official)
    mine = ids if void else {name: predicted(name[:-4]) for name in ids}
    record = score(write(tmp_path / "mine", mine), "--json", data=cityscapes, out=tmp_path / "out").json
    assert record["provenance"]["encoding"] == ("label-ids" if void else "train-ids")
    averages = {"miou": "Classes", "iiou": "InstClasses", "category_miou": "Categories",
                "category_iiou": "InstCategories"}  # fmt: skip
    for name, which in averages.items():
        assert record["figures"][name] == pytest.approx(100 * expected[f"averageScore{which}"], rel=1e-12), name
    for name, value in record["per_class"].items():
        assert value == pytest.approx(100 * expected["classScores"][name], rel=1e-12), name
    parts = {"class_iiou": "classInst", "category_iou": "category", "category_iiou": "categoryInst"}
    for part, which in parts.items():
        for name, value in record["benchmark"][part].items():
            assert value == pytest.approx(100 * expected[f"{which}Scores"][name], rel=1e-12), (part, name)
    with np.load(tmp_path / "out" / "records" / record["counts"]) as counts:
        assert counts["matrix"].shape == (19, 20) and counts["target"].shape == (2, 19)
        assert (counts["matrix"][:, 19].sum() > 0) == void


def test_what_is_printed_and_recorded(folder: Path, cityscapes: Path, tmp_path: Path) -> None:
    done = score(folder, data=cityscapes, out=tmp_path / "out")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0] == f"{folder} · train ids · cityscapes val, 2 images"
    assert lines[-2].startswith("mIoU ") and "category iIoU" in lines[-2]
    (path,) = (tmp_path / "out").glob("records/*.json")
    assert lines[-1] == f"Next: cat {path}"
    record = score(folder, "--json", data=cityscapes, out=tmp_path / "out").json
    assert record["kind"] == "predictions" and record["id"] == path.stem


@pytest.mark.parametrize(
    "name",
    ["{}.png", "{}_leftImg8bit.png", "{}_gtFine_labelTrainIds.png", "{}_leftImg8bit_pred.png", "a/b/{}_trainIds.PNG",
     "{}_gtFine_labelIds.png"],
)  # fmt: skip
def test_names_that_programs_give(name: str, folder: Path, cityscapes: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other", {name.format(frame): predicted(frame) for frame in FRAMES})
    records = [score(each, "--json", data=cityscapes, out=tmp_path / "out").json for each in (folder, other)]
    assert records[0]["id"] == records[1]["id"], "the same pixels for the same images"


def test_palettes_are_read_by_index(folder: Path, cityscapes: Path, tmp_path: Path) -> None:
    coloured = write(tmp_path / "p", {f"{frame}.png": predicted(frame) for frame in FRAMES}, palette=True)
    records = [score(each, "--json", data=cityscapes, out=tmp_path / "out").json for each in (folder, coloured)]
    assert records[0]["id"] == records[1]["id"]


def test_missing_extra_and_ambiguous_files_are_listed(folder: Path, cityscapes: Path, tmp_path: Path) -> None:
    write(folder, {"zurich_000000_000019_pred.png": predicted(FRAMES[0]), "legend.png": np.zeros((2, 2), np.uint8)})
    done = score(folder, "--json", data=cityscapes, out=tmp_path / "out")
    assert done.code == 0
    assert "2 files of no image left out: legend.png, zurich_000000_000019_pred.png" in done.err
    write(folder, {f"{FRAMES[1]}.png": predicted(FRAMES[1])})
    text = score(folder, data=cityscapes, out=tmp_path / "out").fails(3)
    assert f"{FRAMES[1]}: 2 files, {FRAMES[1]}.png, {FRAMES[1]}_pred.png" in text
    for path in folder.glob(f"{FRAMES[1]}*"):
        path.unlink()
    text = score(folder, data=cityscapes, out=tmp_path / "out").fails(3)
    assert f"{FRAMES[1]}: no file of its name" in text and "3 PNG files for 2 images" in text


def test_no_folder_and_no_files(cityscapes: Path, tmp_path: Path) -> None:
    assert "There is no folder" in score(tmp_path / "nosuch", data=cityscapes, out=tmp_path).fails(3)
    (tmp_path / "empty").mkdir()
    assert "holds no PNG files" in score(tmp_path / "empty", data=cityscapes, out=tmp_path).fails(3)
    done = segbench("eval", "--predictions", tmp_path / "empty")
    assert "--dataset is required" in done.fails(2)
    assert "No data set 'cityscape'" in score(tmp_path / "empty", data=cityscapes, out=tmp_path,
                                               dataset="cityscape").fails(2)  # fmt: skip
    text = score(tmp_path / "empty", "--split", "test", data=cityscapes, out=tmp_path).fails(2)
    assert "only its server can score" in text


def test_options_of_networks_are_refused(folder: Path, cityscapes: Path, tmp_path: Path) -> None:
    for words, says in (
        (["--protocol", "ms-flip"], "--protocol cannot be combined with --predictions."),
        (["--channels", "bgr", "--sweep"], "--channels and --sweep cannot be combined with --predictions."),
        (["--no-flip"], "--flip cannot be combined with --predictions."),
    ):
        assert says in score(folder, *words, data=cityscapes, out=tmp_path / "out").fails(2)


def test_files_that_cannot_be_scored_are_all_named(folder: Path, cityscapes: Path, tmp_path: Path) -> None:
    Image.fromarray(predicted(FRAMES[0])[:-1]).save(folder / f"{FRAMES[0]}_pred.png")
    Image.new("RGB", (64, 32)).save(folder / f"{FRAMES[1]}_pred.png")
    text = score(folder, data=cityscapes, out=tmp_path / "out").fails(3)
    assert "is 31x64 but its image 32x64" in text and "is a colour image of 8 bits" in text
    Image.fromarray(predicted(FRAMES[0])).save(folder / f"{FRAMES[0]}_pred.png")
    path = folder / f"{FRAMES[1]}_pred.png"
    path.write_bytes(path.read_bytes()[:-20])
    assert str(path) in score(folder, data=cityscapes, out=tmp_path / "out").fails(3)


def test_values_that_mean_nothing(folder: Path, cityscapes: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    wrong = write(tmp_path / "w", {f"{frame}.png": np.full((32, 64), 99, np.uint8) for frame in FRAMES})
    text = score(wrong, data=cityscapes, out=out).fails(3)
    assert "the values 99, which are neither train ids nor label ids of cityscapes" in text
    nothing = write(tmp_path / "n", {f"{frame}.png": np.full((32, 64), 255, np.uint8) for frame in FRAMES})
    assert "every pixel needs a class" in score(nothing, data=cityscapes, out=out).fails(3)
    assert "19, 20" in score(write(tmp_path / "l", {f"{frame}.png": IDS[predicted(frame)] for frame in FRAMES}),
                             "--encoding", "train-ids", data=cityscapes, out=out).fails(3)  # fmt: skip
    assert "--encoding takes" in score(folder, "--encoding", "colours", data=cityscapes, out=out).fails(2)


def test_values_that_may_mean_either(cityscapes: Path, tmp_path: Path) -> None:
    """7, 8 and 11 are label ids of road, sidewalk and building, and train ids of sign, vegetation and person."""
    values = np.array([7, 8, 11], np.uint8)
    files = {f"{frame}.png": values[predicted(frame) % 3] for frame in FRAMES}
    folder = write(tmp_path / "either", files)
    done = score(folder, data=cityscapes, out=tmp_path / "out")
    assert "(7, 8, 11) may be train ids or label ids of cityscapes" in done.fails(2)
    assert "--encoding" in done.lines[-1]
    found = [
        score(folder, "--encoding", encoding, "--json", data=cityscapes, out=tmp_path / "out").json
        for encoding in ("train-ids", "label-ids")
    ]
    assert found[0]["id"] != found[1]["id"]
    assert [record["per_class"]["road"] > 0 for record in found] == [False, True]
    assert [record["per_class"]["person"] > 0 for record in found] == [True, False]


def test_without_instances_there_is_no_iiou(folder: Path, cityscapes: Path, tmp_path: Path) -> None:
    next(cityscapes.rglob("val/*/*instanceIds.png")).unlink()
    done = score(folder, "--json", data=cityscapes, out=tmp_path / "out")
    assert done.code == 0, done.err
    assert "category_miou" in done.json["figures"] and "iiou" not in done.json["figures"]
    assert set(done.json["benchmark"]) == {"category_iou"}


def test_another_data_set(camvid: Path, tmp_path: Path) -> None:
    """CamVid, whose label files name what is not scored: predicted there, it is wrong."""
    from segbench.data.facts import facts
    from segbench.data.reader import label_reader, locate, pairs

    table, root = class_table(facts("camvid").table), locate("camvid", camvid)
    assert root is not None
    files, matrix = {}, np.zeros((11, 12), np.int64)
    void = next(value for value, train_id in table.values if train_id == 255)
    value_of = {train_id: value for value, train_id in table.values}
    for pair in pairs("camvid", root, "test"):
        assert pair.label is not None
        truth = table.to_train_ids(label_reader("camvid")(pair.label))
        rng = np.random.default_rng(len(files))
        found = rng.integers(0, 12, truth.shape)
        values = np.array([*(value_of[train_id] for train_id in range(11)), void], np.uint8)
        files[f"{pair.image.stem}.png"] = values[found]
        for label, guess in zip(truth[truth != 255], found[truth != 255], strict=True):
            matrix[label, guess] += 1
    folder = write(tmp_path / "camvid-found", files)
    record = score(folder, "--split", "test", "--encoding", "label-ids", "--json", data=camvid, out=tmp_path / "out",
                   dataset="camvid").json  # fmt: skip
    true = np.diagonal(matrix)
    union = matrix.sum(1) + matrix[:, :11].sum(0) - true
    assert list(record["per_class"].values()) == pytest.approx((100 * true / union).tolist())
    assert record["figures"]["pixel_accuracy"] == pytest.approx(100 * true.sum() / matrix.sum())
    assert cv2.imread(str(next(folder.glob("*.png"))), cv2.IMREAD_UNCHANGED).shape == (48, 64)
