"""Each data set from the archives of its publisher to a score, all through the command line."""

from importlib import import_module
from pathlib import Path

import pytest

from segbench.core.registry import names
from tests.file_server import FileServer, serving
from tests.program import Done, segbench

RECIPE = """
schema: 1
version: 1
table: own
title: Three steps
source: nowhere
data: {{name: {name}, splits: [{train}]}}
model:
  backbone: {{name: hrnetv2, width: 8, modules: [1, 1, 1], blocks_per_branch: 1, stage1_blocks: 1, stage1_width: 16,
             stem_channels: 16}}
  decoder: {{name: concat, head: conv1x1}}
method: {{name: supervised}}
schedule: {{steps: 3, batch_total: 2, crop: [32, 48], optimizer: {{name: sgd, lr: 1e-2}}}}
augmentation: {{scale: [0.5, 2.0], flip: 0.5}}
evaluation: {{split: {scored}}}
rows:
  plain: {{figures: {{{name}.{scored}: {{miou: "50.0"}}}}}}
"""
TRAINED = {"gta5": "trainvaltest", "voc2012": "trainaug"}
SCORED = {"gta5": "trainvaltest", "coco-stuff-10k": "test"}


def run(*words: object) -> Done:
    done = segbench(*words)
    assert done.code == 0, done
    return done


@pytest.mark.parametrize("name", [name for name in names("dataset") if name != "camvid"])
def test_from_the_archives_to_a_score(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = import_module(f"tests.data.official.{name.replace('-', '_')}")
    options, archives = module.tiny_options(), module.write_archives(tmp_path / "archives")
    root, out = tmp_path / "data", tmp_path / "out"
    train, scored = TRAINED.get(name, "train"), SCORED.get(name, "val")
    server = FileServer()
    with serving(server):
        server.files = {archive: path.read_bytes() for archive, path in archives.items()}
        own = tuple(
            item.model_copy(update={"urls": (f"{server.site}/{item.name}",), "account": None})
            for item in options.archives
        )
        options = options.model_copy(update={"archives": own})
        monkeypatch.setattr(f"segbench.data.sets.{name.replace('-', '_')}.options.Options", lambda: options)
        run("data", "download", name, "--split", train, "--split", scored, "--data-root", root)
    prepared = run("data", "prepare", name, "--split", train, "--split", scored, "--data-root", root, "--json").json
    assert {entry["split"] for entry in prepared["splits"]} == {train, scored}
    verified = run("data", "verify", name, "--data-root", root, "--json").json
    assert verified["ok"], verified
    recipe = tmp_path / "own.yaml"
    recipe.write_text(RECIPE.format(name=name, train=train, scored=scored))
    trained = run(
        "reproduce", "own/plain", "--recipe", recipe, "--data-root", root, "--out", out, "--yes", "--quiet", "--json"
    ).json
    (entry,) = trained["reports"][0]["figures"] if "reports" in trained else trained["figures"]
    assert entry["measured"] is not None and 0 <= entry["measured"] <= 100
    (weights,) = out.glob("trainings/*/last.safetensors")
    score = run(
        "eval", "--checkpoint", weights, "--dataset", name, "--split", scored, "--data-root", root, "--out", out,
        "--json",
    ).json  # fmt: skip
    assert score["figures"]["miou"] == pytest.approx(entry["measured"], abs=1e-9)
    assert score["images"] == options.splits[scored][0]
