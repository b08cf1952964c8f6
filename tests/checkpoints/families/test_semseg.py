"""Files of semseg's PSPNet: names and shapes as its layers have them, and what it computes."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from segbench.checkpoints import families
from segbench.checkpoints.families import semseg as family_module
from segbench.checkpoints.loading import match
from segbench.checkpoints.open import OpenedForeign, open_foreign
from segbench.checkpoints.recognise import recognise
from segbench.core.errors import InvalidFault
from segbench.core.spec import DataSpec, EvaluationSpec, InputSpec, ModelSpec, PadSpec
from segbench.models.segmentor import build_segmentor
from tests.checkpoints.families.official_layouts import (
    R50,
    R101,
    Shapes,
    conv,
    empty,
    filled,
    millions,
    norm,
    resnet,
    same,
)
from tests.checkpoints.families.official_networks import Plain, largest_difference

STEM = ("layer0.0", "layer0.1", "layer0.3", "layer0.4", "layer0.6", "layer0.7")
SIZES = [(129, 257), (96, 160)]
BINS = (1, 2, 3, 6)


def auxiliary(num_classes: int = 19, *, w: int = 64, width: int = 256) -> Shapes:
    head = conv("aux.0", 16 * w, width, 3) | norm("aux.1", width)
    return head | conv("aux.4", width, num_classes, bias=True)


def pspnet(num_classes: int = 19, *, w: int = 64, width: int = 512, blocks: tuple[int, ...] = R101) -> Shapes:
    """Without its auxiliary classifier; the last two names are of the branches' 1x1 convolutions and their norms."""
    shapes = resnet("", STEM, w=w, blocks=blocks)
    for branch in range(len(BINS)):
        here = f"ppm.features.{branch}"
        shapes |= conv(f"{here}.1", 32 * w, width) | norm(f"{here}.2", width)
    shapes |= conv("cls.0", 32 * w + 4 * width, width, 3) | norm("cls.1", width)
    return shapes | conv("cls.4", width, num_classes, bias=True)


SMALL = pspnet(7, w=4, width=6, blocks=(1, 1, 2, 2)) | auxiliary(7, w=4, width=5)


def computed(state: dict[str, Tensor]) -> Callable[[Tensor], Tensor]:
    """The network's logits, from its definition."""
    layers = Plain(state)

    def logits(image: Tensor) -> Tensor:
        rates = ((1, 1), (1, 1), (2, 2), (4, 4))
        x = layers.resnet(image, "", STEM, strides=(1, 2, 1, 1), rates=rates, ceil_mode=False)[-1]
        maps = [x]
        for branch, bins in enumerate(BINS):
            pooled = layers.unit(F.adaptive_avg_pool2d(x, bins), f"ppm.features.{branch}.1", f"ppm.features.{branch}.2")
            maps.append(layers.up(pooled, (x.shape[-2], x.shape[-1])))
        return layers.conv(layers.unit(torch.cat(maps, 1), "cls.0", "cls.1"), "cls.4")

    return logits


