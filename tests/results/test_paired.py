"""Comparisons of two evaluations: by hand, against plain resampling, and from the command line."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from segbench.core.errors import InvalidFault
from segbench.metrics.scores import Tally
from segbench.results.paired import Evaluated, blocks_of, compare_pair, tiers
from tests.program import segbench, tiny

C, N = 4, 60


def matrices(seed: int, right: float, images: int = N) -> np.ndarray:
    """Confusion matrices of images of 1,000 pixels, of which a share is right."""
    random = np.random.default_rng(seed)
    found = np.zeros((images, C, C), np.int64)
    for image in found:
        labels = random.integers(0, C, 1000)
        predicted = np.where(random.random(1000) < right, labels, random.integers(0, C, 1000))
        np.add.at(image, (labels, predicted), 1)
    return found


def side(name: str, *each: np.ndarray, **more) -> Evaluated:
    tallies = tuple(Tally.of(found) for found in each)
    return Evaluated(name, "camvid", "test", tuple("abcd"), tallies, tuple(found.sum(0) for found in each), **more)


def miou(matrix: np.ndarray) -> float:
    hit = np.diag(matrix)
    return 100 * (hit / (matrix.sum(0) + matrix.sum(1) - hit)).mean()


def test_values_by_hand():
    one, two = matrices(0, 0.6), matrices(1, 0.7)
    found = compare_pair(side("one", one), side("two", two))
    assert found.miou.value == pytest.approx(miou(two.sum(0)) - miou(one.sum(0)))
    hits = [np.diag(each.sum(0)) / (each.sum((0, 1)) + each.sum((0, 2)) - np.diag(each.sum(0))) for each in (one, two)]
    assert found.classes["b"].value == pytest.approx(100 * (hits[1][1] - hits[0][1]))
    shares = [100 * each.sum(0) / each.sum(0).sum(1, keepdims=True) for each in (one, two)]
    for label, prediction, change in found.confusions:
        at = "abcd".index(label), "abcd".index(prediction)
        assert change == pytest.approx((shares[1] - shares[0])[at])
    place, change = found.images[0]
    assert change == pytest.approx(miou(two[place]) - miou(one[place]))
    assert found.miou.low < found.miou.value < found.miou.high and found.miou.is_sure


def test_intervals_are_those_of_plain_resampling():
    one, two = matrices(0, 0.6), matrices(1, 0.61)
    found = compare_pair(side("one", one), side("two", two), resamples=4000).miou
    random, draws = np.random.default_rng(5), []
    runs = [range(at, at + 3) for at in range(0, N, 3)]  # 20 runs of 3
    for _ in range(4000):
        chosen = [image for run in random.integers(0, 20, 20) for image in runs[run]]
        draws.append(miou(two[chosen].sum(0)) - miou(one[chosen].sum(0)))
    low, high = np.percentile(draws, [2.5, 97.5])
    assert (found.low, found.high) == (pytest.approx(low, abs=0.15), pytest.approx(high, abs=0.15))


def test_an_evaluation_equals_itself():
    one = side("one", matrices(0, 0.6))
    found = compare_pair(one, replace(one, name="two"))
    assert (found.miou.value, found.miou.low, found.miou.high) == (0, 0, 0) and not found.miou.is_sure
    assert found.confusions == ()


def test_seeds_are_averaged():
    seeds = [matrices(seed, 0.6) for seed in range(3)]
    other = matrices(9, 0.7)
    found = compare_pair(side("one", *seeds), side("two", other))
    assert found.miou.value == pytest.approx(miou(other.sum(0)) - np.mean([miou(each.sum(0)) for each in seeds]))


def test_classes_that_a_side_lacks_are_left_out():
    one = matrices(0, 0.6)
    one[:, 3] = one[:, :, 3] = 0
    assert "d" not in compare_pair(side("one", one), side("two", one)).classes


def test_a_class_that_few_images_show_has_an_interval_over_draws_with_it():
    one, two = matrices(0, 0.6), matrices(1, 0.7)
    for each in (one, two):
        each[3:, 3] = each[3:, :, 3] = 0  # in the first of 20 runs alone
    found = compare_pair(side("one", one), side("two", two)).classes["d"]
    assert found.low <= found.value <= found.high


def test_blocks():
    cities = [f"val/{city}_{number:06d}_000019" for city in "abcdefgh" for number in range(5)]
    found, kind = blocks_of(cities, 40)
    assert kind == "sequences" and found.tolist() == np.repeat(range(8), 5).tolist()
    for keys in (None, [f"test/0001TP_{number}" for number in range(40)], [f"val/{number}_a" for number in range(40)]):
        found, kind = blocks_of(keys, 40)
        assert kind == "runs of consecutive images" and np.bincount(found).tolist() == [2] * 20


def test_images_of_one_block_are_drawn_together():
    """One city where the second network fails widens the interval over cities, and hardly that over single images."""
    one, two = matrices(0, 0.7, 80), matrices(1, 0.7, 80)
    two[:10] = matrices(2, 0.1, 10)
    keys = [f"val/{'abcdefgh'[number // 10]}_{number}" for number in range(80)]
    together = compare_pair(side("one", one), side("two", two), keys=keys).miou
    order = np.random.default_rng(0).permutation(80)
    apart = compare_pair(side("one", one[order]), side("two", two[order])).miou
    assert together.value == pytest.approx(apart.value)
    assert together.high - together.low > 1.5 * (apart.high - apart.low)


def test_tiers():
    sides = [side("a", matrices(0, 0.70)), side("b", matrices(1, 0.40)), side("c", matrices(2, 0.701))]
    assert [sorted(tier) for tier in tiers(sides)] == [[0, 2], [1]]


def test_what_cannot_be_compared():
    one = side("one", matrices(0, 0.6))
    with pytest.raises(InvalidFault, match="two was scored on camvid val, one on camvid test"):
        compare_pair(one, replace(one, name="two", split="val"))
    with pytest.raises(InvalidFault, match="other classes"):
        compare_pair(one, replace(one, name="two", classes=tuple("abce")))
    with pytest.raises(InvalidFault, match="two was scored on 30 images, one on 60"):
        compare_pair(one, side("two", matrices(0, 0.6, 30)))
    noted = compare_pair(one, replace(one, name="two", spec={"flip": True}))
    assert noted.notes == ("flip: default and True",)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("compare") / "results"
    for row in ("layers-4-3", "layers-4"):
        assert segbench(*tiny(f"contextrast-table6/{row}", out=out)).code == 0
    return out


def test_the_command(store: Path):
    rows = [f"contextrast-table6/{row}" for row in ("layers-4", "layers-4-3")]
    done = segbench("compare", *rows, "--out", store)
    assert done.code == 0 and "layers-4-3 less contextrast-table6/layers-4" in done.out and "\nmean " in done.out
    data = segbench("compare", *rows, "--json", "--out", store).json
    ids = sorted(path.stem for path in (store / "records").glob("*.json"))
    again = segbench("compare", *(each[:8] for each in ids), "--json", "--out", store).json
    assert abs(again["miou"]["value"]) == pytest.approx(abs(data["miou"]["value"]))
    assert segbench("compare", *rows, ids[0], "--json", "--out", store).json.keys() == {"tiers"}
    printed = segbench("compare", rows[0], f"printed:{rows[0]}", "--dataset", "camvid", "--out", store)
    assert printed.code == 0 and " 83.42 " in printed.out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("contextrast-table6/layers-4",), 2, "Two sides are compared"),
        (("contextrast-table6/layers-4", "nothing"), 2, "'nothing' is no record of"),
        (("contextrast-table6/layers-4", "contextrast-table6/layers-4-3-2"), 2, "layers-4-3-2 is not run"),
        (("contextrast-table6/layers-4", "contextrast-table6/layers-5"), 2, "No row 'layers-5'"),
        (("contextrast-table6/layers-4", "printed:contextrast-table6/layers-4"), 2, "with --dataset NAME"),
        (("printed:contextrast-table6/layers-4", "printed:contextrast-table6/layers-4"), 2, "--dataset NAME"),
    ],
)
def test_slips(store: Path, words, code, said):
    assert said in segbench("compare", *words, "--out", store).fails(code)


def test_a_record_without_counts(store: Path, tmp_path: Path):
    import shutil

    shutil.copytree(store, tmp_path / "r")
    for path in (tmp_path / "r" / "records").glob("*.npz"):
        path.unlink()
    rows = ("contextrast-table6/layers-4", "contextrast-table6/layers-4-3")
    assert "kept no counts of its images" in segbench("compare", *rows, "--out", tmp_path / "r").fails(4)
