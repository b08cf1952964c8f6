"""``segbench eval``: any checkpoint that segbench wrote, and a plain refusal of every other file."""

import os
import pickle
import re
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from segbench.checkpoints.weights_file import WeightsHeader, build_from_weights, save_weights
from segbench.core.spec import Choice, DataSpec, EvaluationSpec
from segbench.data.classes import class_table
from segbench.data.sets.cityscapes.labels import labels
from segbench.engine.evaluate import predict
from segbench.engine.runtime import Runtime
from segbench.models.segmentor import build_segmentor
from tests.data.camvid_tree import places
from tests.data.official.cityscapes import arrays
from tests.metrics.judge import evaluator
from tests.networks import TINY, write_weights
from tests.program import Done, segbench


@pytest.fixture
def camvid_weights(tmp_path: Path) -> Path:
    return write_weights(tmp_path / "camvid.safetensors", tuple(class_table("camvid").names), "camvid")


def evaluate(path: Path, *words: object, out: Path) -> Done:
    return segbench("eval", "--checkpoint", path, "--out", out, *words)


def test_a_produced_checkpoint(weights: Path, trained: tuple[Path, Done], tmp_path: Path) -> None:
    done = evaluate(weights, "--split", "test", out=tmp_path)
    assert done.code == 0
    assert all(f"{name} " in done.out for name in class_table("camvid").names)
    assert "camvid test, 4 images · generated scenes, as in its training" in done.out
    assert re.search(r"^mIoU \d+\.\d\d   pixel accuracy \d+\.\d\d ", done.out, flags=re.MULTILINE)
    assert done.out.splitlines()[-1].startswith(f"Next: segbench eval --checkpoint {weights} --split test ")
    assert list(tmp_path.glob("records/*.json"))


def test_json_gives_the_scores_that_the_training_recorded(
    weights: Path, trained: tuple[Path, Done], tmp_path: Path
) -> None:
    record = evaluate(weights, "--split", "test", "--json", out=tmp_path).json
    (own,) = (entry for entry in segbench("report", "--json", "--out", trained[0]).json["reports"][0]["rows"]
              if entry["row"] == "layers-4-3" and entry["dataset"] == "camvid")  # fmt: skip
    assert record["schema"] == 1 and record["kind"] == "checkpoint"
    assert record["per_class"] == own["per_class"]
    assert record["images"] == 4
    assert record["provenance"]["file"] == weights.name


def test_protocol_scale_and_absent_rule_are_taken(weights: Path, tmp_path: Path) -> None:
    words = ["--protocol", "ms-flip", "--scale", "0.1", "--absent", "zero", "--json"]
    spec = evaluate(weights, *words, out=tmp_path).json["evaluation_spec"]
    assert (spec["flip"], spec["absent"], spec["data"]["scale"], len(spec["scales"])) == (True, "zero", 0.1, 6)


def test_real_files(camvid: Path, camvid_weights: Path, tmp_path: Path) -> None:
    done = evaluate(camvid_weights, "--split", "test", "--data-root", camvid, out=tmp_path)
    assert done.code == 0, done.err
    assert "camvid test, 3 images\n" in done.out


@pytest.fixture(scope="module")
def official() -> ModuleType:
    return evaluator()


def test_cityscapes_scores_instances_and_categories(cityscapes: Path, cityscapes_weights: Path, tmp_path: Path) -> None:
    done = evaluate(cityscapes_weights, "--data-root", cityscapes, out=tmp_path)
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    headers = [line.split() for line in lines if "IoU (%)" in line]
    assert headers == [[what, "IoU", "(%)", "iIoU", "(%)"] for what in ("class", "category")]
    rows = {line[:14].strip(): line[14:].split() for line in lines}
    assert re.fullmatch(r"\d+\.\d\d", rows["person"][1]) and rows["road"][1] == "-"
    assert re.fullmatch(r"\d+\.\d\d", rows["vehicle"][1]) and rows["flat"][1] == "-"
    number = r"\d+\.\d\d"
    assert re.fullmatch(
        f"mIoU {number}   iIoU {number}   category mIoU {number}   category iIoU {number}", lines[-2]
    ), "the four averages, before what to do next"