def opened(tmp_path: Path, state: dict[str, Tensor]) -> OpenedForeign:
    path = tmp_path / "train_epoch_200.pth"
    torch.save({"epoch": 200, "state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}, path)
    return open_foreign(path)


@pytest.mark.parametrize(("blocks", "title"), [(R101, "ResNet-101"), (R50, "ResNet-50"), ((3, 8, 36, 3), "ResNet-152")])
@pytest.mark.parametrize("aux", [True, False])
def test_whole_networks_fit(blocks: tuple[int, ...], title: str, aux: bool) -> None:
    """68.07 M with 101 layers, the auxiliary classifier and 19 classes, as measured on the project's code."""
    shapes = pspnet(blocks=blocks) | (auxiliary() if aux else {})
    if blocks == R101 and aux:
        assert round(millions(shapes), 2) == 68.07
    foreign = recognise(empty(shapes), source="file")
    with torch.device("meta"):
        segmentor = build_segmentor(foreign.model, num_classes=foreign.num_classes)
    assert match(segmentor, foreign.tensors, source="file").faults == []
    assert sum(p.numel() for p in segmentor.parameters()) == round(millions(shapes) * 1e6)
    assert title in foreign.title and foreign.dropped == ()


@pytest.mark.parametrize("size", SIZES)
def test_computes_what_the_project_does(tmp_path: Path, size: tuple[int, int]) -> None:
    state = filled(SMALL)
    found = opened(tmp_path, state)
    network = found.segmentor.double()
    assert largest_difference(lambda image: network(image).logits, computed(state), size) < 1e-6
    assert found.foreign.model.align_corners and found.foreign.model.input == InputSpec()


def test_windows_have_sides_that_the_network_was_made_for() -> None:
    """``8 k + 1``, and from one to the next two thirds of it, rounded up; of 713 pixels 476, of 473 316."""
    data = DataSpec(name="cityscapes")

    def protocol(num_classes: int) -> EvaluationSpec:
        state = empty(pspnet(num_classes, w=4, width=6, blocks=(1, 1, 1, 1)))
        return EvaluationSpec.model_validate({"data": data, **family_module.read(state).protocol})

    shared = {
        "data": data, "mode": "slide", "overlap": "probabilities", "flip": True, "mirror": "window",
        "pad": PadSpec(to_window=True, where="both"),
    }  # fmt: skip
    assert protocol(19) == EvaluationSpec(**shared, window=(713, 713), stride=(476, 476))
    small = EvaluationSpec(**shared, window=(473, 473), stride=(316, 316), short_side=512, max_side=512)
    assert protocol(21) == protocol(150) == protocol(11) == small
    notes = [family_module.read(empty(pspnet(classes, w=4, width=6))).notes for classes in (19, 21, 150, 11)]
    assert [len(each) for each in notes] == [1, 1, 1, 2]
    assert "8 k + 1" in notes[0][0] and "11 classes" in notes[3][1]


def test_the_way_back_is_the_same_bits(tmp_path: Path) -> None:
    state = filled(SMALL)
    foreign = family_module.read(state)
    written = family_module.write(foreign.tensors, foreign.model)
    assert same(written, {f"module.{name}": tensor for name, tensor in state.items()})
    torch.save(written, tmp_path / "again.pth")
    assert same(open_foreign(tmp_path / "again.pth").segmentor.state_dict(), foreign.tensors)


def test_what_the_project_does_not_have_is_not_written() -> None:
    foreign = family_module.read(filled(SMALL))
    backbone = {"name": "resnet", **foreign.model.backbone.options, "dilation": "contracted"}
    contracted = ModelSpec.model_validate({**foreign.model.model_dump(), "backbone": backbone})
    with pytest.raises(InvalidFault, match=r"backbone\.dilation 'full' where this network has 'contracted'"):
        family_module.write(foreign.tensors, contracted)
    with pytest.raises(InvalidFault, match="align_corners True"):
        family_module.write(foreign.tensors, foreign.model.model_copy(update={"align_corners": False}))
    with pytest.raises(InvalidFault, match="no deeplabv3 on resnet"):
        family_module.write(foreign.tensors, ModelSpec(backbone=foreign.model.backbone, decoder={"name": "deeplabv3"}))


def test_is_of_this_family_alone() -> None:
    assert [name for name in families.registered() if families.get(name).detect(empty(SMALL))] == ["semseg"]


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    whole = filled(SMALL)
    lacking = {name: tensor for name, tensor in whole.items() if not name.startswith("ppm.features.3")}
    with pytest.raises(InvalidFault, match=r"5 missing tensors, e\.g\. decoder\.pyramid\.branches\.3"):
        opened(tmp_path, lacking)
    half = {name: tensor for name, tensor in whole.items() if name != "aux.4.weight"}
    with pytest.raises(InvalidFault, match=r"1 missing tensor, e\.g\. decoder\.auxiliary"):
        opened(tmp_path, half)
