"""Plans: equal trainings once, what is there already, what waits and why."""

from pathlib import Path

import pytest

from segbench.core.errors import UsageFault
from segbench.core.spec import evaluation_id
from segbench.recipe.catalog import Catalog, add_file, load_catalog, recipes_root
from segbench.recipe.resolve import Request
from segbench.reproduce.folders import Folders
from segbench.reproduce.plan import Plan, as_json, attempt_of, make_plan
from segbench.results.record import Record
from tests.unread import unread_set

SMOKE = Request("smoke")
TWINS = """
schema: 1
version: 1
table: twins
title: Rows that mean the same
source: nowhere
base: {camvid: contextrast-table1/camvid-hrnet}
rows:
  plain: {figures: {camvid.test: {miou: "80.0"}}}
  twin: {schedule: {steps: 6000}, figures: {camvid.test: {miou: "81.0"}}}
  scored-otherwise: {evaluation: {absent: zero}, figures: {camvid.test: {miou: "82.0"}}}
  other: {augmentation: {flip: 0.0}, figures: {camvid.test: {miou: "83.0"}}}
"""


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    catalog = load_catalog(recipes_root())
    (tmp_path / "twins.yaml").write_text(TWINS)
    add_file(catalog, tmp_path / "twins.yaml")
    return catalog


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path / "results", tmp_path / "data")


def statuses(plan: Plan) -> dict[str, str]:
    return {item.name: item.status for item in plan.items}


def record_of(plan: Plan, row: str) -> Record:
    (item,) = (item for item in plan.items if item.name == row)
    return Record(
        id=item.evaluation, kind="training", training=item.training, family="f", dataset="camvid", split="test",
        figures={"miou": 1.0},
    )  # fmt: skip


def test_equal_trainings_are_run_once(catalog: Catalog, folders: Folders) -> None:
    request = Request(settings=(("data.source", "generated"),))
    plan = make_plan(catalog, "twins", folders, request=request)
    assert statuses(plan) == {
        "plain": "to do", "twin": "shared", "scored-otherwise": "shared", "other": "to do"
    }  # fmt: skip
    reasons = {item.name: item.reason for item in plan.items}
    assert reasons["twin"] == "with plain"
    served = [[item.name for item in items] for _, items in plan.trainings().values()]
    assert served == [["plain", "twin", "scored-otherwise"], ["other"]]
    by_name = {item.name: item for item in plan.items}
    assert by_name["plain"].evaluation == by_name["twin"].evaluation != by_name["scored-otherwise"].evaluation
    assert by_name["plain"].training == by_name["scored-otherwise"].training


def test_what_the_store_has_is_done(catalog: Catalog, folders: Folders) -> None:
    request = Request(settings=(("data.source", "generated"),))
    before = make_plan(catalog, "twins", folders, request=request)
    folders.store.write(record_of(before, "plain"))
    plan = make_plan(catalog, "twins", folders, request=request)
    assert statuses(plan) == {
        "plain": "done", "twin": "done", "scored-otherwise": "to do", "other": "to do"
    }  # fmt: skip
    assert [len(items) for _, items in plan.trainings().values()] == [1, 1]


def test_seeds_are_trainings_of_their_own(catalog: Catalog, folders: Folders) -> None:
    plan = make_plan(catalog, "twins", folders, row="plain", request=Request("smoke", seed=5), seeds=3)
    assert [item.seed for item in plan.items] == [5, 6, 7]
    assert len(plan.trainings()) == 3
    assert {spec.seed for spec, _ in plan.trainings().values()} == {5, 6, 7}
    assert len({spec.family() for spec, _ in plan.trainings().values()}) == 1


def test_missing_data_and_what_is_not_built_yet_wait_with_their_reasons(catalog: Catalog, folders: Folders) -> None:
    plan = make_plan(catalog, "contextrast-table6", folders, request=Request())
    assert plan.missing == ["waits for Cityscapes: missing", "waits for CamVid: missing"]
    assert plan.lacking_data == ["cityscapes", "camvid"]
    assert plan.trainings() == {} and plan.seconds == 0
    plan = make_plan(catalog, "semiseg-table3", folders, request=Request())
    assert plan.missing == ["waits for Cityscapes: missing, GTA5 (Playing for Data): missing"]
    assert plan.lacking_data == ["cityscapes", "gta5"]
    with unread_set() as name:
        plan = make_plan(catalog, "twins", folders, row="plain", request=Request(settings=(("data.name", name),)))
        assert plan.missing == ["waits for data set unread"] and plan.lacking_data == []
    decoder = Request("smoke", settings=(("model.decoder", {"name": "not-there"}),))
    plan = make_plan(catalog, "contextrast-table6", folders, request=decoder)
    assert {item.status for item in plan.items} == {"waits"}
    assert plan.lacking_data == [] and "decoder not-there" in plan.missing[0]


