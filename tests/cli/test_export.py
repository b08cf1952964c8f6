"""``segbench export`` and ``segbench results server-score``: from predictions to a verdict on a test split."""

import io
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.official import voc2012 as tiny_voc
from tests.networks import varied_weights
from tests.program import Done, segbench

SERVED = """
schema: 1
version: 1
table: served
title: What only a server can score
source: nowhere
data: {name: cityscapes, splits: [train]}
model:
  backbone: {name: hrnetv2, width: 8, modules: [1, 1, 1], blocks_per_branch: 1, stage1_blocks: 1, stage1_width: 16,
             stem_channels: 16}
  decoder: {name: concat, head: conv1x1}
method: {name: supervised}
schedule: {steps: 2, batch_total: 2, crop: [32, 32], optimizer: {name: sgd, lr: 1e-2}}
evaluation: {split: test}
rows:
  plain: {server: the Cityscapes test server, figures: {cityscapes.test: {miou: "5.0", iiou: "2.0"}}}
  public: {evaluation: {split: val}, figures: {cityscapes.val: {miou: "5.0"}}}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "served.yaml"
    path.write_text(SERVED)
    return path


def test_a_checkpoint_becomes_an_archive_of_label_ids(
    cityscapes: Path, cityscapes_weights: Path, tmp_path: Path
) -> None:
    words = ["export", "--checkpoint", cityscapes_weights, "--data-root", cityscapes, "--out", tmp_path / "out"]
    done = segbench(*words, "--json")
    assert done.code == 0, done.err
    archive = Path(done.json["archive"])
    with zipfile.ZipFile(archive) as file:
        assert file.namelist() == [f"berlin_{index:06d}_000019_pred.png" for index in range(2)]
        images = [Image.open(io.BytesIO(file.read(name))) for name in file.namelist()]
    assert all(image.mode == "L" and image.size == (64, 32) for image in images)
    values = np.unique(np.concatenate([np.asarray(image) for image in images]))
    assert len(values) > 2 and set(values) <= {7, 8, 11, 12, 13, 17, *range(19, 29), 31, 32, 33}
    assert segbench(*words, "--json").json["sha256"] == done.json["sha256"], "the same predictions, the same archive"


def test_the_server_answers_for_a_checkpoint(cityscapes: Path, cityscapes_weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    archive = tmp_path / "mine.zip"
    done = segbench("export", "--checkpoint", cityscapes_weights, "--data-root", cityscapes, "--out", out,
                    "--archive", archive)  # fmt: skip
    assert done.code == 0, done.err
    assert done.out.splitlines()[-1] == (
        f"Next: segbench results server-score {archive} miou=.. iiou=.. category_miou=.. category_iiou=.."
    )
    score = ["results", "server-score", archive, "--out", out]
    for bad, said in (
        (["miou=7x"], "'7x' is no number"),
        (["miou=170"], "170 is no percentage"),
        (["iiou=17"], "miou is missing"),
        (["miou=17", "dice=3"], "does not answer with 'dice'"),
    ):
        assert said in segbench(*score, *bad).fails(2)
    assert "none of the archives" in segbench("results", "server-score", cityscapes_weights, "miou=1", "--out", out
                                               ).fails(3)  # fmt: skip
    assert "There is no file" in segbench("results", "server-score", tmp_path / "no.zip", "miou=1").fails(3)
    record = segbench(*score, "miou=17.5", "--day", "2026-05-01", "--json").json
    assert record["kind"] == "checkpoint" and record["split"] == "test" and record["figures"] == {"miou": 17.5}
    assert record["provenance"]["scored"]["day"] == "2026-05-01"
    again = segbench(*score, "miou=18.5")
    assert "Entered before and kept: miou 17.5, of 2026-05-01." in again.out


def test_voc_archives_have_the_folders_that_the_server_wants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = tiny_voc.tiny_options()
    monkeypatch.setattr("segbench.data.sets.voc2012.options.Options", lambda: options)
    tiny_voc.write_tree(tmp_path / "data" / "voc2012")
    weights = varied_weights(tmp_path / "voc.safetensors", "voc2012")
    done = segbench("export", "--checkpoint", weights, "--data-root", tmp_path / "data", "--out", tmp_path, "--json")
    assert done.code == 0, done.err
    with tarfile.open(done.json["archive"]) as tar:
        names = tar.getnames()
        sizes = [Image.open(tar.extractfile(name)).size for name in names]  # type: ignore[arg-type]
    assert len(names) == done.json["images"] == options.splits["test"][0]
    assert all(name.startswith("results/VOC2012/Segmentation/comp6_test_cls/") for name in names)
    originals = {path.stem: Image.open(path).size for path in (tmp_path / "data").rglob("JPEGImages/*.jpg")}
    assert sizes == [originals[Path(name).stem] for name in names]


def test_a_row_gets_its_verdict_from_the_server(cityscapes: Path, recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    places = ["--recipe", recipe, "--data-root", cityscapes, "--out", out]

    def figures() -> dict[str, dict]:
        report = segbench("report", "served", "--recipe", recipe, "--out", out, "--format", "json")
        assert report.code == 0, report.err
        entries = json.loads(report.out)["reports"][0]["figures"]
        return {entry["metric"]: entry for entry in entries if entry["row"] == "plain"}

    assert "not trained" in segbench("export", "served/plain", *places).fails(3)
    run = segbench("reproduce", "served/plain", *places, "--yes", "--quiet")
    assert run.code == 0, run.err
    entry = figures()["miou"]
    assert entry["verdict"] == "unavailable"
    assert entry["reason"].startswith("only the Cityscapes test server can score it; val here: ")
    assert entry["next"].startswith("segbench export served/plain")
    assert "can be scored here" in segbench("export", "served/public", *places).fails(2)
    assert "served has plain." in segbench("export", "served", *places).fails(2)
    done = segbench("export", "served/plain", *places, "--json")
    assert done.code == 0, done.err
    scored = segbench("results", "server-score", done.json["archive"], "miou=5.1", "iiou=2.5", "--out", out)
    assert scored.code == 0 and scored.out.splitlines()[-1] == "Next: segbench report"
    after = figures()
    assert {name: entry["measured"] for name, entry in after.items()} == {"miou": 5.1, "iiou": 2.5}
    assert any("scored by the Cityscapes test server" in words for words in after["miou"]["recorded"])


def test_what_cannot_be_exported(cityscapes: Path, cityscapes_weights: Path, weights: Path, tmp_path: Path) -> None:
    words = ["export", "--data-root", cityscapes, "--out", tmp_path / "out"]
    assert "Either a row or --checkpoint" in segbench(*words).fails(2)
    assert "Either a row or --checkpoint" in segbench(*words, "a/b", "--checkpoint", weights).fails(2)
    assert "camvid has no test server" in segbench(*words, "--checkpoint", weights).fails(2)
    assert "predicts 11 classes, cityscapes has 19" in segbench(
        *words, "--checkpoint", weights, "--dataset", "cityscapes"
    ).fails(4)
    plain = [*words, "--checkpoint", cityscapes_weights]
    assert "scores the test split, not val" in segbench(*plain, "--split", "val").fails(2)
    assert "takes a .zip file" in segbench(*plain, "--archive", tmp_path / "x.tar").fails(2)
    lost = next(cityscapes.rglob("leftImg8bit/test/*/*.png"))
    lost.unlink()
    assert "has 1 images here, the server wants 2" in segbench(*plain).fails(3)


def test_eval_sends_to_the_server(cityscapes: Path, cityscapes_weights: Path, tmp_path: Path) -> None:
    done = segbench("eval", "--checkpoint", cityscapes_weights, "--split", "test", "--data-root", cityscapes,
                    "--out", tmp_path)  # fmt: skip
    assert "segbench export --checkpoint" in done.fails(2)


def test_a_stopped_export_goes_on(
    cityscapes: Path, cityscapes_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["export", "--checkpoint", cityscapes_weights, "--data-root", cityscapes, "--out", tmp_path / "out"]
    asked: list[int] = []

    def stop(self: object) -> bool:
        asked.append(1)
        return len(asked) == 2

    with monkeypatch.context() as patch:
        patch.setattr("segbench.cli.stopping.Stopper.__call__", stop)
        stopped: Done = segbench(*words)
    assert "1 of 2 images are predicted and kept." in stopped.fails(130)
    (kept,) = (tmp_path / "out").rglob("*_pred.png")
    written = kept.stat().st_mtime_ns
    assert segbench(*words).code == 0
    assert kept.stat().st_mtime_ns == written
