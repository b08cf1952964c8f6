"""SemiSeg-Contrastive's method against one iteration written out with torch's own modules, in float64."""

import copy
import math
from collections import Counter

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from segbench.core import support
from segbench.core.errors import InvalidFault
from segbench.core.registry import options_of
from segbench.core.spec import AugmentationSpec, Choice, DataSpec, InputSpec, StageSpec, StreamSpec
from segbench.data.batch import Batch
from segbench.methods.base import Best
from segbench.methods.build import build_method
from segbench.methods.memory_contrast.method import MemoryContrast
from segbench.methods.step import StepInfo
from segbench.recipe.catalog import load_catalog, recipes_root
from segbench.recipe.resolve import resolve
from tests.engine.tiny import stage

C, D = 5, 6
PLAIN = AugmentationSpec()
SIZE = (64, 96)
INFO = StepInfo(50, 100)
EARLY = {"memory_from_steps": 0, "contrast_from_steps": 0, "classmix_from_steps": 0, "ramp_up_steps": 0}


class Normed(nn.Module):
    """A fake segmentor with batch normalisation and something of a real network's shape."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.norm = inner, nn.BatchNorm2d(3)
        self.embedding_channels, self.align_corners = inner.embedding_channels, False
        self.seen = []

    def forward(self, images, rows=None):
        self.seen.append(images)
        return self.inner(self.norm(images))

    def resize(self, logits, size):
        return F.interpolate(logits, size, mode="bilinear", align_corners=False)


def streams(augmentation=PLAIN, *, images=2):
    spec = StreamSpec(data=DataSpec(name="camvid"), crop=SIZE, batch_total=images, augmentation=augmentation)
    return {"labelled": spec, "unlabelled": spec}


@pytest.fixture
def make(segmentor):
    def made(augmentation=PLAIN, *, own_streams=None, images=None, **options):
        values = {"embedding_dim": D, "hidden_dim": 7, "memory_size_per_class": 4, "memory_confidence": 0.0, **EARLY}
        torch.manual_seed(0)
        chosen = options_of("method", "memory-contrast").model_validate(values | options)
        method = MemoryContrast(chosen, Normed(segmentor(C)), num_classes=C, seed=3)
        method.see_data(own_streams or streams(augmentation), input=InputSpec(), images=images or {})
        return method.double().train()

    return made


def doubled(batch):
    return Batch(batch.images.double(), batch.target)


def plain(mlp):
    """A head out of torch's own modules."""
    norm = nn.BatchNorm1d(mlp.norm.num_features).double()
    norm.load_state_dict(mlp.norm.state_dict())
    return nn.Sequential(mlp.first, norm, nn.ReLU(), mlp.second)


def selector(stacked, c, x):
    """Score rows by the selector of class c, with the statistics of these rows."""
    hidden = F.linear(x, stacked.weight1[c], stacked.bias1[c])
    normed = F.batch_norm(hidden, None, None, stacked.weight[c], stacked.bias[c], training=True)
    return (F.leaky_relu(normed, stacked.slope) @ stacked.weight2[c] + stacked.bias2[c]).sigmoid()


