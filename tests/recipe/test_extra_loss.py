"""Losses beside the cross-entropy in recipes: their readings, what deviates, and where a fault lies."""

import pytest

from segbench.core.errors import InvalidFault
from segbench.recipe import deviations
from segbench.recipe.resolve import Request, resolve, resolve_all

TABLE = "contrastiveseg-table2"


def options_of(shipped, row, **readings):
    request = Request(readings=tuple((name.replace("_", "-"), option) for name, option in readings.items()))
    (stage,) = resolve(shipped, TABLE, row, "cityscapes", request).ran.training.stages
    return stage.method


def test_every_loss_of_the_table_is_built(shipped):
    found = {resolved.row: resolved for resolved in resolve_all(shipped, TABLE)}
    assert all(resolved.unsupported == [] for resolved in found.values())
    extra = {row: each.ran.training.stages[0].method.options.get("extra_loss", {}) for row, each in found.items()}
    assert {row: options.get("name") for row, options in extra.items()} == {
        "ce": None,
        "ce+aaf": "aaf",
        "ce+rmi": "rmi",
        "ce+lovasz": "lovasz",
        "ce+contrast": None,
        "ce+aaf+contrast": "aaf",
        "ce+rmi+contrast": "rmi",
        "ce+lovasz+contrast": "lovasz",
    }


def test_readings_of_the_losses(shipped):
    """The default readings are the defaults of the options, so that they leave no trace in ids."""
    method = options_of(shipped, "ce+aaf")
    assert (method.name, method.options) == (
        "supervised",
        {"class_weights": "cityscapes", "extra_loss": {"name": "aaf"}},
    )
    assert options_of(shipped, "ce+aaf", aaf_form="released").options["extra_loss"] == {
        "name": "aaf",
        "weight": 0.01,
        "final_share": 1.0,
        "fields": [3],
        "field_weights": pytest.approx(1 / 3),
        "at": "labels",
    }
    assert options_of(shipped, "ce+rmi", rmi_code="paper").options["extra_loss"] == {
        "name": "rmi",
        "pool": "mean",
        "pool_size": 4,
        "regularisation": 5e-4,
    }
    assert options_of(shipped, "ce+rmi", rmi_with_ce="released").options["ce_weight"] == 0.0
    whole = options_of(shipped, "ce+lovasz", extra_loss_groups="batch").options["extra_loss"]
    assert whole == {"name": "lovasz", "images_per_group": None}


def test_rows_with_contrast_have_the_loss_of_the_row_without(shipped):
    for name in ("aaf", "rmi", "lovasz"):
        alone, beside = (options_of(shipped, f"ce+{name}{more}").options for more in ("", "+contrast"))
        assert alone["extra_loss"] == beside["extra_loss"]


def said(shipped, value, path="method.extra_loss"):
    found = resolve(shipped, TABLE, "ce+aaf", "cityscapes", Request(settings=((path, value),)))
    return [each.path for each in deviations.between(found.published, found.ran)]


def test_deviations(shipped):
    assert said(shipped, {"name": "rmi"}) == ["method.extra_loss"]
    assert said(shipped, None) == ["method.extra_loss"]
    assert said(shipped, 0.5, "method.extra_loss.weight") == ["method.extra_loss.weight"]


def test_a_fault_lies_where_it_was_written(shipped):
    request = Request(settings=(("method.extra_loss.fields", [4]), ("method.extra_loss.margin", 0)))
    with pytest.raises(InvalidFault) as caught:
        resolve(shipped, TABLE, "ce+aaf", "cityscapes", request)
    text = "\n".join(caught.value.faults)
    assert "method.extra_loss.fields: a window around a pixel has an odd side" in text
    assert "method.extra_loss.margin:" in text
