"""SegSort's training: segments from places, the memory step by step, the bank by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from segbench.checkpoints.loading import load_strictly
from segbench.core.errors import InvalidFault, RunFault
from segbench.core.spec import Choice, DataSpec, ModelSpec, OptimizerSpec, ScheduleSpec, StageSpec, StreamSpec
from segbench.data.batch import Batch
from segbench.losses.segsort import segments_of, segsort_loss
from segbench.methods.build import build_method
from segbench.methods.segsort.method import SegSort, _cells
from segbench.methods.segsort.prototype_queue import PrototypeQueue
from segbench.models.decoders.segsort.clustering import spherical_kmeans, with_places
from tests.models.test_segsort import slow_kmeans
from tests.steps import at

CLASSES = 4
RESNET = {"output_stride": 8, "width": 0.125, "blocks": [1, 1, 1, 1]}
DECODER = {"channels": 8, "embedding_dim": 4, "cluster_rounds": 3}


def stage(method: str = "segsort", decoder: str = "segsort", **options: object) -> StageSpec:
    return StageSpec(
        streams={"labelled": StreamSpec(data=DataSpec(name="camvid"), crop=(64, 64), batch_total=2)},
        model=ModelSpec(
            backbone=Choice(name="resnet", options=RESNET),
            decoder=Choice(name=decoder, options=DECODER if decoder == "segsort" else {}),
        ),
        method=Choice(name=method, options=options),
        schedule=ScheduleSpec(steps=10, optimizer=OptimizerSpec(name="sgd", lr=0.1)),
    )


def make(**options: object) -> SegSort:
    torch.manual_seed(1)
    method = build_method(stage(**{"cluster_grid": (2, 2), **options}), num_classes=CLASSES, seed=3)
    assert isinstance(method, SegSort)
    return method


def embedded(method: SegSort, data: Batch) -> Tensor:
    with torch.no_grad():
        return method.segmentor(data.images).embedding


def test_the_loss_is_that_of_the_segments_of_whole_pictures(batch) -> None:
    """Without places the crop is the picture; at stride 8 every eighth row and column counts."""
    data, method = batch(CLASSES), make(concentration=5.0)
    embedding = embedded(method, data)
    labels = data.target[:, ::8, ::8]
    rows, columns = (torch.arange(0, side, 8).expand(2, -1) / side for side in (64, 96))
    first = 2 * (torch.arange(8)[:, None] >= 4) + (torch.arange(12) >= 6)
    clusters = spherical_kmeans(
        with_places(embedding, rows, columns, scale=1.0),
        first.flatten().expand(2, -1),
        num_clusters=4,
        rounds=3,
        valid=(labels < CLASSES).flatten(1),
    )
    segments = segments_of(embedding, labels, clusters.view(2, 8, 12), num_clusters=4, num_classes=CLASSES)
    got = method({"labelled": data}, at(0))
    assert set(got) == {"segsort"}
    torch.testing.assert_close(got["segsort"].detach(), segsort_loss(segments, concentration=5.0))


def test_places_of_the_picture_decide_on_the_first_clusters(batch) -> None:
    """A crop from the last quarter of a picture lies in one cell; a mirrored one has its cells in turn."""
    data, method = batch(CLASSES, size=(64, 64)), make(cluster_grid=(3, 2))
    seen: list[Tensor] = []
    cluster = method.decoder.cluster

    def record(*arguments: Tensor, **more: object) -> Tensor:
        seen[:] = arguments[1:]
        return cluster(*arguments, **more)

    method.decoder.cluster = record  # type: ignore[method-assign]
    height = 640  # of the first picture; the second one has 64 rows above 0 of padding
    rows = torch.stack([(torch.arange(64) + 576) / height, torch.arange(64) / 64])
    columns = torch.stack([(torch.arange(64) / 64).flip(0), torch.arange(64) / 640])
    columns[1, 32:] = 1.0
    method({"labelled": replace(data, rows=rows, columns=columns)}, at(0))
    got_rows, got_columns, first = seen
    assert torch.equal(got_rows, rows[:, ::8]) and torch.equal(got_columns, columns[:, ::8])
    # Nearest rule: columns 0, 8, 16 .. 56 of the mirrored crop are 63/64, 55/64 .. 7/64 of its picture.
    assert first[0].view(8, 8).tolist() == [[2 * 2 + 1] * 4 + [2 * 2 + 0] * 4] * 8
    cells = [0, 0, 0, 1, 1, 1, 2, 2]  # rows 0, 8 .. 56 of 64, in three cells
    assert first[1].view(8, 8).tolist() == [[2 * cell] * 4 + [2 * cell + 1] * 4 for cell in cells]


@pytest.mark.parametrize("cells", [*range(1, 21), 29])
def test_places_in_single_precision_are_in_the_right_cell(cells: int) -> None:
    """Row 660 of 1276, for one, begins the sixteenth of 29 cells; what its place has been rounded to does not."""
    for length in (cells * 7, cells * 44, cells * 64, cells * 131):
        places = torch.from_numpy((np.arange(length) / length).astype(np.float32))[None]  # as the loader does
        assert _cells(places, cells)[0].tolist() == [row * cells // length for row in range(length)]


@pytest.mark.parametrize("batches", [0, 1, 2, 3])
def test_memory_is_a_list_of_the_last_batches(batches: int) -> None:
    memory, kept = PrototypeQueue(3, batches=batches), []
    for count in (4, 2, 0, 5, 1, 3):
        vectors, classes = torch.randn(count, 3), torch.randint(0, CLASSES, (count,))
        memory.push(vectors, classes)
        kept = ([*kept, (vectors, classes)])[-batches:] if batches else []
        assert torch.equal(memory.vectors, torch.cat([torch.zeros(0, 3), *(v for v, _ in kept)]))
        assert memory.classes.tolist() == [label for _, c in kept for label in c.tolist()]


def test_memory_of_a_training_and_its_state(batch, tmp_path) -> None:
    """The step's own prototypes join after the step, those of all micro-batches; state holds them."""
    method, other = make(memory_batches=2), make(memory_batches=2)
    expected: list[list[Tensor]] = []
    for step in range(4):
        data = batch(CLASSES, images=4, seed=step)
        expected.append([])
        for index in range(2):
            one = Batch(data.images[2 * index :][:2], data.target[2 * index :][:2])
            before = method.memory.vectors
            method({"labelled": one}, at(step, micro_batch=index))
            assert method.memory.vectors is before, "all micro-batches see the same"
            expected[-1].append(method._new[-1][0])
        method.after_step(at(step))
        wanted = torch.cat([vectors for each in expected[-2:] for vectors in each])
        assert torch.equal(method.memory.vectors, wanted)
        assert torch.allclose(method.memory.vectors.norm(dim=1), torch.ones(len(wanted)))
    load_strictly(other, method.state_dict(), source="state.pt")
    assert torch.equal(other.memory.vectors, method.memory.vectors)
    assert torch.equal(other.memory.ages, method.memory.ages) and set(other.memory.ages.tolist()) == {0, 1}


