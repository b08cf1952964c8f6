"""What arithmetic finds in printed tables, against hand-made tables and against what was found by reading."""

from pathlib import Path

import pytest

from segbench.recipe.audit import audit, printed_twice
from segbench.recipe.audit_catalog import audit_tables
from segbench.recipe.catalog import Catalog
from segbench.recipe.figures import Figure
from tests.program import segbench


def row(name: str, miou: str, *classes: str, **more: str) -> list[Figure]:
    values = [Figure("", name, "", "", "iou", printed, f"c{at}") for at, printed in enumerate(classes)]
    values += [Figure("", name, "", "", metric, printed) for metric, printed in more.items()]
    return [Figure("", name, "", "", "miou", miou), *values]


@pytest.mark.parametrize(
    ("miou", "kinds"),
    [("75.0", []), ("75.1", []), ("74.9", []), ("75.2", ["mean"]), ("74.8", ["mean"])],  # 0.05 of each may be rounded
)
def test_a_mean_is_that_of_its_classes(miou, kinds):
    assert [found.kind for found in audit(row("a", miou, "70.0", "80.0"))] == kinds


def test_a_mean_over_other_classes_is_not_held_against_these():
    assert audit(row("a", "60.0", "70.0", "80.0"), classes=19) == []
    assert len(audit(row("a", "60.0", "70.0", "80.0"), classes=2)) == 1


def test_the_slip_of_a_digit_is_found_where_it_brings_a_class_to_its_neighbours():
    around = [*row("b", "71.0", "33.0", "80.0", "100"), *row("c", "72.0", "34.0", "82.0", "100")]
    (found,) = audit([*around, *row("a", "71.0", "63.0", "80.0", "100")], classes=3)
    assert (found.row, found.repair) == ("a", "mIoU 81.0 for 71.0 or c0 33.0 for 63.0")
    (swapped,) = audit(row("a", "48.0", "69.0", "0.0"), classes=2)
    assert "c0 96.0 for 69.0" in swapped.repair


@pytest.mark.parametrize(
    ("miou", "dice", "says"),
    [
        ("62.9", "89.2", "needs a mIoU of at least 80.4"),  # 0.8915 / 1.1085
        ("28.9", "50.2", "needs a mIoU of at least 33.5"),
        ("33.6", "50.2", None),
        ("50.3", "50.2", None),  # either may be off by half a digit
        ("50.4", "50.2", "no mean Dice is below its mean IoU"),
    ],
)
def test_dice_and_iou_of_one_matrix(miou, dice, says):
    found = audit(row("a", miou, dice=dice))
    assert [each.kind for each in found] == (["dice"] if says else [])
    assert says is None or says in found[0].says


def test_the_bounds_of_dice_hold_for_any_matrix():
    """Means of 2 I / (1 + I) over random classes are never outside."""
    import numpy as np

    random = np.random.default_rng(0)
    for _ in range(300):
        iou = random.beta(0.3, 0.3, random.integers(2, 20))
        dice = (2 * iou / (1 + iou)).mean()
        assert audit(row("a", f"{100 * iou.mean():.6f}", dice=f"{100 * dice:.6f}")) == []


@pytest.mark.parametrize(("gain", "wrong"), [("+1.5", False), ("+1.6", False), ("+1.4", False), ("+1.8", True)])
def test_gains_subtract(gain, wrong):
    values = [*row("a", "70.0"), *row("b", "71.5"), Figure("", "b", "", "", "miou_gain", gain, over="a")]
    assert [found.kind for found in audit(values)] == (["gain"] if wrong else [])
    percent = [
        Figure("", "a", "", "", "params_m", "70.01"),
        Figure("", "b", "", "", "params_m", "70.39"),
        Figure("", "b", "", "", "params_m_increase_percent", "+0.54" if not wrong else "+0.60", over="a"),
    ]
    assert [found.kind for found in audit(percent)] == (["gain"] if wrong else [])