def test_cityscapes_scores_are_the_official_evaluators(
    cityscapes: Path, cityscapes_weights: Path, tmp_path: Path, official: ModuleType
) -> None:
    record = evaluate(cityscapes_weights, "--data-root", cityscapes, "--json", out=tmp_path).json
    network, _ = build_from_weights(cityscapes_weights)
    table, files = class_table("cityscapes"), sorted((cityscapes / "cityscapes").rglob("val/*/*_gtFine_labelIds.png"))
    ids = np.array([label.id for label in labels() if 0 <= label.train_id < 255], np.uint8)
    assert len(files) == 2 and len(ids) == table.num_classes
    written = []
    for file in files:
        frame = file.name.removesuffix("_gtFine_labelIds.png")
        pixels = torch.tensor(arrays(frame)[0]).permute(2, 0, 1)[None]
        spec = EvaluationSpec(data=DataSpec(name="cityscapes"))
        with torch.inference_mode():
            found = predict(network.eval(), pixels, spec, input=TINY.input, size=(32, 64), runtime=Runtime())
        written.append(str(tmp_path / f"{frame}_pred.png"))
        cv2.imwrite(written[-1], ids[found[0].numpy()])
    judged = official.evaluateImgLists(written, [str(file) for file in files], official.args)
    averages = {"miou": "Classes", "iiou": "InstClasses", "category_miou": "Categories",
                "category_iiou": "InstCategories"}  # fmt: skip
    for name, which in averages.items():
        assert record["figures"][name] == pytest.approx(100 * judged[f"averageScore{which}"], rel=1e-12)
    parts = {"class_iiou": "classInst", "category_iou": "category", "category_iiou": "categoryInst"}
    for part, which in parts.items():
        assert record["benchmark"][part] == pytest.approx(
            {name: 100 * judged[f"{which}Scores"][name] for name in record["benchmark"][part]}, rel=1e-12
        )
    assert [len(record["benchmark"][part]) for part in parts] == [8, 7, 2]


def test_cityscapes_at_another_size_has_no_iiou(cityscapes: Path, cityscapes_weights: Path, tmp_path: Path) -> None:
    """Weights of instances are of the native size."""
    words = ["--data-root", cityscapes, "--scale", "2"]
    figures = evaluate(cityscapes_weights, *words, "--json", out=tmp_path).json["figures"]
    assert "category_miou" in figures and not {"iiou", "category_iiou"} & figures.keys()
    done = evaluate(cityscapes_weights, *words, out=tmp_path)
    assert "iIoU" not in done.out
    assert re.match(r"mIoU \d+\.\d\d   category mIoU \d+\.\d\d$", done.out.splitlines()[-2])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--dataset", "camvidd"], "No data set 'camvidd'. Close: camvid."),
        (["--split", "nosuch"], "CamVid has no split 'nosuch'. It has: train, val, test."),
        (["--protocol", "nosuch"], "No protocol 'nosuch'. Known: whole, ms-flip, slide, published."),
        (["--absent", "nosuch"], "--absent takes exclude, zero or one, got 'nosuch'."),
        (["--device", "abacus"], "'abacus' is no device"),
        (["--device", "cuda:99"], "There is no device cuda:99"),
        (["--precision", "float8"], "'float8' is no precision"),
    ],
)
def test_misuse(words: list[str], says: str, weights: Path, tmp_path: Path) -> None:
    assert says in evaluate(weights, *words, out=tmp_path).fails(2)


def test_no_such_file(tmp_path: Path) -> None:
    assert "There is no file" in evaluate(tmp_path / "nosuch", out=tmp_path).fails(3)
    assert "There is no file" in evaluate(tmp_path, out=tmp_path).fails(3)


def test_no_checkpoint(tmp_path: Path) -> None:
    for name, content in {"text": b"hello", "empty": b"", "cut": b"PK\x03\x04 cut off", "number": b"\xff" * 64}.items():
        path = tmp_path / name
        path.write_bytes(content)
        assert name in evaluate(path, out=tmp_path).fails(4)


