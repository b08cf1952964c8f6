import random
from collections import deque

import pytest
import torch
from torch.nn import functional as F

from segbench.losses.key_bank import KeyBank, NewKeys, ReleasedBank, keys_of_images

CLASSES, DIM = 3, 2


def random_keys(rng, numbers, *, images, regions=1, pixels=3):
    """Keys that carry a running number, each class of each image with some or none of them."""

    def draw(slots):
        vectors = torch.tensor([next(numbers) for _ in range(images * CLASSES * slots)], dtype=torch.float32)
        counts = torch.tensor([[rng.randint(0, slots) for _ in range(CLASSES)] for _ in range(images)])
        valid = torch.arange(slots) < counts[..., None]
        return torch.stack([vectors, -vectors], 1).view(images, CLASSES, slots, DIM), valid

    return NewKeys(*draw(regions), *draw(pixels))


def contents(memory):
    """By queue and class, the set of numbers held."""
    view, valid, (regions, _) = memory.view(), memory.valid(), memory.sizes
    parts = (slice(0, regions), slice(regions, memory.length))
    assert torch.equal(view[..., 0], -view[..., 1])
    return [[sorted(view[c, p, 0][valid[c, p]].tolist()) for c in range(CLASSES)] for p in parts]


def running():
    number = 0
    while True:
        number += 1
        yield number


@pytest.mark.parametrize(("regions", "pixels"), [(5, 7), (1, 2), (0, 4), (3, 0), (100, 100)])
def test_equals_lists_over_thousands_of_updates(regions, pixels):
    """A list of the newest keys of each class; an update may hold more than fits."""
    memory, rng, numbers = KeyBank(CLASSES, DIM, regions=regions, pixels=pixels), random.Random(0), running()
    lists = [[deque(maxlen=size) for _ in range(CLASSES)] for size in (regions, pixels)]
    place = memory.keys.data_ptr()
    for update in range(2000):
        new = random_keys(rng, numbers, images=rng.randint(1, 3))
        memory.push(new)
        for queue, vectors, valid in ((0, new.regions, new.has_region), (1, new.pixels, new.has_pixel)):
            for image in range(len(vectors)):
                for c in range(CLASSES):
                    lists[queue][c].extend(vectors[image, c, valid[image, c], 0].tolist())
        if update < 50 or update % 20 == 0:
            assert contents(memory) == [[sorted(each) for each in queue] for queue in lists]
    assert memory.keys.data_ptr() == place
    assert memory.view().data_ptr() == place


def test_queues_are_rings():
    """The oldest key gives way in its own place; nothing else moves."""
    memory, rng, numbers = KeyBank(CLASSES, DIM, regions=4, pixels=6), random.Random(1), running()
    for _ in range(50):
        memory.push(random_keys(rng, numbers, images=2))
    for _ in range(50):
        before, heads = memory.view().clone(), memory.heads.clone()
        new = random_keys(rng, numbers, images=1)
        memory.push(new)
        for queue, valid, start, size in ((0, new.has_region, 0, 4), (1, new.has_pixel, 4, 6)):
            for c in range(CLASSES):
                changed = (memory.view()[c, start : start + size] != before[c, start : start + size]).any(1)
                count, head = int(valid[0, c].sum()), int(heads[queue, c])
                assert changed.nonzero().flatten().tolist() == sorted((head + i) % size for i in range(count))


def test_batches_may_be_split():
    one, two = (KeyBank(CLASSES, DIM, regions=4, pixels=6) for _ in range(2))
    rng, numbers = random.Random(2), running()
    for _ in range(20):
        new = random_keys(rng, numbers, images=4)
        one.push(new)
        for part in (slice(0, 1), slice(1, 4)):
            two.push(NewKeys(*(values[part] for values in new)))
        assert all(torch.equal(a, b) for a, b in zip(one.buffers(), two.buffers(), strict=True))


def test_state_survives():
    one, two = (KeyBank(CLASSES, DIM, regions=4, pixels=6) for _ in range(2))
    rng, numbers = random.Random(3), running()
    for _ in range(9):
        one.push(random_keys(rng, numbers, images=2))
    two.load_state_dict(one.state_dict())
    new = random_keys(rng, numbers, images=2)
    for memory in (one, two):
        memory.push(new)
    assert contents(one) == contents(two)


def released(**defects):
    options = {"noise": False, "zero_class": False, "one_step": False, **defects}
    return ReleasedBank(CLASSES, DIM, regions=4, pixels=6, **options)


def test_without_a_defect_it_is_the_memory():
    one, two = released(), KeyBank(CLASSES, DIM, regions=4, pixels=6)
    rng, numbers = random.Random(4), running()
    for _ in range(100):
        new = random_keys(rng, numbers, images=2)
        one.push(new)
        two.push(new)
        assert contents(one) == contents(two)


