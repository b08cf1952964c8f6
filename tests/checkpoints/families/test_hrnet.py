"""Files of the official HRNet: names and shapes as its layers have them, and what its two heads compute."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from segbench.checkpoints import families
from segbench.checkpoints.families import hrnet as family_module
from segbench.checkpoints.loading import match
from segbench.checkpoints.open import OpenedForeign, open_foreign
from segbench.checkpoints.published import checkpoint_table
from segbench.checkpoints.recognise import recognise
from segbench.core.errors import InvalidFault
from segbench.core.spec import EvaluationSpec, ModelSpec
from segbench.data.classes import class_table
from segbench.models.segmentor import build_segmentor
from tests.checkpoints.families.official_layouts import (
    Shapes,
    conv,
    empty,
    filled,
    hrnet,
    millions,
    ocr_module,
    prefixed,
    same,
    uncounted,
    unit,
)
from tests.checkpoints.families.official_networks import Plain, largest_difference

SMALL = {"w": 4, "modules": (1, 2, 1), "blocks": 1, "stem": 6, "first": (1, 5)}
SMALL_OCR = {"channels": 12, "key": 6}
SIZES = [(129, 257), (96, 160)]


def plain(num_classes: int = 19, *, w: int = 48, **sizes: object) -> Shapes:
    head = unit("last_layer", 0, 15 * w, 15 * w, 1, bias=True, inside="")
    return prefixed("model.", hrnet("", w=w, **sizes) | head | conv("last_layer.3", 15 * w, num_classes, bias=True))


def ocr(num_classes: int = 19, *, channels: int = 512, key: int = 256, w: int = 48, **sizes: object) -> Shapes:
    shapes = hrnet("", w=w, **sizes) | unit("conv3x3_ocr", 0, 15 * w, channels, 3, bias=True, inside="")
    shapes |= ocr_module("ocr_distri_head", channels, key, bias=False)
    shapes |= conv("cls_head", channels, num_classes, bias=True)
    shapes |= unit("aux_head", 0, 15 * w, 15 * w, 1, bias=True, inside="")
    return prefixed("model.", shapes | conv("aux_head.3", 15 * w, num_classes, bias=True))


SMALL_FILES = {"plain": plain(7, **SMALL), "ocr": ocr(7, **SMALL, **SMALL_OCR)}
LOSS = {"loss.criterion.weight": (7,)}


def opened(tmp_path: Path, state: dict[str, Tensor]) -> OpenedForeign:
    path = tmp_path / "hrnet.pth"
    torch.save(state, path)
    return open_foreign(path)


def computed(state: dict[str, Tensor], *, align_corners: bool, inplace: bool = False) -> object:
    """The network's logits, from its definition."""
    layers = Plain({name.removeprefix("model."): tensor for name, tensor in state.items()}, align_corners, inplace)

    def with_head(image: Tensor) -> Tensor:
        x = layers.hrnet(image, "")
        return layers.conv(layers.unit(x, "last_layer.0", "last_layer.1"), "last_layer.3")

    def with_ocr(image: Tensor) -> Tensor:
        x = layers.hrnet(image, "")
        coarse = layers.conv(layers.unit(x, "aux_head.0", "aux_head.1"), "aux_head.3")
        pixels = layers.unit(x, "conv3x3_ocr.0", "conv3x3_ocr.1")
        return layers.conv(layers.ocr(pixels, coarse, "ocr_distri_head"), "cls_head")

    return with_ocr if "model.cls_head.weight" in state else with_head


@pytest.mark.parametrize(("shapes", "published"), [(plain(), 65.859), (ocr(), 70.373)], ids=["plain", "ocr"])
def test_w48_fits_and_has_the_published_size(shapes: Shapes, published: float) -> None:
    """65.859 and 70.373 M were measured on the official code; HRNetV2-W48 is printed as 65.8M."""
    assert round(millions(shapes), 3) == published
    foreign = recognise(empty(shapes | LOSS), source="file")
    with torch.device("meta"):
        segmentor = build_segmentor(foreign.model, num_classes=foreign.num_classes)
    assert match(segmentor, foreign.tensors, source="file").faults == []
    assert round(sum(p.numel() for p in segmentor.parameters()) / 1e6, 3) == published
    assert foreign.dropped == ("loss.criterion.weight",)
    assert foreign.title.endswith("HRNetV2-W48") and foreign.model.backbone.options == {}
    assert foreign.model.input == ModelSpec(backbone={"name": "x"}, decoder={"name": "x"}).input


@pytest.mark.parametrize(
    ("sizes", "published"),
    [
        ({"w": 16, "modules": (1, 1, 1), "blocks": 2, "first": (1, 32)}, 1.5),
        ({"w": 18, "modules": (1, 3, 2), "blocks": 2, "first": (2, 64)}, 3.9),
    ],
    ids=["small-v1", "small-v2"],
)
def test_small_published_networks_are_read_by_their_shapes(sizes: dict[str, object], published: float) -> None:
    """HRNetV2-W18-Small-v1 and -v2, printed as 1.5M and 3.9M."""
    shapes = plain(**sizes)
    assert round(millions(shapes), 1) == published
    foreign = recognise(empty(shapes), source="file")
    with torch.device("meta"):
        segmentor = build_segmentor(foreign.model, num_classes=19)
    assert match(segmentor, foreign.tensors, source="file").faults == []


