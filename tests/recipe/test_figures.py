"""Figures that this version can measure."""

import pytest

from segbench.recipe.figures import METRICS, Figure


def figure(metric: str, dataset: str) -> Figure:
    return Figure("table", "row", dataset, "val", metric, "57.0", over="other" if metric.endswith("gain") else None)


@pytest.mark.parametrize("metric", ["iiou", "category_miou", "category_iiou", "iiou_gain", "category_iiou_gain"])
def test_scores_of_a_benchmark_are_measured_on_its_data_set_alone(metric: str) -> None:
    assert figure(metric, "cityscapes").measured
    assert not figure(metric, "camvid").measured


def test_others_are_measured_everywhere_or_nowhere() -> None:
    assert figure("miou", "camvid").measured and figure("dice_gain", "ade20k").measured
    assert figure("alignment", "cityscapes").measured and figure("uniformity_gain", "camvid").measured
    assert not figure("sec_per_epoch", "cityscapes").measured


def test_what_a_table_of_the_cityscapes_server_prints_can_be_measured(shipped) -> None:
    found = shipped.tables["contextrast-table3"].figures()
    assert {each.base_metric for each in found} == {"miou", "iiou", "category_miou", "category_iiou"}
    assert all(each.measured for each in found)
    assert METRICS["iiou"].datasets == ("cityscapes",)
