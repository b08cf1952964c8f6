"""SegFormer's heads against Hugging Face's network and the written formulas, and whole networks' published cost."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segbench.core.spec import ModelSpec
from segbench.metrics.cost import count_cost
from segbench.models.decoders.segformer.network import SegFormer
from segbench.models.labels import model_label
from segbench.models.segmentor import Segmentor, build_segmentor
from tests.models import hf_names
from tests.models.random_weights import randomise

MIT = {"name": "mit", "widths": (8, 16, 24, 32), "depths": (1, 2, 1, 2), "heads": (1, 2, 3, 4), "drop_path": 0.0}
WIDTH = 6


def _network(*, backbone: dict[str, object] | None = None, align_corners: bool = False, **decoder: object) -> Segmentor:
    spec = {
        "backbone": {**MIT, **(backbone or {})},
        "decoder": {"name": "segformer", "channels": WIDTH, **decoder},
        "align_corners": align_corners,
    }
    return build_segmentor(ModelSpec.model_validate(spec), num_classes=5)


def test_logits_are_those_of_hugging_face() -> None:
    transformers = pytest.importorskip("transformers", minversion="5.23")
    config = transformers.SegformerConfig(
        hidden_sizes=[8, 16, 24, 32],
        depths=[1, 2, 1, 2],
        num_attention_heads=[1, 2, 3, 4],
        decoder_hidden_size=WIDTH,
        num_labels=5,
    )
    theirs = randomise(transformers.SegformerForSemanticSegmentation(config))
    ours = _network(backbone={"variant": "hf"}).eval()
    ours.load_state_dict(hf_names.segformer(theirs.state_dict()), strict=True)
    for size in ((129, 257), (90, 120), (32, 32)):
        images = torch.randn(1, 3, *size)
        with torch.no_grad():
            expected, got = theirs(images).logits, ours(images).logits
        assert got.shape == expected.shape
        assert (got - expected).abs().max() <= 1e-4 * expected.abs().max()


def _norm(x: Tensor, norm: nn.Module) -> Tensor:
    scale = norm.weight / (norm.running_var + 1e-5).sqrt()
    return (x - norm.running_mean[:, None, None]) * scale[:, None, None] + norm.bias[:, None, None]


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("variant", ["nv", "mmseg", "cfn"])
def test_heads_are_the_written_formulas(variant: str, align_corners: bool) -> None:
    """Coarsest first, but finest first in mmsegmentation; CFN resizes before it projects, with corners aligned."""
    network = randomise(_network(variant=variant, align_corners=align_corners)).double()
    decoder = network.decoder
    assert isinstance(decoder, SegFormer)
    corners = align_corners or variant == "cfn"
    with torch.no_grad():
        output = network(torch.randn(1, 3, 64, 96, dtype=torch.float64))
        maps = []
        for x, project in zip(output.layers, decoder.projections, strict=True):
            if variant == "mmseg":
                x = _norm(F.conv2d(x, project.conv.weight), project.norm).clamp(min=0)
            elif variant == "nv":
                x = F.conv2d(x, project.weight, project.bias)
            x = F.interpolate(x, (16, 24), mode="bilinear", align_corners=corners)
            maps.append(F.conv2d(x, project.weight, project.bias) if variant == "cfn" else x)
        x = F.conv2d(torch.cat(maps if variant == "mmseg" else maps[::-1], 1), decoder.fuse.conv.weight)
        norm = decoder.fuse.norm
        x = _norm(x.clamp(min=0), norm) if variant == "cfn" else _norm(x, norm).clamp(min=0)
    torch.testing.assert_close(output.embedding, x)
    torch.testing.assert_close(output.logits, F.conv2d(x, decoder.classifier.weight, decoder.classifier.bias))


@pytest.mark.parametrize("variant", ["nv", "mmseg", "cfn"])
def test_output_contract(variant: str) -> None:
    network = _network(backbone={"variant": "nv" if variant == "mmseg" else variant}, variant=variant)
    images = torch.randn(2, 3, 45, 61)
    output = network.eval()(images)
    assert output.logits.shape == (2, 5, 12, 16)
    assert output.embedding.shape == (2, WIDTH, 12, 16)
    assert output.aux == {}
    assert torch.equal(output.logits, network(images).logits)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        trained = network.train()(torch.randn(2, 3, 90, 120))
    (trained.logits * torch.randn_like(trained.logits)).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


def test_dropout_is_a_tenth_of_the_channels_but_none_of_cfn() -> None:
    for variant, probability in (("nv", 0.1), ("mmseg", 0.1), ("cfn", None)):
        found = [m.p for m in _network(variant=variant).decoder.modules() if isinstance(m, nn.Dropout2d)]
        assert found == ([] if probability is None else [probability])
    (module,) = [m for m in _network(variant="cfn", dropout=0.3).decoder.modules() if isinstance(m, nn.Dropout2d)]
    assert module.p == 0.3


def test_initial_weights() -> None:
    torch.manual_seed(0)
    for variant in ("nv", "mmseg", "cfn"):
        decoder = _network(variant=variant, channels=64).decoder
        assert isinstance(decoder, SegFormer)
        fuse, uniform = decoder.fuse.get_submodule("conv").weight, (1 / (3 * 4 * 64)) ** 0.5
        assert fuse.std().item() == pytest.approx(uniform if variant == "cfn" else (2 / 64) ** 0.5, rel=0.1)
        classifier = 0.01 if variant == "mmseg" else (1 / (3 * 64)) ** 0.5
        assert decoder.classifier.weight.std().item() == pytest.approx(classifier, rel=0.1)


@pytest.mark.parametrize(
    ("size", "millions", "giga"),
    [
        ("b0", "3.72", {(512, 512): "7.8", (1024, 1024): "43.8", (1024, 2048): "121.0"}),
        ("b1", "13.68", {(512, 512): "15.3"}),
        ("b2", "27.36", {(512, 512): "60.7"}),
        ("b3", "47.24", {(512, 512): "77.3"}),
        ("b4", "64.01", {(512, 512): "93.9"}),
        ("b5", "84.61", {(512, 512): "109.9"}),
    ],
)
def test_cost_is_that_measured_on_the_authors_code(size: str, millions: str, giga: dict[tuple[int, int], str]) -> None:
    decoder = {"name": "segformer", "channels": 256 if size in ("b0", "b1") else 768}
    spec = ModelSpec.model_validate({"backbone": {"name": "mit", "size": size}, "decoder": decoder})
    with torch.device("meta"):
        network = build_segmentor(spec, num_classes=19)
    for image, expected in giga.items():
        cost = count_cost(network, image)
        assert f"{cost.parameters / 1e6:.2f}" == millions
        assert f"{cost.flops / 2e9:.1f}" == expected


def test_parameters_of_cfn_are_those_of_its_code() -> None:
    """The student as counted on the public code, 17.8 M, and the encoder's share of it."""
    decoder = {"name": "segformer", "variant": "cfn"}
    spec = ModelSpec.model_validate({"backbone": {"name": "mit", "variant": "cfn"}, "decoder": decoder})
    with torch.device("meta"):
        network = build_segmentor(spec, num_classes=20)
    assert sum(p.numel() for p in network.parameters()) == 17_787_796
    assert sum(p.numel() for p in network.backbone.parameters()) == 17_273_216