def test_remembered_prototypes_change_the_loss(batch) -> None:
    data, method, forgetful = batch(CLASSES), make(memory_batches=1), make(memory_batches=0)
    first = method({"labelled": data}, at(0))["segsort"], forgetful({"labelled": data}, at(0))["segsort"]
    assert torch.equal(*first)
    for each in (method, forgetful):
        each.after_step(at(0))
    again = method({"labelled": data}, at(1))["segsort"], forgetful({"labelled": data}, at(1))["segsort"]
    assert torch.equal(again[1], first[1]) and not torch.equal(again[0], first[0])


def test_evaluation_and_steps_that_were_given_up_leave_nothing(batch) -> None:
    data, method = batch(CLASSES), make()
    method({"labelled": data}, at(0))  # given up
    method({"labelled": data}, at(0))
    method.after_step(at(0))
    kept = method.memory.vectors.clone()
    segments = len({(n, c) for n in range(2) for c in data.target[n].unique().tolist() if c != 255})
    assert segments <= len(kept) <= 2 * 4 * CLASSES
    method.after_step(at(1))
    assert torch.equal(method.memory.vectors, kept)
    method.decoder.fill(torch.eye(4), torch.arange(4))
    method.eval()
    method({"labelled": batch(CLASSES, seed=1)}, at(1))
    method.after_step(at(1))
    assert torch.equal(method.memory.vectors, kept)
    method.train()
    method({"labelled": batch(CLASSES, seed=1)}, at(1))
    method.after_step(at(1))
    assert len(method.memory.vectors) > len(kept), "as it would have been kept in training"


