"""Files of openseg and ContrastiveSeg: names and shapes as their layers have them, and what their networks compute."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
import yaml
from pydantic import ValidationError
from torch import Tensor

from segbench.checkpoints import families
from segbench.checkpoints.families import openseg as family_module
from segbench.checkpoints.layouts.equality import check_same_network
from segbench.checkpoints.loading import match
from segbench.checkpoints.open import OpenedForeign, open_foreign
from segbench.checkpoints.published import checkpoint_table
from segbench.checkpoints.recognise import recognise
from segbench.core import registry
from segbench.core.errors import InvalidFault
from segbench.core.spec import EvaluationSpec, ModelSpec
from segbench.data.classes import class_table
from segbench.data.colour import normalise
from segbench.models.segmentor import build_segmentor
from tests.checkpoints.families.official_layouts import (
    Shapes,
    empty,
    filled,
    millions,
    prefixed,
    projection,
    same,
    uncounted,
)
from tests.checkpoints.families.official_networks import largest_difference
from tests.checkpoints.families.openseg_networks import (
    SMALL,
    SMALL_HRNET,
    ZOO,
    computed,
    deeplabv3,
    hrnet_head,
    hrnet_ocr,
    resnet_ocr,
)

RECIPES = Path(__file__).parents[3] / "recipes"
QUEUES = {"segment_queue": (7, 5, 4), "segment_queue_ptr": (7,), "pixel_queue": (7, 5, 4), "pixel_queue_ptr": (7,)}
SIZES = [(129, 257), (96, 160)]


class Published(NamedTuple):
    """A whole network, what its training adds to the file, and both sizes in millions as measured on the code."""

    shapes: Shapes
    extra: Shapes
    alone: float
    with_extra: float
    title: str
    recipe: str


PUBLISHED = {
    "hrnet": Published(
        hrnet_head(), projection(720), 70.007, 70.712,
        "ContrastiveSeg network with a 3x3 head, HRNetV2-W48", "hrnetv2-w48",
    ),
    "deeplabv3": Published(
        deeplabv3(), projection(2048), 89.570, 94.295,
        "ContrastiveSeg DeepLabV3, ResNet-101 with a deep stem", "deeplabv3-r101",
    ),
    "resnet-ocr": Published(resnet_ocr(), {}, 57.989, 57.989, "openseg OCR, ResNet-101 with a deep stem", "ocr-r101"),
    "hrnet-ocr": Published(
        hrnet_ocr(), projection(720), 74.522, 75.227, "ContrastiveSeg OCR, HRNetV2-W48", "ocr-hrnetv2-w48"
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", PUBLISHED)
def test_whole_networks_fit_and_have_the_published_size(kind: str) -> None:
    published = PUBLISHED[kind]
    assert round(millions(published.shapes), 3) == published.alone
    assert round(millions(published.shapes | published.extra), 3) == published.with_extra
    foreign = recognise(empty(published.shapes | published.extra), source="file")
    with torch.device("meta"):
        segmentor = build_segmentor(foreign.model, num_classes=foreign.num_classes)
    assert match(segmentor, foreign.tensors, source="file").faults == []
    assert round(sum(p.numel() for p in segmentor.parameters()) / 1e6, 3) == published.alone
    assert set(foreign.dropped) == set(published.extra)
    assert foreign.title == published.title


@pytest.mark.parametrize("kind", PUBLISHED)
def test_is_the_network_of_the_recipes(kind: str) -> None:
    """What is read from a file and what a recipe of the paper's table trains are fed and compute alike."""
    rows = yaml.safe_load((RECIPES / "contrastiveseg" / "table1.yaml").read_text(encoding="utf-8"))["rows"]
    wanted = ModelSpec.model_validate(rows[PUBLISHED[kind].recipe]["model"])
    found = recognise(empty(PUBLISHED[kind].shapes), source="file").model
    check_same_network(found, wanted, title="a file")
    assert found.input.channels == wanted.input.channels == "bgr"
    assert found.input.mean == pytest.approx(wanted.input.mean, abs=1e-6)
    assert found.input.std == pytest.approx(wanted.input.std, abs=1e-8)


def opened(tmp_path: Path, state: dict[str, Tensor]) -> OpenedForeign:
    """Read as such a project saves it, under what its training on several devices adds."""
    path = tmp_path / "latest.pth"
    torch.save({"config_dict": {"a": 1}, "state_dict": {f"module.{name}": t for name, t in state.items()}}, path)
    return open_foreign(path)


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("size", SIZES)
def test_computes_what_the_project_does(tmp_path: Path, kind: str, size: tuple[int, int]) -> None:
    state = filled(SMALL[kind])
    found = opened(tmp_path, state)
    network = found.segmentor.double()
    assert largest_difference(lambda image: network(image).logits, computed(kind, state), size) < 1e-6
    assert found.foreign.model.align_corners and found.foreign.num_classes == 7


@pytest.mark.parametrize("kind", SMALL)
def test_projections_and_memories_are_left_out(tmp_path: Path, kind: str) -> None:
    state = filled(SMALL[kind])
    head = filled(projection(15), seed=1)
    queues = filled(QUEUES, seed=2)
    inside = {f"encoder_q.{name}": tensor for name, tensor in {**state, **head}.items()}
    for file in ({**state, **head}, {**inside, **queues}):
        foreign = opened(tmp_path, file).foreign
        assert set(foreign.dropped) == {name for name in file if "proj_head" in name or name in QUEUES}
        assert same(foreign.tensors, family_module.read(state).tensors)