def test_shares_above_100():
    (found,) = audit([Figure("", "a", "", "", "iou", "791.0", "sky", read_as="91.0")])
    assert found.says == "sky is 791.0, which no share can be" and found.repair == "read as 91.0"


def test_one_quantity_with_two_values():
    values = [Figure("t", "a", "", "", "miou", "78.1"), Figure("u", "b", "", "", "miou", "78.4")]
    (found,) = printed_twice([("x", values[0]), ("x", values[1])])
    assert found.says == "miou is 78.1 here and 78.4 in u/b"
    assert printed_twice([("x", values[0]), ("y", values[1])]) == []
    assert printed_twice([("x", values[0]), ("x", Figure("u", "b", "", "", "miou", "78.13"))]) == [], "rounds to it"


def test_the_registered_tables(shipped: Catalog):
    """All that was found by reading the classes of semi-supervised training, and its mends, without knowing either."""
    found = {
        (each.table, one.row): one for each in audit_tables(shipped, list(shipped.tables)) for one in each.computed
    }
    means = {key: one.repair for key, one in found.items() if one.kind == "mean"}
    assert means.keys() == {
        ("semiseg-table1", "imagenet-deeplabv3plus-1_30"),
        ("semiseg-table1", "imagenet-deeplabv2-1_15"),
        ("semiseg-table1", "imagenet-deeplabv2-1_6"),
        ("semiseg-table1", "imagenet-deeplabv3plus-1_4"),
        ("semiseg-table2", "imagenet-deeplabv3plus-1_50"),
        ("semiseg-table2", "coco-deeplabv2-1_8"),
    }
    assert means["semiseg-table1", "imagenet-deeplabv2-1_15"] == "train 32.8 for 62.8"
    assert means["semiseg-table1", "imagenet-deeplabv3plus-1_4"] == "", "no single digit explains it"
    assert {key for key, one in found.items() if one.kind == "dice"} == {
        ("cfn-claims", "segformer"),
        ("cfn-claims", "cfn-hrnet"),
    }
    assert {one.kind for one in found.values()} == {"mean", "dice", "range"}


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("model,road,sky,mIoU\nours,90.0,80.0,86.0\n", 0, "the 2 classes average 85.00, the printed mIoU is 86.0"),
        ("model,road,sky,mIoU\nours,90.0,80.0,85.0\n", 0, "nothing speaks against its 3 figures"),
        ("model,Mean IoU (%),Dice\nours,62.9%,89.2\nno,-,\n", 0, "at least 80.4"),
        ("row,metric,printed,baseline\na,miou,70,\nb,miou,71,\nb,miou_gain,+3,a\n", 0, "70 give +1.00"),
        ("row,metric,printed\na,mioo,70\nb,miou,seventy\n", 4, "line 2: unknown metric 'mioo'"),
        ("model,mIoU\nours,high\n", 4, "line 2, column mIoU: 'high' is not a number"),
        ("model,mIoU\n", 4, "holds no row below its header"),
        ("model,mIoU\nours,-\n", 4, "no value below the header"),
        ("", 4, "holds no row"),
    ],
)
def test_anybodys_table(tmp_path: Path, text: str, code: int, said: str):
    path = tmp_path / "table.csv"
    path.write_text(text, encoding="utf-8")
    done = segbench("audit", path)
    assert done.code == code and said in (done.out if code == 0 else done.fails(code)), done


def test_slips(tmp_path: Path):
    assert "there is no such file" in segbench("audit", tmp_path / "none.csv").fails(3)
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    assert "is no CSV file in UTF-8" in segbench("audit", tmp_path / "bytes.csv").fails(4)
    assert "Close: semiseg-table1" in segbench("audit", "semiseg-tabel1").fails(2)


def test_for_programs():
    (one,) = segbench("audit", "semiseg-table3", "--json").json
    assert one["table"] == "semiseg-table3" and one["computed"][0]["kind"] == "range" and len(one["read"]) == 2
