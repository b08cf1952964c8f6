"""SegFormer and UPerNet of transformers: its files under the names of both times, read, computed, written back."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from segbench.checkpoints import families
from segbench.checkpoints.loading import match
from segbench.checkpoints.open import open_foreign
from segbench.checkpoints.recognise import recognise
from segbench.core.errors import InvalidFault
from segbench.core.spec import EvaluationSpec, ModelSpec
from segbench.models.segmentor import build_segmentor
from tests.checkpoints.families import segformer_like as mit_like
from tests.checkpoints.families import upernet_like as swin_like
from tests.checkpoints.families.registered import registered
from tests.models.random_weights import randomise

transformers = pytest.importorskip("transformers", minversion="5.23")
huggingface: Any = families.get("huggingface")

Rules = tuple[tuple[str, str], ...]
# From the names of version 5 to those of the files on the Hub, as its releases before had them.
PUBLISHED: dict[str, Rules] = {
    "segformer": (
        (r"^segformer\.stages\.(\d)\.patch_embeddings\.", r"segformer.encoder.patch_embeddings.\1."),
        (r"^segformer\.stages\.(\d)\.layer_norm\.", r"segformer.encoder.layer_norm.\1."),
        (r"^segformer\.stages\.(\d)\.blocks\.(\d+)\.", r"segformer.encoder.block.\1.\2."),
        (r"\.layernorm_before\.", ".layer_norm_1."),
        (r"\.layernorm_after\.", ".layer_norm_2."),
        (r"\.attention\.q_proj\.", ".attention.self.query."),
        (r"\.attention\.k_proj\.", ".attention.self.key."),
        (r"\.attention\.v_proj\.", ".attention.self.value."),
        (r"\.attention\.o_proj\.", ".attention.output.dense."),
        (r"\.attention\.sequence_reduction\.sequence_reduction\.", ".attention.self.sr."),
        (r"\.attention\.sequence_reduction\.layer_norm\.", ".attention.self.layer_norm."),
        (r"\.mlp\.fc(\d)\.", r".mlp.dense\1."),
        (r"^decode_head\.linear_projections\.", "decode_head.linear_c."),
    ),
    "upernet": (
        (r"^backbone\.swin\.layernorm\..*", ""),
        (r"^backbone\.swin\.", "backbone."),
        (r"\.attention\.q_proj\.", ".attention.self.query."),
        (r"\.attention\.k_proj\.", ".attention.self.key."),
        (r"\.attention\.v_proj\.", ".attention.self.value."),
        (r"\.attention\.o_proj\.", ".attention.output.dense."),
        (r"\.attention\.relative_position_bias\.", ".attention.self."),
        (r"\.mlp\.fc1\.", ".intermediate.dense."),
        (r"\.mlp\.fc2\.", ".output.dense."),
    ),
}
LABELS = {
    "segformer": "SegFormer, MiT of 8-16-40-64 channels",
    "upernet": "UPerNet, Swin of 6 channels in the first stage",
}


def segformer(size: str = "", num_classes: int = 5) -> nn.Module:
    widths, depths = mit_like.MIT.get(size, mit_like.NARROW)
    config = transformers.SegformerConfig(
        hidden_sizes=list(widths), depths=list(depths), num_attention_heads=[1, 2, 5, 8], num_labels=num_classes,
        decoder_hidden_size=(256 if size in ("B0", "B1") else 768) if size else 6,
    )  # fmt: skip
    network: nn.Module = transformers.SegformerForSemanticSegmentation(config)
    return network


def upernet(size: str = "", num_classes: int = 5) -> nn.Module:
    embed, depths, heads = swin_like.SWIN.get(size, (6, (2, 2, 2, 1), (1, 2, 3, 4)))
    swin = transformers.SwinConfig(
        embed_dim=embed, depths=list(depths), num_heads=list(heads),
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = transformers.UperNetConfig(
        backbone_config=swin, hidden_size=512 if size else 8, auxiliary_channels=256 if size else 4,
        auxiliary_in_channels=4 * embed, num_labels=num_classes,
    )  # fmt: skip
    network: nn.Module = transformers.UperNetForSemanticSegmentation(config)
    return network


NETWORKS = {"segformer": segformer, "upernet": upernet}


def published(kind: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state of version 5 under the names of the Hub, places of the position biases included."""
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        for pattern, replacement in PUBLISHED[kind]:
            name = re.sub(pattern, replacement, name)
        if name:
            found[name] = tensor
        if name.endswith("relative_position_bias_table"):
            side = round(tensor.shape[0] ** 0.5) // 2 + 1
            found[name.replace("bias_table", "index")] = swin_like.differences(side).to(tensor.device)
    return found


def on_meta(network: str, num_classes: int) -> dict[str, Tensor]:
    """A file without values of a network as the table of checkpoints calls it."""
    kind = "segformer" if network.startswith("SegFormer") else "upernet"
    with torch.device("meta"):
        state = NETWORKS[kind](network.partition(", ")[2].partition("-")[2], num_classes).state_dict()
    return published(kind, state)