@pytest.mark.parametrize("label", [2, 255])
def test_odd_batches_are_differentiable(batch, label: int) -> None:
    """Two steps with two pictures of four clusters each: of a single class, or of none."""
    data, method = batch(CLASSES), make(memory_batches=2)
    for step in range(2):
        loss = method({"labelled": replace(data, target=torch.full_like(data.target, label))}, at(step))["segsort"]
        loss.backward()
        method.after_step(at(step))
        assert loss.item() == 0
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters())
    vectors = method.memory.vectors
    if label == 255:
        assert len(vectors) == 0
    else:
        assert 2 * 2 < len(vectors) <= 2 * 2 * 4
        assert method.memory.classes.tolist() == [label] * len(vectors)
        assert torch.allclose(vectors.norm(dim=1), torch.ones(len(vectors)))
        assert torch.equal(*vectors.chunk(2)), "the same pictures, weights that no step has changed"


def test_only_networks_of_its_own(batch) -> None:
    with pytest.raises(InvalidFault, match="trains the decoder segsort"):
        build_method(stage(decoder="pspnet"), num_classes=CLASSES)
    with pytest.raises(InvalidFault, match="the decoder segsort has none"):
        build_method(stage("supervised"), num_classes=CLASSES)


def test_the_normalizer_counts_labelled_pixels(batch) -> None:
    """At the resolution of the embedding, where the loss is taken."""
    data, method = batch(CLASSES), make()
    method({"labelled": data}, at(0))
    assert method.loss_normalizers({"labelled": data})["segsort"] == (data.target[:, ::8, ::8] != 255).sum()


def norm(*vector: float) -> list[float]:
    length = math.sqrt(sum(value * value for value in vector))
    return [value / length for value in vector]


def test_bank_by_hand() -> None:
    """A picture of 2 x 4 in two cells, far apart: on the left three pixels of class 1 and one of 0, on the right void.

    The right cell has one labelled pixel, of class 3. Sums are not of unit length, as those of windows are not.
    """
    method = make(bank_grid=(1, 2))
    method.decoder.options = method.decoder.options.model_copy(update={"location_scale": 0.0})
    gatherer = method.gatherer()
    a, b, c, far = [3.0, 0.0, 0.0, 0.0], [0.0, 0.8, 0.6, 0.0], [0.6, 0.8, 0.0, 0.0], [-0.1, -1.0, 0.0, -7.0]
    embedding = torch.tensor([[a, b, far, far], [c, c, far, far]]).permute(2, 0, 1)[None]
    target = torch.tensor([[[1, 1, 255, 3], [0, 1, 255, 255]]])
    gatherer.add(embedding, target)
    gatherer.add(embedding, torch.full_like(target, 255))  # nothing is labelled
    gatherer.finish()
    left = norm(1.0 + 0.0 + 0.6, 0.0 + 0.8 + 0.8, 0.0 + 0.6 + 0.0, 0.0)  # of class 1: a, b and one c
    expected = torch.tensor([left, norm(*far)])
    torch.testing.assert_close(method.decoder.bank, expected)
    assert method.decoder.bank_labels.tolist() == [1, 3]


def test_segments_of_the_bank_lie_where_the_grid_says() -> None:
    """All pixels look alike: with places alone, left and right halves part, and top and bottom stay together."""
    method = make(bank_grid=(1, 2))
    method.decoder.options = method.decoder.options.model_copy(update={"location_scale": 5.0})
    gatherer = method.gatherer()
    embedding = F.normalize(torch.ones(1, 4, 6, 8), dim=1)
    target = torch.zeros(1, 6, 8, dtype=torch.int64)
    target[..., 4:] = 2
    gatherer.add(embedding, target)
    gatherer.finish()
    assert method.decoder.bank_labels.tolist() == [0, 2]
    assert torch.allclose(method.decoder.bank, torch.full((2, 4), 0.5))


