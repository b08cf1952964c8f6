"""Files of SemiSeg-Contrastive: names and shapes as its layers have them, and what its networks compute."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from segbench.checkpoints import families
from segbench.checkpoints.families import semiseg as family_module
from segbench.checkpoints.families import semiseg_coco
from segbench.checkpoints.family import ForeignCheckpoint
from segbench.checkpoints.layouts.equality import check_same_network
from segbench.checkpoints.loading import load_strictly, match
from segbench.checkpoints.open import OpenedForeign, open_foreign
from segbench.checkpoints.recognise import recognise
from segbench.core.errors import InvalidFault
from segbench.core.spec import DataSpec, EvaluationSpec
from segbench.data.colour import normalise
from segbench.models.segmentor import Segmentor, build_segmentor
from segbench.recipe.catalog import default_catalog
from segbench.recipe.resolve import resolve
from tests.checkpoints.families.official_layouts import (
    R50,
    Shapes,
    conv,
    empty,
    filled,
    linear,
    millions,
    norm,
    resnet,
    same,
    uncounted,
)
from tests.checkpoints.families.official_networks import Plain, largest_difference

STEM = ("conv1", "bn1")
SMALL = {"w": 4, "blocks": (1, 1, 2, 2)}
SIZES = [(129, 257), (96, 160)]
HEADS = ("projection_head", "prediction_head", "contrastive_class_selector")


def heads(num_classes: int, features: int) -> Shapes:
    """What the contrastive loss has: two projections and two selectors a class."""

    def mlp(name: str, channels: int, out: int) -> Shapes:
        return linear(f"{name}.0", channels, 256) | norm(f"{name}.1", 256) | linear(f"{name}.3", 256, out)

    shapes = mlp("projection_head", features, 256) | mlp("prediction_head", 256, 256)
    for number in range(num_classes):
        shapes |= mlp(f"contrastive_class_selector_{number}", 256, 1)
        shapes |= mlp(f"contrastive_class_selector_memory{number}", 256, 1)
    return shapes


def deeplabv2(num_classes: int = 19, *, w: int = 64, **sizes: object) -> Shapes:
    shapes = resnet("", STEM, w=w, **sizes)
    for branch in range(4):
        shapes |= conv(f"layer5.conv2d_list.{branch}", 32 * w, num_classes, 3, bias=True)
    return shapes


def deeplabv3plus(num_classes: int = 19, *, w: int = 64, width: int = 256, low: int = 48, **sizes: object) -> Shapes:
    shapes = resnet("", STEM, w=w, **{"blocks": R50, **sizes})
    for branch in range(1, 5):
        shapes |= conv(f"aspp.aspp{branch}.atrous_conv", 32 * w, width, 1 if branch == 1 else 3)
        shapes |= norm(f"aspp.aspp{branch}.bn", width)
    shapes |= conv("aspp.global_avg_pool.1", 32 * w, width) | norm("aspp.global_avg_pool.2", width)
    shapes |= conv("aspp.conv1", 5 * width, width) | norm("aspp.bn1", width)
    shapes |= conv("decoder.conv1", 4 * w, low) | norm("decoder.bn1", low)
    shapes |= conv("decoder.pre_last_conv.0", width + low, width, 3) | norm("decoder.pre_last_conv.1", width)
    shapes |= conv("decoder.pre_last_conv.3", width, width, 3) | norm("decoder.pre_last_conv.4", width)
    return shapes | conv("decoder.last_conv", width, num_classes, bias=True)


SMALL_FILES = {
    "v2": deeplabv2(7, **SMALL) | heads(7, 128),
    "v3+": deeplabv3plus(7, width=8, low=5, **SMALL) | heads(7, 8),
}


def computed(
    kind: str, state: dict[str, Tensor], *, coco: bool = False, branches: int = 2
) -> Callable[[Tensor], Tensor]:
    """The network's logits, from its definition."""
    layers = Plain(state)

    def v2(image: Tensor) -> Tensor:
        x = layers.resnet(
            image, "", STEM, strides=(1, 2, 1, 1), rates=((1, 1), (1, 1), (2, 2), (4, 4)), ceil_mode=coco,
            first_conv=coco,
        )[-1]  # fmt: skip
        maps = [layers.conv(x, f"layer5.conv2d_list.{k}", rate=6 * (k + 1)) for k in range(branches)]
        return sum(maps[1:], start=maps[0])

    def v3plus(image: Tensor) -> Tensor:
        low, _, _, x = layers.resnet(
            image, "", STEM, strides=(1, 2, 2, 1), rates=((1, 1), (1, 1), (1, 1), (2, 2)), ceil_mode=False
        )
        here = "aspp.aspp"
        maps = [
            layers.unit(x, f"{here}{k}.atrous_conv", f"{here}{k}.bn", rate=rate)
            for k, rate in ((1, 1), (2, 6), (3, 12), (4, 18))
        ]
        pooled = layers.unit(x.mean((2, 3), True), "aspp.global_avg_pool.1", "aspp.global_avg_pool.2")
        maps.append(layers.up(pooled, (x.shape[-2], x.shape[-1])))
        x = layers.unit(torch.cat(maps, 1), "aspp.conv1", "aspp.bn1")
        low = layers.unit(low, "decoder.conv1", "decoder.bn1")
        x = torch.cat([layers.up(x, (low.shape[-2], low.shape[-1])), low], 1)
        for k in (0, 3):
            x = layers.unit(x, f"decoder.pre_last_conv.{k}", f"decoder.pre_last_conv.{k + 1}")
        return layers.conv(x, "decoder.last_conv")

    return v2 if kind == "v2" else v3plus


