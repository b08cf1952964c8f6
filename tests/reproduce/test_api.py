"""The Python API through real, tiny runs: it does what the commands do."""

import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import segbench
from segbench.core.errors import MissingFault, UsageFault
from segbench.reproduce.api import Reproduction
from segbench.results.store import Store
from tests.data.camvid_tree import places, tree_options, write_tree
from tests.program import ROW, SETTINGS
from tests.program import segbench as run_command

SMALL = {path: [64, 64] if "crop" in path else value for path, value in SETTINGS.items()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Reproduction]:
    out = tmp_path_factory.mktemp("api")
    run = segbench.reproduce(
        ROW, dataset="camvid", budget="smoke", settings=SMALL, device="cpu", out=out, data_root=out / "data"
    )
    return out, run


def test_importing_costs_nothing_and_offers_everything() -> None:
    code = "import sys, segbench; print(*sys.modules); print(*dir(segbench)); segbench.nosuch"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    loaded, names = (set(line.split()) for line in done.stdout.splitlines())
    assert not loaded & {"torch", "numpy", "pandas", "pydantic", "segbench.core"}
    assert {"reproduce", "evaluate", "report", "load", "__version__"} <= names
    assert "has no attribute 'nosuch'" in done.stderr


def test_a_table_is_run_and_reported(made: tuple[Path, Reproduction]) -> None:
    out, run = made
    frame = run.frame()
    (line,) = frame[frame["printed"] == "83.13"].to_dict("records")
    (record,) = Store(out).records()
    assert line["verdict"] == "not comparable" and line["measured"] == record.figures["miou"]
    assert run.failed == () and "83.13" in str(run) and "83.13" in run.to_markdown()
    assert record.provenance["command"].startswith(f"segbench.reproduce({ROW!r}, dataset='camvid', budget='smoke'")
    known = segbench.report(ROW.partition("/")[0], dataset="camvid", out=out)
    assert known.frame().equals(frame)
    assert segbench.report(out=out).tables[0].table == "contextrast-table6"


def test_the_command_finds_what_the_function_did(made: tuple[Path, Reproduction]) -> None:
    sets = [word for path, value in SETTINGS.items() for word in ("--set", f"{path}={value}")]
    words = ["reproduce", ROW, "--dataset", "camvid", "--budget", "smoke", *sets, "--out", made[0], "--device", "cpu"]
    assert "0 trainings to do, 1 done" in run_command(*words).err


def test_a_checkpoint_is_scored(made: tuple[Path, Reproduction], tmp_path: Path) -> None:
    (weights,) = made[0].glob("trainings/*/last.safetensors")
    result = segbench.evaluate(weights, device="cpu", out=tmp_path / "here")
    words = ["eval", "--checkpoint", weights, "--device", "cpu", "--out", tmp_path / "there", "--json"]
    command = run_command(*words).json
    assert result.record.id == command["id"] and result.figures == command["figures"]
    assert result.miou == command["figures"]["miou"]
    frame = result.frame()
    assert list(frame["class"]) == list(command["per_class"]) and list(frame.columns) == ["class", "iou"]
    assert {name: None if np.isnan(value) else value for name, value in zip(frame["class"], frame["iou"], strict=True)
            } == command["per_class"]  # fmt: skip
    assert Store(tmp_path / "here").find(result.record.id) == result.record


def test_label_files_are_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segbench.data.sets.camvid.options.Options", tree_options)
    folder = write_tree(tmp_path / "data" / "camvid")
    labels = places(folder, "test", layout="split")[1]
    with pytest.raises(UsageFault, match="Either a checkpoint or predictions"):
        segbench.evaluate()
    with pytest.raises(MissingFault, match="which are not train-ids"):
        segbench.evaluate(predictions=labels, dataset="camvid", split="test", encoding="train-ids", out=tmp_path,
                          data_root=tmp_path / "data")  # fmt: skip
    result = segbench.evaluate(
        predictions=labels, dataset="camvid", split="test", encoding="label-ids", out=tmp_path,
        data_root=tmp_path / "data",
    )  # fmt: skip
    assert result.miou == 100.0 and len(result.frame()) == 11


def test_a_network_is_loaded_with_its_preprocessing(made: tuple[Path, Reproduction]) -> None:
    (weights,) = made[0].glob("trainings/*/last.safetensors")
    model = segbench.load(weights, device="cpu")
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    logits = model(model.preprocess(image))
    assert logits.shape == (1, 11, 48, 64) and model.classes[:2] == ("sky", "building")
    assert not model.segmentor.training and not logits.requires_grad


def test_nothing_that_can_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MissingFault, match="waits for Cityscapes: missing"):
        segbench.reproduce("contextrast-table6", dataset="cityscapes", out=tmp_path, data_root=tmp_path)
    with pytest.raises(UsageFault, match="No table"):
        segbench.report("nosuch", out=tmp_path)


def test_the_package_of_the_same_name_stays_a_package() -> None:
    from segbench.reproduce import plan
    from segbench.reproduce.api import reproduce

    assert inspect.signature(segbench.reproduce) == inspect.signature(reproduce)
    assert sys.modules["segbench.reproduce.plan"] is plan