def test_data_that_is_there_does_not_wait(
    catalog: Catalog, folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.data.camvid_tree import tree_options, write_tree

    monkeypatch.setattr("segbench.data.sets.camvid.options.Options", tree_options)
    folder = write_tree(tmp_path / "data" / "camvid")
    words = {"row": "plain", "request": Request("small")}
    assert statuses(make_plan(catalog, "twins", folders, **words)) == {"plain": "to do"}
    next((folder / "val" / "labels").iterdir()).unlink()
    assert make_plan(catalog, "twins", folders, **words).missing == ["waits for CamVid: incomplete: 9 of 10"]
    blind = words | {"request": Request("small", settings=(("schedule.validate_every", None),))}
    assert make_plan(catalog, "twins", folders, **blind).missing == [], "val is neither validated nor scored on"
    next((folder / "test" / "labels").iterdir()).unlink()
    assert make_plan(catalog, "twins", folders, **blind).missing == ["waits for CamVid: incomplete: 7 of 8"]


def test_counts_are_no_trainings(catalog: Catalog, folders: Folders) -> None:
    plan = make_plan(catalog, "contextrast-table7", folders, request=Request())
    assert plan.trainings() == {} and len(plan.counts()) == 2
    assert [(item.steps, item.batch_total, item.training) for item in plan.items] == [(0, 0, "")] * 2
    smaller = make_plan(catalog, "contextrast-table7", folders, request=SMOKE)
    assert [item.evaluation for item in smaller.items] == [item.evaluation for item in plan.items]


def test_ids_follow_from_the_specs(catalog: Catalog, folders: Folders) -> None:
    (item,) = make_plan(catalog, "twins", folders, row="plain", request=SMOKE).items
    training, evaluation = item.resolved.ran.training, item.resolved.ran.evaluation
    assert training is not None and evaluation is not None
    assert item.training == training.id()
    assert item.evaluation == evaluation_id(training.id(), evaluation)
    attempt = attempt_of(item)
    assert (attempt.table, attempt.row, attempt.budget, attempt.training) == ("twins", "plain", "smoke", item.training)


def test_every_table_has_a_plan_at_every_budget(catalog: Catalog, folders: Folders) -> None:
    for table in catalog.tables:
        for budget in ("full", "smoke"):
            plan = make_plan(catalog, table, folders, request=Request(budget))
            assert plan.items
            assert as_json(plan)["items"][0]["row"] == plan.items[0].name


def test_unknown_names(catalog: Catalog, folders: Folders) -> None:
    for words in ({"table": "nosuch"}, {"row": "nosuch"}, {"row": "plain", "dataset": "ade20k"}):
        asked = {"table": "twins", "row": None, "dataset": None} | words
        with pytest.raises(UsageFault):
            make_plan(catalog, asked["table"], folders, row=asked["row"], dataset=asked["dataset"], request=SMOKE)


def test_a_reading_that_touches_no_row_is_refused(tmp_path: Path) -> None:
    catalog, folders = load_catalog(recipes_root()), Folders(tmp_path, tmp_path)
    request = Request("smoke", readings=(("ce-class-weights", "mmsegmentation"),))
    with pytest.raises(UsageFault, match="touches none of these rows"):
        make_plan(catalog, "contextrast-table6", folders, dataset="camvid", request=request)
    assert make_plan(catalog, "contextrast-table6", folders, dataset="cityscapes", request=request).items


SERVED = """
schema: 1
version: 1
table: served
title: A row whose labels only a server has
source: nowhere
base: {camvid: contextrast-table1/camvid-hrnet}
rows:
  secret: {server: the CamVid server, evaluation: {split: test}, figures: {camvid.test: {miou: "84.0"}}}
"""


def test_what_only_a_server_can_score_is_scored_on_val_here(catalog: Catalog, folders: Folders, tmp_path: Path) -> None:
    (tmp_path / "served.yaml").write_text(SERVED)
    add_file(catalog, tmp_path / "served.yaml")
    generated = Request(settings=(("data.source", "generated"),))
    splits = []
    for request in (Request(), generated):
        (item,) = make_plan(catalog, "served", folders, request=request).items
        scored, published = item.resolved.scored, item.resolved.ran.evaluation
        assert scored is not None and published is not None
        assert published.data.splits == ("test",)
        assert item.evaluation == evaluation_id(item.training, scored)
        splits.append(scored.data.splits)
    assert splits == [("val",), ("test",)], "generated scenes have labels in every split"
