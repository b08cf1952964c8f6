"""MMSegmentation's transformers, generated from their definitions: read, computed, counted, written back."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from segbench.checkpoints import families
from segbench.checkpoints.loading import match
from segbench.checkpoints.open import OpenedForeign, open_foreign
from segbench.checkpoints.recognise import recognise
from segbench.core.errors import InvalidFault
from segbench.core.spec import EvaluationSpec, ModelSpec
from segbench.models.segmentor import build_segmentor
from tests.checkpoints.families import segformer_like as mit_like
from tests.checkpoints.families import upernet_like as swin_like
from tests.checkpoints.families.registered import registered
from tests.models.random_weights import randomise

mmsegmentation: Any = families.get("mmsegmentation")


def segformer(num_classes: int = 5) -> nn.Module:
    return mit_like.segformer(mit_like.OpenMiT(*mit_like.NARROW), num_classes, width=6)


def upernet(*, aux: int | None = 4) -> nn.Module:
    return swin_like.upernet(swin_like.OpenSwin(6, (2, 2, 2, 1), (1, 2, 3, 4)), 5, width=8, aux=aux)


NARROW = {
    "segformer": (segformer, "SegFormer, MiT of 8-16-40-64 channels"),
    "upernet": (upernet, "UPerNet, Swin of 6 channels in the first stage"),
}


def full(network: str, num_classes: int) -> dict[str, Tensor]:
    """Tensors without values of a network as the table of checkpoints calls it."""
    with torch.device("meta"):
        if network.startswith("SegFormer"):
            encoder = mit_like.OpenMiT(*mit_like.MIT[network.removeprefix("SegFormer, MiT-")[:2]])
            return mit_like.segformer(encoder, num_classes).state_dict()
        return swin_like.upernet(
            swin_like.OpenSwin(*swin_like.SWIN[network.removeprefix("UPerNet, Swin-")]), num_classes
        ).state_dict()


def opened(state: dict[str, Tensor], path: Path) -> OpenedForeign:
    torch.save({"meta": {"CLASSES": ("road",), "mmseg_version": "0.17"}, "state_dict": state}, path / "net.pth")
    return open_foreign(path / "net.pth")


@pytest.mark.parametrize("kind", NARROW)
def test_the_same_answer_and_the_same_file_back(kind: str, tmp_path: Path) -> None:
    build, label = NARROW[kind]
    theirs = randomise(build())
    found = opened(theirs.state_dict(), tmp_path)
    assert found.foreign.family == "mmsegmentation" and found.foreign.title == f"MMSegmentation {label}"
    assert all(name.endswith("relative_position_index") for name in found.foreign.dropped)
    for size in ((129, 257), (96, 160)):
        images = torch.randn(1, 3, *size)
        with torch.inference_mode():
            answer, expected = found.segmentor(images).logits, theirs(images)
        assert answer.shape == expected.shape
        assert (answer - expected).abs().max() <= 1e-4 * expected.abs().max()

    back = mmsegmentation.write(found.segmentor.state_dict(), found.foreign.model)
    wanted = theirs.state_dict()
    assert back.keys() == wanted.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in wanted.items())


def test_patches_are_merged_as_unfolding_does(tmp_path: Path) -> None:
    """Each merging alone, its norm included; with the order of Swin's authors the answer is another."""
    theirs = randomise(upernet())
    found = opened(theirs.state_dict(), tmp_path)
    for stage, channels in enumerate((6, 12, 24)):
        merging: Any = theirs.get_submodule(f"backbone.stages.{stage}.downsample")
        ours = found.segmentor.get_submodule(f"backbone.layers.{stage}.downsample")
        x = torch.randn(2, 6, 8, channels)
        patches = nn.Unfold(2, stride=2)(x.permute(0, 3, 1, 2)).transpose(1, 2)  # N, 12, 4c
        with torch.inference_mode():
            expected = merging.reduction(merging.norm(patches)).unflatten(1, (3, 4))
            torch.testing.assert_close(ours(x), expected)
            as_written = swin_like.AuthorsMerging(channels)
            as_written.load_state_dict(merging.state_dict())
            assert (as_written(x) - expected).abs().max() > 0.1


def test_epsilons_are_its_own() -> None:
    """So faint an image that they are felt: with the authors' the answer is another."""
    theirs = randomise(segformer())
    foreign = recognise(theirs.state_dict(), source="net.pth")
    images = 1e-3 * torch.randn(1, 3, 64, 96, dtype=torch.float64)
    expected = theirs.double()(images)
    for variant, near in (("mmseg", True), ("nv", False)):
        spec = foreign.model.model_dump()
        network = build_segmentor(
            ModelSpec.model_validate({**spec, "backbone": {**spec["backbone"], "variant": variant}}), num_classes=5
        )
        network.load_state_dict(foreign.tensors)
        apart = (network.eval().double()(images).logits - expected).abs().max() / expected.abs().max()
        assert (apart < 1e-9) if near else (apart > 1e-6)


@pytest.mark.parametrize("network", [*(f"SegFormer, MiT-{size}" for size in mit_like.MIT), "UPerNet, Swin-T"])
def test_every_tensor_of_the_published_sizes_has_its_place(network: str) -> None:
    state = full(network, 150 if "UPerNet" in network else 19)
    foreign = recognise(state, source="net.pth")
    assert foreign.family == "mmsegmentation" and foreign.title == f"MMSegmentation {network}"
    with torch.device("meta"):
        ours = build_segmentor(foreign.model, num_classes=foreign.num_classes)
    report = match(ours, foreign.tensors, source="net.pth", dropped=foreign.dropped)
    assert report.faults == [] and report.matched == len(ours.state_dict())
    parameters = sum(p.numel() for p in ours.parameters()) / 1e6
    if network == "SegFormer, MiT-B5":
        assert parameters == 81.974739  # counted on MMSegmentation 1.2.2 with 19 classes
    if network == "UPerNet, Swin-T":
        assert f"{parameters:.3f}" == "59.942"
    written = mmsegmentation.write(ours.state_dict(), foreign.model)
    assert {name: tensor.shape for name, tensor in written.items()} == {name: t.shape for name, t in state.items()}


