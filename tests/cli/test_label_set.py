"""A pipeline through the command line, and ``segbench data verify`` of the labels that it made."""

from pathlib import Path

import pytest

from segbench.data import label_sets
from tests.program import segbench, tiny


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the labels of a first model, whose last stages have learnt from them."""
    out = tmp_path_factory.mktemp("pipeline") / "results"
    done = segbench(*tiny("label-efficient-figure1/596-scratch", out=out, dataset="cityscapes", data__images=12))
    assert done.code == 0, done.err
    assert "images labelled, 100.0 % of their pixels" in done.err
    (folder,) = out.glob("trainings/*/label_sets/*")
    return folder


def test_what_it_says(made: Path) -> None:
    done = segbench("data", "verify", made)
    assert done.code == 0, done.err
    assert "of cityscapes, labelled by stage initial" in done.out
    assert "Every file is the one that was written." in done.out
    found = segbench("data", "verify", made, "--json").json
    assert found["ok"] and found["kept"] == 1 and sum(found["shares"]) == pytest.approx(1)


def test_a_file_that_was_altered(made: Path) -> None:
    found = label_sets.open_label_set(made)
    path = label_sets.label_file(made, next(iter(found.images)))
    before = path.read_bytes()
    path.write_bytes(before + b"x")
    done = segbench("data", "verify", made)
    assert f"{path} is not the file that was written." in done.err
    assert done.code == 3 and done.lines[-1].startswith("Next: rm -r ")
    path.write_bytes(before)