@pytest.fixture(scope="module", params=NETWORKS)
def theirs(request: pytest.FixtureRequest) -> tuple[str, nn.Module]:
    """A kind of network and one of it."""
    return request.param, randomise(NETWORKS[request.param]())


def files(kind: str, network: Any, folder: Path) -> dict[str, Path]:
    """The network in all the ways in which it may lie on a disk."""
    network.save_pretrained(folder / "as_published")
    network.save_pretrained(folder / "as_version_5", save_original_format=False)
    torch.save(published(kind, network.state_dict()), folder / "pytorch_model.bin")
    torch.save({"model": network.state_dict(), "epoch": 2}, folder / "wrapped.pth")
    return {
        "as published": folder / "as_published/model.safetensors",
        "as in version 5": folder / "as_version_5/model.safetensors",
        "by our own rules": folder / "pytorch_model.bin",
        "wrapped": folder / "wrapped.pth",
    }


def test_every_file_of_a_network_gives_its_answer(theirs: tuple[str, Any], tmp_path: Path) -> None:
    kind, network = theirs
    sizes = ((129, 257), (96, 160))
    images = {size: torch.randn(1, 3, *size) for size in sizes}
    with torch.inference_mode():
        expected = {size: network(images[size]).logits for size in sizes}
    names = set()
    for way, path in files(kind, network, tmp_path).items():
        opened = open_foreign(path)
        assert opened.foreign.family == "huggingface", way
        assert opened.foreign.title == f"Hugging Face {LABELS[kind]}", way
        names |= {frozenset(opened.foreign.tensors)}
        for size in sizes:
            with torch.inference_mode():
                logits = opened.segmentor(images[size]).logits
            # SegFormer's are at stride 4, UPerNet's at the image's size
            answer = opened.segmentor.resize(logits, (expected[size].shape[2], expected[size].shape[3]))
            assert (answer - expected[size]).abs().max() <= 1e-4 * expected[size].abs().max(), way
    assert len(names) == 1


def test_our_rules_of_renaming_are_those_of_transformers(theirs: tuple[str, Any], tmp_path: Path) -> None:
    from safetensors.torch import load_file

    kind, network = theirs
    network.save_pretrained(tmp_path)
    saved = {name: t for name, t in load_file(tmp_path / "model.safetensors").items() if ".swin.layernorm." not in name}
    own = published(kind, network.state_dict())
    assert own.keys() - saved.keys() == {name for name in own if name.endswith("relative_position_index")}
    assert all(torch.equal(own[name], tensor) for name, tensor in saved.items())


def test_the_way_back_is_a_file_that_transformers_loads(theirs: tuple[str, Any], tmp_path: Path) -> None:
    kind, network = theirs
    network.save_pretrained(tmp_path)
    opened = open_foreign(tmp_path / "model.safetensors")
    written = huggingface.write(opened.segmentor.state_dict(), opened.foreign.model)
    wanted = published(kind, network.state_dict())
    assert written.keys() == wanted.keys()
    assert all(torch.equal(written[name], tensor) for name, tensor in wanted.items())

    (tmp_path / "model.safetensors").unlink()
    torch.save(written, tmp_path / "pytorch_model.bin")
    again, loading = type(network).from_pretrained(tmp_path, output_loading_info=True)
    assert not loading["unexpected_keys"] and not loading["mismatched_keys"]
    assert {name for name in loading["missing_keys"] if not name.startswith("backbone.swin.layernorm.")} == set()
    images = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        assert torch.equal(again.eval()(images).logits, network(images).logits)


def test_the_auxiliary_classifier_reads_the_same_layer() -> None:
    network: Any = randomise(upernet())
    foreign = recognise(network.state_dict(), source="net")
    ours: Any = build_segmentor(foreign.model, num_classes=5)
    ours.load_state_dict(foreign.tensors)
    images = torch.randn(1, 3, 65, 97)
    with torch.inference_mode():
        expected = network.auxiliary_head(network.backbone(images).feature_maps)
        aux = ours.eval().decoder.auxiliary(ours.backbone(images)[ours.decoder.aux_layer])
    assert (aux - expected).abs().max() <= 1e-4 * expected.abs().max()


@pytest.mark.parametrize("network", ["SegFormer, MiT-B0", "SegFormer, MiT-B5", "UPerNet, Swin-T", "UPerNet, Swin-B"])
def test_every_tensor_of_the_published_sizes_has_its_place(network: str) -> None:
    millions = {"SegFormer, MiT-B0": "3.72", "SegFormer, MiT-B5": "84.61"}  # as the authors' own, with 19 classes
    state = on_meta(network, 19)
    foreign = recognise(state, source="net")
    assert foreign.title == f"Hugging Face {network}"
    with torch.device("meta"):
        ours = build_segmentor(foreign.model, num_classes=19)
    report = match(ours, foreign.tensors, source="net", dropped=foreign.dropped)
    assert report.faults == [] and report.matched == len(ours.state_dict())
    if network in millions:
        assert f"{sum(p.numel() for p in ours.parameters()) / 1e6:.2f}" == millions[network]
    written = huggingface.write(ours.state_dict(), foreign.model)
    assert {name: tensor.shape for name, tensor in written.items()} == {name: t.shape for name, t in state.items()}


