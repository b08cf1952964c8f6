"""The main paper's table, which stands in no supplement: its figures typed once more, and what its rows build on."""

from decimal import Decimal

import pytest
import torch

from segbench.models.segmentor import build_segmentor
from segbench.recipe.catalog import Catalog
from segbench.recipe.margins import margin_of
from segbench.recipe.resolve import Request, resolve, resolve_all
from segbench.recipe.tree import pick
from tests.recipe.made import HEAD, ROWS, line

MAIN = "contextrast-main-table1"
COLUMNS = ("cityscapes.val", "ade20k.val", "pascal-context.val", "coco-stuff-10k.test", "camvid.unstated")
PRINTED = {
    "deeplabv3": ("77.12", "42.85", "52.83", "36.04", "78.80"),
    "deeplabv3+mscs": ("78.94", "43.86", "52.27", "36.34", "79.67"),
    "deeplabv3+contextrast": ("79.35", "44.12", "53.81", "36.55", "79.98"),
    "hrnet": ("78.48", "41.52", "51.96", "36.04", "82.17"),
    "hrnet+mscs": ("81.50", "42.55", "52.17", "36.35", "83.14"),
    "hrnet+contextrast": ("82.20", "42.68", "52.91", "36.34", "84.33"),
    "ocrnet": ("79.95", "41.29", "53.25", "38.08", "82.69"),
    "ocrnet+mscs": ("81.51", "42.87", "52.78", "38.17", "83.82"),
    "ocrnet+contextrast": ("81.94", "42.87", "53.82", "38.34", "84.10"),
}


def test_its_figures_are_those_printed(shipped: Catalog) -> None:
    found: dict[str, dict[str, str]] = {}
    for figure in shipped.table(MAIN).figures():
        assert (figure.metric, figure.class_name, figure.over, figure.runs) == ("miou", None, None, None)
        found.setdefault(figure.row, {})[f"{figure.dataset}.{figure.split}"] = figure.printed
    assert found == {row: dict(zip(COLUMNS, values, strict=True)) for row, values in PRINTED.items()}
    assert list(found) == list(PRINTED)


def test_margins_are_half_the_smallest_gain_on_each_data_set(shipped: Catalog) -> None:
    table = shipped.table(MAIN)
    gains = {
        column: [
            float(Decimal(PRINTED[f"{network}+{method}"][at]) - Decimal(PRINTED[network][at]))
            for network in ("deeplabv3", "hrnet", "ocrnet")
            for method in ("mscs", "contextrast")
        ]
        for at, column in enumerate(COLUMNS)
    }
    for figure in table.figures():
        smallest = min(gain for gain in gains[f"{figure.dataset}.{figure.split}"] if gain > 0)
        assert margin_of(table, figure) == pytest.approx(max(0.3, smallest / 2))
    assert max(gains["cityscapes.val"]) == 3.72, "the gain with HRNet that summaries of the paper quote"


def test_every_row_runs_on_every_data_set(shipped: Catalog) -> None:
    rows = resolve_all(shipped, MAIN)
    assert [(row.row, row.dataset) for row in rows] == [
        (name, column.split(".")[0]) for name in PRINTED for column in COLUMNS
    ]
    assert [row.name for row in rows if row.unsupported] == []
    for row in rows:
        assert row.published.evaluation is not None
        split = {column.split(".")[0]: column.split(".")[1] for column in COLUMNS}[row.dataset]
        assert row.published.evaluation.data.splits == ("test" if split == "unstated" else split,)
        assert row.published.evaluation.data.name == row.dataset
        assert (len(row.published.evaluation.scales), row.published.evaluation.flip) == (6, True)


def test_plain_rows_are_the_rows_of_settings(shipped: Catalog) -> None:
    """Rows of Table 1 have the same training, so that one run serves both."""
    for network in ("deeplabv3", "hrnet", "ocrnet"):
        for column in COLUMNS:
            dataset = column.split(".")[0]
            own = resolve(shipped, MAIN, network, dataset).published.training
            base = f"{dataset.removesuffix('-10k')}-{network}"
            theirs = resolve(shipped, "contextrast-table1", base, dataset).published.training
            assert own is not None and theirs is not None and own.id() == theirs.id()


def test_contextrast_on_hrnet_is_the_default_of_the_ablations(shipped: Catalog) -> None:
    for dataset in ("cityscapes", "camvid"):
        own = resolve(shipped, MAIN, "hrnet+contextrast", dataset).published
        other = resolve(shipped, "contextrast-table6", "layers-4-3-2-1", dataset).published
        assert own.training is not None and other.training is not None
        assert own.training.id() == other.training.id() and own.evaluation == other.evaluation


def test_daggers_stand_at_the_two_baselines_of_another_project(shipped: Catalog) -> None:
    (found,) = shipped.table(MAIN).file.contradictions
    assert found.figures == ("deeplabv3/cityscapes.val.miou", "hrnet/cityscapes.val.miou")


def model(catalog: Catalog, row: str, dataset: str, **readings: str) -> dict[str, object]:
    names = tuple((name.replace("_", "-"), option) for name, option in readings.items())
    training = resolve(catalog, MAIN, row, dataset, Request(readings=names)).published.training
    assert training is not None
    stage = training.stages[0]
    return {
        **stage.model.backbone.options,
        **stage.model.decoder.options,
        "align_corners": stage.model.align_corners,
        "method": stage.method.options,
    }