def test_a_file_cut_short(weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    path.write_bytes(weights.read_bytes()[:-100])
    evaluate(path, out=tmp_path).fails(4)


def test_tensors_of_somebody_else(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(3)}, path)
    assert "of none of the known families" in evaluate(path, out=tmp_path).fails(4)
    torch.save({"state_dict": {"weight": torch.zeros(3)}}, tmp_path / "other.pth")
    text = evaluate(tmp_path / "other.pth", out=tmp_path).fails(4)
    assert "of none of the known families" in text and "--model MODULE:FUNCTION" in text


class Trap:
    """Runs a command when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("legacy", [False, True])
def test_pickled_code_is_refused_and_not_run(legacy: bool, tmp_path: Path) -> None:
    sprung, path = tmp_path / "sprung", tmp_path / "trap.pth"
    if legacy:
        path.write_bytes(pickle.dumps({"weight": Trap(sprung)}))
    else:
        torch.save({"weight": Trap(sprung)}, path)
    evaluate(path, out=tmp_path / "out").fails(4)
    assert not sprung.exists()
    pickle.loads(pickle.dumps(Trap(sprung)))
    assert sprung.exists(), "the trap itself works"


def test_another_class_count(tmp_path: Path) -> None:
    path = write_weights(tmp_path / "ade.safetensors", tuple(class_table("ade20k").names), "ade20k")
    done = evaluate(path, "--dataset", "camvid", out=tmp_path)
    assert "The checkpoint predicts 150 classes, camvid has 11: its scores would mean nothing." in done.fails(4)
    assert done.lines[-1] == f"Next: segbench eval --checkpoint {path} --dataset ade20k"


def test_classes_in_another_order(tmp_path: Path) -> None:
    names = tuple(reversed(class_table("camvid").names))
    path = write_weights(tmp_path / "odd.safetensors", names, "camvid")
    assert "in another order" in evaluate(path, out=tmp_path).fails(4)


def test_weights_that_do_not_fit_their_header(weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "misfit.safetensors"
    wide = TINY.model_copy(update={"decoder": Choice(name="concat", options={"head": "conv3x3"})})
    names = tuple(class_table("camvid").names)
    save_weights(path, build_segmentor(TINY, num_classes=11), WeightsHeader(wide, names, "camvid"))
    text = evaluate(path, out=tmp_path).fails(4)
    assert "tensors" in text and "decoder." in text


def test_missing_and_empty_data(camvid_weights: Path, tmp_path: Path) -> None:
    text = evaluate(camvid_weights, "--data-root", tmp_path / "nothing", out=tmp_path / "out").fails(3)
    assert "CamVid is not under" in text and "Next: segbench data download camvid" in text
    (tmp_path / "nothing" / "camvid").mkdir(parents=True)
    evaluate(camvid_weights, "--data-root", tmp_path / "nothing", out=tmp_path / "out").fails(3)


def test_faulty_data(camvid: Path, camvid_weights: Path, tmp_path: Path) -> None:
    from tests.data.camvid_tree import arrays, png

    images, labels = places(camvid / "camvid", "val")
    image, label = arrays("val", 0, size=(48, 64))

    def fails() -> str:
        return evaluate(camvid_weights, "--data-root", camvid, out=tmp_path / "out").fails(3)

    first = labels / "seq_00000.png"
    whole = first.read_bytes()
    first.unlink()
    assert "this label is missing" in fails()
    label[0, 0] = 77
    first.write_bytes(png(label))
    assert "has label values 77" in fails()
    first.write_bytes(whole[: len(whole) // 2])
    assert str(first) in fails()
    first.write_bytes(png(label[:, :-1]))
    assert "is 48x63 but its image 48x64" in fails()
    first.write_bytes(whole)
    (images / "seq_00000.png").write_bytes(b"")
    assert "seq_00000.png" in fails()
    (images / "seq_00000.png").write_bytes(png(image))
    assert evaluate(camvid_weights, "--data-root", camvid, out=tmp_path / "out").code == 0


def test_results_that_cannot_be_written(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    text = evaluate(weights, out=tmp_path / "file" / "out").fails(5)
    assert "cannot be written: something on its path is not a folder" in text
    assert "evaluate:" not in text, "found before the work is done"
