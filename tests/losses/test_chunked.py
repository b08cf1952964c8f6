import pytest
import torch

from segbench.losses.chunked import in_chunks
from segbench.losses.pixel_contrast import AnchorLosses

WEIGHTS = torch.randn(7, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def loss_of(rows, part):
    """Cubes of the rows with weights of their own; those with a weight below 0 in front do not count."""
    counted = WEIGHTS[part][..., 0] > 0
    return AnchorLosses(torch.where(counted, (WEIGHTS[part] * rows**3).sum(-1), 0), counted)


def rows():
    return torch.randn(7, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()


@pytest.mark.parametrize("size", [1, 3, 7, 99])
def test_values_and_gradients_are_those_of_the_whole(size):
    given = rows()
    got = in_chunks(loss_of, given, size=size)
    cubes = (WEIGHTS * given.detach() ** 3).sum(-1)
    counted = WEIGHTS[..., 0] > 0
    torch.testing.assert_close(got.values, torch.where(counted, cubes, 0), rtol=1e-12, atol=0)
    assert torch.equal(got.counted, counted)
    weights = torch.randn(7, 2, dtype=torch.float64)
    (got.values * weights).sum().backward()
    slopes = weights[..., None] * 3 * WEIGHTS * given.detach() ** 2 * counted[..., None]
    torch.testing.assert_close(given.grad, slopes, rtol=1e-12, atol=0)
    assert torch.autograd.gradcheck(lambda each: in_chunks(loss_of, each, size=size).values, rows())


def test_nothing_is_derived_where_no_gradient_is_wanted():
    seen = []

    def loss(part, place):
        seen.append((torch.is_grad_enabled(), part.requires_grad))
        return loss_of(part, place)

    with torch.no_grad():
        assert not in_chunks(loss, rows(), size=4).values.requires_grad
    assert not in_chunks(loss, rows().detach(), size=4).values.requires_grad
    assert seen == [(False, False)] * 4
    assert in_chunks(loss, rows(), size=4).values.requires_grad
    assert seen[4:] == [(True, True)] * 2


def test_a_part_is_forgotten_before_the_next_is_taken():
    """At no time do the values that lie between exist for more than one part."""
    alive, most = 0, 0

    class Held(torch.autograd.Function):
        @staticmethod
        def forward(ctx, part):
            nonlocal alive, most
            alive += 1
            most = max(most, alive)
            return part * 1

        @staticmethod
        def backward(ctx, grad):
            nonlocal alive
            alive -= 1
            return grad

    values = in_chunks(lambda part, place: loss_of(Held.apply(part), place), rows(), size=2).values
    assert (alive, most) == (0, 1)
    values.sum().backward()
    assert (alive, most) == (0, 1)


def test_all_that_is_kept_is_as_large_as_the_rows():
    kept = []

    def keep(tensor):
        kept.append(tuple(tensor.shape))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        values = in_chunks(loss_of, rows(), size=2).values
    assert kept == [(7, 2, 3)]
    values.sum().backward()