def slow_bank(
    embedding: Tensor, target: Tensor, *, grid: tuple[int, int], scale: float, rounds: int
) -> tuple[list[list[float]], list[int]]:
    """Prototypes and their classes of one picture (D, H, W), pixel by pixel in float64, places from 0 to 1."""
    _, height, width = embedding.shape
    pixels, located, first, labels = [], [], [], []
    for y in range(height):
        for x in range(width):
            pixel = norm(*embedding[:, y, x].double().tolist())
            pixels.append(pixel)
            located.append(norm(*pixel, scale * y / (height - 1), scale * x / (width - 1)))
            first.append((y // math.ceil(height / grid[0])) * grid[1] + x // math.ceil(width / grid[1]))
            labels.append(int(target[y, x]))
    there = [label < CLASSES for label in labels]
    clusters, _ = slow_kmeans(located, first, there, num_clusters=grid[0] * grid[1], rounds=rounds)
    prototypes, classes = [], []
    for number in range(grid[0] * grid[1]):
        members = [i for i, cluster in enumerate(clusters) if cluster == number and there[i]]
        counts = [sum(labels[i] == label for i in members) for label in range(CLASSES)]
        if members:
            classes.append(counts.index(max(counts)))
            chosen = [pixels[i] for i in members if labels[i] == classes[-1]]
            prototypes.append(norm(*(sum(column) for column in zip(*chosen, strict=True))))
    return prototypes, classes


@pytest.mark.parametrize("scale", [1.0, 5.0])
@pytest.mark.parametrize("size", [(7, 10), (12, 5)])
def test_bank_equals_the_loop(size: tuple[int, int], scale: float) -> None:
    """Of three pictures with a fifth of their pixels void; sums of windows have any length."""
    torch.manual_seed(2)
    method = make(bank_grid=(3, 2))
    method.decoder.options = method.decoder.options.model_copy(update={"location_scale": scale, "cluster_rounds": 4})
    gatherer, prototypes, classes = method.gatherer(), [], []
    for _ in range(3):
        embedding = torch.randn(1, 4, *size) * torch.rand(1, 1, *size).add(0.5)
        target = torch.randint(0, CLASSES, (1, *size)).masked_fill(torch.rand(1, *size) < 0.2, 255)
        gatherer.add(embedding, target)
        found = slow_bank(embedding[0], target[0], grid=(3, 2), scale=scale, rounds=4)
        prototypes += found[0]
        classes += found[1]
    gatherer.finish()
    assert method.decoder.bank_labels.tolist() == classes and len(classes) > 12
    torch.testing.assert_close(method.decoder.bank, torch.tensor(prototypes))


@pytest.mark.parametrize("enlarged", ["votes", "embedding"])
def test_what_the_bank_is_made_of(batch, enlarged: str) -> None:
    """The network's unit vectors; or, where they are enlarged before, what they are at their own length."""
    method = make().eval()
    method.decoder.options = method.decoder.options.model_copy(update={"enlarged": enlarged})
    with torch.no_grad():
        method.decoder.projection.weight *= 3.0
        found = method.gatherer().embed(batch(CLASSES).images)
    lengths = found.norm(dim=1)
    assert found.shape[1] == 4
    assert torch.allclose(lengths, torch.ones_like(lengths)) == (enlarged == "votes")


def test_nothing_labelled_is_a_fault_and_keeps_the_bank() -> None:
    method = make()
    method.decoder.fill(torch.eye(4)[:1], torch.tensor([1]))
    gatherer = method.gatherer()
    gatherer.add(torch.randn(1, 4, 6, 8), torch.full((1, 6, 8), 255))
    with pytest.raises(RunFault, match="No pixel") as caught:
        gatherer.finish()
    assert len(caught.value.faults) == 1
    assert method.decoder.bank_labels.tolist() == [1]
