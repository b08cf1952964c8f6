"""What users and machines can do wrong, through ``reproduce`` and ``show``: exit code, one line a fault, ``Next:``."""

import errno
import re
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from torch import Tensor

from segbench.core import atomic
from segbench.data.batch import Batch
from segbench.methods.contextrast.method import Contextrast
from segbench.methods.step import StepInfo
from segbench.results.store import Store
from tests.data.camvid_tree import arrays, places, png
from tests.program import ROW, Done, segbench, tiny

TABLE = "contextrast-table6"


@pytest.mark.parametrize(
    ("words", "says", "follow"),
    [
        (["contextrast-tabel6"], "No table 'contextrast-tabel6'. Close: contextrast-table6", "segbench list"),
        (["zzz"], "No table 'zzz'.", "segbench list"),
        ([""], "No table ''.", "segbench list"),
        ([f"{TABLE}/layer-43"], f"No row 'layer-43' in {TABLE}. Close: layers-4", f"segbench list {TABLE}"),
        ([TABLE, "--dataset", "ade"], "no figures on 'ade'; it has cityscapes, camvid.", f"segbench list {TABLE}"),
        ([TABLE, "--budget", "tiny"], "No budget 'tiny'. Known: full, small, smoke.", "with --budget small"),
        ([TABLE, "--reading", "tickedlayers=anchor"], "No reading 'tickedlayers' for", f"{TABLE} --readings"),
        ([TABLE, "--reading", "ticked-layers=both"], "no option 'both'; it has anchor, loss.", f"{TABLE} --readings"),
        ([TABLE, "--reading", "ticked-layers"], "--reading takes KEY=VALUE", "segbench reproduce --help"),
        ([TABLE, "--set", "schedule.steps"], "--set takes KEY=VALUE", "segbench reproduce --help"),
        ([TABLE, "--set", "=4"], "--set takes KEY=VALUE", "segbench reproduce --help"),
        ([TABLE, "--set", "shedule.steps=4"], "--set shedule.steps: a path is SECTION.NAME", f"segbench show {TABLE}"),
        ([TABLE, "--set", "schedule=4"], "--set schedule: a path is SECTION.NAME", f"segbench show {TABLE}"),
        ([TABLE, "--set", "data.name.deeper=1"], "data.name is one setting", f"segbench show {TABLE}"),
        ([TABLE, "--set", "schedule.crop=[1, 2"], "--set schedule.crop: cannot read", "segbench reproduce --help"),
        ([TABLE, "--device", "abacus"], "'abacus' is no device", "--device auto"),
        ([TABLE, "--precision", "float8"], "'float8' is no precision", "--precision auto"),
    ],
)
def test_what_does_not_exist(words: list[str], says: str, follow: str, tmp_path: Path) -> None:
    done = segbench("reproduce", *words, "--out", tmp_path)
    assert says in done.fails(2)
    assert follow in done.lines[-1]
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("schedule.stepz=4", "unknown key 'stepz'"),
        ("schedule.steps=many", "got 'many'"),
        ("schedule.steps=-1", "greater than 0, got -1"),
        ("schedule.steps=1.5", "got 1.5"),
        ("schedule.crop=64", "schedule.crop"),
        ("schedule.optimizer=4", "schedule.optimizer"),
        ("method.alhpa=1", "unknown key 'alhpa'"),
        ("method.name=contextrats", "no method 'contextrats'. Close: contextrast"),
        ("model.backbone.name=hrnetv2w", "no backbone 'hrnetv2w'"),
        ("evaluation.flip=maybe", "evaluation.flip"),
    ],
)
def test_settings_that_do_not_fit(setting: str, says: str, tmp_path: Path) -> None:
    text = segbench("reproduce", ROW, "--dataset", "camvid", "--set", setting, "--out", tmp_path).fails(4)
    assert says in text
    assert f"--set {setting.partition('=')[0]}" in text, "the fault names where the value was typed"


