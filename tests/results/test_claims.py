"""Claims by hand: what the printed table says of them, what our own rows say, and files with faults."""

import math

import pytest
import torch

from segbench.core.errors import InvalidFault
from segbench.core.strict_yaml import load
from segbench.methods.build import build_method
from segbench.recipe.catalog import default_catalog, load_catalog
from segbench.recipe.claims import CHECKS as NAMES
from segbench.recipe.resolve import Request, resolve
from segbench.results.compare import compare_table
from segbench.results.formats import render
from segbench.results.mechanisms import CHECKS, gradient_length
from tests.program import segbench
from tests.results.conftest import BUDGETS, HEAD

T = "made-one"
BODY = """
rows:
  base: {title: Base, figures: {camvid.test: {miou: "70.0"}}}
  up: {title: Up, method: {alpha: 0.5}, over: base, figures: {camvid.test: {miou: "72.0"}}}
  tie: {title: Tie, method: {alpha: 0.6}, over: base, figures: {camvid.test: {miou: "70.0"}}}
  bare: {title: Bare, method: {alpha: 0.7}, over: base, data: {name: camvid}}
  wide: {title: Wide, model: {backbone: {name: hrnetv2, width: 48}}, figures: {camvid.test: {miou: "73.0"}}}
"""
SMALL = Request("small")
TIGHT, OTHER = [-0.1, 0.0, 0.1], [0.0, 0.1, -0.1]


def claims_file(*claims: str) -> str:
    return "schema: 1\npaper: made\nclaims:\n" + "".join(
        f"  - {{name: c{number}, sentence: It is so., where: section 1, {claim}}}\n"
        for number, claim in enumerate(claims)
    )


@pytest.fixture
def judged(lab):
    """Return the verdicts on claims after some runs at the small budget."""

    def judge(*claims: str, **runs: list[float]):
        made = lab(made_one=BODY)
        (made.root / "made" / "claims.yaml").write_text(claims_file(*claims))
        made.catalog = load_catalog(made.root)
        for row, values in runs.items():
            made.run(T, row, values, request=SMALL)
        return compare_table(made.catalog, T, made.store)

    return judge


def at(mean, offsets=TIGHT):
    return [mean + offset for offset in offsets]


REFUTED = "contradicted by its own table"
ORDER = f"kind: order, table: {T}, at: [camvid.test.miou], pairs: "
RANGE = ORDER.replace("order", "range")


@pytest.mark.parametrize(
    ("claim", "word", "said"),
    [
        (ORDER + "[[up, base]]", "not run", "its own table agrees"),
        (ORDER + "[[base, up]]", REFUTED, "printed base 70.0, up 72.0 (camvid miou: -2.00)"),
        (ORDER + "[[tie, base]]", REFUTED, "+0.00"),
        (ORDER + "[[bare, base]]", "not run", "its own table prints nothing of it"),
        (ORDER + "[[base, up]], lower: true", "not run", "its own table agrees"),
        (f"kind: lead, table: {T}, at: [camvid.test.miou], rows: [wide, up, base]", "not run", "agrees"),
        (f"kind: lead, table: {T}, at: [camvid.test.miou], rows: [up, base, wide]", REFUTED, "wide"),
        (RANGE + "[[up, base]], low: 2, high: 2", "not run", "agrees"),
        (RANGE + "[[up, base]], low: 2.2", REFUTED, "+2.00"),
        (RANGE + "[[up, base]], low: 2.09", "not run", "agrees"),  # 0.1 may be rounded
        (RANGE + "[[up, base]], percent: true, high: 2.5", REFUTED, "+2.86 %"),
        (f"kind: invariance, table: {T}, pairs: [[up, base]]", "holds", "deploy the same network"),
        (f"kind: invariance, table: {T}, pairs: [[wide, base]]", "fails", "wide and base deploy other networks"),
    ],
)
def test_by_the_printed_table(judged, claim, word, said):
    (verdict,) = judged(claim).claims
    assert verdict.word == word and said in verdict.reason


