"""Micro-batches: the losses and gradients of the batch where that can be, and a deviation that tells of the rest."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from segbench.core import registry
from segbench.core.errors import InvalidFault
from segbench.core.micro_batch import cut_fault, even_sizes
from segbench.core.spec import Choice, StageSpec, StreamSpec
from segbench.data.batch import Batch
from segbench.engine.micro_batch import backward
from segbench.engine.runtime import Runtime
from segbench.methods.base import Method
from segbench.methods.build import build_method
from segbench.methods.step import StepInfo
from segbench.models.segmentor import build_segmentor
from segbench.recipe.catalog import default_catalog
from segbench.recipe.deviations import between
from segbench.recipe.resolve import Request, Resolved, resolve
from tests.engine.tiny import DATA, last, model, same, stage, stopped, train
from tests.steps import at

CLASSES, IMAGES = 5, 4
STREAMS = ("labelled", "unlabelled", "source")  # of all recipes; a method takes those that it trains on
OWN_DECODERS = {"segsort": Choice(name="segsort", options={"channels": 8, "embedding_dim": 8})}
AUXILIARY = Choice(name="deeplabv3", options={"channels": 8, "aux_channels": 8, "auxiliary": True})
WEIGHTS = [0.5, 1.0, 2.0, 0.25, 4.0]
EPS = 1e-9  # relative, of sums of some thousand float64 terms


def method_of(name: str, *, statistics: str = "running", decoder: Choice | None = None, **options: Any) -> Method:
    """A method on a small network, always the same, without dropout."""
    torch.manual_seed(0)
    spec = stage().model_copy(update={"method": Choice(name=name, options=options)})
    decoder = decoder or OWN_DECODERS.get(name)
    if decoder is not None:
        spec = spec.model_copy(update={"model": model().model_copy(update={"decoder": decoder})})
    method = build_method(spec, num_classes=CLASSES, seed=3).train()
    for module in method.modules():
        resting = isinstance(module, nn.modules.batchnorm._NormBase) and statistics == "running"
        if resting or isinstance(module, nn.Dropout | nn.Dropout2d):
            module.eval()
    return method


def batch(*, empty: bool = False) -> dict[str, Batch]:
    """Images of which each has another number of labelled pixels; of a whole half none has, if it is to be empty."""
    torch.manual_seed(1)
    target = torch.randint(0, CLASSES, (IMAGES, 4, 8)).repeat_interleave(8, 1).repeat_interleave(8, 2)
    for number in range(IMAGES):
        target[number, : 7 * number] = 255
    if empty:
        target[IMAGES // 2 :] = 255
    return {name: Batch(torch.randn(IMAGES, 3, 32, 64), target, tuple("abcd")) for name in STREAMS}


def halves() -> dict[str, Batch]:
    """Images with two classes each, left and right, so that all pixels are drawn wherever pixels are."""
    torch.manual_seed(1)
    target = torch.zeros(IMAGES, 32, 64, dtype=torch.int64)
    for number, (left, right) in enumerate(((0, 1), (2, 1), (1, 3), (3, 4))):
        target[number, :, :32], target[number, :, 32:] = left, right
    return {"labelled": Batch(torch.randn(IMAGES, 3, 32, 64), target, tuple("abcd"))}


def in_float64(batches: dict[str, Batch]) -> dict[str, Batch]:
    return {name: replace(each, images=each.images.double()) for name, each in batches.items()}


def gradients(
    method: Method,
    micro_batches: int,
    *,
    batches: dict[str, Batch] | None = None,
    reduce_sum: Callable[[Tensor], Tensor] = lambda values: values,
    **more: Any,
) -> tuple[dict[str, float], dict[str, Tensor]]:
    method.zero_grad(set_to_none=True)
    names, losses = backward(
        method,
        batches or batch(**more),
        info=StepInfo(10**6, 2 * 10**6, micro_batches=micro_batches),
        runtime=Runtime(),
        reduce_sum=reduce_sum,
    )
    values = dict(zip(names, losses.tolist(), strict=True))
    return values, {name: p.grad.clone() for name, p in method.named_parameters() if p.grad is not None}


def agree(one: tuple[dict[str, float], dict[str, Tensor]], other: tuple[dict[str, float], dict[str, Tensor]]) -> bool:
    """Return whether all losses and gradients are equal but for rounding in float64."""
    assert one[0].keys() == other[0].keys() and one[1].keys() == other[1].keys()
    losses = all(one[0][name] == pytest.approx(value, rel=EPS, abs=EPS) for name, value in other[0].items())
    largest = max(value.abs().max() for value in other[1].values())
    return losses and all((one[1][name] - value).abs().max() <= EPS * largest for name, value in other[1].items())


ALL_PIXELS = {"embedding_dim": 8, "max_anchors": 10**4, "max_views": 64, "min_pixels": 64}
ALL_KEYS = {"embedding_dim": 8, "keys": "memory", "regions_per_class": 3, "pixels_per_class": 5}
ALL_ANCHORS = {"form": "paper", "anchors_per_class": 8 * 16 * IMAGES, "semi_hard_percent": 50}


def hard(*, group: int | None = None, **more: Any) -> dict[str, Any]:
    return {"ohem": {"threshold": 0.1, "min_share": 0.3, "images_per_group": group, **more}}


VARIANTS: dict[str, list[dict[str, Any]]] = {
    "supervised": [
        {},
        {"class_weights": WEIGHTS},
        {"loss_at": "logits"},
        {"loss_at": "logits", "class_weights": WEIGHTS},
        {"decoder": AUXILIARY},
        {"decoder": AUXILIARY, "loss_at": "logits"},
        {"decoder": AUXILIARY, "aux_loss_at": "logits", "class_weights": WEIGHTS},
        *({"decoder": AUXILIARY, **hard(group=group, on=on)} for group in (None, 1, 2) for on in ("main", "all")),
        *(
            {"extra_loss": {"name": name, "images_per_group": group}}
            for name in ("aaf", "rmi", "lovasz")
            for group in (None, 1, 2)
        ),
    ],
    "contextrast": [{"embedding_dim": 8}],
    "mscs": [{"embedding_dim": 8}],
    "pixel-contrast": [
        *({**ALL_PIXELS, "images_per_group": group} for group in (None, 1, 2)),
        *({**ALL_KEYS, **ALL_PIXELS, "images_per_group": group} for group in (None, 1, 2)),
        *({**ALL_KEYS, **ALL_ANCHORS, "images_per_group": group} for group in (None, 1, 2)),
    ],
    "segsort": [{}],
    "label-contrast": [
        {"embedding_dim": 8, "resize_size": [8, 16]},
        {"embedding_dim": 8, "resize_size": [8, 16], "form": "released"},
        {"embedding_dim": 8, "resize_size": [8, 16], "loss": "cross"},
    ],
    "fusion-contrast": [{"dice_weight": 0.5}, {"dice_weight": 0.0}],
    "memory-contrast": [],  # it needs whole batches, which a plan says
}


def test_every_method_has_variants() -> None:
    assert VARIANTS.keys() == set(registry.names("method"))


@pytest.mark.parametrize(
    ("name", "variant"), [(name, variant) for name, variants in VARIANTS.items() for variant in variants], ids=str
)
def test_micro_batches_add_up_or_the_options_say_why_not(name: str, variant: dict[str, Any]) -> None:
    """Whole, in halves and in quarters; what is compared across images is told by the options, and nothing else."""
    torch.set_default_dtype(torch.float64)
    try:
        method = method_of(name, **variant)
        batches = halves() if name == "pixel-contrast" else batch()
        if variant.get("keys") == "memory":
            method.memory.keys.copy_(nn.functional.normalize(torch.randn_like(method.memory.keys), dim=1))
            method.memory.filled.fill_(3)
        whole = gradients(method, 1, batches=batches)
        known: Any = registry.options_of("method", name)
        options = known.model_validate({key: value for key, value in variant.items() if key != "decoder"})
        for count in (2, 4):
            expected = options.across_images_of(IMAGES)
            says = any(
                sizes * count != expected[words] for words, sizes in options.across_images_of(IMAGES // count).items()
            )
            same_as_whole = agree(gradients(method, count, batches=batches), whole)
            assert same_as_whole or says, count
            if name not in ("pixel-contrast", "segsort"):  # of which these images may give equal means by chance
                assert not (same_as_whole and says), count
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("options", [{}, {"class_weights": WEIGHTS}], ids=["plain", "weighted"])
@pytest.mark.parametrize("count", [2, 4])
def test_micro_batches_without_a_label_count_for_nothing(count: int, options: dict[str, Any]) -> None:
    method = method_of("supervised", **options).double()
    batches = in_float64(batch(empty=True))
    assert agree(gradients(method, count, batches=batches), gradients(method, 1, batches=batches))


@pytest.mark.parametrize("options", [{"class_weights": WEIGHTS}, {"loss_at": "logits"}], ids=str)
def test_processes_add_up_like_micro_batches(options: dict[str, Any]) -> None:
    """Two processes with three images and one: their losses and gradients, divided by what both count, are a sum."""
    method, batches = method_of("supervised", **options).double(), in_float64(batch())["labelled"]
    whole = gradients(method, 1, batches={"labelled": batches})
    parts = [
        {"labelled": replace(batches, images=batches.images[place], target=batches.target[place])}
        for place in (slice(0, 3), slice(3, 4))
    ]
    counted: list[Tensor] = []

    def note(values: Tensor) -> Tensor:
        counted.append(values)
        return values

    for each in parts:
        gradients(method, 1, batches=each, reduce_sum=note)
    total = torch.stack(counted).sum(0)
    one, other = (gradients(method, 1, batches=each, reduce_sum=lambda _: total) for each in parts)
    losses = {name: value + other[0][name] for name, value in one[0].items()}
    assert agree((losses, {name: value + other[1][name] for name, value in one[1].items()}), whole)


def test_normalizers_are_those_of_the_formula() -> None:
    """The sum of the class weights of the labelled pixels, or their number."""
    target = batch()["labelled"].target
    total = sum(WEIGHTS[label] for label in target[target != 255].tolist())
    small = target[:, ::4, ::4]
    for options, expected in (
        ({}, int((target != 255).sum())),
        ({"class_weights": WEIGHTS}, pytest.approx(total, rel=1e-6)),
        ({"loss_at": "logits"}, int((small != 255).sum())),
        (hard(group=2), 2),
        (hard(group=3), 2),
        (hard(), 1),
    ):
        method = method_of("supervised", **options)
        method(batch(), at(0))
        assert {name: value.item() for name, value in method.loss_normalizers(batch()).items()} == {"ce": expected}


def test_batch_statistics_are_what_remains() -> None:
    """The reason why a micro-batch is a deviation: with normalisation by the batch nothing is equal."""
    method = method_of("supervised", statistics="batch")
    whole, cut = gradients(method, 1)[0], gradients(method, 2)[0]
    assert abs(whole["ce"] - cut["ce"]) > 1e-4


def test_groups_of_several_images_are_told_with_their_sizes() -> None:
    for name, others in (("supervised", ()), ("contextrast", ("class anchors", "negatives"))):
        known: Any = registry.options_of("method", name)
        for group, images, sizes in ((None, 2, (2,)), (2, 1, (1,)), (2, 2, (2,)), (2, 4, (2, 2)), (2, 3, (2, 1))):
            options = known.model_validate(hard(group=group))
            expected = dict.fromkeys(others, (images,)) | {"hard pixels": sizes}
            assert options.across_images_of(images) == expected
        assert known().across_images_of(1) == dict.fromkeys(others, (1,))


def test_losses_across_images_count_by_image() -> None:
    """The contrastive loss of a cut batch is the mean of those of its micro-batches, each with draws of its own."""
    method = method_of("contextrast", embedding_dim=8)
    found = gradients(method, 2)[0]["pa"]
    single = []
    for number in range(2):
        place = slice(2 * number, 2 * number + 2)
        half = batch()["labelled"]
        chunk = Batch(half.images[place], half.target[place])
        single.append(method({"labelled": chunk}, at(10**6, micro_batch=number))["pa"].item())
    assert found == pytest.approx(sum(single) / 2, rel=1e-5)


def test_micro_batches_draw_independently() -> None:
    method = method_of("supervised")
    draws = [
        torch.randint(2**60, (1,), generator=method.generator(at(7, micro_batch=index), stream="x")).item()
        for index in (0, 1, 0)
    ]
    assert draws[0] == draws[2] != draws[1]


class _Recorder(Method):
    """Remembers which images it was given together."""

    def __init__(self) -> None:
        super().__init__(build_segmentor(model(), num_classes=CLASSES), seed=0)
        self.seen: list[dict[str, tuple[str, ...]]] = []
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, batches: dict[str, Batch], info: StepInfo) -> dict[str, Tensor]:
        self.seen.append({name: each.keys for name, each in batches.items()})
        return {"loss": self.weight * sum(each.images.sum() for each in batches.values())}

    def loss_normalizers(self, batches: dict[str, Batch]) -> dict[str, Tensor]:
        return {"loss": torch.tensor(len(batches["labelled"].images))}


def images(count: int, names: str) -> Batch:
    return Batch(torch.ones(count, 3, 2, 2), torch.zeros(count, 2, 2, dtype=torch.int64), tuple(names))


def test_streams_are_cut_alike() -> None:
    method = _Recorder()
    batches = {"labelled": images(2, "ab"), "unlabelled": images(4, "cdef")}
    names, losses = backward(method, batches, info=StepInfo(0, 9, micro_batches=2), runtime=Runtime())
    assert method.seen == [
        {"labelled": ("a",), "unlabelled": ("c", "d")},
        {"labelled": ("b",), "unlabelled": ("e", "f")},
    ]
    assert names == ("loss",) and losses.tolist() == [(12 + 24 + 12 + 24) / 2]
    assert method.weight.grad is not None and method.weight.grad.item() == 36
    with pytest.raises(InvalidFault, match="cannot be cut into 3 micro-batches"):
        backward(method, batches, info=StepInfo(0, 9, micro_batches=3), runtime=Runtime())


def test_a_loss_without_a_normalizer_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in a whole batch, so that it is found before somebody cuts one."""
    monkeypatch.setattr(_Recorder, "loss_normalizers", Method.loss_normalizers)
    with pytest.raises(ValueError, match=r"_Recorder\.loss_normalizers lacks 'loss'"):
        backward(_Recorder(), {"labelled": images(2, "ab")}, info=StepInfo(0, 9), runtime=Runtime())


