"""Networks that a paper's shared file or a table names: written once, resolved as if written out in every row."""

import pytest

from segbench.core.errors import InvalidFault, UsageFault
from segbench.recipe.resolve import Request, resolve
from segbench.recipe.tree import flatten, pick, plain
from tests.recipe.made import HEAD, line

SHARED = """\
schema: 1
paper: made
title: Made
cite: nowhere
networks:
  wide:
    backbone: {name: hrnetv2, width: 32}
    decoder: {name: ocr, channels: 128, dropout: 0.1}
    align_corners: true
    source: the paper's appendix
    confidence: medium
    sources: {decoder.dropout: its code}
  plain: {backbone: resnet, decoder: deeplabv3}
readings:
  which:
    question: Which network?
    options: {told: {says: as told}, other: {says: the other, set: {model.network: plain}}}
    default: told
    source: a guess
    confidence: low
"""
ONE = HEAD.replace(
    "model: {backbone: {name: hrnetv2}, decoder: {name: concat}}",
    "model: {network: wide, input: {channels: bgr}}\nsources: {model: table, model.input: the caption}",
)
ROWS = """\
rows:
  same:
    figures: {camvid.test: {miou: "1.0"}}
  changed:
    model: {decoder: {channels: 64}}
    figures: {camvid.test: {miou: "1.0"}}
  other:
    model: {network: plain}
    sources: {model: row}
    figures: {camvid.test: {miou: "1.0"}}
"""
OUT = {  # by hand, what the rows come to
    "same": {
        "backbone": {"name": "hrnetv2", "width": 32}, "decoder": {"name": "ocr", "channels": 128, "dropout": 0.1},
        "align_corners": True, "input": {"channels": "bgr"},
    },
    "changed": {
        "backbone": {"name": "hrnetv2", "width": 32}, "decoder": {"name": "ocr", "channels": 64, "dropout": 0.1},
        "align_corners": True, "input": {"channels": "bgr"},
    },
    "other": {
        "backbone": {"name": "resnet"}, "decoder": {"name": "deeplabv3"}, "align_corners": True,
        "input": {"channels": "bgr"},
    },
}  # fmt: skip


@pytest.fixture
def made(write):
    return write(readings=SHARED, one=ONE + ROWS)


def network(catalog, row, **request):
    (stage,) = resolve(catalog, "made-one", row, "camvid", Request(**request)).ran.training.stages
    return stage.model.canonical()


@pytest.mark.parametrize("row", OUT)
def test_a_named_network_is_the_network_written_out(made, row):
    assert network(made, row) == OUT[row]


def test_every_value_has_its_origin(made):
    tree = resolve(made, "made-one", "changed", "camvid").tree

    def origin(path):
        found = pick(tree, path).origin
        return found.layer, found.where, found.source, found.confidence

    at = f"readings.yaml:{line(SHARED, 'width: 32')}"
    assert origin("model.backbone.width") == (
        "network wide",
        at,
        "table",
        None,
    )  # the table's own statement comes first
    assert origin("model.network")[:2] == ("table", f"one.yaml:{line(ONE, 'network: wide')}")
    assert origin("model.decoder.channels")[0] == "row changed"
    assert origin("model.input.channels")[2] == "the caption"
    assert pick(resolve(made, "made-one", "other", "camvid").tree, "model.backbone.name").origin.source == "row"


def test_sources_of_the_network_count_unless_the_row_states_its_own(write):
    one = ONE.replace("model: table, ", "")
    rows = ROWS.replace(
        "  same:\n", "  same:\n    model: {network: wide}\n    sources: {model.decoder.channels: row}\n"
    )
    tree = resolve(write(readings=SHARED, one=one + rows), "made-one", "same", "camvid").tree
    said = {path: (leaf.origin.source, leaf.origin.confidence) for path, leaf in flatten(tree).items()}
    assert said["model.backbone.width"] == ("the paper's appendix", "medium")
    assert said["model.decoder.dropout"] == ("its code", None)
    assert said["model.decoder.channels"] == ("row", None)


def test_readings_and_settings_name_networks_too(made):
    assert network(made, "same", readings=(("which", "other"),)) == OUT["other"]
    assert network(made, "other", settings=(("model.network", "wide"),)) == OUT["same"]
    with pytest.raises(UsageFault, match=r"--set model\.network: no network 'wid'\. Close: wide"):
        network(made, "same", settings=(("model.network", "wid"),))


def test_a_table_and_a_stage_name_networks(write):
    text = "networks: {small: {backbone: {name: hrnetv2, width: 18}, decoder: concat}}\n"
    stages = "stages: [{name: first}, {name: second, from: first, model: {network: small}}]\n"
    rows = 'rows: {base: {figures: {camvid.test: {miou: "1.0"}}}}\n'
    catalog = write(readings=SHARED, one=ONE + text + stages + rows)
    first, second = resolve(catalog, "made-one", "base", "camvid").ran.training.stages
    assert first.model.canonical() == OUT["same"]
    assert second.model.backbone.options == {"width": 18}
    assert second.model.decoder.name == "concat"


@pytest.mark.parametrize(
    ("old", "new", "file", "sentence"),
    [
        ("network: wide", "network: wild", "one.yaml", "model.network: no network 'wild'. Close: wide"),
        ("{network: plain}", "{network: [plain]}", "one.yaml", "rows.other.model.network: no network ['plain']"),
        ("model.network: plain", "model.network: x", "readings.yaml", "no network 'x'. Known: plain, wide"),
        ("decoder.dropout: its", "decoder.drop: its", "readings.yaml", "no value of that name. Close: decoder.dropout"),
        ("    source: the paper's appendix\n", "", "readings.yaml", "a confidence requires a source"),
        ("    align_corners: true\n", "    align: true\n", "readings.yaml", "unknown key 'align'"),
        (", decoder: deeplabv3}", "}", "readings.yaml", "missing key 'decoder'"),
    ],
)
def test_faults_have_their_line(faults, old, new, file, sentence):
    texts = {"readings.yaml": SHARED, "one.yaml": ONE + ROWS}
    assert old in texts[file]
    texts[file] = texts[file].replace(old, new)
    (fault,) = faults(readings=texts["readings.yaml"], one=texts["one.yaml"])
    assert fault.startswith(f"made/{file}:")
    assert 0 < int(fault.split(":")[1]) <= len(texts[file].splitlines())
    assert sentence in fault


def test_a_fault_inside_a_network_stands_where_it_is_written(write):
    catalog = write(readings=SHARED.replace("width: 32", "wdith: 32"), one=ONE + ROWS)
    with pytest.raises(InvalidFault) as caught:
        resolve(catalog, "made-one", "same", "camvid")
    assert caught.value.faults[0].startswith(
        f"readings.yaml:{line(SHARED, 'width: 32')}: made-one/same: model.backbone"
    )


def test_the_shipped_networks_are_all_used(shipped):
    for paper in shipped.papers.values():
        tables = [table for table in shipped.tables.values() if table.paper == paper.name]
        files = [str(plain(table.document.data)) for table in tables]
        for name in paper.file.networks:
            assert sum(file.count(f"'network': '{name}'") for file in files) > 1, f"{paper.name}: {name}"