def test_is_of_this_family_alone(theirs: tuple[str, nn.Module]) -> None:
    kind, network = theirs
    for state in (network.state_dict(), published(kind, network.state_dict())):
        assert [name for name in families.registered() if families.get(name).detect(state)] == ["huggingface"]


def test_conventions_and_protocols_are_those_of_the_registered_files() -> None:
    found = set()
    for kind in ("SegFormer", "UPerNet"):
        for file in registered("huggingface", kind):
            network = ", ".join(file.network.split(", ")[:2])
            if (network, file.num_classes) in found:
                continue  # crops alone are different
            found.add((network, file.num_classes))
            foreign = recognise(on_meta(network, file.num_classes), source="net")
            assert (foreign.title, foreign.num_classes) == (f"Hugging Face {network}", file.num_classes)
            assert foreign.model.align_corners is False and foreign.model.input.channels == "rgb"
            assert foreign.model.backbone.options.get("variant") == ("hf" if kind == "SegFormer" else None)
            assert foreign.model.input.mean == (0.485, 0.456, 0.406) and foreign.model.input.std[0] == 0.229
            assert "to a square, which does not give the published figures" in foreign.notes[-1]
            if file.evaluation is not None:
                spec = EvaluationSpec.model_validate({"data": file.evaluation.data, **foreign.protocol})
                assert spec == file.evaluation, file.name
    assert len(found) == 13


def without(kind: str, pattern: str) -> dict[str, Tensor]:
    state = published(kind, NETWORKS[kind]().state_dict())
    return {name: tensor for name, tensor in state.items() if not re.search(pattern, name)}


@pytest.mark.parametrize(
    ("kind", "pattern", "said"),
    [
        ("segformer", r"block\.2\.0\.attention\.self\.value", r"incomplete: .*2\.0\.attention\.self\.value\.weight"),
        ("segformer", r"decode_head\.classifier", r"incomplete: 'decode_head\.classifier\.weight' is missing"),
        ("segformer", r"encoder\.block\.3", r"incomplete: .*segformer\.encoder\.block\.3"),
        ("segformer", r"layer_norm\.3", r"2 missing tensors, e\.g\. backbone\.norm4"),
        ("upernet", r"layers\.1\.blocks\.1\.attention\.self\.query\.bias", r"incomplete: .*self\.query\.bias"),
        ("upernet", r"backbone\.encoder", "backbone under its UPerNet is not Swin"),
        ("upernet", r"hidden_states_norms\.stage1\.bias", r"1 missing tensor, e\.g\. backbone\.norm0"),
    ],
)
def test_what_is_missing_is_named(kind: str, pattern: str, said: str, tmp_path: Path) -> None:
    torch.save(without(kind, pattern), tmp_path / "model.bin")
    with pytest.raises(InvalidFault, match=said):
        open_foreign(tmp_path / "model.bin")


def test_parts_of_an_attention_that_do_not_fit_together_are_named() -> None:
    state = {n: t[:-1] if "block.1.0.attention.self.key" in n else t for n, t in without("segformer", "^$").items()}
    with pytest.raises(InvalidFault, match=r"key, value of segformer\.encoder\.block\.1\.0\.attention\.self differ"):
        recognise(state, source="net")


def test_an_upernet_on_another_backbone_is_refused() -> None:
    config = transformers.UperNetConfig(
        backbone_config=transformers.ConvNextConfig(
            hidden_sizes=[4, 8, 12, 16], depths=[1, 1, 1, 1], out_features=["stage1", "stage2", "stage3", "stage4"]
        ),
        hidden_size=8, use_auxiliary_head=False,
    )  # fmt: skip
    with torch.device("meta"):
        state = transformers.UperNetForSemanticSegmentation(config).state_dict()
    with pytest.raises(InvalidFault, match="backbone under its UPerNet is not Swin"):
        recognise(state, source="net")


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"backbone": "mit", "decoder": "segformer"}, r"backbone\.variant 'hf' where this network has 'nv'"),
        ({"backbone": {"name": "mit", "variant": "hf", "strides": (4, 2, 2, 1)}, "decoder": "segformer"}, "strides"),
        ({"backbone": "swin", "decoder": "upernet", "align_corners": True}, "align_corners False where"),
        ({"backbone": "swin", "decoder": {"name": "upernet", "bins": (1, 2, 4, 8)}}, r"decoder\.bins"),
        ({"backbone": "mit", "decoder": "upernet"}, "no upernet on mit"),
    ],
)
def test_what_it_would_compute_otherwise_is_not_written(model: dict[str, Any], said: str) -> None:
    spec = ModelSpec.model_validate(model)
    with torch.device("meta"):
        state = build_segmentor(spec, num_classes=3).state_dict()
    with pytest.raises(InvalidFault, match=said):
        huggingface.write(state, spec)