def test_even_sizes() -> None:
    assert even_sizes([16]) == [1, 2, 4, 8]
    assert even_sizes([6]) == [1, 2, 3]
    assert even_sizes([5, 10]) == [2], "of the larger stream: 5 parts of 1 and 2 images"
    assert even_sizes([5, 5, 2]) == [] and even_sizes([1]) == []
    assert cut_fault(None, [5]) == cut_fault(5, [5]) == cut_fault(9, [5]) == cut_fault(4, [8]) == ""
    assert cut_fault(3, [8]) == "a batch of 8 images cannot be divided into equal micro-batches of 3; possible: 1, 2, 4"
    assert (
        cut_fault(1, [5, 2])
        == "batches of 5, 2 images cannot be divided into equal micro-batches of 1; no other size is possible either"
    )


def cut_stage(micro_batch: int, *, batch_total: int = 4, method: str = "supervised") -> StageSpec:
    spec = stage(method, micro_batch=None, steps=4)
    stream = spec.streams["labelled"].model_copy(update={"batch_total": batch_total})
    schedule = spec.schedule.model_copy(update={"micro_batch": micro_batch})
    return StageSpec.model_validate({**dict(spec), "streams": {"labelled": stream}, "schedule": schedule})


def test_stages_know_their_parts() -> None:
    assert (cut_stage(2).micro_batches, cut_stage(2).images_at_once) == (2, 2)
    assert (cut_stage(8).micro_batches, cut_stage(8).images_at_once) == (1, 4)
    assert stage().micro_batches == 1
    streams = {
        name: StreamSpec(data=DATA, crop=(32, 64), batch_total=count) for name, count in (("labelled", 5), ("more", 10))
    }
    several = cut_stage(2).model_copy(update={"streams": streams})
    assert (several.micro_batches, several.images_at_once) == (5, 2)
    with pytest.raises(ValueError, match="cannot be divided into equal micro-batches of 3"):
        cut_stage(3)


