"""The wheel: what a user installs holds the recipes and runs outside a checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.program import ROOT
from tests.waiting import PATIENCE


def run(*words: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        list(map(str, words)),
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.mark.slow
def test_the_installed_program_finds_its_recipes(tmp_path: Path) -> None:
    pytest.importorskip("build")
    pytest.importorskip("hatchling")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, ROOT, cwd=tmp_path)
    (wheel,) = tmp_path.glob("segbench-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "segbench/recipes/contextrast/table6.yaml" in names
    assert "segbench/recipes/budgets.yaml" in names and "segbench/py.typed" in names
    packed = {name.removeprefix("segbench/recipes/") for name in names if name.startswith("segbench/recipes/")}
    assert packed == {path.relative_to(ROOT / "recipes").as_posix() for path in (ROOT / "recipes").rglob("*.yaml")}
    data = {path.relative_to(ROOT).as_posix() for path in (ROOT / "segbench").rglob("*.yaml")}
    assert data <= set(names), "class tables and weights come along"
    assert not [name for name in names if name.startswith("tests/") or "__pycache__" in name]

    site, outside = tmp_path / "site", tmp_path / "outside"
    outside.mkdir()
    # uv-made environments lack pip; a wheel is a zip of what belongs on the path.
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode == 0:
        run(sys.executable, "-m", "pip", "install", "--no-deps", "--target", site, wheel, cwd=outside)
    else:
        zipfile.ZipFile(wheel).extractall(site)
    own = {"PYTHONPATH": str(site), "SEGBENCH_RESULTS": str(tmp_path / "results"), "SEGBENCH_DATA": str(outside)}
    listed = run(sys.executable, "-m", "segbench", "list", cwd=outside, **own)
    assert "697 printed figures" in listed.stdout
    where = "from segbench.recipe.catalog import recipes_root; print(recipes_root())"
    assert run(sys.executable, "-c", where, cwd=outside, **own).stdout.strip() == str(site / "segbench" / "recipes")
    program = site / "bin" / "segbench"
    if program.exists():
        assert run(program, "--version", cwd=outside, **own).stdout.startswith("segbench ")
        counted = run(program, "reproduce", "contextrast-table7", "--json", cwd=outside, **own)
        assert counted.stdout.count('"verdict": "reproduced"') == 6
