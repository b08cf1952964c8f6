"""Published weights: the table, fetching, and strict loading from a local stand-in for a published file."""

import hashlib
from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import load_file, save_file
from torch import nn

from segbench.checkpoints import backbone_weights as weights
from segbench.checkpoints.loading import match
from segbench.core.errors import InvalidFault, MissingFault
from segbench.core.registry import implementation, options_of
from segbench.core.spec import Choice
from segbench.models.backbones.hrnetv2.network import build
from segbench.models.backbones.hrnetv2.options import Options
from segbench.recipe.catalog import default_catalog
from segbench.recipe.resolve import Request, resolve_all
from tests.program import segbench

SMALL = {"width": 16, "modules": [1, 1, 1], "blocks_per_branch": 2, "stage1_blocks": 1, "stage1_width": 32}
CHOICE = Choice(name="hrnetv2", options=SMALL)


def _backbone() -> nn.Module:
    return build(Options.model_validate(SMALL), align_corners=True)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as timm publishes it: the whole classification network."""
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    save_file(timm.create_model("hrnet_w18_small", pretrained=False).state_dict(), path)
    return path


def _serve(monkeypatch: pytest.MonkeyPatch, path: Path) -> list[tuple[str, str]]:
    asked: list[tuple[str, str]] = []

    def download(repo_id: str, filename: str, *, revision: str | None, local_files_only: bool) -> str:
        assert revision is None and not local_files_only
        asked.append((repo_id, filename))
        return str(path)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    return asked


def test_loads_strictly_and_reports(monkeypatch: pytest.MonkeyPatch, published: Path) -> None:
    asked = _serve(monkeypatch, published)
    backbone = _backbone()
    report = weights.load_backbone_weights(backbone, CHOICE, weights="imagenet")
    assert asked == [("timm/hrnet_w18_small.ms_in1k", "model.safetensors")]
    torch.manual_seed(1)
    theirs = timm.create_model("hrnet_w18_small", pretrained=False).state_dict()
    own = backbone.state_dict()
    assert all(torch.equal(own[name], theirs[name]) for name in own)
    assert report is not None
    assert report.matched == len(own)
    assert len(report.dropped) == len(theirs) - len(own)
    assert (report.missing, report.unexpected) == ((), ())
    assert len(report.sha256) == 64


def test_random_loads_nothing() -> None:
    assert weights.load_backbone_weights(_backbone(), CHOICE, weights="random") is None


def test_every_listed_file_fits_the_timm_network_of_its_name() -> None:
    for group in weights._table()["imagenet"]:
        for file in (each for each in group["files"] if "urls" not in each):
            choice = Choice(name=group["backbone"], options=file["options"])
            published = weights.published_weights(choice, weights="imagenet")
            assert published.name == file["name"]
            options = options_of("backbone", choice.name)(**choice.options)
            name = file["name"].removeprefix("timm/")
            assert name in timm.list_pretrained()
            with torch.device("meta"):
                theirs = timm.create_model(name, pretrained=False).state_dict()
                ours = implementation("backbone", choice.name, "network").build(options, align_corners=True)
            state = {published.renamed(key): value for key, value in theirs.items()}
            assert match(ours, state, source=name, drop=published.drop, fresh=published.fresh).faults == []


def test_options_that_change_no_weight_are_free_and_others_are_not() -> None:
    full = weights.published_weights(Choice(name="hrnetv2", options={"bn_momentum": 0.01}), weights="imagenet")
    assert full.name == "timm/hrnet_w48.ms_in1k"
    padded = Choice(name="mobilenetv1", options={"padding": "right-bottom", "bn_eps": 1e-3})
    assert weights.published_weights(padded, weights="imagenet").name.startswith("timm/mobilenetv1_100.")
    with pytest.raises(MissingFault, match="blocks_per_branch 3"):
        weights.published_weights(Choice(name="hrnetv2", options={"blocks_per_branch": 3}), weights="imagenet")
    with pytest.raises(MissingFault, match="No coco weights"):
        weights.published_weights(Choice(name="hrnetv2"), weights="coco")
    with pytest.raises(InvalidFault):
        weights.published_weights(Choice(name="hrnetv2", options={"width": 0}), weights="imagenet")


@pytest.mark.parametrize("offline", [False, True])
def test_unreachable_hub_is_one_line(monkeypatch: pytest.MonkeyPatch, offline: bool) -> None:
    def download(*_: object, **__: object) -> str:
        raise LocalEntryNotFoundError("no\nconnection")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setenv("HF_HUB_OFFLINE", str(int(offline)))
    with pytest.raises(MissingFault) as fault:
        weights.load_backbone_weights(_backbone(), CHOICE, weights="imagenet")
    (line,) = fault.value.faults
    assert "\n" not in line
    assert ("HF_HUB_OFFLINE" in line) == offline
    assert "timm/hrnet_w18_small.ms_in1k" in line
    assert "weights.backbone=random" in fault.value.next


@pytest.mark.parametrize("switch", ["SEGBENCH_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_nobody_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, switch: str) -> None:
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", None)
    monkeypatch.setattr("segbench.checkpoints.backbone_weights.fetch_published", None)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv(switch, "1")
    for published in (weights.PublishedWeights("timm/x"), weights.PublishedWeights("x.pth", urls=("http://x/x.pth",))):
        with pytest.raises(MissingFault, match=rf"{switch} is set.*`segbench weights download {published.name}`"):
            weights.fetch_weights(published)


def test_every_line_of_the_table_is_listed() -> None:
    listed = weights.listed_weights()
    assert {each.weights for each in listed} == set(weights._table())
    for each in listed:
        name = each.published.name
        assert weights.published_weights(each.backbone, weights=each.weights, file=name).name == name


def test_a_recipe_may_name_its_file() -> None:
    """In full, or by what follows the owner; no name takes the first that fits."""
    deep = Choice(name="resnet", options={"depth": 101, "stem": "deep", "output_stride": 8, "bn_eps": 1e-3})
    names = {None: "timm/resnet101s.gluon_in1k", "resnet101s.gluon_in1k": "timm/resnet101s.gluon_in1k"}
    names |= {name: name for name in ("openseg/resnet101-imagenet.pth", "csail/resnet101-imagenet.pth")}
    for file, found in names.items():
        assert weights.published_weights(deep, weights="imagenet", file=file).name == found
    for other in ("resnet50-19c8e357.pth", "imagenet.pth", "none"):  # of another network, half a name, no name
        with pytest.raises(MissingFault, match=rf"{other} .*known: timm/resnet101s.gluon_in1k, openseg/") as fault:
            weights.published_weights(deep, weights="imagenet", file=other)
        assert "--set weights.file=null" in fault.value.next
        assert weights.weights_need(deep, "imagenet", file=other) == (fault.value.faults[0], fault.value.next)


def test_a_cached_file_is_used_without_asking_the_hub(monkeypatch: pytest.MonkeyPatch, published: Path) -> None:
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", None)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda repository, name: str(published))
    assert weights.fetch_weights(weights.PublishedWeights("timm/x", ())) == published


def test_damaged_file(monkeypatch: pytest.MonkeyPatch, published: Path, tmp_path: Path) -> None:
    cut = tmp_path / "model.safetensors"
    cut.write_bytes(published.read_bytes()[:-100])
    _serve(monkeypatch, cut)
    with pytest.raises(InvalidFault, match="damaged"):
        weights.load_backbone_weights(_backbone(), CHOICE, weights="imagenet")


def test_nothing_is_loaded_unless_everything_fits() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    state = {name: tensor + 1 for name, tensor in before.items()}
    wrong = {**state, "extra.weight": torch.zeros(1), "0.bias": torch.zeros(5)}
    del wrong["1.weight"]
    with pytest.raises(InvalidFault) as fault:
        weights.load_strictly(module, wrong, source="file")
    assert len(fault.value.faults) == 3
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_old_files_without_norm_counters_load() -> None:
    module = nn.BatchNorm2d(2)
    nested = nn.Sequential(module)
    state = {name: tensor for name, tensor in nested.state_dict().items() if "num_batches" not in name}
    assert weights.load_strictly(nested, state, source="file").matched == 4


def test_endings_can_be_dropped_and_what_a_file_lacks_can_be_fresh() -> None:
    module = nn.ModuleDict({"old": nn.Linear(2, 2), "new": nn.Linear(2, 2)})
    file = {"old.weight": torch.ones(2, 2), "old.bias": torch.ones(2), "old.index": torch.ones(3)}
    with pytest.raises(InvalidFault) as fault:
        weights.load_strictly(module, file, source="file")
    assert len(fault.value.faults) == 2
    before = module["new"].weight.clone()
    report = weights.load_strictly(module, file, source="file", drop=("*.index",), fresh=("new.",))
    assert (report.matched, report.dropped) == (2, ("old.index",))
    assert module["old"].weight.eq(1).all()
    assert module["new"].weight.equal(before)
    with pytest.raises(InvalidFault, match="missing"):
        weights.load_strictly(module, file, source="file", drop=("*.index", "old.bias"), fresh=("new.",))


def test_names_of_a_file_become_those_of_the_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Swin: timm has a stage's patch merging at the beginning of the next stage."""
    choice = Choice(name="swin", options={"drop_path": 0.0})
    with torch.device("meta"):
        theirs = timm.create_model("swin_tiny_patch4_window7_224", pretrained=False).state_dict()
    state = {name: torch.full(tensor.shape, 0.1) for name, tensor in theirs.items()}
    state["layers.2.downsample.norm.bias"].fill_(0.7)
    state["layers.0.blocks.1.attn.relative_position_index"] = torch.zeros(49, 49, dtype=torch.long)
    save_file(state, tmp_path / "model.safetensors")
    _serve(monkeypatch, tmp_path / "model.safetensors")
    swin = implementation("backbone", "swin", "network").build(options_of("backbone", "swin")(), align_corners=False)
    report = weights.load_backbone_weights(swin, choice, weights="imagenet")
    assert report is not None
    assert {name.split(".")[0] for name in report.dropped} == {"norm", "head", "layers"}
    own = swin.state_dict()
    assert own["layers.1.downsample.norm.bias"].eq(0.7).all()
    assert own["layers.0.downsample.norm.bias"].eq(0.1).all()
    assert own["norm2.weight"].eq(1).all()
    assert report.matched == len(own) - 8