def test_a_cut_training_can_be_stopped(tmp_path: Path) -> None:
    """Same weights after a stop; other ones than without a micro-batch."""
    spec = cut_stage(2, method="contextrast")
    train(spec, tmp_path / "straight")
    stopped(spec, tmp_path / "stopped", 2)
    train(spec, tmp_path / "stopped")
    assert same(last(tmp_path / "stopped"), last(tmp_path / "straight"))
    train(cut_stage(4, method="contextrast"), tmp_path / "whole")
    assert not same(last(tmp_path / "whole"), last(tmp_path / "straight"))


def resolved(table: str, row: str, dataset: str, micro_batch: int) -> Resolved:
    request = Request(settings=(("schedule.micro_batch", micro_batch),))
    return resolve(default_catalog(), table, row, dataset, request)


@pytest.mark.parametrize(
    ("table", "row", "words"),
    [
        ("contextrast-table1", "camvid-hrnet", "batch statistics of 2 instead of 16 images"),
        ("contextrast-table2", "upernet+mscs", "batch statistics and contrasted samples of 2 instead of 16 images"),
        ("contextrast-table6", "layers-4", "batch statistics, class anchors and negatives of 2 instead of 16 images"),
    ],
)
def test_it_is_a_material_deviation(table: str, row: str, words: str) -> None:
    found = resolved(table, row, "camvid", 2)
    (deviation,) = between(found.published, found.ran)
    assert (str(deviation), deviation.path, deviation.material) == (words, "schedule.micro_batch", True)
    assert found.ran.training is not None and found.published.training is not None
    assert found.ran.training.id() != found.published.training.id()