@pytest.mark.parametrize(
    ("shapes", "features", "alone", "released"),
    [(deeplabv2(), 2048, 43.90, 47.15), (deeplabv3plus(), 256, 40.35, 43.15)],
    ids=["v2", "v3+"],
)
def test_whole_networks_fit_and_have_the_released_size(
    shapes: Shapes, features: int, alone: float, released: float
) -> None:
    file = shapes | heads(19, features)
    assert round(millions(shapes), 2) == alone
    assert round(millions(file), 2) == released
    foreign = recognise(empty(file), source="file")
    with torch.device("meta"):
        segmentor = build_segmentor(foreign.model, num_classes=foreign.num_classes)
    assert match(segmentor, foreign.tensors, source="file").faults == []
    assert round(sum(p.numel() for p in segmentor.parameters()) / 1e6, 2) == alone
    assert set(foreign.dropped) == set(heads(19, features))


@pytest.mark.parametrize(
    ("table", "row", "num_classes"),
    [
        ("table1", "imagenet-deeplabv2-1_30", 19),
        ("table1", "coco-deeplabv2-1_30", 19),
        ("table1", "imagenet-deeplabv3plus-1_30", 19),
        ("table2", "imagenet-deeplabv2-1_50", 21),
        ("table2", "coco-deeplabv2-1_50", 21),
        ("table2", "imagenet-deeplabv3plus-1_50", 21),
    ],
)
def test_is_the_network_of_the_recipes(table: str, row: str, num_classes: int) -> None:
    """The network read from a file computes the same as that of the recipe, from the same input."""
    dataset = {19: "cityscapes", 21: "voc2012"}[num_classes]
    training = resolve(default_catalog(), f"semiseg-{table}", row, dataset).ran.training
    assert training is not None
    wanted = training.stages[-1].model
    state = empty(deeplabv3plus(num_classes) if "plus" in row else deeplabv2(num_classes))
    found = (semiseg_coco if row.startswith("coco") else family_module).read(state).model
    check_same_network(found, wanted, title="a file")
    assert found.input.channels == wanted.input.channels
    assert found.input.mean == pytest.approx(wanted.input.mean, abs=1e-7)
    assert found.input.std == wanted.input.std


def opened(tmp_path: Path, state: dict[str, Tensor]) -> OpenedForeign:
    path = tmp_path / "best_model.pth"
    torch.save({"iteration": 3, "optimizer": {"state": {}}, "config": {"dataset": "x"}, "model": state}, path)
    return open_foreign(path)


def built(foreign: ForeignCheckpoint) -> Segmentor:
    segmentor = build_segmentor(foreign.model, num_classes=foreign.num_classes)
    load_strictly(segmentor, foreign.tensors, source="file")
    return segmentor.eval().double()


