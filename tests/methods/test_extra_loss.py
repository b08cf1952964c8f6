"""A loss beside the cross-entropy, in supervised training and in what builds on it."""

import dataclasses

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F

from segbench.core.spec import OptimizerSpec
from segbench.engine.micro_batch import backward
from segbench.engine.optim import build_optimizer
from segbench.engine.runtime import Runtime
from segbench.losses.aaf import affinity_loss, field_sums
from segbench.losses.lovasz import lovasz_softmax
from segbench.losses.resize import resize_labels
from segbench.losses.rmi import binary_cross_entropy, region_mutual_information
from segbench.methods.contextrast.method import build as build_contextrast
from segbench.methods.contextrast.options import Options as ContextrastOptions
from segbench.methods.pixel_contrast.method import build as build_contrast
from segbench.methods.pixel_contrast.options import Options as ContrastOptions
from segbench.methods.step import StepInfo
from segbench.methods.supervised.method import build
from segbench.methods.supervised.options import Options
from tests.steps import at

CLASSES = 5
AAF, RMI, LOVASZ = {"name": "aaf"}, {"name": "rmi"}, {"name": "lovasz"}


def make(segmentor, extra, **options):
    torch.manual_seed(1)
    options = Options.model_validate({"extra_loss": extra, **options})
    return build(options, segmentor(CLASSES), num_classes=CLASSES, seed=0)


def part(data, *places):
    rows = torch.tensor(places)
    return dataclasses.replace(data, images=data.images[rows], target=data.target[rows])


@pytest.fixture
def data(batch):
    return batch(CLASSES, images=4)


def full_size(method, data):
    with torch.no_grad():
        logits = method.segmentor(data.images).logits
    return logits, F.interpolate(logits, (64, 96), mode="bilinear")


@pytest.mark.parametrize(("size", "groups"), [(2, [(0, 1), (2, 3)]), (3, [(0, 1, 2), (3,)]), (None, [(0, 1, 2, 3)])])
def test_lovasz_is_the_mean_over_the_groups(segmentor, data, size, groups):
    method = make(segmentor, {**LOVASZ, "images_per_group": size, "weight": 0.7, "classes": "all"})
    losses = method({"labelled": data}, at(0))
    _, logits = full_size(method, data)
    apart = [lovasz_softmax(logits[list(group)], data.target[list(group)], classes="all") for group in groups]
    assert set(losses) == {"ce", "lovasz"}
    torch.testing.assert_close(losses["lovasz"], 0.7 * torch.stack(apart).mean())


def test_rmi_is_the_sum_of_its_two(segmentor, data):
    given = {"radius": 2, "pool": "mean", "pool_size": 4, "regularisation": 5e-4}
    method = make(segmentor, {**RMI, **given, "bce_weight": 0.25, "rmi_weight": 0.75, "images_per_group": None})
    _, logits = full_size(method, data)
    binary = binary_cross_entropy(logits, data.target)
    information = region_mutual_information(logits, data.target, side=2, pool="mean", pool_size=4, alpha=5e-4)
    torch.testing.assert_close(method({"labelled": data}, at(0))["rmi"], 0.25 * binary + 0.75 * information)


@pytest.mark.parametrize("at", ["logits", "labels"])
@pytest.mark.parametrize(("weights", "value"), [("learned", 1 / 2), (1 / 3, 1 / 3)])
def test_aaf(segmentor, data, at, weights, value):
    """Learned weights start as equal shares of 1."""
    given = {"fields": (3, 7), "margin": 2.0, "edge_weight": 0.5, "non_edge_weight": 2.0}
    method = make(segmentor, {**AAF, **given, "at": at, "field_weights": weights})
    small, large = full_size(method, data)
    logits, target = (small, data.target[:, ::4, ::4]) if at == "logits" else (large, data.target)
    table = torch.full((CLASSES, 2), value)
    groups = []
    for group in (slice(0, 2), slice(2, 4)):
        fields = [field_sums(logits[group], target[group], side=side, margin=2.0) for side in (3, 7)]
        edge, rest = affinity_loss(fields, edge_weights=table, non_edge_weights=table)
        groups.append(0.5 * edge + 2 * rest)
    torch.testing.assert_close(method({"labelled": data}, StepInfo(0, 10))["aaf"], torch.stack(groups).mean())


def test_aaf_falls_to_its_final_share(segmentor, data):
    method = make(segmentor, {**AAF, "final_share": 0.01, "weight": 3.0})
    infos = [at(step, steps=200) for step in (0, 100, 200, 300)]
    first, half, last, after = (method({"labelled": data}, info)["aaf"].item() for info in infos)
    assert [half / first, last / first, after] == pytest.approx([0.1, 0.01, last])
    constant = make(segmentor, {**AAF, "final_share": 1.0})
    losses = [constant({"labelled": data}, at(step, steps=10))["aaf"].item() for step in (0, 9)]
    assert losses[0] == losses[1] == pytest.approx(first / 3)


def test_field_weights_climb(segmentor, data):
    """The optimiser that lowers all else moves them along the loss's own gradient, found here by differences."""
    method = make(segmentor, {**AAF, "fields": (3, 7)})
    optimizer = build_optimizer(OptimizerSpec(name="sgd", lr=0.5, momentum=0.9, weight_decay=0.1), method, fused=False)
    free = method.extra.free["edge"]

    def loss():
        with torch.no_grad():
            return method({"labelled": data}, at(0))["aaf"].double().item()

    slopes = torch.zeros_like(free)
    for place in [(c, k) for c in range(CLASSES) for k in range(2)]:
        for sign in (1, -1):
            with torch.no_grad():
                free[place] += sign * 0.1
                slopes[place] += sign * loss() / 0.2
                free[place] -= sign * 0.1
    method({"labelled": data}, at(0))["aaf"].backward()
    optimizer.step()
    assert slopes.abs().max() > 1e-3
    torch.testing.assert_close(free.detach(), 0.5 * slopes, rtol=0.02, atol=1e-4)