def test_mmsegmentations_head_has_norms_instead_of_biases() -> None:
    """Per layer c x 256 and 2 x 256; 1024 x 256 and 2 x 256; 256 x 19 and 19."""
    spec = {"backbone": {"name": "mit", "size": "b5", "variant": "mmseg"}}
    with torch.device("meta"):
        network = build_segmentor(
            ModelSpec.model_validate({**spec, "decoder": {"name": "segformer", "variant": "mmseg"}}), num_classes=19
        )
    head = sum(c * 256 + 512 for c in (64, 128, 320, 512)) + 1024 * 256 + 512 + 256 * 19 + 19
    assert sum(p.numel() for p in network.decoder.parameters()) == head


def test_labels() -> None:
    def label(backbone: object, decoder: object) -> str:
        return model_label(ModelSpec.model_validate({"backbone": backbone, "decoder": decoder}))

    assert label({"name": "mit", "size": "b2"}, {"name": "segformer", "channels": 768}) == "MiT-B2 (SegFormer)"
    cfn = {"variant": "cfn"}
    assert label({"name": "mit", **cfn}, {"name": "segformer", **cfn}) == "MiT-CFN (SegFormer, cfn)"


def test_compiles_to_one_graph() -> None:
    network = _network(backbone={"variant": "cfn"}, variant="cfn").eval()
    images = torch.randn(1, 3, 45, 61)
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(images).logits, network(images).logits)
