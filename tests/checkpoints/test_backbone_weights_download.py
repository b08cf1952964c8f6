"""Weights that lie at an address of their own: SemiSeg-Contrastive's COCO file, with a server of this machine."""

import hashlib
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from segbench.checkpoints import backbone_weights as weights
from segbench.core.errors import InvalidFault, MissingFault
from segbench.core.registry import implementation, options_of
from segbench.core.spec import Choice
from segbench.models.backbones.resnet.network import build
from segbench.models.backbones.resnet.options import Options
from tests.file_server import FileServer, serving

FILE = "resnet101COCO-41f33a49.pth"
ROW = {
    "depth": 101, "stem": "conv7x7", "output_stride": 8, "dilation": "full", "ceil_mode": True, "stride_in": "conv1",
    "frozen_norm": True,
}  # fmt: skip
TINY = Options.model_validate({**ROW, "width": 0.0625, "blocks": (1, 1, 1, 1)})


@pytest.fixture
def server() -> Iterator[FileServer]:
    server = FileServer()
    with serving(server):
        yield server


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path / "hub" / "checkpoints"


def _published() -> weights.PublishedWeights:
    return weights.published_weights(Choice(name="resnet", options=ROW), weights="coco")


def _file(*, zipped: bool) -> bytes:
    """A small network's tensors as that project published them, without counters and with the classifier of VOC."""
    torch.manual_seed(3)
    state = build(TINY, align_corners=True).state_dict()
    state = {name: torch.randn_like(tensor) for name, tensor in state.items() if "num_batches" not in name}
    for branch in range(4):
        state[f"layer5.conv2d_list.{branch}.weight"] = torch.zeros(21, 128, 3, 3)
        state[f"layer5.conv2d_list.{branch}.bias"] = torch.zeros(21)
    buffer = io.BytesIO()
    torch.save(state, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def _serve(monkeypatch: pytest.MonkeyPatch, server: FileServer, content: bytes, *, sha256: str) -> None:
    """Let the table's file lie on this server."""
    server.files[FILE] = content
    published = replace(_published(), urls=(f"{server.site}/{FILE}",), sha256=sha256)
    monkeypatch.setattr(weights, "published_weights", lambda choice, *, weights, file=None: published)


def test_the_rows_network_has_a_coco_file_and_others_have_none() -> None:
    assert _published().name == FILE
    assert FILE.removesuffix(".pth").endswith(_published().sha256)
    for other in ({"ceil_mode": False}, {"stride_in": "conv2"}, {"depth": 50}, {"output_stride": 16}):
        with pytest.raises(MissingFault, match="No coco weights"):
            weights.published_weights(Choice(name="resnet", options={**ROW, **other}), weights="coco")


def test_the_whole_network_has_the_files_number_of_tensors() -> None:
    """520 of the file's 528 are the encoder's."""
    with torch.device("meta"):
        options = options_of("backbone", "resnet").model_validate(ROW)
        state = implementation("backbone", "resnet", "network").build(options, align_corners=True).state_dict()
    assert sum("num_batches" not in name for name in state) == 520


@pytest.mark.parametrize("zipped", [False, True])
def test_is_fetched_checked_and_loaded_without_the_classifier(
    monkeypatch: pytest.MonkeyPatch, server: FileServer, folder: Path, zipped: bool
) -> None:
    content = _file(zipped=zipped)
    digest = hashlib.sha256(content).hexdigest()
    _serve(monkeypatch, server, content, sha256=digest[:8])
    network = build(TINY, align_corners=True)
    for _ in range(2):  # the second time it is there
        report = weights.load_backbone_weights(network, Choice(name="resnet", options=ROW), weights="coco")
        assert report is not None
        assert (report.sha256, report.source, len(report.dropped)) == (digest, FILE, 8)
    assert len(server.paths) == 1
    assert (folder / FILE).read_bytes() == content
    theirs = torch.load(io.BytesIO(content), weights_only=True)
    own = network.state_dict()
    assert all(torch.equal(own[name], tensor) for name, tensor in theirs.items() if not name.startswith("layer5."))


def test_another_file_is_refused(monkeypatch: pytest.MonkeyPatch, server: FileServer, folder: Path) -> None:
    _serve(monkeypatch, server, _file(zipped=True), sha256="41f33a49")
    with pytest.raises(MissingFault, match="published begins with 41f33a49: it was removed") as fault:
        weights.fetch_weights(weights.published_weights(Choice(name="resnet"), weights="coco"))
    assert "weights.backbone=random" in fault.value.next
    assert not (folder / FILE).exists()


def test_unreachable_server_is_said_with_the_place_for_a_copy(
    monkeypatch: pytest.MonkeyPatch, server: FileServer, folder: Path
) -> None:
    content = _file(zipped=True)
    _serve(monkeypatch, server, content, sha256=hashlib.sha256(content).hexdigest()[:8])
    server.missing = {FILE}
    choice = Choice(name="resnet")
    with pytest.raises(MissingFault) as fault:
        weights.fetch_weights(weights.published_weights(choice, weights="coco"))
    assert "not been reachable" in fault.value.faults[-1]
    assert str(folder / FILE) in fault.value.faults[-2]
    assert not any("\n" in line for line in fault.value.faults)
    assert "if possible" in weights.weights_need(choice, "coco").what
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_bytes(content)
    assert weights.weights_need(choice, "coco") is None
    assert weights.fetch_weights(weights.published_weights(choice, weights="coco")) == folder / FILE


@pytest.mark.parametrize("inside", ["", "resinit.", "module."])
@pytest.mark.parametrize("owner", ["openseg", "csail"])
def test_deep_stems_of_others_find_their_places(
    monkeypatch: pytest.MonkeyPatch, server: FileServer, folder: Path, owner: str, inside: str
) -> None:
    """The three convolutions and norms of the stem under the names of those projects, written out."""
    options = Options(depth=101, stem="deep", width=0.0625, blocks=(1, 1, 1, 1))
    network = build(options, align_corners=True)
    torch.manual_seed(4)
    stem = {
        "conv1.weight": "conv1.0.weight", "conv2.weight": "conv1.3.weight", "conv3.weight": "conv1.6.weight",
    } | {
        f"{theirs}.{part}": f"{ours}.{part}"
        for theirs, ours in (("bn1", "conv1.1"), ("bn2", "conv1.4"), ("bn3", "bn1"))
        for part in ("weight", "bias", "running_mean", "running_var")
    }  # fmt: skip
    wanted = {name: torch.randn_like(each) for name, each in network.state_dict().items() if "num_batches" not in name}
    theirs = {f"{inside}{name}": wanted[ours] for name, ours in stem.items()}
    around = inside if inside == "module." else ""
    theirs |= {f"{around}{name}": each for name, each in wanted.items() if name.startswith("layer")}
    theirs[f"{around}fc.weight"] = torch.zeros(1000, 128)
    assert len(theirs) == len(wanted) + 1
    buffer = io.BytesIO()
    torch.save(theirs, buffer)
    file = f"{owner}/resnet101-imagenet.pth"
    choice = Choice(name="resnet", options={"depth": 101, "stem": "deep"})
    published = weights.published_weights(choice, weights="imagenet", file=file)
    server.files["file.pth"] = buffer.getvalue()
    served = replace(published, urls=(f"{server.site}/file.pth",))
    monkeypatch.setattr(weights, "published_weights", lambda choice, *, weights, file=None: served)
    report = weights.load_backbone_weights(network, choice, weights="imagenet", file=file)
    assert report is not None and len(report.dropped) == 1
    own = network.state_dict()
    assert all(torch.equal(own[name], tensor) for name, tensor in wanted.items())
    assert (folder / file).is_file()


def test_the_classifier_of_voc_is_taken_too_where_it_is_wanted(
    server: FileServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows on VOC copy the 8 tensors of the classifier, rows on Cityscapes none."""
    _serve(monkeypatch, server, _file(zipped=True), sha256="")
    choice = Choice(name="resnet", options=ROW)
    options = options_of("decoder", "deeplabv2")()
    for wanted in (False, True):
        backbone = build(TINY, align_corners=True)
        decoder = implementation("decoder", "deeplabv2", "network").build(
            options, backbone=backbone, num_classes=21, align_corners=True
        )
        assert len(decoder.state_dict()) == 8
        given = decoder if wanted else None
        report = weights.load_backbone_weights(backbone, choice, weights="coco", decoder=given)
        assert report is not None and not report.missing
        assert all(not tensor.any() for tensor in decoder.state_dict().values()) == wanted
    other = implementation("decoder", "deeplabv2", "network").build(
        options, backbone=backbone, num_classes=19, align_corners=True
    )
    with pytest.raises(InvalidFault, match="classifier"):
        weights.load_backbone_weights(backbone, choice, weights="coco", decoder=other)


def test_the_published_file_has_520_tensors_of_the_network_and_8_of_its_classifier() -> None:
    """104 convolutions with four tensors of their normalisation each; counters of batches are younger than the file."""
    with torch.device("meta"):
        network = build(Options.model_validate(ROW), align_corners=True)
    names = [name for name in network.state_dict() if "num_batches" not in name]
    assert len(names) == 520
