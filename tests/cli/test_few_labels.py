"""Bad input to trainings with few labels, as a user meets it: one line each, before anything is trained."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from segbench.cli.reproduce import _may_start
from segbench.core.errors import InvalidFault, UsageFault
from segbench.data.subsets import published
from segbench.recipe.catalog import default_catalog
from segbench.recipe.resolve import Request, resolve
from segbench.reproduce.folders import Folders
from segbench.reproduce.plan import make_plan
from segbench.reproduce.scoring import needed_splits
from tests.program import segbench, tiny


def test_more_labels_than_images(tmp_path: Path) -> None:
    words = tiny("semiseg-reference/cityscapes-1_8", out=tmp_path, dataset="cityscapes", data__subset__count=99)
    assert "subset: count 99 is more than the 4 images there are." in segbench(*words).err


def test_no_labels_at_all(tmp_path: Path) -> None:
    words = tiny("semiseg-reference/cityscapes-1_8", out=tmp_path, dataset="cityscapes", data__subset__count=0)
    assert "data.subset.count: input should be greater than 0" in segbench(*words).fails(4)


def test_names_of_images(tmp_path: Path) -> None:
    subset = "{rule: list, count: 2, keys: [train/a, train/a]}"
    words = tiny("semiseg-reference/cityscapes-1_8", out=tmp_path, dataset="cityscapes", data__subset=subset)
    assert "keys names train/a more than once" in segbench(*words).fails(4)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("method.memroy_size_per_class=3", "unknown key 'memroy_size_per_class'"),
        ("method.class_weights=median", "method.class_weights"),
        ("method.memory_from_steps=5000", "memory_from_steps is after contrast_from_steps"),
        ("stages.train.streams.unlabelled.data.labels_from=techer", "no earlier stage 'techer'"),
    ],
)
def test_settings_that_cannot_be(setting: str, says: str) -> None:
    done = segbench("show", "semiseg-table1/imagenet-deeplabv2-1_30", "--set", setting)
    assert says in done.fails(4)


def test_a_teacher_stage_by_a_wrong_name() -> None:
    done = segbench("show", "cfn-claims/cfn-hrnet", "--set", "method.teacher_stage=techer")
    assert "no earlier stage 'techer'. Close: teacher" in done.fails(4)


def test_micro_batches_are_refused_where_images_are_mixed(tmp_path: Path) -> None:
    words = ("reproduce", "semiseg-table1/imagenet-deeplabv2-1_30", "--budget", "smoke", "--out", tmp_path)
    done = segbench(
        *words,
        "--micro-batch",
        1,
        "--set",
        "stages.train.streams.unlabelled.batch_total=4",
        "--set",
        "schedule.batch_total=4",
    )
    assert done.code != 0 and "it augments and mixes all images of a batch together" in done.err + done.out


def test_the_source_domain_is_needed_too() -> None:
    row = resolve(default_catalog(), "semiseg-table3", "gta5-deeplabv3plus-1_30", "cityscapes")
    assert row.ran.training is not None
    needed = needed_splits(row.ran.training.stages, row.ran.evaluation)
    assert set(needed) == {"cityscapes", "gta5"} and needed["gta5"] == ["trainvaltest"]


def test_a_fourth_seed_is_refused_by_the_plan(tmp_path: Path) -> None:
    """Before anything is trained, whatever data there is."""
    row = {"row": "imagenet-deeplabv2-1_30", "folders": Folders(tmp_path, tmp_path)}
    for seed, waits in (
        (2, "waits for Cityscapes"),
        (3, "waits for permutation 3 of cityscapes, of which 3 are published"),
    ):
        (item,) = make_plan(default_catalog(), "semiseg-table1", request=Request(seed=seed), **row).items
        assert item.status == "waits" and item.reason.startswith(waits)


def test_a_fourth_split() -> None:
    with pytest.raises(InvalidFault, match="no permutation 3 of voc2012 is published") as fault:
        published("voc2012", 3, 10582)
    assert "--reading labelled-split-voc=random-seeded" in fault.value.next


def test_recollections_are_asked_for_before_a_full_run(tmp_path: Path) -> None:
    """On real images of the user's own, so that nothing else stops the run."""
    done = segbench("show", "label-efficient-table1/cityscapes-596-scratch", "--reading", "trainnig=recalled")
    assert "Close: training" in done.fails(2)
    done = segbench("show", "label-efficient-table1/cityscapes-596-scratch", "--reading", "training=deep")
    assert "No reading of 'training' has an option 'deep'" in done.fails(2)
    text = segbench("show", "label-efficient-table1", "--readings").out
    assert "(a recollection)" in text and "--reading training=OPTION" in text


@pytest.mark.parametrize(
    ("readings", "asked"),
    [((), True), ((("training", "recalled"),), False), ((("scratch-few", "recalled"),), True)],
)
def test_a_full_run_on_recollections(tmp_path: Path, readings: tuple[tuple[str, str], ...], asked: bool) -> None:
    """Whatever the data: a run that could start is refused until every recollection is named, or with --yes."""
    table = "label-efficient-table1"
    request = Request(readings=readings)
    plan = make_plan(
        default_catalog(), table, Folders(tmp_path, tmp_path), row="cityscapes-596-scratch", request=request
    )
    assert bool(plan.recollections) == asked
    (item,) = plan.items
    item.status, item.seconds = "to do", 1.0
    runtime = SimpleNamespace(is_cuda=True)
    run = SimpleNamespace(plan=plan, target=f"{table}/x", runtime=runtime, require_runnable=lambda: None)
    if not asked:
        _may_start(run, yes=False, no_input=True)
        return
    with pytest.raises(UsageFault, match="rests on recollections that nobody has checked") as fault:
        _may_start(run, yes=False, no_input=True)
    assert "--reading training=recalled" in fault.value.next and "--yes" in fault.value.next
    _may_start(run, yes=True, no_input=True)
