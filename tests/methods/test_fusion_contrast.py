"""CFN's method: a teacher that never changes, features of the same size, and the losses by name."""

import copy

import pytest
import torch
from torch.nn import functional as F

from segbench.core.errors import InvalidFault
from segbench.core.registry import options_of
from segbench.losses.fusion_contrast import image_info_nce
from segbench.losses.micro_dice import micro_dice_loss
from segbench.methods.fusion_contrast.method import build
from segbench.methods.step import StepInfo
from segbench.models.segmentor import build_segmentor
from segbench.recipe.catalog import load_catalog, recipes_root
from segbench.recipe.resolve import resolve
from tests.methods.conftest import CHANNELS

C = 5
INFO = StepInfo(3, 10)


@pytest.fixture
def make(segmentor):
    def made(*, classes=C, **options):
        torch.manual_seed(0)
        values = {"teacher_stage": "teacher", "teacher_projection": "conv1x1", **options}
        method = build(
            options_of("method", "fusion-contrast").model_validate(values), segmentor(C), num_classes=C, seed=0
        )
        if method.options.needs_stages():
            teacher = segmentor(classes)
            teacher.norm = torch.nn.BatchNorm2d(3)
            plain = teacher.forward
            teacher.forward = lambda images: plain(teacher.norm(images))
            method.receive({"teacher": teacher.requires_grad_(False).eval()})
        return method.train()

    return made


def test_losses_written_out(make, batch):
    method, data = make(teacher_features="head"), batch(C, images=3, seed=1)
    losses = method({"labelled": data}, INFO)
    output = method.segmentor(data.images)
    logits = F.interpolate(output.logits, data.target.shape[-2:], mode="bilinear")
    torch.testing.assert_close(losses["ce"], F.cross_entropy(logits, data.target, ignore_index=255))
    torch.testing.assert_close(losses["dice"], 1e-6 * micro_dice_loss(logits.softmax(1), data.target))
    seen = method.teacher(data.images).embedding  # 16 x 24 places to 2 x 3
    pooled = F.avg_pool2d(seen, 8)
    wanted = image_info_nce(output.layers[-1], method.projection(pooled), temperature=0.07)
    torch.testing.assert_close(losses["contrast"], 0.1 * wanted)


@pytest.mark.parametrize(("mode", "moves"), [("eval", False), ("train", True)])
@pytest.mark.parametrize("features", ["head", "concat", "coarsest"])
def test_the_teacher_stays(make, batch, mode, moves, features):
    method = make(teacher_mode=mode, teacher_features=features)
    before = copy.deepcopy(method.teacher.state_dict())
    sum(method({"labelled": batch(C, images=3, seed=1)}, INFO).values()).backward()
    assert all(parameter.grad is None for parameter in method.teacher.parameters())
    changed = {name for name, value in method.teacher.state_dict().items() if not torch.equal(value, before[name])}
    assert bool(changed) == moves and all("running" in name or "batches" in name for name in changed)
    assert method.projection.weight.grad.abs().sum() > 0
    named = {name for group in method.param_groups() for name, _ in group.params}
    assert "projection.weight" in named and not any(name.startswith("teacher.") for name in named)
    channels = {"head": CHANNELS[0], "concat": sum(CHANNELS), "coarsest": CHANNELS[-1]}[features]
    assert method.projection.weight.shape[:2] == (CHANNELS[-1], channels)


def test_a_weight_of_zero_needs_no_look_of_the_teacher(make, batch):
    method = make(contrast_weight=0.0)
    method.teacher.forward = None  # calling it would fail
    losses = method({"labelled": batch(C, seed=1)}, INFO)
    assert losses["contrast"].item() == 0
    assert "contrast" not in make(teacher_stage=None)({"labelled": batch(C, seed=1)}, INFO)


def test_double_softmax(make, batch):
    data = batch(C, seed=1)
    once, twice = (make(double_softmax=each, teacher_stage=None)({"labelled": data}, INFO) for each in (False, True))
    assert not torch.equal(once["ce"], twice["ce"]) and torch.equal(once["dice"], twice["dice"])


def test_normalizers_name_every_loss(make, batch):
    method, data = make(), {"labelled": batch(C, images=3, seed=1)}
    assert method.loss_normalizers(data).keys() == method(data, INFO).keys()
    assert method.loss_normalizers(data)["contrast"] == 3


def test_teachers_that_do_not_fit(make):
    with pytest.raises(InvalidFault, match="stage 'teacher' has 7 classes; the student has 5"):
        make(classes=7)
    with pytest.raises(InvalidFault, match="features have 6 channels, the student's 12"):
        make(teacher_projection="none")


def parameters(row, stage):
    found = resolve(load_catalog(recipes_root()), "cfn-claims", row, "cityscapes").published.training
    spec = next(each for each in found.stages if each.name == stage)
    with torch.device("meta"):
        network = build_segmentor(spec.model, num_classes=20)
    return network, sum(p.numel() for p in network.parameters())


def test_networks_are_those_of_the_public_code():
    """Parameters as counted in its classes; PSPNet's count there has the classifier of ResNet-50 too."""
    student, count = parameters("cfn-hrnet", "student")
    assert count == 17_787_796
    teacher, count = parameters("cfn-hrnet", "teacher")
    assert count == 1_541_060
    assert sum(teacher.layer_channels) == 240
    pspnet, count = parameters("cfn-pspnet", "teacher")
    assert (count + 2048 * 1000 + 1000) / 1e6 == pytest.approx(48.64, abs=0.005)
    assert pspnet.embedding_channels == student.layer_channels[-1] == 512
    assert pspnet.layer_strides[-1] == student.layer_strides[-1] == 32
