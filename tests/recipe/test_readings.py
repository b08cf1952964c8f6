"""Readings: which applies, what an option sets, and that no shipped option is dead."""

import pytest

from segbench.core.errors import InvalidFault, UsageFault
from segbench.recipe.resolve import Request, Resolved, resolve, resolve_all
from segbench.recipe.tree import pick, plain
from tests.recipe.made import HEAD, ROWS, line

READINGS = """
readings:
  one:
    question: Which alpha?
    options: {low: {says: low, set: {method.alpha: 0.2}}, high: {says: high, set: {method.alpha: 0.8}}}
    default: low
    source: a guess
    confidence: medium
  two:
    question: Which temperature, if alpha is high?
    options: {same: {says: "alpha's", set: {method.temperature: $method.alpha}}, cold: {says: cold}}
    default: same
    source: a guess
    confidence: low
    when: {method.alpha: [0.8, 0.9], row: more}
  three:
    question: Is there no jitter?
    options: {none: {says: none}, some: {says: some, set: {augmentation.jitter: {hue: [-0.1, 0.1]}}}}
    default: none
    source: a guess
    confidence: high
    when: {augmentation.jitter: null, dataset: camvid, table: made-one}
"""


@pytest.fixture
def made(write):
    return write(one=HEAD + ROWS + READINGS)


def take(catalog, row, **options) -> Resolved:
    return resolve(catalog, "made-one", row, "camvid", Request(readings=tuple(options.items())))


def method(found):
    return found.ran.training.stages[0].method.options


def test_defaults_and_choices(made):
    found = take(made, "base")
    assert [(use.name, use.option, use.is_default) for use in found.readings] == [
        ("one", "low", True), ("three", "none", True)
    ]  # fmt: skip
    assert method(found)["alpha"] == 0.2
    assert found.weakest_confidence == "medium"
    found = take(made, "base", one="high")
    assert (found.readings[0].name, found.readings[0].option, found.readings[0].is_default) == ("one", "high", False)
    assert method(found)["alpha"] == 0.8
    assert pick(found.tree, "method.alpha").origin.layer == "reading one=high"


def test_when_sees_what_earlier_readings_left(made):
    assert [use.name for use in take(made, "more").readings] == ["one", "three"]
    found = take(made, "more", one="high")
    assert [use.name for use in found.readings] == ["one", "two", "three"]
    assert found.weakest_confidence == "low"
    assert "two" not in [use.name for use in take(made, "base", one="high").readings]


def test_a_reference_takes_the_value_in_force(made):
    assert method(take(made, "more", one="high"))["temperature"] == 0.8
    assert "temperature" not in method(take(made, "more", one="high", two="cold"))


def test_an_option_may_set_a_whole_section(made):
    found = take(made, "base", three="some")
    assert plain(pick(found.tree, "augmentation.jitter")) == {"hue": [-0.1, 0.1]}
    assert found.ran.training.stages[0].streams["labelled"].augmentation.jitter.hue == (-0.1, 0.1)


def test_unknown_reading_or_option(made):
    with pytest.raises(UsageFault, match=r"No reading 'thre' for made-one. Close: three"):
        take(made, "base", thre="some")
    with pytest.raises(UsageFault, match=r"Reading 'one' has no option 'hihg'; it has low, high. Close: high."):
        take(made, "base", one="hihg")
    # A request for the whole table may name what applies to some of its rows alone.
    assert take(made, "base", two="cold").published == take(made, "base").published


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("$method.alpha", "$method.alhpa", "there is nothing at 'method.alhpa'"),
        ("method.temperature:", "method.alpha.beta:", "method.alpha is one setting"),
        ("method.temperature:", "stages.train.method.temperature:", "there is no stage 'train'; known: none"),
        ("method.temperature:", "method:", "a path is SECTION.NAME"),
    ],
)
def test_options_that_cannot_be_set(write, old, new, sentence):
    text = HEAD + ROWS + READINGS.replace(old, new)
    with pytest.raises(InvalidFault) as caught:
        take(write(one=text), "more", one="high")
    (fault,) = caught.value.faults
    assert fault.startswith(f"one.yaml:{line(text, 'says: cold')}: readings.two.options.same.set.")
    assert sentence in fault


def test_a_bad_value_of_an_option_has_the_line_of_the_option(write):
    text = HEAD + ROWS + READINGS.replace("method.alpha: 0.8", "method.alpha: -1")
    with pytest.raises(
        InvalidFault, match=rf"^one.yaml:{line(text, 'says: high')}: made-one/base: method.alpha: input"
    ):
        take(write(one=text), "base", one="high")


def test_readings_of_the_paper_come_before_those_of_the_table(shipped):
    table = shipped.table("contextrast-table6")
    names = list(shipped.readings_of(table))
    assert names[0] == "shared-anchor-weights"
    assert names[-1] == "ticked-layers"
    assert "ticked-layers" not in shipped.readings_of(shipped.table("contextrast-table5"))


def means(found: Resolved) -> tuple[object, ...]:
    """Return the resolved row, equal for two options that make no difference."""
    training = found.published.training
    return training.id() if training else None, found.published.evaluation, found.published.cost


def check_options(catalog, row: Resolved, names: list[str]) -> set[str]:
    """Every option of these readings of a row gives something else; returns the readings that came up on the way."""
    came = set()
    for use in (use for use in row.readings if use.name in names):
        seen = {means(row): use.option}
        for option in (option for option in use.reading.options if option != use.option):
            request = Request(readings=(*row.request.readings, (use.name, option)))
            found = resolve(catalog, row.table.name, row.row, row.dataset, request)
            meaning = means(found)
            assert meaning not in seen, f"{row.name} {row.dataset}: {use.name}={option} is {use.name}={seen[meaning]}"
            seen[meaning] = option
            new = [each.name for each in found.readings if each.name not in {each.name for each in row.readings}]
            came |= {use.name, *(check_options(catalog, found, new) if new else ())}
    return came


def test_every_option_of_every_row_resolves_and_changes_something(shipped):
    for paper in shipped.papers:
        tables = [table for table in shipped.tables.values() if table.paper == paper]
        used = set()
        for row in (row for table in tables for row in resolve_all(shipped, table.name)):
            used |= check_options(shipped, row, [use.name for use in row.readings])
        assert used == {name for table in tables for name in shipped.readings_of(table)}


@pytest.mark.parametrize("budget", ["full", "small", "smoke"])
@pytest.mark.parametrize("row", ["cfn-hrnet", "cfn-pspnet", "without-teacher"])
def test_an_optimiser_that_forgets_does_so_at_every_budget(shipped, row, budget):
    found = resolve(
        shipped, "cfn-claims", row, "cityscapes", Request(budget, readings=(("optimiser-state", "released"),))
    )
    assert [stage.schedule.reset_optimizer for stage in found.ran.training.stages][-1]
    assert not any(stage.schedule.reset_optimizer for stage in found.ran.training.stages[:-1])