def contrast(heads, embedding, target, memory):
    """Equation of the contrast by classes and pairs: ``memory`` holds the vectors of each class."""
    small = target[:, :: target.shape[1] // embedding.shape[2], :: target.shape[2] // embedding.shape[3]].reshape(-1)
    features = embedding.permute(0, 2, 3, 1).reshape(-1, embedding.shape[1])[small != 255]
    small = small[small != 255]
    predicted = plain(heads["prediction"])(plain(heads["projection"])(features))
    total = 0.0
    for c in range(C):
        mine = predicted[small == c]
        if len(mine) < 2 or len(memory[c]) < 2:
            continue
        scores = selector(heads["selectors"], c, mine.detach())
        pairs = 0.0
        for f, s in zip(mine, scores, strict=True):
            for m in memory[c]:
                pairs = pairs + len(mine) * s / scores.sum() * (1 - F.cosine_similarity(f, m, dim=0))
        total = total + pairs / (len(mine) * len(memory[c]))
    return total / C


def test_one_iteration_written_out(make, batch):
    method = make(views=1, entropy_broadcast=False, memory_new_per_image=2)
    with torch.no_grad():  # a teacher of its own
        for parameter in method.teacher.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, dtype=torch.float64))
    labelled, unlabelled = doubled(batch(C, images=2, seed=1)), doubled(batch(C, images=2, seed=2))
    student, teacher = copy.deepcopy(method.segmentor), copy.deepcopy(method.teacher.network)
    heads, teacher_heads = copy.deepcopy(method.heads), copy.deepcopy(method.teacher_heads.network)
    losses = method({"labelled": labelled, "unlabelled": unlabelled}, INFO)

    with torch.no_grad():
        found = teacher.resize(teacher(unlabelled.images).logits, SIZE).softmax(1)
    pseudo, sure = found.argmax(1), found.max(1).values
    outputs = student(unlabelled.images), student(labelled.images)
    logits, known = (F.log_softmax(student.resize(each.logits, SIZE), 1) for each in outputs)
    ce = F.nll_loss(known, labelled.target, ignore_index=255)
    picked = -logits.gather(1, pseudo[:, None])[:, 0]
    torch.testing.assert_close(losses["ce"], ce)
    torch.testing.assert_close(losses["pseudo"], (sure**6 * picked).mean())
    torch.testing.assert_close(losses["entropy"], 0.01 * -(logits.exp() * logits).sum(1).mean() / math.log(C))

    # The memory: the teacher's projections where it is right, at most 2 x 2 of a class, those of the lowest scores.
    with torch.no_grad():
        output = teacher(labelled.images)
        right = teacher.resize(output.logits, SIZE).argmax(1) == labelled.target
        step = SIZE[0] // output.embedding.shape[2]
        keep, labels = right[:, ::step, ::step].reshape(-1), labelled.target[:, ::step, ::step].reshape(-1)
        rows = output.embedding.permute(0, 2, 3, 1).reshape(-1, output.embedding.shape[1])[keep]
        projected = plain(teacher_heads["projection"])(rows)
        memory = []
        for c in range(C):
            mine = projected[labels[keep] == c]
            if len(mine) > 1:
                mine = mine[selector(teacher_heads["selectors"], c, mine).argsort()][:4]
            memory.append(mine)
    assert sum(len(each) >= 2 for each in memory) > 1
    assert method.memory.filled.tolist() == [min(4, len(each)) for each in memory]
    for c in range(C):
        kept = method.memory.vectors[c][method.memory.mask()[c]]
        torch.testing.assert_close(kept.sort(0).values, memory[c].sort(0).values)
    wanted = 0.1 * contrast(heads, outputs[1].embedding, labelled.target, memory)
    torch.testing.assert_close(losses["contrast"], wanted)
    torch.testing.assert_close(losses["contrast_u"], 0.1 * contrast(heads, outputs[0].embedding, pseudo, memory))

    # The selectors see features without their gradient.
    ours = torch.autograd.grad(losses["contrast"], method.segmentor.inner.layers[0].weight, retain_graph=True)
    theirs = torch.autograd.grad(wanted, student.inner.layers[0].weight, retain_graph=True)
    torch.testing.assert_close(ours, theirs)
    assert ours[0].abs().sum() > 0
    sum(losses.values()).backward()
    loss = ce + (sure**6 * picked).mean() + losses["entropy"].detach()
    assert method.segmentor.inner.classifier.weight.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in method.teacher.parameters())
    assert loss.isfinite()


def test_labels_of_unlabelled_images_are_never_read(make, batch):
    labelled, unlabelled = doubled(batch(C, seed=1)), doubled(batch(C, seed=2))
    garbage = Batch(unlabelled.images, torch.full_like(unlabelled.target, 200))
    first, second = make(class_weights="sqrt_median_frequency"), make(class_weights="sqrt_median_frequency")
    for step in (0, 1, 2, 50):
        info = StepInfo(step, 100)
        ours = first({"labelled": labelled, "unlabelled": unlabelled}, info)
        theirs = second({"labelled": labelled, "unlabelled": garbage}, info)
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    states = first.state_dict(), second.state_dict()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_statistics_of_the_two_passes_never_mix(make, batch):
    method = make(views=1)
    labelled, unlabelled = doubled(batch(C, seed=1)), doubled(batch(C, seed=2))
    wanted = copy.deepcopy(method.segmentor.norm)
    wanted(unlabelled.images)
    wanted(labelled.images)
    method({"labelled": labelled, "unlabelled": unlabelled}, INFO)
    torch.testing.assert_close(method.segmentor.norm.running_mean, wanted.running_mean)
    torch.testing.assert_close(method.segmentor.norm.running_var, wanted.running_var)
    together = copy.deepcopy(wanted)
    together.reset_running_stats()
    together(torch.cat([unlabelled.images, labelled.images]))
    assert not torch.allclose(together.running_mean, wanted.running_mean)