@pytest.mark.parametrize(
    ("reading", "micro_batch", "words"),
    [
        ("yes", 2, "batch statistics of 2 instead of 8 images"),
        ("yes", 1, "batch statistics of 1 instead of 8 images and hard pixels of 1 instead of 2 images"),
        ("batch", 2, "batch statistics and hard pixels of 2 instead of 8 images"),
    ],
)
def test_the_deviation_speaks_of_hard_pixels_where_they_are_others(reading: str, micro_batch: int, words: str) -> None:
    request = Request(readings=(("acf-hard-examples", reading),), settings=(("schedule.micro_batch", micro_batch),))
    found = resolve(default_catalog(), "contrastiveseg-table1", "acf-r101", "cityscapes", request)
    (deviation,) = [each for each in between(found.published, found.ran) if each.path == "schedule.micro_batch"]
    assert str(deviation) == words


@pytest.mark.parametrize(
    ("row", "readings", "micro_batch", "words"),
    [
        ("ce+lovasz", {}, 4, "batch statistics of 4 instead of 8 images"),
        ("ce+lovasz", {}, 1, "batch statistics of 1 instead of 8 images and Lovász-softmax of 1 instead of 2 images"),
        ("ce+rmi", {"extra-loss-groups": "batch"}, 2,
         "batch statistics and region mutual information of 2 instead of 8 images"),
        ("ce+contrast", {"contrast-form": "released"}, 4, "batch statistics of 4 instead of 8 images"),
        ("ce+contrast", {"contrast-form": "released"}, 1,
         "batch statistics of 1 instead of 8 images and contrasted groups of 1 instead of 2 images"),
        ("ce+contrast", {"contrast-form": "released", "loss-groups": "batch"}, 4,
         "batch statistics and contrasted groups of 4 instead of 8 images"),
        ("ce+contrast", {}, 4, "batch statistics and contrasted groups of 4 instead of 8 images"),
        ("ce+contrast", {"contrast-batch": "groups"}, 2, "batch statistics of 2 instead of 8 images"),
        ("ce+aaf+contrast", {"contrast-form": "released"}, 1, "batch statistics of 1 instead of 8 images and "
         "affinity fields and contrasted groups of 1 instead of 2 images"),
    ],
)  # fmt: skip
def test_the_deviation_speaks_of_groups_where_they_are_cut(
    row: str, readings: dict[str, str], micro_batch: int, words: str
) -> None:
    request = Request(readings=tuple(readings.items()), settings=(("schedule.micro_batch", micro_batch),))
    found = resolve(default_catalog(), "contrastiveseg-table2", row, "cityscapes", request)
    (deviation,) = between(found.published, found.ran)
    assert str(deviation) == words