def test_a_split_that_is_not_there_costs_no_training(tmp_path: Path) -> None:
    done = segbench(*tiny(out=tmp_path, evaluation__split="nosuch"))
    assert done.code == 2
    assert "CamVid has no split 'nosuch'. It has: train, val, test.   (layers-4-3 on camvid)" in done.err
    assert done.lines[-1].startswith("Next: segbench ") and "train: step" not in done.err


def recipe(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return path


def test_a_recipe_that_is_not_there(tmp_path: Path) -> None:
    for command in (["list"], ["show", "mine"], ["reproduce", "mine"], ["report"]):
        assert "There is no recipe file" in segbench(*command, "--recipe", tmp_path / "nosuch.yaml").fails(4)


def test_a_recipe_with_faults_tells_all_of_them_with_their_lines(tmp_path: Path) -> None:
    path = recipe(
        tmp_path,
        """schema: 1
version: one
table: mine
title: Mine
source: My paper
rows:
  first:
    figures:
      camvid: {miou: "81.2"}
  second:
    shedule: {steps: 4}
    figures:
      camvid.test: {miou: 81.2}
""",
    )
    done = segbench("reproduce", "mine", "--recipe", path)
    text = done.fails(4)
    assert len(done.lines) == 5
    for line, says in ((2, "version"), ("(7|9)", "data set and split"), (11, "shedule"), (13, "quoted")):
        assert re.search(rf"^mine\.yaml:{line}: .*{says}", text, flags=re.MULTILINE), (line, text)
    assert str(path) in done.lines[-1]


@pytest.mark.parametrize("text", ["", "- 1\n", "a: [\n", "a: 1\na: 2\n", "a: !!python/object/apply:os.getcwd []\n"])
def test_a_file_that_is_no_recipe(text: str, tmp_path: Path) -> None:
    assert "mine.yaml" in segbench("list", "--recipe", recipe(tmp_path, text)).fails(4)


def test_a_recipe_of_a_table_that_exists(tmp_path: Path) -> None:
    text = "schema: 1\nversion: 1\ntable: contextrast-table6\ntitle: T\nsource: S\nrows: {a: {data: {name: camvid}}}\n"
    assert "'contextrast-table6' exists already" in segbench("list", "--recipe", recipe(tmp_path, text)).fails(4)


def test_faulty_data_stops_before_any_training(camvid: Path, tmp_path: Path) -> None:
    images, labels = places(camvid / "camvid", "train")
    _, label = arrays("train", 2, size=(48, 64))
    kept = {path: path.read_bytes() for path in (*images.iterdir(), *labels.iterdir())}

    def fails(path: Path, content: bytes) -> Done:
        path.write_bytes(content)
        settings = ["schedule.steps=2", "schedule.crop=[32, 32]", "schedule.batch_total=2", "data.scale=1.0"]
        words = [word for setting in settings for word in ("--set", setting)]
        done = segbench("reproduce", ROW, "--dataset", "camvid", "--budget", "small", *words,
                        "--data-root", camvid, "--out", tmp_path / "out")  # fmt: skip
        path.write_bytes(kept[path])
        assert done.code == 3, done.err
        assert path.name in done.err and "layers-4-3 on camvid" in done.err
        assert done.lines[-1].startswith("Next: segbench data ")
        assert "train: step" not in done.err and "Traceback" not in done.err
        assert "not run" in done.out, "the report comes all the same"
        return done

    label[3, 4] = 200
    assert "has label values 200; allowed are 0..11" in fails(labels / "seq_00002.png", png(label)).err
    fails(images / "seq_00001.png", kept[images / "seq_00001.png"][:-40])


def test_real_files_run_through(camvid: Path, tmp_path: Path) -> None:
    """The same protocol as above on a tree without faults."""
    settings = ["schedule.steps=2", "schedule.crop=[32, 32]", "schedule.batch_total=2", "data.scale=1.0"]
    words = [word for setting in settings for word in ("--set", setting)]
    done = segbench("reproduce", ROW, "--dataset", "camvid", "--budget", "small", *words,
                    "--data-root", camvid, "--out", tmp_path / "out", "--json")  # fmt: skip
    assert done.code == 0, done.err
    (record,) = Store(tmp_path / "out").records()
    assert (record.budget, record.images, record.split) == ("small", 3, "test")
    assert not any(deviation["path"].endswith("source") for deviation in record.deviations)


def test_incomplete_data_waits(camvid: Path, tmp_path: Path) -> None:
    (places(camvid / "camvid", "train")[1] / "seq_00002.png").unlink()
    words = ["--dataset", "camvid", "--budget", "small", "--data-root", camvid, "--out", tmp_path / "out"]
    assert "waits for CamVid: incomplete: 9 of 10." in segbench("reproduce", ROW, *words).fails(3)


def test_results_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = segbench(*tiny(out=tmp_path / "file" / "out"))
    assert "cannot be written: something on its path is not a folder" in done.fails(5)
    assert "train: " not in done.err


def test_a_disk_that_fills_while_the_record_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = atomic.write

    def full(path: Path, fill: object) -> None:
        def no_space(_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        write(path, no_space if path.parent.name == "records" else fill)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "write", full)
        done = segbench(*tiny(out=tmp_path))
    done.fails(5)
    assert "the disk is full. What was computed before is kept." in done.err
    assert not list(tmp_path.glob("records/*")), "no half record, no leavings"
    again = segbench(*tiny(out=tmp_path))
    assert again.code == 0
    assert "train: step" not in again.err, "what was trained is kept"
    assert len(list(Store(tmp_path).records())) == 1


def test_a_damaged_record(trained: tuple[Path, Done], tmp_path: Path) -> None:
    source = next(trained[0].glob("records/*.json"))
    (tmp_path / "records").mkdir()
    for content in (source.read_text()[:100], "{}", "[]", "\xff"):
        (tmp_path / "records" / source.name).write_text(content, encoding="latin-1")
        for done in (segbench("report", "--out", tmp_path), segbench(*tiny(out=tmp_path))):
            text = done.fails(4)
            assert source.name in done.lines[0]
            assert "move" in done.lines[-1] and "Traceback" not in text


def test_a_training_that_somebody_else_is_at(trained: tuple[Path, Done], tmp_path: Path) -> None:
    (name,) = (path.name for path in (trained[0] / "trainings").iterdir())
    folder = tmp_path / "trainings" / name
    folder.mkdir(parents=True)
    with FileLock(folder / "lock"):
        done = segbench(*tiny(out=tmp_path))
    done.fails(5)
    assert f"Another process is working on training {name}." in done.err
    assert not (folder / "failed.json").exists(), "nothing has failed"
    assert segbench(*tiny(out=tmp_path)).code == 0, "and it runs once the other is gone"


@pytest.mark.parametrize(
    ("error", "says", "follow"),
    [
        (torch.OutOfMemoryError("tried to allocate"), "The device ran out of memory.", "--checkpoint-activations"),
        (ZeroDivisionError("by zero"), "ZeroDivisionError: by zero (the traceback is in ", "cat "),
    ],
)
def test_one_training_fails_and_the_others_go_on(
    error: Exception, says: str, follow: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = Contextrast.forward

    def fails(self: Contextrast, batches: dict[str, Batch], info: StepInfo) -> dict[str, Tensor]:
        if self.seed == 1 and info.step < 10:  # not while the time is estimated
            raise error
        return forward(self, batches, info)

    with monkeypatch.context() as patch:
        patch.setattr(Contextrast, "forward", fails)
        done = segbench(*tiny(ROW, "--seeds", 3, out=tmp_path))
    assert done.code == 5
    assert "Traceback" not in done.err
    assert any(line.startswith(says) and line.endswith("(layers-4-3 on camvid)") for line in done.lines)
    assert done.lines[-2] == "1 training failed; everything else is recorded."
    assert done.lines[-1].startswith("Next: ") and follow in done.lines[-1]
    assert sorted(record.seed for record in Store(tmp_path).records()) == [0, 2]
    assert "2 seeds a row" in done.out
    again = segbench(*tiny(ROW, "--seeds", 3, out=tmp_path))
    assert again.code == 0
    assert "1 training to do, 2 done" in again.err
    assert not list(tmp_path.glob("trainings/*/failed.json"))