def test_the_teacher_sees_images_as_they_are_and_the_student_its_views(make, batch):
    spec = AugmentationSpec(classmix=1.0, decisions="batch", applied_by="method")
    method = make(spec, classmix_from_steps=10)
    inputs = InputSpec()
    images = torch.rand(2, 3, 4, 6, dtype=torch.float64).repeat_interleave(16, 2).repeat_interleave(16, 3)
    method.teacher.network.inner.classifier.bias.data.zero_()
    mean, std = (torch.tensor(each, dtype=torch.float64).view(1, 3, 1, 1) for each in (inputs.mean, inputs.std))
    unlabelled = Batch((images - mean) / std, torch.full((2, *SIZE), 255))
    labelled = doubled(batch(C, seed=1))
    for step, mixed in ((10, False), (11, True)):
        method.segmentor.seen.clear()
        method.teacher.network.seen.clear()
        method({"labelled": labelled, "unlabelled": unlabelled}, StepInfo(step, 100))
        torch.testing.assert_close(method.teacher.network.seen[0], unlabelled.images)
        strong = method.segmentor.seen[0]
        assert len(strong) == 4  # two views
        one, other = strong[:2], strong[2:]
        assert torch.allclose(one, unlabelled.images, atol=1e-6) != mixed
        assert torch.allclose(one, other) != mixed  # the views are drawn one by one
        if mixed:  # every pixel is of one of the two images
            kept, pasted = (
                (one - each).abs().amax(1) < 1e-6 for each in (unlabelled.images, unlabelled.images.flip(0))
            )
            assert (kept | pasted).all() and pasted.any() and kept.any()


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"source_until_last_steps": 4}, [False, True] * 4 + [False] * 4),
        ({"source_from_steps": 8}, [False] * 8 + [False, True] * 2),
    ],
)
def test_steps_that_take_the_source_domain(limits, expected):
    options = options_of("method", "memory-contrast")(source_period=2, **limits)
    assert [options.takes_source(step, 12) for step in range(12)] == expected


def test_a_source_step_trains_on_the_source_and_leaves_memory_and_counts(make, batch):
    both = streams() | {"source": streams()["labelled"]}
    method = make(own_streams=both, source_period=2, class_weights="sqrt_median_frequency")
    batches = {name: doubled(batch(C, seed=seed)) for seed, name in enumerate(both)}
    other = batches | {"labelled": doubled(batch(C, seed=9))}
    again = copy.deepcopy(method)
    ours, theirs = method(batches, StepInfo(51, 100)), again(other, StepInfo(51, 100))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)  # target labels take no part
    assert method.memory.filled.sum() == 0 and method.balance.updates == 0
    method(batches, StepInfo(52, 100))
    assert method.memory.filled.sum() > 0 and method.balance.updates == 1


def test_labels_of_the_target_batch_before_stay_for_a_source_batch(make, batch):
    both = streams() | {"source": streams()["labelled"]}
    own, stale = (make(own_streams=both, source_period=2, source_labels=each) for each in ("own", "stale"))
    batches = {name: doubled(batch(C, seed=seed)) for seed, name in enumerate(both)}
    for step in (50, 51):
        ours, theirs = (method(batches, StepInfo(step, 100)) for method in (own, stale))
        assert torch.equal(ours["contrast"], theirs["contrast"]) == (step == 50)
    relabelled = batches | {"source": Batch(batches["source"].images, batches["labelled"].target)}
    own = make(own_streams=both, source_period=2)
    own(batches, StepInfo(50, 100))
    torch.testing.assert_close(own(relabelled, StepInfo(51, 100))["contrast"], theirs["contrast"])


def test_a_teacher_in_evaluation_mode_has_the_students_statistics(make, batch):
    """Its own passes move nothing, so they follow like the parameters."""
    method = make(teacher_mode="eval")
    batches = {"labelled": doubled(batch(C, seed=1)), "unlabelled": doubled(batch(C, seed=2))}
    teacher = method.teacher.network
    assert not teacher.training and not teacher.norm.running_mean.any()
    method(batches, StepInfo(0, 100))
    assert not teacher.norm.running_mean.any()
    method.after_step(StepInfo(0, 100))  # a copy at first
    torch.testing.assert_close(teacher.norm.running_mean, method.segmentor.norm.running_mean)
    assert teacher.norm.running_mean.any()