@pytest.mark.parametrize("kind", NARROW)
def test_is_of_this_family_alone(kind: str) -> None:
    state = NARROW[kind][0]().state_dict()
    assert [name for name in families.registered() if families.get(name).detect(state)] == ["mmsegmentation"]


def test_conventions_and_protocols_are_those_of_the_registered_files() -> None:
    found = 0
    for kind in ("SegFormer", "UPerNet"):
        for file in registered("mmsegmentation", kind):
            foreign = recognise(full(file.network, file.num_classes), source="net.pth")
            assert f"MMSegmentation {file.network}".startswith(foreign.title)
            assert foreign.model.align_corners is False and foreign.model.input.channels == "rgb"
            assert foreign.model.input.mean == (0.485, 0.456, 0.406)
            assert file.evaluation is not None
            spec = EvaluationSpec.model_validate({"data": file.evaluation.data, **foreign.protocol})
            # one of two alike was trained on larger images; tensors do not show it
            assert (spec == file.evaluation) == ("640" not in file.name), file.name
            assert ("640x640" in " ".join(foreign.notes)) == ("b5" in file.name and "ade20k" in file.name), file.name
            found += 1
    assert found == 14
    other = recognise(full("SegFormer, MiT-B0", 7), source="net.pth")
    assert other.protocol == {"mode": "whole", "enlarge": "twice"} and other.notes == ()


def changed(kind: str, pattern: str, becomes: str | None = None) -> dict[str, Tensor]:
    """A narrow network's tensors, some renamed or left out."""
    state = NARROW[kind][0]().state_dict()
    if becomes is None:
        return {name: tensor for name, tensor in state.items() if not re.search(pattern, name)}
    return {re.sub(pattern, becomes, name): tensor for name, tensor in state.items()}


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (changed("segformer", "fusion_conv", "bottleneck"), "head on its Mix Transformer is not SegFormer"),
        (changed("upernet", "fpn_bottleneck", "fusion"), "head on its Swin Transformer is not UPerNet"),
        (changed("segformer", r"decode_head\.conv_seg"), r"is incomplete: 'decode_head\.conv_seg\.weight' is missing"),
        (changed("segformer", r"layers\.1\.1\.0\.attn\.attn\.in_proj_bias"), r"backbone\.block2\.0\.attn\.q\.bias"),
        (changed("segformer", r"layers\.2\.1\."), r"is incomplete: .*backbone\.layers\.2\.1\."),
        (changed("upernet", r"stages\.1\.blocks\.1\.ffn\.layers\.1"), r"e\.g\. backbone\.layers\.1\.blocks\.1\.mlp"),
        (changed("upernet", r"norm0\.weight", "norm0.gamma"), r"is incomplete: 'backbone\.norm0\.weight' is missing"),
        (
            {n: t[..., :-1] if "0.downsample.reduction" in n else t for n, t in upernet().state_dict().items()},
            r"1 tensor of another shape, e\.g\. backbone\.layers\.0\.downsample\.reduction",
        ),
        (
            {n: t[:-1] if "0.1.0.attn.attn.in_proj" in n else t for n, t in segformer().state_dict().items()},
            r"4 missing tensors, e\.g\. backbone\.block1\.0\.attn\.q\.weight",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_the_reason(state: dict[str, Tensor], said: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidFault, match=said):
        opened(state, tmp_path)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"backbone": "mit", "decoder": {"name": "segformer", "variant": "mmseg"}}, r"backbone\.variant 'mmseg' where"),
        ({"backbone": {"name": "mit", "variant": "mmseg"}, "decoder": "segformer"}, "no module for"),
        ({"backbone": "mit", "decoder": "upernet"}, "no upernet on mit"),
        ({"backbone": "swin", "decoder": {"name": "upernet", "bins": (1, 2, 4, 8)}}, r"decoder\.bins"),
        ({"backbone": "swin", "decoder": "concat"}, "no concat on swin"),
    ],
)
def test_what_it_would_compute_otherwise_is_not_written(model: dict[str, Any], said: str) -> None:
    spec = ModelSpec.model_validate(model)
    with torch.device("meta"):
        state = build_segmentor(spec, num_classes=3).state_dict()
    with pytest.raises(InvalidFault, match=said):
        mmsegmentation.write(state, spec)


def test_one_network_in_the_forms_of_two_projects(tmp_path: Path) -> None:
    """Files of Swin's authors and of MMSegmentation say the same: from one to the other and back nothing changes."""
    authors: Any = families.get("swin")
    found = opened(randomise(upernet()).state_dict(), tmp_path)
    written = authors.write(found.segmentor.state_dict(), found.foreign.model)
    theirs = swin_like.upernet(swin_like.AuthorsSwin(6, (2, 2, 2, 1), (1, 2, 3, 4)), 5, width=8, aux=4).eval()
    theirs.load_state_dict(written)
    images = torch.randn(1, 3, 65, 97)
    with torch.inference_mode():
        expected = found.segmentor(images).logits
        assert (theirs(images) - expected).abs().max() <= 1e-4 * expected.abs().max()
    again = mmsegmentation.write(recognise(written, source="net.pth").tensors, found.foreign.model)
    wanted = torch.load(tmp_path / "net.pth")["state_dict"]
    assert again.keys() == wanted.keys() and all(torch.equal(again[name], wanted[name]) for name in wanted)