def test_every_recipe_starts_from_its_file_or_says_that_it_cannot() -> None:
    """TF-Slim's checkpoint and PSPNet's own file are named by their recipes and cannot be had."""
    catalog = default_catalog()
    rows = [row for table in catalog.tables for row in resolve_all(catalog, table, Request())]
    stages = [stage for row in rows if row.published.training is not None for stage in row.published.training.stages]
    unknown = set()
    for stage in (each for each in stages if each.weights.backbone != "random"):
        file = stage.weights.file
        try:
            found = weights.published_weights(stage.model.backbone, weights=stage.weights.backbone, file=file)
        except MissingFault:
            unknown.add(file)
        else:
            assert file in (None, found.name) or found.name.endswith(f"/{file}")
    assert unknown == {"resnet_v1_101.ckpt", "resnet101_v2.pth"}


def test_a_file_that_a_user_brings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """timm's own names are taken, classifier and all; the copy is found afterwards, and a wrong file is refused."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("segbench.checkpoints.hub.cached", lambda *_: None)
    name = "timm/tf_efficientnet_lite0.in1k"
    file = tmp_path / "brought.safetensors"
    save_file(timm.create_model("tf_efficientnet_lite0", pretrained=False).state_dict(), file)
    done = segbench("weights", "download", name, "--from", file)
    assert done.code == 0, done
    (copy,) = (tmp_path / "torch" / "hub" / "checkpoints").iterdir()
    assert copy.read_bytes() == file.read_bytes() and copy.suffix == ".safetensors"
    choice = Choice(name="efficientnet-lite0")
    network = implementation("backbone", choice.name, "network").build(
        options_of("backbone", choice.name)(), align_corners=False
    )
    report = weights.load_backbone_weights(network, choice, weights="imagenet")
    assert report is not None and report.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert torch.equal(network.state_dict()["conv_stem.weight"], load_file(file)["conv_stem.weight"])

    other = segbench("weights", "download", "timm/mobilenetv2_100.ra_in1k", "--from", file)
    assert "unexpected tensor" in other.fails(4)
    assert "There is no file" in segbench("weights", "download", name, "--from", tmp_path / "no.pth").fails(3)
    assert "of one backbone" in segbench("weights", "download", name, "timm/xception71.tf_in1k", "--from", file).fails(
        2
    )
    checkpoint = "mmseg-pspnet-r101-cityscapes-80k"
    assert "eval --checkpoint" in segbench("weights", "download", checkpoint, "--from", file).fails(2)
    coco = segbench("weights", "download", "resnet101COCO-41f33a49.pth", "--from", file)
    assert "its SHA-256 begins" in coco.fails(4)
