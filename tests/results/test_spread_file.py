"""The shipped spreads are those of the records that they name."""

import json
from collections import defaultdict
from pathlib import Path

import pytest

from segbench.recipe.catalog import default_catalog
from segbench.results.pools import pool_key
from segbench.results.record import Record
from segbench.results.statistics import pool

ROOT = Path(__file__).parents[2]
SPREADS = default_catalog().spreads


def test_there_are_some():
    assert SPREADS


@pytest.mark.parametrize("spread", SPREADS, ids=lambda spread: f"{spread.dataset} {spread.backbone} {spread.decoder}")
def test_each_follows_from_its_records(spread):
    """Pooled over trainings of three seeds and more of one network, which share data, schedule and evaluation."""
    records = [Record.model_validate(each) for each in json.loads((ROOT / spread.records / "records.json").read_text())]
    groups: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        model = record.training_spec["stages"][-1]["model"]
        if (record.dataset, model["backbone"]["name"], model["decoder"]["name"]) == (
            spread.dataset,
            spread.backbone,
            spread.decoder,
        ):
            groups[pool_key(record)][record.family].append(record.figures[spread.metric])
    found = [
        pool([values for values in families.values() if len(values) >= 3])
        for families in groups.values()
        if any(len(values) >= 3 for values in families.values())
    ]
    assert len(found) == 1 and found[0] is not None, "one pool"
    assert spread.s == pytest.approx(found[0].s, abs=5e-4) and spread.df == found[0].df