@pytest.mark.parametrize(
    ("mean", "bounds", "word"),
    # two rows of s = 0.1 with four degrees of freedom: 2.776 * 0.1 * sqrt(2/3) = 0.227 either way
    [
        (30.3, None, "holds"),
        (30.2, None, "unclear"),
        (29.7, None, "fails"),
        (30.5, "low: 0.2, high: 0.8", "holds"),
        (30.5, "low: 0.4, high: 0.8", "unclear"),
        (30.5, "low: 0.8", "fails"),
        (30.0, "high: 0.3", "holds"),
    ],
)
def test_by_our_own_rows(judged, mean, bounds, word):
    # of rows whose print says nothing
    claim = ORDER + "[[bare, base]]"
    if bounds is not None:
        claim = claim.replace("order", "range") + f", {bounds}"
    (verdict,) = judged(claim, base=at(30.0), bare=at(mean, OTHER)).claims
    assert verdict.word == word, verdict
    low, high = (mean - 30 + sign * 2.776445 * 0.1 * math.sqrt(2 / 3) for sign in (-1, 1))
    assert f"bare over base: {low:+.2f} to {high:+.2f} here (budget small)" in verdict.reason


def test_all_pairs_count(judged):
    pairs = ORDER + "[[up, base], [bare, base]]"
    assert judged(pairs, base=at(30.0), up=at(31.0, OTHER)).claims[0].word == "unclear", "one pair is not run"


def test_one_fails(judged):
    pairs = ORDER + "[[up, base], [bare, base]]"
    assert judged(pairs, base=at(30.0), up=at(31.0, OTHER), bare=at(29.0, OTHER)).claims[0].word == "fails"


def test_a_claim_that_its_table_refutes_may_hold_here(judged):
    (verdict,) = judged(ORDER + "[[tie, base]]", base=at(30.0), tie=at(31.0, OTHER)).claims
    assert verdict.word == "contradicted by its own table" and "tie over base: +0.77 to +1.23 here" in verdict.reason


def test_sentences_that_nobody_made_checkable_are_told(lab):
    lab = lab(made_one=BODY + "claims: [It is the best.]\n")
    assert "Claimed, not judged: It is the best." in render(compare_table(lab.catalog, T, lab.store), "markdown")


def test_every_format_tells_them(judged):
    report = judged(ORDER + "[[up, base]]", ORDER + "[[base, up]]")
    for form in ("terminal", "markdown"):
        text = render(report, form)
        assert "claims of the publication" in text and "contradicted by its own table" in text
    assert '"verdict": "contradicted by its own table"' in render(report, "json")


@pytest.mark.parametrize(
    ("claim", "fault"),
    [
        (ORDER + "[[up, bsae]]", "claims.0: no row 'bsae' in made-one. Close: base"),
        (ORDER.replace("made-one", "made-tow") + "[[up, base]]", "claims.0.table: no table 'made-tow'"),
        (ORDER.replace("camvid.test", "voc2012.val") + "[[up, base]]", "row 'up' has no figures on 'voc2012'"),
        (ORDER.replace("camvid.test.miou", "camvid.miou") + "[[up, base]]", "is no place: write DATASET.SPLIT.METRIC"),
        (f"kind: order, table: {T}, pairs: [[up, base]]", "order must say at which data set"),
        (ORDER.replace("order", "range") + "[[up, base]]", "range must have low or high"),
        (f"kind: lead, table: {T}, at: [camvid.test.miou], rows: [up]", "lead must name a table, and pairs of rows"),
        ("kind: mechanism", "a mechanism must name its check"),
        ("kind: mechanism, check: nothing", "no calculation 'nothing'"),
    ],
)
def test_faults_of_a_file(tmp_path, claim, fault):
    (tmp_path / "made").mkdir()
    (tmp_path / "budgets.yaml").write_text(BUDGETS)
    (tmp_path / "made" / "made-one.yaml").write_text(HEAD.replace("TABLE", T) + BODY)
    (tmp_path / "made" / "claims.yaml").write_text(claims_file(claim))
    assert load(tmp_path / "made" / "claims.yaml").faults == []
    with pytest.raises(InvalidFault) as caught:
        load_catalog(tmp_path)
    assert all(found.startswith("made/claims.yaml:") for found in caught.value.faults)
    assert fault in caught.value.faults[0]