def test_files_without_counters_are_read() -> None:
    foreign = family_module.read(empty(uncounted(SMALL["deeplabv3"])))
    with torch.device("meta"):
        segmentor = build_segmentor(foreign.model, num_classes=7)
    assert match(segmentor, foreign.tensors, source="file").faults == []


@pytest.mark.parametrize("kind", SMALL)
def test_what_it_is_fed_is_the_projects_arithmetic(kind: str) -> None:
    """Images as OpenCV reads them, BGR in 0..255, through the ``normalize`` of the configurations."""
    read_by_opencv = np.random.default_rng(0).integers(0, 256, (4, 5, 3)).astype(np.float64)
    if kind.startswith("hrnet"):
        wanted = (read_by_opencv / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    else:
        wanted = read_by_opencv - (102.9801, 115.9465, 122.7717)
    rgb = torch.from_numpy(read_by_opencv[..., ::-1].copy()).permute(2, 0, 1)[None] / 255
    fed = normalise(rgb, family_module.read(empty(SMALL[kind])).model.input)
    np.testing.assert_allclose(fed[0].permute(1, 2, 0).numpy(), wanted, rtol=1e-5, atol=1e-4)


def test_protocols_are_those_of_the_registered_files() -> None:
    found = 0
    for published in checkpoint_table():
        if published.family != "openseg":
            continue
        num_classes = len(class_table(published.classes).names)
        protocol = family_module.read(empty(hrnet_ocr(num_classes, **SMALL_HRNET))).protocol
        for spec in (figure.evaluation for figure in published.figures):
            if spec is not None and spec.scales == (1.0,):
                assert EvaluationSpec.model_validate({"data": spec.data, **protocol}) == spec
                found += 1
    assert found >= 9


@pytest.mark.parametrize("kind", SMALL)
def test_the_way_back_is_the_same_bits(kind: str) -> None:
    state = filled(SMALL[kind])
    foreign = family_module.read(state)
    assert same(family_module.write(foreign.tensors, foreign.model), state)


def test_what_the_project_does_not_have_is_not_written() -> None:
    foreign = family_module.read(filled(SMALL["deeplabv3"]))
    backbone = {"name": "resnet", **foreign.model.backbone.options}
    for change in ({"ceil_mode": False}, {"dilation": "full"}, {"output_stride": 16}):
        model = ModelSpec.model_validate({**foreign.model.model_dump(), "backbone": {**backbone, **change}})
        with pytest.raises(InvalidFault, match=f"backbone.{next(iter(change))}"):
            family_module.write(foreign.tensors, model)
    with pytest.raises(InvalidFault, match="no pspnet on resnet"):
        family_module.write(
            foreign.tensors, ModelSpec(backbone=foreign.model.backbone, decoder={"name": "pspnet"}, align_corners=True)
        )


@pytest.mark.parametrize("kind", SMALL)
def test_is_of_this_family_alone(kind: str) -> None:
    for shapes in (SMALL[kind], prefixed("encoder_q.", SMALL[kind])):
        state = empty(shapes)
        assert [name for name in families.registered() if families.get(name).detect(state)] == ["openseg"]


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    whole = filled(SMALL["deeplabv3"])
    lacking = {name: tensor for name, tensor in whole.items() if "layer_aspp.b2" not in name}
    with pytest.raises(InvalidFault, match=r"5 missing tensors, e\.g\. decoder\.aspp\.branches\.2"):
        opened(tmp_path, lacking)
    lacking = {name: tensor for name, tensor in whole.items() if "layer3" not in name}
    with pytest.raises(InvalidFault, match=r"incomplete: 'backbone\.layer3\.0' is missing"):
        opened(tmp_path, lacking)


def has_leaky_activations(decoder: str) -> bool:
    try:
        registry.options_of("decoder", decoder).model_validate({"negative_slope": 0.01})
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("kind", ZOO)
@pytest.mark.parametrize("size", SIZES)
def test_files_of_the_model_zoo_are_computed_with_their_activations_or_refused(
    tmp_path: Path, kind: str, size: tuple[int, int]
) -> None:
    """No counters, norm and leaky ReLU in one module, scales without a sign: never as a network with plain ReLUs."""
    state = filled(ZOO[kind])
    if not has_leaky_activations("ocr"):
        with pytest.raises(InvalidFault, match=r"leaky ReLU of slope 0\.01; segbench's ocr has plain ones"):
            opened(tmp_path, state)
        return
    found = opened(tmp_path, state)
    network = found.segmentor.double()
    wanted = computed(kind, state, inplace=True)
    assert largest_difference(lambda image: network(image).logits, wanted, size) < 1e-6
    assert any("in-place" in note for note in found.foreign.notes)


@pytest.mark.parametrize("kind", ZOO)
def test_files_of_the_model_zoo_are_of_this_family_alone(kind: str) -> None:
    state = empty(ZOO[kind])
    assert [name for name in families.registered() if families.get(name).detect(state)] == ["openseg"]