def test_networks_of_the_code_of_pissas_et_al(shipped: Catalog) -> None:
    """As in their files models/DeepLabv3.py and models/OCR.py; usual values are left out of a choice's options."""
    named = model(shipped, "deeplabv3", "ade20k")
    code = model(shipped, "deeplabv3", "ade20k", deeplabv3_code="pissas")
    assert named["stem"] == "deep" and "bn_eps" not in named
    assert "stem" not in code and code["bn_eps"] == 3e-4, "conv7x7 is the usual stem"
    assert {key: code[key] for key in ("output_stride", "align_corners")} == {"output_stride": 8, "align_corners": True}
    usual = model(shipped, "ocrnet", "ade20k")
    code = model(shipped, "ocrnet", "ade20k", ocr_code="pissas")
    assert {"aux_channels", "attention_bias", "dropout"}.isdisjoint(usual)
    assert (code["aux_channels"], code["attention_bias"], code["dropout"]) == (512, False, 0.0)


@pytest.mark.parametrize(
    ("row", "reading", "option", "millions"),
    [
        # Measured on MMSegmentation's and openseg's own networks of 19 classes.
        ("deeplabv3", "deeplabv3-code", "mmsegmentation", 87.105),
        ("ocrnet", "ocr-code", "mmsegmentation", 70.371),
        ("ocrnet", "ocr-code", "openseg", 74.522),
        # torchvision's DeepLabV3 has 58.630 M and a 3x3 convolution of 256 channels with batch norm more.
        ("deeplabv3", "deeplabv3-code", "pissas", 58.630 - (256 * 256 * 9 + 512) / 1e6),
        # openseg's less 208 of 720 channels before the soft regions, and less the biases of the attention: of five
        # convolutions to 256 channels and two to 512.
        ("ocrnet", "ocr-code", "pissas", 74.522 - (208 * (720 * 9 + 1 + 2 + 19) + 5 * 256 + 2 * 512) / 1e6),
    ],
)
def test_networks_have_the_parameters_of_the_code_they_are_named_for(
    shipped: Catalog, row: str, reading: str, option: str, millions: float
) -> None:
    request = Request(readings=((reading, option),))
    training = resolve(shipped, MAIN, row, "cityscapes", request).published.training
    assert training is not None
    with torch.device("meta"):
        network = build_segmentor(training.stages[0].model, num_classes=19)
    assert sum(each.numel() for each in network.parameters()) / 1e6 == pytest.approx(millions, abs=6e-4)


def test_layers_that_pissas_et_al_contrast_in_deeplabv3(shipped: Catalog) -> None:
    three = model(shipped, "deeplabv3+mscs", "camvid")["method"]
    assert isinstance(three, dict)
    assert {int(layer): weight for layer, weight in three["layer_weights"].items()} == {1: 1.0, 3: 0.7, 4: 0.4}
    assert "cross_pairs" not in three, "layers 1 and 4, and 1 and 3, as everywhere"
    four = model(shipped, "deeplabv3+mscs", "camvid", deeplabv3_layers_mscs="four")["method"]
    assert isinstance(four, dict) and "layer_weights" not in four


def test_settings_of_the_successor(shipped: Catalog) -> None:
    for dataset, decay in (("coco-stuff-10k", 5e-4), ("pascal-context", 1e-4)):
        for option, rate, weight in (("supplement", 1e-3, decay), ("successor", 1e-2, 5e-4)):
            request = Request(readings=(("learning-rate", option),))
            found = resolve(shipped, MAIN, "ocrnet", dataset, request)
            assert pick(found.tree, "schedule.optimizer.lr").value == rate
            assert pick(found.tree, "schedule.optimizer.weight_decay").value == weight


TWO = """
  a:
    figures: {camvid.test: {miou: "1.0"}, cityscapes.val: {miou: "2.0"}}
    base: {camvid: made-one/base, cityscapes: made-one/more}
"""


def test_a_row_may_build_on_another_one_for_each_data_set(write) -> None:  # type: ignore[no-untyped-def]
    one = HEAD + ROWS.replace("  more:\n", "  more:\n    data: {name: cityscapes}\n    schedule: {steps: 7}\n")
    two = "schema: 1\nversion: 1\ntable: made-two\ntitle: Two\nsource: nowhere\nrows:" + TWO
    catalog = write(one=one, two=two)
    steps = {}
    for dataset in ("camvid", "cityscapes"):
        training = resolve(catalog, "made-two", "a", dataset).published.training
        assert training is not None
        steps[dataset] = training.stages[0].schedule.steps
    assert steps == {"camvid": 100, "cityscapes": 7}


@pytest.mark.parametrize(
    ("old", "new", "place", "sentence"),
    [
        (
            "{camvid: made-one/base,",
            "{camvdi: made-one/base,",
            "rows.a.base.camvdi",
            "no figures on 'camvdi'. Close: camvid",
        ),
        ("made-one/more}", "made-one/mroe}", "rows.a.base.cityscapes", "no row 'made-one/mroe'. Close: made-one/more"),
    ],
)
def test_faults_of_such_bases(faults, old, new, place, sentence) -> None:  # type: ignore[no-untyped-def]
    two = "schema: 1\nversion: 1\ntable: made-two\ntitle: Two\nsource: nowhere\nrows:" + TWO.replace(old, new)
    (fault,) = faults(one=HEAD + ROWS, two=two)
    assert fault.startswith(f"made/two.yaml:{line(two, '    base:')}: {place}: ")
    assert sentence in fault