def test_the_gradient_of_equation_6_is_that_of_equation_5():
    """By autograd with respect to the anchor, as vectors of a plane."""

    def at_angle(degrees):
        return torch.tensor([math.cos(math.radians(degrees)), math.sin(math.radians(degrees))], dtype=torch.float64)

    for positive in (0.0, 30.0, 80.0):
        for negative in (-120.0, -20.0, 5.0, 30.0, 60.0):
            anchor = at_angle(0).requires_grad_()
            attraction, repulsion = (anchor @ at_angle(degrees) / 0.1 for degrees in (positive, negative))
            loss = -torch.log(attraction.exp() / (attraction.exp() + repulsion.exp()))
            (slope,) = torch.autograd.grad(loss, anchor)
            assert slope.norm().item() == pytest.approx(gradient_length(negative, positive), rel=1e-9, abs=1e-12)


def test_where_harder_negatives_pull_less():
    assert gradient_length(30.0, 30.0) == 0, "a negative that is the positive"
    assert gradient_length(-20.0, 30.0) > gradient_length(-5.0, 30.0) and gradient_length(-60.0, 30.0) < 0.4
    holds, says = CHECKS["harder-negatives"]()
    assert not holds and "does not in 20 of 20 cases" in says
    assert tuple(CHECKS) == NAMES


@pytest.mark.parametrize(("row", "over"), [("hrnet+contextrast", "hrnet"), ("hrnet+mscs", "hrnet")])
def test_what_is_deployed_is_the_same_network(row: str, over: str):
    """Tensors and logits of the network that weights files hold, for what the claims of no overhead rest on."""
    networks = []
    for name in (row, over):
        training = resolve(default_catalog(), "contextrast-main-table1", name, "camvid", Request("smoke")).ran.training
        assert training is not None
        torch.manual_seed(0)
        networks.append(build_method(training.stages[-1], num_classes=11).segmentor.eval())
    ours, theirs = (network.state_dict() for network in networks)
    assert {key: value.shape for key, value in ours.items()} == {key: value.shape for key, value in theirs.items()}
    networks[0].load_state_dict(theirs)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(networks[0](images).logits, networks[1](images).logits)


def test_the_command(tmp_path):
    done = segbench("claims", "contrastiveseg", "--out", tmp_path)
    assert done.code == 0 and "contradicted by its own table" in " ".join(done.out.split())
    lines = segbench("claims", "--json", "--out", tmp_path).json
    words = {(line["paper"], line["name"]): line["verdict"] for line in lines}
    assert (
        words["cfn", "pspnet-leads"]
        == words["contrastiveseg", "negligible-slow-down"]
        == "contradicted by its own table"
    )
    assert words["contextrast", "no-burden-at-inference-beside-the-baselines"] == "holds"
    assert words["contextrast", "harder-negatives-pull-harder"] == "fails"
    assert "Close: contrastiveseg" in segbench("claims", "contrastivseg").fails(2)


def test_a_claim_over_two_tables(lab):
    """The rows of another table are named with it; they are alike if they were run alike."""
    made = lab(made_one=BODY, made_two=BODY)
    claim = f"kind: range, table: {T}, at: [camvid.test.miou], pairs: [[up, made-two/base]], high: 2.5"
    (made.root / "made" / "claims.yaml").write_text(claims_file(claim))
    made.catalog = load_catalog(made.root)
    (found,) = compare_table(made.catalog, T, made.store).claims
    assert (found.word, found.printed) == ("not run", True) and "its own table agrees" in found.reason
    made.run(T, "up", at(32.0), request=SMALL)
    assert compare_table(made.catalog, T, made.store).claims[0].word == "not run"
    made.run("made-two", "base", at(30.0, OTHER), request=SMALL)
    (found,) = compare_table(made.catalog, T, made.store).claims
    assert found.word == "holds" and "up over made-two/base: +1." in found.reason
    (made.root / "made" / "claims.yaml").write_text(claims_file(claim.replace("made-two/base", "made-two/none")))
    with pytest.raises(InvalidFault, match="no row 'none' in made-two"):
        load_catalog(made.root)
    (made.root / "made" / "claims.yaml").write_text(claims_file(claim.replace("made-two/base", "made-ten/base")))
    with pytest.raises(InvalidFault, match="no table 'made-ten'"):
        load_catalog(made.root)