def test_normalizers_are_the_denominators(make, batch):
    method = make()
    batches = {"labelled": doubled(batch(C, seed=1)), "unlabelled": doubled(batch(C, seed=2))}
    losses = method(batches, INFO)
    found = method.loss_normalizers(batches)
    assert found.keys() == losses.keys()
    assert found["ce"] == (batches["labelled"].target != 255).sum()
    assert found["pseudo"] == found["entropy"] == 2 * 2 * SIZE[0] * SIZE[1]


def test_a_restart_brings_back_the_best_weights(make):
    method = make(restart_after_steps=20)
    best, heads = copy.deepcopy(method.segmentor.state_dict()), copy.deepcopy(method.heads.state_dict())
    method.on_validation(StepInfo(10, 100), 60.0, Best(10, lambda: best))
    with torch.no_grad():
        for parameter in (*method.segmentor.parameters(), *method.heads.parameters()):
            parameter.add_(1)
    moved = copy.deepcopy(method.state_dict())
    told = Best(10, lambda: best)
    method.on_validation(StepInfo(30, 100), 50.0, told)  # no more than 20 steps
    assert all(torch.equal(value, moved[name]) for name, value in method.state_dict().items())
    method.on_validation(StepInfo(31, 100), 50.0, told)
    assert all(torch.equal(value, best[name]) for name, value in method.segmentor.state_dict().items())
    assert all(torch.equal(value, heads[name]) for name, value in method.heads.state_dict().items())
    for own, theirs in zip(method.teacher.network.parameters(), method.segmentor.parameters(), strict=True):
        assert torch.equal(own, theirs)
    method.segmentor.norm.weight.data.add_(1)
    method.on_validation(StepInfo(51, 100), 50.0, told)  # counted from the restart
    assert not torch.equal(method.segmentor.norm.weight, best["norm.weight"])
    method.on_validation(StepInfo(52, 100), 50.0, told)
    assert torch.equal(method.segmentor.norm.weight, best["norm.weight"])


def test_no_optimiser_moves_the_heads_before_the_contrast(make, batch):
    method = make(contrast_from_steps=60, memory_from_steps=60)
    losses = method({"labelled": doubled(batch(C, seed=1)), "unlabelled": doubled(batch(C, seed=2))}, INFO)
    sum(losses.values()).backward()
    assert losses["contrast"] == 0 and all(parameter.grad is None for parameter in method.heads.parameters())


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        # convolutions: 1 stem; 3 x (3+4+23+3) in blocks; 4 in shortcuts; 2 branches with bias
        ("imagenet-deeplabv2-1_30", {1: 1, 3: 99 + 4, 4: 4}),
        # 3 x 16 in blocks; five branches of ASPP and two 3x3 with norm; its fusion, low level and classifier
        ("imagenet-deeplabv3plus-1_30", {1: 1, 3: 48 + 15 + 6, 4: 4, 2: 3 + 3 + 2}),
    ],
)
def test_updates_of_a_step_until_october_2021(row, expected):
    found = resolve(load_catalog(recipes_root()), "semiseg-table1", row, "cityscapes")
    (spec,) = found.published.training.stages
    with torch.device("meta"):
        method = build_method(spec, num_classes=19)
    times = Counter()
    for group in method.param_groups():
        times[group.updates_per_step] += sum(not name.startswith("heads.") for name, _ in group.params)
    assert +times == Counter(expected)
    heads = [g for g in method.param_groups() for name, _ in g.params if name.startswith("heads.")]
    assert {group.updates_per_step for group in heads} == {2}
    channels = {"imagenet-deeplabv2-1_30": 2048, "imagenet-deeplabv3plus-1_30": 256}[row]
    assert method.heads["projection"].first.in_features == channels


def test_other_streams_are_refused(make):
    with pytest.raises(InvalidFault, match="needs the streams labelled, unlabelled; the stage has labelled"):
        make(own_streams={"labelled": streams()["labelled"]})
    with pytest.raises(InvalidFault, match="needs the streams labelled, source, unlabelled"):
        make(source_period=2)


def test_micro_batches_are_refused():
    spec = stage(micro_batch=1)
    changed = {
        **dict(spec),
        "method": Choice(name="memory-contrast"),
        "streams": {**spec.streams, "unlabelled": spec.streams["labelled"]},
    }
    (fault,) = support.of_stage(StageSpec.model_validate(changed))
    assert fault.path == "schedule.micro_batch" and "mixes all images of a batch" in str(fault)
    assert support.of_stage(StageSpec.model_validate(changed | {"schedule": stage().schedule})) == []