def test_field_weights_alone_do_not_decay(segmentor, data):
    method = make(segmentor, AAF)
    groups = {group.name: group for group in method.param_groups()}
    assert {name for name, _ in groups["extra loss"].params} == {"extra.free.edge", "extra.free.non_edge"}
    assert groups["extra loss"].weight_decay == 0
    assert groups["model"].weight_decay is None
    for parameter in method.parameters():
        torch.nn.init.ones_(parameter)
        parameter.grad = torch.zeros_like(parameter)
    spec = OptimizerSpec(name="sgd", lr=0.5, weight_decay=0.1)
    build_optimizer(spec, method, fused=False).step()
    for name, parameter in method.named_parameters():
        expected = 1.0 if name.startswith("extra.") else 1 - 0.5 * 0.1
        torch.testing.assert_close(parameter.detach(), torch.full_like(parameter, expected))


@pytest.mark.parametrize("extra", [{**AAF, "field_weights": 1.0}, RMI, LOVASZ], ids=lambda extra: extra["name"])
def test_nothing_else_is_learned(segmentor, extra):
    method = make(segmentor, extra)
    assert [group.name for group in method.param_groups()] == ["model"]
    assert method.state_dict().keys() == make(segmentor, None).state_dict().keys()


@pytest.mark.parametrize("extra", [AAF, RMI, LOVASZ], ids=lambda extra: extra["name"])
def test_micro_batches_of_whole_groups_make_the_batch(segmentor, data, extra):
    """A batch cut into micro-batches has the batch's losses and gradients."""
    method, found = make(segmentor, extra), []
    for parameter in method.segmentor.layers[3].parameters():
        torch.nn.init.zeros_(parameter)  # its mean over all images is part of the fake network's logits
    for count in (1, 2):
        method.zero_grad()
        info = StepInfo(0, 10, micro_batches=count)
        names, losses = backward(method, {"labelled": data}, info=info, runtime=Runtime(device="cpu"))
        found.append({name: parameter.grad.clone() for name, parameter in method.named_parameters()})
        found[-1] |= dict(zip(names, losses, strict=True))
    assert extra["name"] in found[0]
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("case", ["all ignored", "one class", "one pixel"])
@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("extra", [AAF, RMI, LOVASZ], ids=lambda extra: extra["name"])
def test_degenerate_batches(segmentor, data, extra, case, autocast):
    method = make(segmentor, extra)
    target = torch.full_like(data.target, 2 if case == "one class" else 255)
    if case == "one pixel":
        target[0, 0, 0] = 1
    data = dataclasses.replace(data, target=target)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        losses = method({"labelled": data}, at(0))
    assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in losses.values())
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters())


def test_beside_a_contrastive_loss(segmentor, data):
    shared = {"extra_loss": LOVASZ, "embedding_dim": 6}
    contrast = ContrastOptions.model_validate({**shared, "starts_after_steps": 0, "max_views": 5, "min_pixels": 5})
    expected = make(segmentor, LOVASZ)({"labelled": data}, at(0))
    for builder, options, own in (
        (build_contrast, contrast, "contrast"),
        (build_contextrast, ContextrastOptions.model_validate(shared), "pa"),
    ):
        torch.manual_seed(1)
        losses = builder(options, segmentor(CLASSES), num_classes=CLASSES, seed=0)({"labelled": data}, at(0))
        assert set(losses) == {"ce", "lovasz", own}
        for name, value in expected.items():
            torch.testing.assert_close(losses[name], value)


def test_the_cross_entropy_may_have_a_factor(segmentor, data):
    full, none = (make(segmentor, RMI, ce_weight=weight)({"labelled": data}, at(0)) for weight in (1.0, 0.0))
    assert none["ce"] == 0 < full["ce"]
    assert none["rmi"] == full["rmi"]


def test_labels_shrunk_to_the_logits(segmentor, data):
    network = segmentor(CLASSES, aux=True)
    options = Options(loss_at="logits", aux_weight=0.3)
    losses = build(options, network, num_classes=CLASSES, seed=0)({"labelled": data}, at(0))
    output = network(data.images)
    for name, logits, factor in (("ce", output.logits, 1.0), ("aux", output.aux["side"], 0.3)):
        target = resize_labels(data.target, tuple(logits.shape[-2:]))
        expected = F.cross_entropy(logits, target, ignore_index=255)
        torch.testing.assert_close(losses[name], factor * expected)


@pytest.mark.parametrize(
    "extra",
    [
        {"name": "focal"},
        {"weight": 1.0},
        {**AAF, "fields": [4]},
        {**AAF, "fields": []},
        {**AAF, "fields": [1]},
        {**AAF, "field_weights": "equal"},
        {**AAF, "final_share": 0},
        {**RMI, "pool": "min"},
        {**RMI, "margin": 3.0},
        {**LOVASZ, "images_per_group": 0},
    ],
    ids=str,
)
def test_refuses_options(extra):
    with pytest.raises(ValidationError):
        Options.model_validate({"extra_loss": extra})


def test_defaults_are_left_out_of_ids():
    options = Options.model_validate({"extra_loss": {**AAF, "weight": 1.0, "fields": [3, 5, 7]}})
    assert options.canonical() == {"extra_loss": {"name": "aaf"}}


def test_progress_of_a_training():
    assert [StepInfo(step, 8).progress for step in (0, 2, 8, 9)] == [0, 0.25, 1, 1]
