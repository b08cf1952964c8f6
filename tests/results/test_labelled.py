"""What a report says of labelled subsets."""

from itertools import combinations

from segbench.results.compare import compare_table
from segbench.results.formats import render
from segbench.results.render.labelled import shared
from tests.results.test_render import BODY, T


def subset(*keys, of=None, **more):
    return {"stage": "train", "stream": "labelled", "keys": list(keys), "sha256": "".join(keys), "of": of, **more}


def test_images_that_two_subsets_share():
    first, second = subset("a", "b", "c"), subset("b", "c", "d", "e")
    assert shared(first, second, None) == "2 of 3"
    assert shared(first, second, 6) == "2 of 3, 2.0 if drawn at random"


def test_the_number_if_drawn_at_random():
    """The mean over all pairs of subsets is n1 n2 / N."""
    images = "abcdef"
    counts = [len(set(one) & set(two)) for one in combinations(images, 3) for two in combinations(images, 4)]
    assert shared(subset(*"abc"), subset(*"abcd"), 6).endswith(f"{sum(counts) / len(counts):.1f} if drawn at random")


def test_a_report_says_it(lab):
    lab, row = lab(made_one=BODY), "base"
    lab.run(T, row, [70.0], seeds=[0], labelled=[subset("a", "b", of=8, draw=0, missing=["bicyclist"])])
    lab.run(T, row, [71.0], seeds=[1], labelled=[subset("b", "c", of=8, draw=1)])
    text = render(compare_table(lab.catalog, T, lab.store), "terminal", width=10_000)
    assert "of the labelled images seeds 0 and 1 share 1 of 2, 0.5 if drawn at random." in text
    assert "seed 0: the labelled images show no pixel of bicyclist." in text


def test_the_same_images_by_two_draws_are_said_too(lab):
    lab, row = lab(made_one=BODY), "base"
    for seed in (1, 2):
        lab.run(T, row, [70.0], seeds=[seed], labelled=[subset("a", "b", of=8, draw=seed)])
    text = render(compare_table(lab.catalog, T, lab.store), "terminal", width=10_000)
    assert "of the labelled images seeds 1 and 2 share 2 of 2, 0.5 if drawn at random." in text


def test_one_subset_for_all_seeds_says_nothing(lab):
    lab, row = lab(made_one=BODY), "base"
    lab.run(T, row, [70.0, 71.0], labelled=[subset("a", "b", of=8)])
    assert "share" not in render(compare_table(lab.catalog, T, lab.store), "terminal")
