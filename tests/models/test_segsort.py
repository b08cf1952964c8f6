"""SegSort's clustering, retrieval and network against loops in float64 and against results by hand."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from segbench.checkpoints.loading import load_strictly
from segbench.core.errors import InvalidFault
from segbench.core.spec import Choice, ModelSpec
from segbench.metrics.cost import count_cost
from segbench.models.decoders.segsort.clustering import (
    cells_of_side,
    grid_of,
    member_sums,
    spherical_kmeans,
    with_places,
)
from segbench.models.decoders.segsort.network import SegSort, build
from segbench.models.decoders.segsort.options import Options
from segbench.models.decoders.segsort.retrieval import nearest_votes
from segbench.models.segmentor import build_segmentor
from tests.models.by_hand import Dilated, bilinear, close, conv, grid_means, randomised, unit

RESNET = {"depth": 101, "stem": "conv7x7", "output_stride": 8, "dilation": "full", "stride_at": "last"}


def unit_vectors(*shape: int) -> Tensor:
    return torch.nn.functional.normalize(torch.randn(*shape, dtype=torch.float64), dim=-1)


def decoder_of(**options: object) -> SegSort:
    torch.manual_seed(0)
    decoder = build(
        Options(**{"channels": 3, "embedding_dim": 4, **options}),
        backbone=Dilated(),
        num_classes=3,
        align_corners=True,
    )
    assert isinstance(decoder, SegSort)
    return decoder


def normalised(vector: list[float]) -> list[float]:
    norm = math.sqrt(sum(value * value for value in vector))
    return [value / norm for value in vector]


def dot(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def slow_kmeans(
    vectors: list[list[float]], clusters: list[int], valid: list[bool], *, num_clusters: int, rounds: int
) -> tuple[list[int], list[int]]:
    """Clusters in the end, and in how many clusters there was nobody in each round."""
    clusters, empties = list(clusters), []
    for _ in range(rounds):
        centres: dict[int, list[float]] = {}
        for number in range(num_clusters):
            members = [v for v, c, there in zip(vectors, clusters, valid, strict=True) if c == number and there]
            if members:
                centres[number] = normalised([sum(column) for column in zip(*members, strict=True)])
        empties.append(num_clusters - len(centres))
        clusters = [max(centres, key=lambda number, v=vector: dot(v, centres[number])) for vector in vectors]
    return clusters, empties


@pytest.mark.parametrize("chunk", [None, 7, 1000])
@pytest.mark.parametrize("masked", [False, True])
def test_kmeans_equals_the_loop(chunk: int | None, masked: bool) -> None:
    """Three images at once, some first clusters without anybody, others that lose everybody on the way."""
    torch.manual_seed(3)
    vectors, first = unit_vectors(3, 60, 3), torch.randint(0, 25, (3, 60))
    valid = torch.rand(3, 60) < (0.6 if masked else 1.1)
    got = spherical_kmeans(vectors, first, num_clusters=28, rounds=6, valid=valid if masked else None, chunk=chunk)
    lost = False
    for image in range(3):
        expected, empties = slow_kmeans(
            vectors[image].tolist(), first[image].tolist(), valid[image].tolist(), num_clusters=28, rounds=6
        )
        assert got[image].tolist() == expected
        lost |= empties[-1] > empties[0] >= 2
    assert lost, "a cluster had members and lost them"


def test_kmeans_of_nobody_and_of_a_single_vector() -> None:
    vectors, first = unit_vectors(2, 5, 3), torch.full((2, 5), 3)
    valid = torch.zeros(2, 5, dtype=torch.bool)
    valid[1, 2] = True
    got = spherical_kmeans(vectors, first, num_clusters=4, rounds=3, valid=valid)
    assert got.tolist() == [[0] * 5, [3] * 5]


def test_kmeans_by_hand() -> None:
    """Of four unit vectors in the plane at 0, 10, 80 and 90 degrees the second begins on the wrong side."""
    angles = torch.tensor([[0.0, 10.0, 80.0, 90.0]], dtype=torch.float64).deg2rad()
    vectors = torch.stack([angles.cos(), angles.sin()], dim=-1)
    first = torch.tensor([[0, 1, 1, 1]])
    assert spherical_kmeans(vectors, first, num_clusters=3, rounds=1).tolist() == [[0, 0, 1, 1]]


@pytest.mark.parametrize("chunk", [None, 4])
def test_member_sums(chunk: int | None) -> None:
    vectors, clusters = torch.arange(10.0).view(1, 5, 2), torch.tensor([[2, 0, 2, 2, 0]])
    valid = torch.tensor([[True, True, True, False, True]])
    sums, counts = member_sums(vectors, clusters, num_clusters=4, valid=valid, chunk=chunk)
    assert sums.tolist() == [[[2.0 + 8.0, 3.0 + 9.0], [0.0, 0.0], [0.0 + 4.0, 1.0 + 5.0], [0.0, 0.0]]]
    assert counts.tolist() == [[2, 0, 2, 0]]


def test_cells_are_those_of_the_released_code() -> None:
    """A side of 10 in 4 cells: each is ceil(10 / 4) = 3 long, the last one 1; a side of 5 has 3 of them."""
    assert cells_of_side(10, 4).tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3]
    assert cells_of_side(5, 4).tolist() == [0, 0, 1, 1, 2]
    grid = grid_of(torch.tensor([[0, 1]]), torch.tensor([[0, 2, 2]]), across=3)
    assert grid.tolist() == [[0, 2, 2, 3, 5, 5]]


def test_places_join_the_embedding() -> None:
    embedding = torch.tensor([0.6, 0.8], dtype=torch.float64)[None, :, None, None].expand(1, 2, 2, 3)
    rows, columns = torch.tensor([[0.0, 0.5]]), torch.tensor([[0.0, 0.25, 1.0]])
    got = with_places(embedding, rows, columns, scale=2.0)
    assert got.shape == (1, 6, 4)
    expected = normalised([0.6, 0.8, 2 * 0.5, 2 * 0.25])  # second row, second column
    torch.testing.assert_close(got[0, 4], torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("chunk", [None, 1, 3, 100])
def test_votes_equal_the_loop(chunk: int | None) -> None:
    torch.manual_seed(1)
    queries, bank, labels = unit_vectors(7, 4), unit_vectors(50, 4), torch.randint(0, 5, (50,))
    got = nearest_votes(queries, bank, labels, num_classes=5, neighbours=6, chunk=chunk)
    for query, votes in zip(queries.tolist(), got.tolist(), strict=True):
        order = sorted(range(50), key=lambda k, q=query: -dot(q, bank[k].tolist()))[:6]
        assert votes == pytest.approx([sum(int(labels[k]) == c for k in order) / 6 for c in range(5)])


def test_votes_of_a_bank_smaller_than_the_neighbours() -> None:
    bank, labels = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([2, 2])
    got = nearest_votes(torch.tensor([[1.0, 0.0]]), bank, labels, num_classes=3, neighbours=15)
    assert got.tolist() == [[0.0, 0.0, 1.0]]


def by_formula(decoder: SegSort, x: Tensor) -> Tensor:
    """What the network makes of a layer in float64, at the length that it comes with."""
    maps, size = [x], (x.shape[-2], x.shape[-1])
    for number, branch in zip((1, 2, 3, 6), decoder.pyramid.branches, strict=True):
        maps.append(bilinear(unit(grid_means(x, number), branch), size, align_corners=True))
    return conv(unit(torch.cat(maps, 1), decoder.conv), decoder.projection)


@pytest.mark.parametrize("enlarged", ["votes", "embedding"])
def test_the_network_is_the_written_formula(enlarged: str) -> None:
    decoder = randomised(decoder_of(bn_eps=1e-3, enlarged=enlarged)).eval()
    x = torch.randn(2, 8, 9, 11, dtype=torch.float64)
    raw = by_formula(decoder, x)
    normal = raw / (raw**2).sum(1, keepdim=True).sqrt()
    close(decoder.embed((x,)), normal)
    close(decoder.gathered((x,)), raw if enlarged == "embedding" else normal)


def test_the_published_network_has_as_many_parameters_as_calculated() -> None:
    """65.59 million with the row's backbone."""
    spec = ModelSpec(backbone=Choice(name="resnet", options=RESNET), decoder=Choice(name="segsort"))
    with torch.device("meta"):
        segmentor = build_segmentor(spec, num_classes=19)
    assert round(sum(parameter.numel() for parameter in segmentor.parameters()) / 1e6, 2) == 65.59
    assert segmentor.embedding_channels == 32
    assert count_cost(segmentor, (96, 96)).multiply_adds > 0, "counted before there is a bank"