@pytest.mark.parametrize("kind", SMALL_FILES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("counted", [True, False], ids=["batch norm", "in-place"])
def test_computes_what_the_project_does(tmp_path: Path, kind: str, size: tuple[int, int], counted: bool) -> None:
    """Without counters a file is of in-place batch norm, which knows no negative scales."""
    shapes = SMALL_FILES[kind] if counted else uncounted(SMALL_FILES[kind])
    state = filled(shapes | LOSS)
    found = opened(tmp_path, state)
    aligned = kind == "ocr"
    assert found.foreign.model.align_corners is aligned
    assert any("in-place" in note for note in found.foreign.notes) is not counted
    wanted = computed(state, align_corners=aligned, inplace=not counted)
    network = found.segmentor.double()
    assert largest_difference(lambda image: network(image).logits, wanted, size) < 1e-6
    other = computed(state, align_corners=not aligned, inplace=not counted)
    assert largest_difference(lambda image: network(image).logits, other, size) > 1e-3
    other = computed(state, align_corners=aligned, inplace=counted)
    assert largest_difference(lambda image: network(image).logits, other, size) > 1e-3


@pytest.mark.parametrize(("num_classes", "aligned"), [(19, False), (20, False), (59, False), (150, True), (171, True)])
def test_corners_are_as_the_projects_configurations_say(num_classes: int, aligned: bool) -> None:
    foreign = family_module.read(empty(plain(num_classes, **SMALL)))
    assert foreign.model.align_corners is aligned and len(foreign.notes) == 1
    assert "not in the file" in foreign.notes[0]
    with_ocr = family_module.read(empty(ocr(num_classes, **SMALL)))
    assert with_ocr.model.align_corners is True and with_ocr.notes == ()


def test_protocols_are_those_of_the_registered_files() -> None:
    found = 0
    for published in checkpoint_table():
        num_classes = len(class_table(published.classes).names)
        for figure in published.figures:
            spec = figure.evaluation
            if published.family == "hrnet" and spec is not None and spec.scales == (1.0,):
                protocol = family_module.read(empty(ocr(num_classes, **SMALL))).protocol
                assert EvaluationSpec.model_validate({"data": spec.data, **protocol}) == spec
                found += 1
    assert found >= 6


@pytest.mark.parametrize("kind", SMALL_FILES)
def test_the_way_back_is_the_same_bits(kind: str) -> None:
    state = filled(SMALL_FILES[kind] | LOSS)
    foreign = family_module.read(state)
    written = family_module.write(foreign.tensors, foreign.model)
    assert same(written, {name: tensor for name, tensor in state.items() if name not in LOSS})
    assert same(family_module.read(written).tensors, foreign.tensors)


def test_what_the_project_does_not_have_is_not_written() -> None:
    foreign = family_module.read(filled(SMALL_FILES["ocr"]))

    def changed(**decoder: object) -> ModelSpec:
        return ModelSpec.model_validate(
            {**foreign.model.model_dump(), "decoder": {"name": "ocr", **foreign.model.decoder.options, **decoder}}
        )

    for model in (changed(aux_head="conv3x3"), changed(bn_eps=1e-3)):
        with pytest.raises(InvalidFault, match=r"decoder\.(aux_head|bn_eps)"):
            family_module.write(foreign.tensors, model)
    unset = {key: value for key, value in foreign.model.decoder.options.items() if key != "aux_channels"}
    implied = ModelSpec.model_validate({**foreign.model.model_dump(), "decoder": {"name": "ocr", **unset}})
    assert family_module.write(foreign.tensors, implied).keys() == SMALL_FILES["ocr"].keys()
    segformer = ModelSpec(backbone={"name": "mit"}, decoder={"name": "segformer"})
    with pytest.raises(InvalidFault, match="segformer on mit"):
        family_module.write(foreign.tensors, segformer)
    with pytest.raises(InvalidFault, match=r"no module for 1 tensors .* decoder\.extra\.weight"):
        family_module.write({**foreign.tensors, "decoder.extra.weight": torch.zeros(1)}, foreign.model)


@pytest.mark.parametrize("kind", SMALL_FILES)
def test_is_of_this_family_alone(kind: str) -> None:
    state = empty(SMALL_FILES[kind])
    bare = {name.removeprefix("model."): tensor for name, tensor in state.items()}
    for each in (state, bare):
        assert [name for name in families.registered() if families.get(name).detect(each)] == ["hrnet"]


def test_what_is_missing_or_too_much_is_named(tmp_path: Path) -> None:
    whole = filled(SMALL_FILES["ocr"])
    lacking = {name: tensor for name, tensor in whole.items() if "f_up.1" not in name}
    with pytest.raises(InvalidFault, match=r"4 missing tensors, e\.g\. decoder\.attention\.out"):
        opened(tmp_path, lacking)
    with pytest.raises(InvalidFault, match=r"1 unexpected tensor, e\.g\. decoder\.refine\.weight"):
        opened(tmp_path, {**whole, "model.decoder.refine.weight": torch.zeros(1)})
    headless = {name: tensor for name, tensor in whole.items() if "cls_head" not in name}
    with pytest.raises(InvalidFault, match=r"incomplete: 'cls_head\.weight' is missing"):
        opened(tmp_path, headless)
