"""Batches cut into parts: the same losses and gradients where that can be, and a deviation that tells of the rest."""

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
from segbench.models.segmentor import build_segmentor
from segbench.recipe.catalog import default_catalog
from segbench.recipe.deviations import between
from segbench.recipe.resolve import Request, Resolved, resolve
from tests.engine.tiny import DATA, last, model, same, stage, stopped, train

CLASSES, IMAGES = 5, 4
STREAMS = ("labelled", "unlabelled", "source")  # of all recipes; a method takes those that it trains on
OWN_DECODERS = {"segsort": Choice(name="segsort", options={"channels": 8, "embedding_dim": 8})}
WEIGHTS = [0.5, 1.0, 2.0, 0.25, 4.0]


def method_of(name: str, *, statistics: str = "running", **options: Any) -> Method:
    """A method on a small network, always the same, without dropout."""
    torch.manual_seed(0)
    spec = stage().model_copy(update={"method": Choice(name=name, options=options)})
    if name in OWN_DECODERS:
        spec = spec.model_copy(update={"model": model().model_copy(update={"decoder": OWN_DECODERS[name]})})
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


def gradients(
    method: Method, parts: int, *, step: int = 10**6, **more: Any
) -> tuple[dict[str, float], dict[str, Tensor]]:
    method.zero_grad(set_to_none=True)
    names, losses = backward(method, batch(**more), step=step, parts=parts, runtime=Runtime())
    values = dict(zip(names, losses.tolist(), strict=True))
    return values, {name: p.grad.clone() for name, p in method.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("options", [{}, {"class_weights": WEIGHTS}], ids=["plain", "weighted"])
@pytest.mark.parametrize("parts", [2, 4])
@pytest.mark.parametrize("empty", [False, True])
def test_cross_entropy_is_that_of_the_batch(parts: int, options: dict[str, Any], empty: bool) -> None:
    method = method_of("supervised", **options)
    whole, expected = gradients(method, 1, empty=empty)
    cut, found = gradients(method, parts, empty=empty)
    assert cut["ce"] == pytest.approx(whole["ce"], rel=1e-6)
    assert found.keys() == expected.keys()
    largest = max(value.abs().max() for value in expected.values())
    for name, value in expected.items():
        assert (found[name] - value).abs().max() < 1e-6 * largest, name


def test_weights_are_those_of_the_formula() -> None:
    """One part's share is the sum of the class weights of its labelled pixels over that of the batch."""
    method = method_of("supervised", class_weights=WEIGHTS)
    target = batch()["labelled"].target
    total = sum(WEIGHTS[label] for label in target[target != 255].tolist())
    weights = method.mean_over(batch())
    assert weights["ce"].item() == pytest.approx(total, rel=1e-6)
    plain = method_of("supervised").mean_over(batch())
    assert plain["ce"].item() == int((target != 255).sum())


def test_auxiliary_losses_too() -> None:
    torch.manual_seed(0)
    decoder = Choice(name="deeplabv3", options={"channels": 8, "aux_channels": 8, "auxiliary": True})
    spec = stage().model_copy(update={"model": model().model_copy(update={"decoder": decoder})})
    method = build_method(spec, num_classes=CLASSES).train()
    for module in method.modules():
        if isinstance(module, nn.modules.batchnorm._NormBase | nn.Dropout):
            module.eval()
    whole, cut = gradients(method, 1)[0], gradients(method, 4)[0]
    assert set(whole) == {"ce", "aux"}
    assert cut == pytest.approx(whole, rel=1e-5)


def test_batch_statistics_are_what_remains() -> None:
    """The reason why a micro-batch is a deviation: with normalisation by the batch nothing is equal."""
    method = method_of("supervised", statistics="batch")
    whole, cut = gradients(method, 1)[0], gradients(method, 2)[0]
    assert abs(whole["ce"] - cut["ce"]) > 1e-4


def hard(*, group: int | None = None, **more: Any) -> dict[str, Any]:
    return {"ohem": {"threshold": 0.1, "min_share": 0.3, "images_per_group": group, **more}}


@pytest.mark.parametrize("group", [1, 2])
def test_hard_pixels_are_the_batchs_where_no_part_cuts_a_group(group: int) -> None:
    method = method_of("supervised", **hard(group=group))
    whole, expected = gradients(method, 1)
    cut, found = gradients(method, 2)
    assert cut == pytest.approx(whole, rel=1e-6)
    largest = max(value.abs().max() for value in expected.values())
    for name, value in expected.items():
        assert (found[name] - value).abs().max() < 1e-6 * largest, name


def test_hard_pixels_of_a_cut_group_are_others_and_the_options_say_so() -> None:
    method = method_of("supervised", **hard())
    assert gradients(method, 2)[0]["ce"] != pytest.approx(gradients(method, 1)[0]["ce"], rel=1e-4)
    for name, others in (("supervised", ()), ("contextrast", ("class anchors", "negatives"))):
        known: Any = registry.options_of("method", name)
        for group, images, sizes in ((None, 2, (2,)), (2, 1, (1,)), (2, 2, (2,)), (2, 4, (2, 2)), (2, 3, (2, 1))):
            options = known.model_validate(hard(group=group))
            expected = dict.fromkeys(others, (images,)) | {"hard pixels": sizes}
            assert options.across_images_of(images) == expected
        assert known().across_images_of(1) == dict.fromkeys(others, (1,))


@pytest.mark.parametrize("name", ["aaf", "rmi", "lovasz"])
@pytest.mark.parametrize("group", [1, 2, None])
def test_an_extra_loss_is_the_batchs_where_no_part_cuts_a_group_and_else_the_options_say_so(
    name: str, group: int | None
) -> None:
    """Four images in parts of one or two."""
    extra = {"extra_loss": {"name": name, "images_per_group": group}}
    options: Any = registry.options_of("method", "supervised").model_validate(extra)
    for parts in (2, 4):
        method = method_of("supervised", **extra)
        whole, cut = gradients(method, 1)[0], gradients(method, parts)[0]
        alike = cut[name] == pytest.approx(whole[name], rel=1e-5)
        ((words, sizes),) = options.across_images_of(4 // parts).items()
        assert alike == (sizes * parts == options.across_images_of(4)[words])


def test_mined_losses_are_not_weighed_by_what_is_labelled() -> None:
    assert set(method_of("supervised").mean_over(batch())) == {"ce", "aux"}
    assert set(method_of("supervised", **hard()).mean_over(batch())) == {"aux"}
    assert set(method_of("supervised", **hard(on="all")).mean_over(batch())) == set()


@pytest.mark.parametrize("name", registry.names("method"))
def test_methods_say_what_they_compare_across_images(name: str) -> None:
    """Where the parts' losses do not add up to the batch's, the options say so, for the words of the deviation."""
    small = {"embedding_dim": 8} if "embedding_dim" in registry.options_of("method", name).model_fields else {}
    method = method_of(name, **small)
    whole, cut = gradients(method, 1)[0], gradients(method, 2)[0]
    assert whole.keys() == cut.keys()
    differs = any(cut[term] != pytest.approx(value, rel=1e-5, abs=1e-7) for term, value in whole.items())
    options: Any = registry.options_of("method", name).model_validate(small)
    said = {
        words for words, sizes in options.across_images_of(2).items() if sizes * 2 != options.across_images_of(4)[words]
    }
    assert said or not differs


def test_losses_without_weights_count_alike() -> None:
    """The contrastive loss of a cut batch is the mean of those of its parts, each with draws of its own."""
    method = method_of("contextrast", embedding_dim=8)
    found = gradients(method, 2)[0]["pa"]
    single = []
    for number in range(2):
        method.part = number
        place = slice(2 * number, 2 * number + 2)
        half = batch()["labelled"]
        part = Batch(half.images[place], half.target[place])
        single.append(method({"labelled": part}, 10**6)["pa"].item())
    assert found == pytest.approx(sum(single) / 2, rel=1e-5)
    assert method_of("contextrast", embedding_dim=8).part == 0


def test_parts_draw_independently() -> None:
    method = method_of("supervised")
    draws = []
    for part in (0, 1, 0):
        method.part = part
        draws.append(torch.randint(2**60, (1,), generator=method.generator(7, stream="x")).item())
    assert draws[0] == draws[2] != draws[1]


class _Recorder(Method):
    """Remembers which images it was given together."""

    def __init__(self) -> None:
        super().__init__(build_segmentor(model(), num_classes=CLASSES), seed=0)
        self.seen: list[dict[str, tuple[str, ...]]] = []
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, batches: dict[str, Batch], step: int) -> dict[str, Tensor]:
        self.seen.append({name: each.keys for name, each in batches.items()})
        return {"loss": self.weight * sum(each.images.sum() for each in batches.values())}


def test_streams_are_cut_alike() -> None:
    def images(count: int, names: str) -> Batch:
        return Batch(torch.ones(count, 3, 2, 2), torch.zeros(count, 2, 2, dtype=torch.int64), tuple(names))

    method = _Recorder()
    batches = {"labelled": images(2, "ab"), "unlabelled": images(4, "cdef")}
    names, losses = backward(method, batches, step=0, parts=2, runtime=Runtime())
    assert method.seen == [
        {"labelled": ("a",), "unlabelled": ("c", "d")},
        {"labelled": ("b",), "unlabelled": ("e", "f")},
    ]
    assert names == ("loss",) and losses.tolist() == [(12 + 24 + 12 + 24) / 2]
    assert method.weight.grad is not None and method.weight.grad.item() == 36
    with pytest.raises(InvalidFault, match="cannot be cut into 3 parts"):
        backward(method, batches, step=0, parts=3, runtime=Runtime())


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
    assert (cut_stage(2).parts, cut_stage(2).images_at_once) == (2, 2)
    assert (cut_stage(8).parts, cut_stage(8).images_at_once) == (1, 4)
    assert stage().parts == 1
    streams = {
        name: StreamSpec(data=DATA, crop=(32, 64), batch_total=count) for name, count in (("labelled", 5), ("more", 10))
    }
    several = cut_stage(2).model_copy(update={"streams": streams})
    assert (several.parts, several.images_at_once) == (5, 2)
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