def test_the_deviation_where_parts_cut_groups_unevenly() -> None:
    """Six images in groups of 4 and 2, and then two parts of 3."""
    request = Request(settings=(("schedule.batch_total", 6), ("schedule.micro_batch", 3),
                                ("method.images_per_group", 4)), readings=(("contrast-form", "released"),))  # fmt: skip
    found = resolve(default_catalog(), "contrastiveseg-table2", "ce+contrast", "cityscapes", request)
    (deviation,) = [each for each in between(found.published, found.ran) if each.path == "schedule.micro_batch"]
    assert str(deviation) == "batch statistics of 3 instead of 8 images and contrasted groups of 3 instead of 4 images"


def test_a_micro_batch_of_the_whole_batch_is_none() -> None:
    for size in (16, 99):
        found = resolved("contextrast-table6", "layers-4", "camvid", size)
        assert found.ran.training is not None and found.published.training is not None
        assert found.ran.training.id() == found.published.training.id()
        assert between(found.published, found.ran) == []


def test_a_stage_of_several_says_where() -> None:
    found = resolved("label-efficient-table1", "cityscapes-596-contrast", "cityscapes", 8)
    assert {str(each) for each in between(found.published, found.ran)} == {"batch statistics of 8 instead of 16 images"}


def test_an_uneven_cut_is_refused_with_its_place() -> None:
    with pytest.raises(InvalidFault) as caught:
        resolved("contextrast-table6", "layers-4", "camvid", 3)
    (fault,) = caught.value.faults
    assert "schedule.micro_batch: a batch of 16 images cannot be divided into equal micro-batches of 3" in fault
    assert "possible: 1, 2, 4, 8" in fault
    assert fault.startswith("--set schedule.micro_batch: contextrast-table6/layers-4")
