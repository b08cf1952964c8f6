import pytest
import torch

from segbench.losses.sampling import image_class_groups, rank_in_groups


def test_ranks_by_order_then_position():
    groups = torch.tensor([1, 0, 1, 1, 2, 0, 1])
    order = torch.tensor([5, 3, 2, 5, 0, 3, 9])
    ranks, sizes = rank_in_groups(groups, order, num_groups=2, order_limit=10)
    assert ranks.tolist() == [1, 0, 0, 2, 0, 1, 3]
    assert sizes.tolist() == [2, 4, 1]


def test_orders_beyond_the_limit_are_equal():
    ranks, _ = rank_in_groups(torch.zeros(3).long(), torch.tensor([9, 8, 1]), num_groups=1, order_limit=5)
    assert ranks.tolist() == [1, 2, 0]


def test_random_draws_respect_the_order_and_repeat():
    groups = torch.randint(0, 5, (500,))
    order = torch.randint(0, 7, (500,))
    first, again, other = (
        rank_in_groups(groups, order, num_groups=5, order_limit=7, generator=torch.Generator().manual_seed(seed))[0]
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    for group in range(5):
        members = groups == group
        assert sorted(first[members].tolist()) == list(range(int(members.sum())))
        assert order[members][first[members].argsort()].diff().ge(0).all()


def test_ties_are_drawn_evenly():
    generator = torch.Generator().manual_seed(0)
    groups = torch.zeros(10).long()
    first = torch.zeros(10)
    for _ in range(2000):
        first += rank_in_groups(groups, num_groups=1, generator=generator)[0] == 0
    # Each is first with probability 1/10: mean 200, standard deviation 13.4; five of them to either side.
    assert (first - 200).abs().max() < 67


def test_refuses_keys_that_do_not_fit():
    with pytest.raises(ValueError, match="sort key"):
        rank_in_groups(torch.zeros(1).long(), num_groups=2**20, order_limit=2**30, generator=torch.Generator())


def test_groups_by_image_and_class():
    labels = torch.tensor([[[0, 2]], [[255, 1]]])
    assert image_class_groups(labels, num_classes=3).tolist() == [0, 2, 6, 4]