def test_one_step_defect_equals_its_description():
    memory, rng, numbers = released(one_step=True), random.Random(5), running()
    rows, heads = [[0.0] * 6 for _ in range(CLASSES)], [0] * CLASSES
    for _ in range(1000):
        new = random_keys(rng, numbers, images=rng.randint(1, 3))
        memory.push(new)
        for image in range(len(new.pixels)):
            for c in range(CLASSES):
                values = new.pixels[image, c, new.has_pixel[image, c], 0].tolist()
                if not values:
                    continue
                if heads[c] + len(values) >= 6:
                    rows[c][-len(values) :] = values
                    heads[c] = 0
                else:
                    rows[c][heads[c] : heads[c] + len(values)] = values
                    heads[c] += 1
        assert memory.view()[:, 4:, 0].tolist() == rows
        assert memory.valid()[:, 4:].tolist() == [[value > 0 for value in row] for row in rows]


def test_zero_class_defect():
    memory, rng, numbers = released(zero_class=True), random.Random(6), running()
    assert memory.valid().tolist() == [[True] * 10, [False] * 10, [False] * 10]
    for _ in range(30):
        memory.push(random_keys(rng, numbers, images=2))
    assert memory.valid().all()
    assert not memory.view()[0].any()
    assert memory.view()[1:].any(-1).all()


def test_noise_defect():
    memory = released(noise=True)
    assert memory.valid().all()
    torch.testing.assert_close(memory.view().norm(dim=-1), torch.ones(CLASSES, 10))
    assert len(memory.view().flatten(0, 1).unique(dim=0)) == 30


@pytest.fixture
def scene(blobs):
    labels = blobs(0, images=2, size=(9, 11), classes=4, sigma=1.5)
    labels[0, 4, 4:7] = 4  # three pixels of a class that the other image lacks
    embeddings = torch.randn(2, 6, 9, 11, dtype=torch.float64)
    return embeddings, labels


def test_regions_are_the_directions_of_means(scene):
    embeddings, labels = scene
    found = keys_of_images(embeddings, labels, num_classes=6)
    pixels = F.normalize(embeddings, dim=1).movedim(1, -1)
    assert found.has_region.shape == (2, 6, 1)
    for image in range(2):
        for c in range(6):
            mine = pixels[image][labels[image] == c]
            assert bool(found.has_region[image, c, 0]) == (len(mine) > 0)
            if len(mine):
                mean = mine.mean(0)
                torch.testing.assert_close(found.regions[image, c, 0], mean / mean.norm())


@pytest.mark.parametrize("number", [1, 10, 200])
def test_pixels_are_random_ones_of_the_class(scene, number):
    embeddings, labels = scene
    pixels = F.normalize(embeddings, dim=1).movedim(1, -1)
    found, again, other = (
        keys_of_images(embeddings, labels, num_classes=6, pixels=number, generator=torch.Generator().manual_seed(seed))
        for seed in (0, 0, 1)
    )
    assert torch.equal(found.pixels, again.pixels)
    assert not torch.equal(found.pixels, other.pixels)
    for image in range(2):
        for c in range(6):
            mine = pixels[image][labels[image] == c]
            count = min(number, len(mine))
            assert found.has_pixel[image, c].tolist() == [True] * count + [False] * (number - count)
            places = [
                [i for i, vector in enumerate(mine) if torch.allclose(vector, key, atol=1e-12)]
                for key in found.pixels[image, c, :count]
            ]
            assert all(len(place) == 1 for place in places)
            assert len({place[0] for place in places}) == count


def test_first_pixels_defect(scene):
    """A class of n pixels gets some of the first n of the image, whatever their labels."""
    embeddings, labels = scene
    pixels = F.normalize(embeddings, dim=1).flatten(2).transpose(1, 2)
    found = keys_of_images(
        embeddings, labels, num_classes=6, pixels=4, from_first=True, generator=torch.Generator().manual_seed(0)
    )
    for image in range(2):
        for c in range(6):
            total = int((labels[image] == c).sum())
            assert int(found.has_pixel[image, c].sum()) == min(4, total)
            for key in found.pixels[image, c][found.has_pixel[image, c]]:
                (place,) = (pixels[image] - key).abs().amax(1).lt(1e-12).nonzero().flatten().tolist()
                assert place < total


def test_no_regions_and_no_pixels(scene):
    found = keys_of_images(*scene, num_classes=6, regions=0, pixels=0)
    assert found.regions.shape == (2, 6, 0, 6)
    assert found.pixels.shape == (2, 6, 0, 6)
    memory = KeyBank(6, 6, regions=2, pixels=2)
    memory.push(found)
    assert not memory.valid().any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("labelled", [0, 1])
def test_poor_images_stay_finite(dtype, labelled):
    labels = torch.full((2, 4, 4), 255)
    labels[0, 0, :labelled] = 2
    embeddings = (torch.randn(2, 6, 4, 4) * 1e4).to(dtype).requires_grad_()
    found = keys_of_images(embeddings, labels, num_classes=3)
    assert not found.pixels.requires_grad
    assert all(values.isfinite().all() for values in found)
    assert int(found.has_region.sum()) == int(found.has_pixel.sum()) == labelled
