"""Contrastive pre-training: what it sees, what it leaves alone, and the streams that are joined."""

import pytest
import torch
from torch.nn import functional as F

from segbench.core.errors import InvalidFault
from segbench.core.registry import options_of
from segbench.core.spec import AugmentationSpec, DataSpec, InputSpec, JitterSpec, StreamSpec
from segbench.data.augmentation.batchwise import BatchAugmenter
from segbench.data.batch import Batch
from segbench.losses.label_contrast import label_contrast
from segbench.methods.label_contrast.method import build, resize_to_grid
from segbench.methods.step import StepInfo
from segbench.methods.streams import join

C, SIZE = 5, (64, 96)
INFO = StepInfo(4, 10)
STREAM = StreamSpec(data=DataSpec(name="camvid"), crop=SIZE, batch_total=2)


@pytest.fixture
def make(segmentor):
    def made(*, names=("labelled",), **options):
        torch.manual_seed(0)
        chosen = options_of("method", "label-contrast").model_validate(
            {"embedding_dim": 6, "resize_size": (8, 12), "streams": names, **options}
        )
        method = build(chosen, segmentor(C), num_classes=C, seed=3)
        method.see_data(dict.fromkeys(names, STREAM), input=InputSpec(), images={})
        return method.train()

    return made


def test_the_loss_of_both_views_written_out(make, batch):
    method, data = make(), batch(C, seed=1)
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (InputSpec().mean, InputSpec().std))
    pictures = torch.rand(2, 3, *SIZE)
    data = Batch((pictures - mean) / std, data.target)
    loss = method({"labelled": data}, INFO)["contrast"]
    jitter = AugmentationSpec(jitter=JitterSpec(style="simclr", strength=1.0))
    drawn = BatchAugmenter(jitter, batch_total=2, seed=3, stream="distortion")
    other = (drawn(pictures, data.target, step=INFO.step).images - mean) / std
    assert (other - data.images).abs().mean() > 0.05
    views = []
    for images in (data.images, other):  # the network has no statistics, so that views may pass one by one
        found = F.interpolate(method.segmentor(images).embedding, size=(8, 12), mode="bilinear", align_corners=True)
        views.append(F.normalize(method.head(found), dim=1).flatten(2).transpose(1, 2))
    rows, columns = (torch.linspace(0, old - 1, new).round().long() for old, new in zip(SIZE, (8, 12), strict=True))
    labels = data.target[:, rows][:, :, columns].flatten(1)
    wanted = label_contrast(*views, labels, num_classes=C, form="paper")
    torch.testing.assert_close(loss, wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "options",
    [{}, {"form": "released", "projection_norm": "batch"}, {"loss": "cross"}, {"loss": "cross", "form": "released"}],
)
def test_what_is_trained(make, batch, options):
    """Network and head, not the classifier, which no optimiser may shrink either."""
    method = make(**options)
    loss = method({"labelled": batch(C, seed=1)}, INFO)["contrast"]
    loss.backward()
    trained = {name for name, parameter in method.named_parameters() if parameter.grad is not None}
    assert {"head.0.weight", "segmentor.layers.0.weight"} <= trained
    assert not any("classifier" in name for name in trained)
    optimizer = torch.optim.AdamW(method.parameters(), lr=0.1, weight_decay=0.5)
    before = method.segmentor.classifier.weight.clone()
    optimizer.step()
    assert torch.equal(method.segmentor.classifier.weight, before)


def test_draws_depend_on_the_step_and_on_nothing_else(make, batch):
    data = {"labelled": batch(C, images=4, seed=1)}
    for options in ({}, {"loss": "cross"}, {"loss": "cross", "form": "released"}):
        first, again = make(**options), make(**options)
        losses = [method(data, StepInfo(step, 10))["contrast"].item() for method in (first, again) for step in (3, 4)]
        assert losses[:2] == losses[2:] and losses[0] != losses[1]


@pytest.mark.parametrize("number", [2, 3, 7])
def test_the_partner_is_another_image(make, number):
    for step in range(20):
        partners = make(loss="cross")._partners(number, StepInfo(step, 100))
        assert ((partners >= 0) & (partners < number) & (partners != torch.arange(number))).all()
        shuffled = make(loss="cross", form="released")._partners(number, StepInfo(step, 100))
        assert sorted(shuffled.tolist()) == list(range(number))


def test_micro_batches_add_up_to_the_batch(make, batch):
    data, method = batch(C, images=4, seed=1), make()
    whole = method({"labelled": data}, INFO)["contrast"]
    parts = [Batch(data.images[a : a + 2], data.target[a : a + 2]) for a in (0, 2)]
    losses = [
        method({"labelled": part}, StepInfo(4, 10, micro_batch=n, micro_batches=2))["contrast"]
        for n, part in enumerate(parts)
    ]
    assert [method.loss_normalizers({"labelled": part})["contrast"].item() for part in parts] == [2, 2]
    torch.testing.assert_close(sum(losses) / 2, whole)


def test_corners_of_labels_stay_corners():
    """A crop of 513 at 65 places is every eighth pixel."""
    labels = torch.arange(513)[None, :, None].expand(1, 513, 513)
    assert torch.equal(resize_to_grid(labels, (65, 65)), labels[:, ::8, ::8])
    assert resize_to_grid(labels, (2, 1))[0, :, 0].tolist() == [0, 512]


def test_joined_streams(make, batch):
    one, two = batch(C, images=2, seed=1), batch(C, images=3, seed=2)
    both = join({"a": one, "b": two}, ("b", "a"))
    assert torch.equal(both.images, torch.cat([two.images, one.images]))
    assert torch.equal(both.target, torch.cat([two.target, one.target]))
    assert both.rows is None
    assert join({"a": one, "b": two}, ("a",)) is one
    method, single = make(names=("labelled", "pseudo")), make()
    joined = Batch(both.images.flip(0), both.target.flip(0))
    pieces = {
        "labelled": Batch(joined.images[:2], joined.target[:2]),
        "pseudo": Batch(joined.images[2:], joined.target[2:]),
    }
    assert torch.equal(method(pieces, INFO)["contrast"], single({"labelled": joined}, INFO)["contrast"])


def test_a_stream_that_is_not_there(make, segmentor):
    options = options_of("method", "label-contrast")(streams=("labelled", "pseudo"))
    with pytest.raises(InvalidFault, match="joins the stream 'pseudo'; the stage has labelled"):
        build(options, segmentor(C), num_classes=C, seed=0).see_data({"labelled": STREAM}, input=InputSpec(), images={})