def test_votes_by_hand() -> None:
    """Left half and right half of a map look apart; each half is clustered by itself and asks the bank.

    The grid has one row and two columns of cells. The bank's nearest two to the left half are of classes 0 and 1, to
    the right half both of class 2.
    """
    decoder = decoder_of(query_grid=(1, 2), neighbours=2, embedding_dim=2).eval()
    decoder.fill(
        torch.tensor([[0.8, 0.6], [1.0, 0.0], [0.0, 1.0], [-0.6, 0.8], [-1.0, 0.0]]), torch.tensor([0, 1, 2, 2, 1])
    )
    embedding = torch.tensor([1.0, 0.0])[:, None, None].repeat(1, 4, 6)
    embedding[:, :, 3:] = torch.tensor([-0.28, 0.96])[:, None, None]
    votes = decoder.vote(torch.stack([embedding, embedding.flip(-1)]))
    assert votes.shape == (2, 3, 4, 6)
    left, right = torch.tensor([0.5, 0.5, 0.0]), torch.tensor([0.0, 0.0, 1.0])
    for y in range(4):
        for x in range(6):
            assert torch.equal(votes[0, :, y, x], left if x < 3 else right)
    assert torch.equal(votes[1], votes[0].flip(-1))


def slow_votes(decoder: SegSort, embedding: Tensor) -> Tensor:
    """Of one image (D, h, w), pixel by pixel in float64."""
    options = decoder.options
    depth, height, width = embedding.shape
    down, across = options.query_grid
    pixels, located, first = [], [], []
    for y in range(height):
        for x in range(width):
            pixel = normalised(embedding[:, y, x].double().tolist())
            pixels.append(pixel)
            place = [options.location_scale * y / height, options.location_scale * x / width]
            located.append(normalised([*pixel, *place]))
            first.append((y // math.ceil(height / down)) * across + x // math.ceil(width / across))
    clusters, _ = slow_kmeans(
        located, first, [True] * len(pixels), num_clusters=down * across, rounds=options.cluster_rounds
    )
    votes = torch.zeros(decoder.num_classes, height * width, dtype=torch.float64)
    for cluster in set(clusters):
        places = [index for index, number in enumerate(clusters) if number == cluster]
        prototype = normalised([sum(pixels[index][d] for index in places) for d in range(depth)])
        bank = decoder.bank.double().tolist()
        order = sorted(range(len(bank)), key=lambda k, p=prototype, b=bank: -dot(p, b[k]))[: options.neighbours]
        for k in order:
            votes[int(decoder.bank_labels[k]), places] += 1 / len(order)
    return votes.view(decoder.num_classes, height, width)


@pytest.mark.parametrize("location_scale", [0.7, 4.0])
@pytest.mark.parametrize("size", [(9, 11), (3, 4), (8, 15)])
def test_votes_of_the_network_equal_the_loop(size: tuple[int, int], location_scale: float) -> None:
    decoder = decoder_of(query_grid=(3, 2), neighbours=4, cluster_rounds=4, location_scale=location_scale).eval()
    decoder.fill(unit_vectors(30, 4).float(), torch.randint(0, 3, (30,)))
    layers = (torch.randn(2, 8, *size),)
    logits, embedding, aux, *_ = decoder(layers, (0, 0))
    assert aux == {} and embedding.shape == (2, 4, *size)
    for image in range(2):
        torch.testing.assert_close(logits[image].double(), slow_votes(decoder, embedding[image]))


@pytest.mark.parametrize("location_scale", [0.7, 4.0])
@pytest.mark.parametrize(("small", "size"), [((5, 6), (37, 45)), ((3, 4), (19, 31)), ((4, 4), (32, 32))])
def test_votes_on_the_pixels_of_an_image_equal_the_loop(
    small: tuple[int, int], size: tuple[int, int], location_scale: float
) -> None:
    """The embedding is enlarged as it comes, then has its length become 1, is clustered and asks the bank."""
    options = {"query_grid": (3, 2), "neighbours": 4, "cluster_rounds": 3, "location_scale": location_scale}
    decoder = randomised(decoder_of(**options, enlarged="embedding")).eval()
    decoder.fill(unit_vectors(30, 4), torch.randint(0, 3, (30,)))
    x = torch.randn(2, 8, *small, dtype=torch.float64)
    votes, embedding, aux, *_ = decoder((x,), size)
    raw = by_formula(decoder, x)
    close(embedding, raw / (raw**2).sum(1, keepdim=True).sqrt())
    assert aux == {} and votes.shape == (2, 3, *size)
    for image, large in enumerate(bilinear(raw, size, align_corners=True)):
        torch.testing.assert_close(votes[image], slow_votes(decoder, large))


@pytest.mark.parametrize("enlarged", ["votes", "embedding"])
def test_places_of_what_is_asked_about(enlarged: str) -> None:
    """Rows and columns over how many there are, of what is clustered: the small map, or the image."""
    decoder = decoder_of(query_grid=(3, 2), enlarged=enlarged).eval()
    decoder.fill(unit_vectors(5, 4).float(), torch.arange(5) % 3)
    seen: list[Tensor] = []
    cluster = decoder.cluster

    def record(*arguments: Tensor, **more: Any) -> Tensor:
        seen[:] = arguments
        return cluster(*arguments, **more)

    decoder.cluster = record  # type: ignore[method-assign]
    decoder((torch.randn(2, 8, 5, 7),), (36, 50))
    height, width = (5, 7) if enlarged == "votes" else (36, 50)
    pixels, rows, columns, first = seen
    assert pixels.shape == (2, 4, height, width) and torch.allclose(pixels.norm(dim=1), torch.ones(2, height, width))
    down, across = math.ceil(height / 3), math.ceil(width / 2)
    for image in range(2):
        torch.testing.assert_close(rows[image], torch.tensor([row / height for row in range(height)]))
        torch.testing.assert_close(columns[image], torch.tensor([column / width for column in range(width)]))
        cells = [2 * (row // down) + column // across for row in range(height) for column in range(width)]
        assert first[image].tolist() == cells


@pytest.mark.parametrize("enlarged", ["votes", "embedding"])
def test_in_training_nobody_votes(enlarged: str) -> None:
    decoder = decoder_of(enlarged=enlarged).train()
    logits, embedding, *_ = decoder((torch.randn(2, 8, 5, 6),), (0, 0))
    assert logits.shape == (2, 3, 5, 6) and not logits.any() and not logits.requires_grad
    assert embedding.requires_grad
    embedding[0, 0].sum().backward()
    assert decoder.projection.weight.grad is not None
    assert not (decoder.projection.weight.grad == 0).all()


def test_an_empty_bank_is_a_fault_of_one_line() -> None:
    with pytest.raises(InvalidFault, match="no prototypes yet") as caught:
        decoder_of().eval()((torch.randn(1, 8, 5, 6),), (0, 0))
    assert len(caught.value.faults) == 1 and caught.value.next.startswith("segbench ")


def test_half_precision_changes_no_cluster() -> None:
    """Under autocast the network's convolutions are less exact; what comes after the embedding is not."""
    decoder = decoder_of(query_grid=(3, 2), enlarged="embedding").eval()
    decoder.fill(unit_vectors(30, 4).float(), torch.randint(0, 3, (30,)))
    layers = (torch.randn(2, 8, 9, 11),)
    embedding = decoder.embed(layers)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = decoder.vote(embedding)
        votes, found, *_ = decoder(layers, (36, 44))
    assert torch.equal(inside, decoder.vote(embedding))
    assert votes.dtype == found.dtype == torch.float32 and votes.shape == (2, 3, 36, 44)
    torch.testing.assert_close(votes.sum(1), torch.ones(2, 36, 44))


def test_a_file_says_how_many_prototypes_there_are(tmp_path) -> None:
    filled, other = decoder_of(), decoder_of()
    filled.fill(unit_vectors(5, 4).float(), torch.arange(5) % 3)
    load_strictly(other, filled.state_dict(), source="some.safetensors")
    assert torch.equal(other.bank, filled.bank) and torch.equal(other.bank_labels, filled.bank_labels)
    load_strictly(other, decoder_of().state_dict(), source="some.safetensors")  # and back to none
    assert len(other.bank) == len(other.bank_labels) == 0


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"bank": torch.zeros(5, 3)}, "another shape"),
        ({"bank": torch.zeros(4, 4)}, "another shape"),
        ({"bank": torch.full((5, 4), torch.nan)}, "not finite"),
        ({"bank": None}, "missing"),
    ],
)
def test_a_bank_that_does_not_fit_is_refused(tmp_path, changes, fault) -> None:
    network = decoder_of()
    network.fill(unit_vectors(5, 4).float(), torch.arange(5) % 3)
    tensors = {name: changes.get(name, tensor) for name, tensor in network.state_dict().items()}
    tensors = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    with pytest.raises(InvalidFault, match=fault):
        load_strictly(decoder_of(), tensors, source="some.safetensors")