@pytest.mark.parametrize("kind", SMALL_FILES)
@pytest.mark.parametrize("size", SIZES)
def test_computes_what_the_project_does(tmp_path: Path, kind: str, size: tuple[int, int]) -> None:
    state = filled(SMALL_FILES[kind])
    found = opened(tmp_path, state)
    network = found.segmentor.double()
    assert largest_difference(lambda image: network(image).logits, computed(kind, state), size) < 1e-6
    assert found.foreign.family == "semiseg" and found.foreign.model.align_corners
    assert found.foreign.model.input.channels == "rgb"
    assert any("ImageNet" in note for note in found.foreign.notes) is (kind == "v2")
    if kind == "v2":
        summed = computed(kind, state, branches=4)
        assert largest_difference(lambda image: network(image).logits, summed, size) > 0.1


@pytest.mark.parametrize("size", SIZES)
def test_one_that_started_from_coco_has_other_strides_and_colours(size: tuple[int, int]) -> None:
    state = filled(SMALL_FILES["v2"])
    foreign = semiseg_coco.read(state)
    network = built(foreign)
    wanted = computed("v2", state, coco=True)
    assert largest_difference(lambda image: network(image).logits, wanted, size) < 1e-6
    assert foreign.family == "semiseg-coco" and foreign.model.input.channels == "bgr"
    assert "COCO" in foreign.notes[0]
    assert same(foreign.tensors, family_module.read(state).tensors)
    named = recognise(state, source="file", family="semiseg-coco")
    assert named.model == foreign.model != recognise(state, source="file").model
    with pytest.raises(InvalidFault, match="only DeepLabV2 started from COCO"):
        semiseg_coco.read(empty(SMALL_FILES["v3+"]))


@pytest.mark.parametrize(
    ("num_classes", "mean"),
    [(21, (122.6789143, 116.66876762, 104.00698793)), (19, (73.15835921, 82.90891754, 72.39239876))],
)
def test_what_it_is_fed_is_the_projects_arithmetic(num_classes: int, mean: tuple[float, ...]) -> None:
    """(x - mean) / 255 of RGB, and of BGR with the mean turned round."""
    rgb = np.random.default_rng(0).integers(0, 256, (4, 5, 3)).astype(np.float64)
    image = torch.from_numpy(rgb).permute(2, 0, 1)[None] / 255
    state = empty(deeplabv2(num_classes, **SMALL))
    for module, own, its_mean in ((family_module, rgb, mean), (semiseg_coco, rgb[..., ::-1], mean[::-1])):
        fed = normalise(image, module.read(state).model.input)
        np.testing.assert_allclose(fed[0].permute(1, 2, 0).numpy(), (own - its_mean) / 255, rtol=1e-6, atol=1e-7)


def test_cityscapes_is_seen_at_half_its_size_by_the_first_network_alone() -> None:
    data = DataSpec(name="cityscapes")

    def protocol(shapes: Shapes) -> EvaluationSpec:
        return EvaluationSpec.model_validate({"data": data, **family_module.read(empty(shapes)).protocol})

    assert protocol(deeplabv2(19, **SMALL)) == EvaluationSpec(data=data, short_side=512)
    assert protocol(deeplabv2(21, **SMALL)) == EvaluationSpec(data=data)
    assert protocol(deeplabv3plus(19, **SMALL)) == EvaluationSpec(data=data)


def test_other_numbers_of_classes_are_read_and_said() -> None:
    notes = family_module.read(empty(deeplabv3plus(11, **SMALL))).notes
    assert len(notes) == 1 and "11 classes" in notes[0]
    assert family_module.read(empty(deeplabv3plus(21, **SMALL))).notes == ()


@pytest.mark.parametrize("kind", SMALL_FILES)
def test_is_of_this_family_alone(kind: str) -> None:
    for shapes in (
        SMALL_FILES[kind],
        uncounted({n: s for n, s in SMALL_FILES[kind].items() if not n.startswith(HEADS)}),
    ):
        assert [name for name in families.registered() if families.get(name).detect(empty(shapes))] == ["semiseg"]


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    whole = filled(SMALL_FILES["v3+"])
    lacking = {name: tensor for name, tensor in whole.items() if "global_avg_pool.2" not in name}
    with pytest.raises(InvalidFault, match=r"4 missing tensors, e\.g\. decoder\.aspp\.pooling\.norm"):
        opened(tmp_path, lacking)
    whole = filled(SMALL_FILES["v2"])
    lacking = {name: tensor for name, tensor in whole.items() if "conv2d_list.3" not in name}
    with pytest.raises(InvalidFault, match=r"2 missing tensors, e\.g\. decoder\.branches\.3"):
        opened(tmp_path, lacking)
