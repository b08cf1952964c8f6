"""Class-uniform sampling against brute force: centroids, counts of an epoch, what crops show, the same batches."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from pydantic import ValidationError

from segbench.core.errors import Interrupted, InvalidFault
from segbench.core.spec import AugmentationSpec, ClassUniformSpec, DataSpec, InputSpec, StreamSpec
from segbench.data.augmentation.augment import training_sample
from segbench.data.augmentation.uniform import find_centroids, label_centroids, plan_epoch
from segbench.data.classes import IGNORE, class_table
from segbench.data.dataset import Sample
from segbench.data.loader import RawBatch, Share, TrainingBatches
from segbench.data.open import open_dataset
from segbench.data.rng import Purpose, keyed_rng, name_key
from segbench.models.decoders.hanet.unit import slots_of
from tests.data.observing import Seen

CLASSES = class_table("camvid-11").num_classes


class Labels:
    """Pictures whose red and green channels say where a pixel lies, with given labels."""

    def __init__(self, labels: list[np.ndarray]) -> None:
        self.classes = class_table("camvid-11")
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def key(self, index: int) -> str:
        return f"train/{index}"

    def read(self, index: int) -> Sample:
        label = self.labels[index]
        rows, columns = np.indices(label.shape)
        return np.stack([rows, columns, 0 * rows], axis=-1).astype(np.uint8), label

    def instances(self, index: int) -> np.ndarray | None:
        return None


def blocks(count: int, *, size: tuple[int, int] = (40, 60), seed: int = 0, classes: int = CLASSES) -> Labels:
    rng = np.random.default_rng(seed)
    coarse = [rng.integers(0, classes + 1, (size[0] // 5, size[1] // 5)) for _ in range(count)]
    fine = [each.repeat(5, 0).repeat(5, 1) for each in coarse]
    return Labels([np.where(each == classes, IGNORE, each).astype(np.uint8) for each in fine])


def by_hand(label: np.ndarray, tiles: list[tuple[int, int, int, int]]) -> list[tuple[int, int, int]]:
    found = []
    for top, bottom, left, right in tiles:
        for number in range(CLASSES):
            places = [(y, x) for y in range(top, bottom) for x in range(left, right) if label[y, x] == number]
            if places:
                row, column = (sum(place[side] for place in places) // len(places) for side in (0, 1))
                found.append((number, row, column))
    return sorted(found)


@pytest.mark.parametrize(
    ("size", "tile", "rows", "columns"),
    [
        ((20, 40), 20, [0, 20], [0, 20, 40]),  # as Cityscapes: the tile is as high as the image
        ((40, 60), 21, [0, 20, 40], [0, 20, 40, 60]),  # the nearest number of tiles, of one size
        ((15, 25), 20, [0, 15], [0, 25]),
        ((35, 10), 10, [0, 8, 17, 26, 35], [0, 10]),  # 3.5 tiles are 4
        ((5, 5), 100, [0, 5], [0, 5]),
    ],
)
def test_centroids_of_a_label(size: tuple[int, int], tile: int, rows: list[int], columns: list[int]) -> None:
    label = blocks(1, size=size, seed=3).labels[0]
    tiles = [(*a, *b) for a in pairwise(rows) for b in pairwise(columns)]
    found = label_centroids(label, num_classes=CLASSES, tile=tile)
    assert found.dtype == np.int32 and sorted(map(tuple, found.tolist())) == by_hand(label, tiles)


def test_values_that_are_no_class_have_no_centroid() -> None:
    label = np.full((4, 6), IGNORE, np.uint8)
    assert label_centroids(label, num_classes=3, tile=8).shape == (0, 3)
    label[1:3, 2:5] = 2
    label[0, 0] = 3
    assert label_centroids(label, num_classes=3, tile=8).tolist() == [[2, 1, 3]]  # rows 1.5, columns 3


@pytest.mark.parametrize("workers", [0, 3])
def test_centroids_of_a_data_set(workers: int) -> None:
    dataset = blocks(4)
    found = find_centroids(dataset, tile=20, workers=workers)
    assert len(found) == CLASSES
    tiles = [(y, y + 20, x, x + 20) for y in (0, 20) for x in (0, 20, 40)]
    expected = {(index, *each) for index in range(4) for each in by_hand(dataset.labels[index], tiles)}
    got = {(index, number, y, x) for number, rows in enumerate(found) for index, y, x in rows.tolist()}
    assert got == expected and sum(map(len, found)) == len(expected)


@pytest.mark.parametrize("workers", [0, 3])
def test_reading_the_labels_is_told_and_can_be_stopped(workers: int) -> None:
    seen = Seen(stop=lambda: len(seen.counts) == 3)
    with pytest.raises(Interrupted, match="looking for the classes"):
        find_centroids(blocks(6), tile=20, workers=workers, observer=seen)
    assert seen.counts == [(1, 6), (2, 6), (3, 6)]


def test_nothing_labelled_is_refused() -> None:
    with pytest.raises(InvalidFault, match="class_uniform needs labels"):
        find_centroids(Labels([np.full((8, 8), IGNORE, np.uint8)] * 2), tile=8)


def test_counts_of_an_epoch() -> None:
    """Cityscapes: 2975 samples are 19 x 78 around centroids and 1493 at random."""
    centroids = [np.array([[number, k, k] for k in range(20 + 10 * number)]) for number in range(19)]
    plan = plan_epoch(centroids, images=2975, share=0.5, rng=np.random.default_rng(0))
    assert plan.shape == (2975, 3)
    shown = plan[plan[:, 1] >= 0]
    assert Counter(shown[:, 0].tolist()) == dict.fromkeys(range(19), 78)
    for number, own in enumerate(centroids):  # each of them as often as the others, or once more
        uses = Counter(shown[shown[:, 0] == number, 1].tolist())
        assert max(uses.values()) - (min(uses.values()) if len(uses) == len(own) else 0) <= 1
    free = plan[plan[:, 1] < 0]
    assert len(free) == 1493 and len(set(free[:, 0].tolist())) == 1493
    assert (free[:, 1:] == -1).all()
    # They are mixed: neither half has nearly all of them.
    assert 600 < (plan[:1487, 1] >= 0).sum() < 880


def test_a_class_that_nothing_shows_leaves_its_share_to_chance() -> None:
    centroids = [np.zeros((0, 3), np.int32), np.array([[4, 1, 2]])]
    plan = plan_epoch(centroids, images=9, share=1.0, rng=np.random.default_rng(0))
    assert plan.shape == (9, 3)
    assert Counter(map(tuple, plan[plan[:, 1] >= 0].tolist())) == {(4, 1, 2): 4}
    assert len(set(plan[plan[:, 1] < 0, 0].tolist())) == 5


@pytest.mark.parametrize(("scale", "aspect"), [((1.0, 1.0), 1.0), ((1.0, 3.0), 1.0), ((0.4, 1.0), 0.9)])
@pytest.mark.parametrize("crop", [(13, 16), (25, 200), (48, 64)])
def test_a_crop_shows_its_centroid(scale: tuple[float, float], aspect: float, crop: tuple[int, int]) -> None:
    dataset = blocks(1, size=(40, 60))
    image, label = dataset.read(0)
    spec = AugmentationSpec(scale=scale, flip=0.5, padding="centre", aspect=(aspect, 1 / aspect), max_class_share=0.2)
    rng = np.random.default_rng(0)
    for turn in range(120):
        row, column = int(rng.integers(40)), int(rng.integers(60))
        if turn < 4:
            row, column = (0, 39)[turn % 2], (0, 59)[turn // 2]
        cut = training_sample(image, label, crop=crop, spec=spec, fill=(0, 0, 0), rng=rng, around=(row, column))
        assert cut.label.shape == crop
        for seen, place, length in ((cut.rows, row, 40), (cut.columns, column, 60)):
            inside = np.round(seen[seen < 1] * length).astype(int)
            # Enlarged, every pixel between the first and the last is there; shrunk, one in two or three is.
            slack = 0 if scale[0] >= 1 else 2
            assert inside.min() - slack <= place <= inside.max() + slack


def test_where_a_window_around_a_pixel_begins() -> None:
    """With equal chances wherever it shows the pixel, then moved inside of the image."""
    dataset = blocks(1, size=(40, 60))
    image, label = dataset.read(0)
    starts: Counter[tuple[int, int]] = Counter()
    for seed in range(3000):
        rng = np.random.default_rng(seed)
        cut = training_sample(
            image, label, crop=(5, 4), spec=AugmentationSpec(), fill=(0, 0, 0), rng=rng, around=(20, 1)
        )
        starts[int(cut.image[0, 0, 0]), int(cut.image[0, 0, 1])] += 1
    assert {row for row, _ in starts} == set(range(16, 21))
    # Columns -2, -1, 0 and 1 are drawn alike; the first two are moved to 0.
    share = {column: sum(n for (_, c), n in starts.items() if c == column) / 3000 for column in (0, 1)}
    assert share == pytest.approx({0: 0.75, 1: 0.25}, abs=0.03)


UNIFORM = AugmentationSpec(scale=(0.5, 2.0), flip=0.5, class_uniform=ClassUniformSpec(share=0.8, tile=20))


def stream(*, batch: int = 3, augmentation: AugmentationSpec = UNIFORM, **data: object) -> StreamSpec:
    return StreamSpec(data=DataSpec(name="camvid", **data), crop=(16, 20), batch_total=batch, augmentation=augmentation)


def batches(dataset: Labels, number: int, *, spec: StreamSpec | None = None, **more: object) -> list[RawBatch]:
    settings = {"seed": 5, "input": InputSpec(), "num_workers": 0, **more}
    with TrainingBatches(spec or stream(), dataset, **settings) as source:  # type: ignore[arg-type]
        return [next(source) for _ in range(number)]


def same(one: RawBatch, other: RawBatch) -> bool:
    arrays = ((one.images, other.images), (one.target, other.target), (one.rows, other.rows))
    return all(bool((a == b).all()) for a, b in arrays) and (one.keys, one.step) == (other.keys, other.step)


def test_batches_depend_on_seed_stream_and_step_alone() -> None:
    dataset = blocks(20)
    expected = batches(dataset, 9)  # into the second epoch
    for workers in (1, 3):
        assert all(map(same, expected, batches(dataset, 9, num_workers=workers)))
    assert all(map(same, expected[4:], batches(dataset, 5, start_step=4, num_workers=2)))
    assert all(map(same, expected[8:], batches(dataset, 1, start_step=8)))
    shares = [batches(dataset, 9, share=Share(rank, 3)) for rank in range(3)]
    for whole, *parts in zip(expected, *shares, strict=True):
        assert whole.keys == sum((part.keys for part in parts), ())
        assert bool((whole.images == np.concatenate([part.images for part in parts])).all())
    assert not same(expected[0], batches(dataset, 1, seed=6)[0])
    assert not same(expected[0], batches(dataset, 1, stream="other")[0])
    keys = [key for batch in expected for key in batch.keys]
    assert keys[:7] != keys[20:27]


def test_batches_follow_the_plan() -> None:
    """Image by image, each crop showing its centroid in the pixels themselves."""
    dataset = blocks(20)
    plain = AugmentationSpec(flip=0.5, class_uniform=ClassUniformSpec(share=0.8, tile=20))
    seen = batches(dataset, 4, spec=stream(batch=10, augmentation=plain))
    centroids = find_centroids(dataset, tile=20)
    shown = 0
    for epoch in (0, 1):
        rng = keyed_rng(Purpose.UNIFORM, 5, name_key("labelled"), epoch)
        for position, (index, row, column) in enumerate(plan_epoch(centroids, images=20, share=0.8, rng=rng).tolist()):
            batch, place = divmod(20 * epoch + position, 10)
            assert seen[batch].keys[place] == f"train/{index}"
            red, green = seen[batch].images[place, 0].numpy(), seen[batch].images[place, 1].numpy()
            if row >= 0:
                shown += 1
                assert ((red == row) & (green == column)).any()
    assert shown == 2 * CLASSES  # int(20 * 0.8 / 11) = 1


def test_an_image_that_comes_twice_is_cut_twice() -> None:
    seen = batches(blocks(1), 11, spec=stream(batch=1))
    assert len({batch.images.numpy().tobytes() for batch in seen}) > 8


def test_tiles_shrink_with_the_images() -> None:
    """One of 20 pixels is one of 10 where data.scale is a half."""
    halves = blocks(20, size=(20, 30))
    shrunk = batches(halves, 6, spec=stream(scale=0.5))
    assert all(map(same, shrunk, batches(halves, 6, spec=stream(augmentation=_tile(10)))))
    assert not all(map(same, shrunk, batches(halves, 6, spec=stream())))


def _tile(side: int) -> AugmentationSpec:
    return UNIFORM.model_copy(update={"class_uniform": ClassUniformSpec(share=0.8, tile=side)})


def test_generated_scenes_have_them_too() -> None:
    data = DataSpec(name="camvid", source="generated", images=22, size=(48, 64))
    spec = StreamSpec(data=data, crop=(32, 32), batch_total=4, augmentation=_tile(32))
    with TrainingBatches(spec, open_dataset(data), seed=0, input=InputSpec(), num_workers=2) as source:
        assert next(source).target.shape == (4, 32, 32)


@pytest.mark.parametrize("augmentation", [AugmentationSpec(scale=(0.5, 2.0), flip=0.5), UNIFORM])
@pytest.mark.parametrize("crop", [(33, 20), (70, 90), (17, 41)])
def test_rows_say_which_slot_of_the_picture_a_row_shows(augmentation: AugmentationSpec, crop: tuple[int, int]) -> None:
    """Whatever scale, crop, flip and padding do: labels that are the slots themselves tell."""
    slots = np.broadcast_to(np.arange(48)[:, None] * 8 // 48, (48, 60)).astype(np.uint8)
    spec = StreamSpec(data=DataSpec(name="camvid"), crop=crop, batch_total=4, augmentation=augmentation)
    for batch in batches(Labels([slots] * 5), 6, spec=spec):
        assert batch.rows is not None
        looked_at = np.arange(8) * crop[0] // 8
        labels = batch.target[:, looked_at].numpy()
        # A row's label where it has one; in the padding it has none.
        expected = np.where(labels == IGNORE, 0, labels).max(axis=2)
        expected[(labels == IGNORE).all(axis=2)] = 8
        assert np.array_equal(slots_of(batch.rows, 8).numpy(), expected)


def test_what_does_not_fit_is_refused() -> None:
    uniform = {"share": 0.5, "tile": 8}
    for more in ({"decisions": "batch"}, {"rotation": 5.0}):
        with pytest.raises(ValidationError, match="class_uniform"):
            AugmentationSpec.model_validate({"class_uniform": uniform, **more})
    for wrong in ({"share": 0.0, "tile": 8}, {"share": 1.1, "tile": 8}, {"share": 0.5, "tile": 0}, {"share": 0.5}):
        with pytest.raises(ValidationError):
            ClassUniformSpec.model_validate(wrong)
    assert AugmentationSpec().canonical() == {}
