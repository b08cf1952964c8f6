"""Batches: the same for any number of workers and devices, resumable, complete, and clear about faults."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from segbench.core.errors import InvalidFault, MissingFault
from segbench.core.spec import AugmentationSpec, BlurSpec, DataSpec, InputSpec, JitterSpec, StreamSpec
from segbench.data.batch import Batch
from segbench.data.dataset import SegDataset
from segbench.data.loader import DeviceTransform, RawBatch, Share, TrainingBatches, evaluation_batches
from segbench.data.open import open_dataset
from tests.data.camvid_tree import arrays, places

INPUT = InputSpec()
AUGMENTATION = AugmentationSpec(scale=(0.5, 2.0), flip=0.5, jitter=JitterSpec(brightness=(0.5, 1.5), hue=(-0.1, 0.1)))


def stream(*, batch: int = 4, augmentation: AugmentationSpec = AUGMENTATION) -> StreamSpec:
    return StreamSpec(data=DataSpec(name="camvid"), crop=(16, 20), batch_total=batch, augmentation=augmentation)


@pytest.fixture
def dataset(tree: Path) -> SegDataset:
    return open_dataset(DataSpec(name="camvid"), root=tree)


def batches(dataset: SegDataset, number: int, *, spec: StreamSpec | None = None, **more: object) -> list[RawBatch]:
    settings = {"seed": 5, "input": INPUT, "num_workers": 0, **more}
    with TrainingBatches(spec or stream(), dataset, **settings) as source:  # type: ignore[arg-type]
        return [next(source) for _ in range(number)]


def same(one: RawBatch, other: RawBatch) -> bool:
    return (
        torch.equal(one.images, other.images)
        and torch.equal(one.target, other.target)
        and (one.keys, one.step) == (other.keys, other.step)
    )


def test_shapes_and_types(dataset: SegDataset) -> None:
    (batch,) = batches(dataset, 1)
    assert batch.images.shape == (4, 3, 16, 20)
    assert batch.target.shape == (4, 16, 20)
    assert batch.images.dtype == batch.target.dtype == torch.uint8
    assert len(batch.keys) == 4


def test_pixels_are_those_of_the_files(dataset: SegDataset) -> None:
    spec = StreamSpec(data=DataSpec(name="camvid"), crop=(24, 32), batch_total=5)
    (batch,) = batches(dataset, 1, spec=spec)
    for place, key in enumerate(batch.keys):
        image, raw = arrays("train", int(key[-5:]))
        assert np.array_equal(batch.images[place].permute(1, 2, 0).numpy(), image)
        assert np.array_equal(batch.target[place].numpy(), np.where(raw == 11, 255, raw))


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_change_nothing(dataset: SegDataset, workers: int) -> None:
    expected, seen = batches(dataset, 6), batches(dataset, 6, num_workers=workers)
    assert all(same(*pair) for pair in zip(expected, seen, strict=True))


@pytest.mark.parametrize("start", [1, 4])
@pytest.mark.parametrize("workers", [0, 2])
def test_resumed_run_sees_the_same_batches(dataset: SegDataset, start: int, workers: int) -> None:
    expected = batches(dataset, 7)[start:]
    seen = batches(dataset, 7 - start, start_step=start, num_workers=workers)
    assert all(same(*pair) for pair in zip(expected, seen, strict=True))


def test_devices_share_the_batch(dataset: SegDataset) -> None:
    expected = batches(dataset, 3)
    shares = [batches(dataset, 3, share=Share(rank, 2)) for rank in (0, 1)]
    for whole, left, right in zip(expected, *shares, strict=True):
        assert torch.equal(whole.images, torch.cat([left.images, right.images]))
        assert whole.keys == left.keys + right.keys
    with pytest.raises(InvalidFault, match="cannot be dealt out"):
        batches(dataset, 1, share=Share(0, 3))


def test_every_image_once_an_epoch_across_batch_borders(dataset: SegDataset) -> None:
    keys = [key for batch in batches(dataset, 15) for key in batch.keys]
    epochs = [keys[begin : begin + 5] for begin in range(0, 60, 5)]
    assert all(max(Counter(epoch).values()) == 1 for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 8


def test_batch_larger_than_the_data_set(dataset: SegDataset) -> None:
    (batch,) = batches(dataset, 1, spec=stream(batch=12))
    assert len(batch.keys) == 12
    assert min(Counter(batch.keys[:5]).values()) == max(Counter(batch.keys[5:10]).values()) == 1


def test_seeds_streams_and_epochs_draw_independently(dataset: SegDataset) -> None:
    base = batches(dataset, 1)[0]
    assert not same(base, batches(dataset, 1, seed=6)[0])
    assert not same(base, batches(dataset, 1, stream="unlabelled")[0])
    by_key: dict[str, list[torch.Tensor]] = {}
    for batch in batches(dataset, 5):
        for place, key in enumerate(batch.keys):
            by_key.setdefault(key, []).append(batch.images[place])
    assert all(not torch.equal(views[0], views[1]) for views in by_key.values())


def test_padding_takes_the_mean_colour_of_the_input(dataset: SegDataset) -> None:
    spec = StreamSpec(data=DataSpec(name="camvid"), crop=(30, 40), batch_total=1)
    turned = InputSpec(channels="bgr", mean=(0.0, 0.5, 1.0))
    (batch,) = batches(dataset, 1, spec=spec, input=turned)
    assert batch.images[0, :, -1, -1].tolist() == [255, 128, 0]
    finish = DeviceTransform(AugmentationSpec(), batch_total=1, input=turned, device="cpu", seed=0)
    assert finish(batch).images[0, :, -1, -1].abs().max() < 0.02


def test_finished_batch(dataset: SegDataset) -> None:
    raw = batches(dataset, 2)[1]
    finish = DeviceTransform(AUGMENTATION, batch_total=4, input=INPUT, device="cpu", seed=5, channels_last=True)
    batch = finish(raw)
    assert batch.images.dtype == torch.float32
    assert batch.target.dtype == torch.int64
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(batch.images, finish(raw).images)
    later = RawBatch(raw.images, raw.target, raw.keys, step=2)
    assert not torch.equal(batch.images, finish(later).images)
    plain = DeviceTransform(AugmentationSpec(), batch_total=4, input=INPUT, device="cpu", seed=5)(raw)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (INPUT.mean, INPUT.std))
    torch.testing.assert_close(plain.images, (raw.images.float() / 255 - mean) / std)


def test_finished_shares_equal_the_whole(dataset: SegDataset) -> None:
    raw = batches(dataset, 1)[0]
    whole = DeviceTransform(AUGMENTATION, batch_total=4, input=INPUT, device="cpu", seed=5)(raw)
    for rank in (0, 1):
        part = batches(dataset, 1, share=Share(rank, 2))[0]
        finish = DeviceTransform(AUGMENTATION, batch_total=4, input=INPUT, device="cpu", seed=5, share=Share(rank, 2))
        torch.testing.assert_close(finish(part).images, whole.images[2 * rank : 2 * rank + 2])


@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_goes_through_everything_in_order(dataset: SegDataset, workers: int) -> None:
    seen = list(evaluation_batches(dataset, input=INPUT, num_workers=workers))
    assert [batch.keys for batch in seen] == [(dataset.key(index),) for index in range(5)]
    image, label = dataset.read(3)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (INPUT.mean, INPUT.std))
    pixels = torch.from_numpy(image.copy()).permute(2, 0, 1).float() / 255
    torch.testing.assert_close(seen[3].images[0], (pixels - mean) / std)
    assert seen[3].target[0].tolist() == label.tolist()
    odd = evaluation_batches(dataset, input=INPUT, num_workers=workers, share=Share(1, 2))
    assert [batch.keys[0] for batch in odd] == [dataset.key(1), dataset.key(3)]


@pytest.mark.parametrize("workers", [0, 2])
def test_broken_file_is_named(tree: Path, workers: int) -> None:
    dataset = open_dataset(DataSpec(name="camvid"), root=tree)
    path = places(tree / "camvid", "train")[0] / "seq_00003.png"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(MissingFault, match="seq_00003") as caught:
        batches(dataset, 3, num_workers=workers)
    assert caught.value.next
    with pytest.raises(MissingFault, match="seq_00003"):
        list(evaluation_batches(dataset, input=INPUT, num_workers=workers))


RICH = AugmentationSpec(
    scale=(0.5, 1.5),
    flip=0.5,
    rotation=15.0,
    classmix=0.7,
    jitter=JitterSpec(style="simclr"),
    blur=BlurSpec(kernel=5, sigma=(0.2, 1.5), probability=0.5),
    padding="random",
)
TOGETHER = AugmentationSpec(
    scale=(0.75, 1.75),
    scale_probability=0.5,
    flip=0.5,
    classmix=0.7,
    jitter=JitterSpec(style="mmseg"),
    decisions="batch",
    padding_colour="black",
)


def finished(dataset: SegDataset, spec: AugmentationSpec, *, workers: int, share: Share) -> list[Batch]:
    finish = DeviceTransform(spec, batch_total=4, input=INPUT, device="cpu", seed=5, share=share)
    made = batches(dataset, 5, spec=stream(augmentation=spec), num_workers=workers, share=share)
    return [finish(raw) for raw in made]


@pytest.mark.parametrize("spec", [RICH, TOGETHER], ids=["image", "batch"])
def test_everything_is_the_same_for_any_workers_and_devices(dataset: SegDataset, spec: AugmentationSpec) -> None:
    expected = finished(dataset, spec, workers=1, share=Share())
    for one, other in zip(expected, finished(dataset, spec, workers=3, share=Share()), strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.target, other.target)
    shares = [finished(dataset, spec, workers=workers, share=Share(workers, 2)) for workers in (0, 1)]
    for whole, *parts in zip(expected, *shares, strict=True):
        torch.testing.assert_close(torch.cat([part.images for part in parts]), whole.images)
        assert torch.equal(torch.cat([part.target for part in parts]), whole.target)
        assert sum((part.keys for part in parts), ()) == whole.keys
    labels = {int(value) for batch in expected for value in batch.target.unique()}
    assert labels <= {*range(11), 255}


def test_what_the_method_applies_is_left_to_it(dataset: SegDataset) -> None:
    spec = TOGETHER.model_copy(update={"applied_by": "method"})
    plain = AugmentationSpec(padding_colour="black")
    for share in (Share(), Share(1, 2)):
        for one, other in zip(
            finished(dataset, spec, workers=0, share=share),
            finished(dataset, plain, workers=0, share=share),
            strict=True,
        ):
            assert torch.equal(one.images, other.images)
            assert torch.equal(one.target, other.target)


def test_padding_may_be_black(dataset: SegDataset) -> None:
    padded = StreamSpec(
        data=DataSpec(name="camvid"),
        crop=(30, 40),
        batch_total=1,
        augmentation=AugmentationSpec(padding_colour="black"),
    )
    (raw,) = batches(dataset, 1, spec=padded)
    assert raw.images[0, :, -1, -1].tolist() == [0, 0, 0]


def test_leaving_evaluation_early_stops_the_workers(dataset: SegDataset) -> None:
    source = evaluation_batches(dataset, input=INPUT, num_workers=2)
    next(iter(source))
    source.close()  # type: ignore[attr-defined]
