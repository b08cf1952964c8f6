"""``reproduce --micro-batch`` and ``--checkpoint-activations``: what they change, and that it is told."""

from pathlib import Path

import pytest

from segbench.results.record import Record
from segbench.results.store import Store
from tests.program import ROW, Done, segbench, tiny


def record(out: Path) -> Record:
    (found,) = Store(out).records()
    return found


def test_a_micro_batch_is_a_deviation_and_another_training(trained: tuple[Path, Done], tmp_path: Path) -> None:
    done = segbench(*tiny(ROW, "--micro-batch", 1, out=tmp_path))
    assert done.code == 0
    text = " ".join(done.out.split())
    assert "batch statistics, class anchors and negatives of 1 instead of 16 images" in text
    found, whole = record(tmp_path), record(trained[0])
    assert found.training != whole.training and found.figures != whole.figures
    assert found.provenance["micro_batch"] == {"train": 1} and "micro_batch" not in whole.provenance
    assert "--micro-batch" not in whole.provenance["command"]
    (deviation,) = (each for each in found.deviations if each["path"] == "schedule.micro_batch")
    assert deviation["material"] and deviation["ran"] == 1


def test_activation_checkpointing_changes_no_figure(trained: tuple[Path, Done], tmp_path: Path) -> None:
    done = segbench(*tiny(ROW, "--checkpoint-activations", out=tmp_path))
    assert done.code == 0
    found, plain = record(tmp_path), record(trained[0])
    assert (found.id, found.figures, found.per_class) == (plain.id, plain.figures, plain.per_class)
    assert found.provenance["checkpoint_activations"] is True and plain.provenance["checkpoint_activations"] is False
    assert found.deviations == plain.deviations
    every = " ".join(segbench("report", "contextrast-table6", "--deviations", "--out", tmp_path).out.split())
    assert "recorded, not material: validate every 2 of 1,000, CPU float32, activation checkpointing" in every


@pytest.mark.parametrize("words", [("--micro-batch", 1), ("--checkpoint-activations",)])
def test_the_plan_knows_that_less_is_needed(words: tuple[object, ...], tmp_path: Path) -> None:
    large = {"schedule__crop": "[128, 128]", "schedule__batch_total": 8}
    plain, less = (
        segbench(*tiny(ROW, "--dry-run", "--json", *more, out=tmp_path, **large)).json["items"][0]
        for more in ((), words)
    )
    assert less["memory_bytes"] < plain["memory_bytes"]
    assert less["steps"] == plain["steps"] and less["batch_total"] == plain["batch_total"] == 8


def test_what_cannot_be_cut_is_refused(tmp_path: Path) -> None:
    done = segbench(*tiny(ROW, "--micro-batch", 3, out=tmp_path, schedule__batch_total=4))
    assert "a batch of 4 images cannot be divided into equal micro-batches of 3; possible: 1, 2" in done.fails(4)
    done = segbench(*tiny(ROW, "--micro-batch", 9, out=tmp_path))
    assert "--micro-batch 9 cuts nothing: no batch here has more images." in done.fails(2)
    assert not list(tmp_path.glob("trainings/*"))
    assert "--micro-batch" in segbench(*tiny(ROW, "--micro-batch", 0, out=tmp_path)).fails(2)


def test_compiling_and_checkpointing_do_not_go_together(tmp_path: Path) -> None:
    done = segbench(*tiny(ROW, "--compile", "--checkpoint-activations", out=tmp_path))
    assert "cannot be combined with" in done.fails(2)
    assert done.lines[-1] == "Next: the same command with --no-compile"


def test_one_image_is_too_few_behind_a_global_pooling(tmp_path: Path) -> None:
    words = tiny("contextrast-table1/camvid-deeplabv3", "--micro-batch", 1, out=tmp_path)
    text = segbench(*words).fails(4)
    assert "cannot take the statistics of one image" in text
