"""The table of published checkpoints, held against other tables and against rules that its publishers keep to."""

import re
from pathlib import Path, PurePosixPath

import pytest
from torchvision.models import segmentation

from segbench.checkpoints import families
from segbench.checkpoints import published as checkpoints
from segbench.checkpoints.published import PublishedCheckpoint, checkpoint, checkpoint_table, published_for
from segbench.core import registry
from segbench.core.errors import InvalidFault, UsageFault
from segbench.data.classes import class_table, table_names
from segbench.data.facts import facts

TABLE = checkpoint_table()
NAMES = [each.name for each in TABLE]
CLASSES = {"cityscapes": 19, "ade20k": 150, "voc2012": 21, "pascal-context": 59, "coco-stuff-10k": 171}


def test_names_are_unique_and_typeable() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", name) and len(name) <= 50 for name in NAMES)


def test_every_project_is_there_with_all_its_files() -> None:
    counts: dict[str, int] = {}
    for each in TABLE:
        counts[each.project] = counts.get(each.project, 0) + 1
    assert counts == {
        "torchvision": 3,
        "MMSegmentation": 4 + 6 + 2 + 5 + 4 + 1 + 6 + 7,
        "Swin Transformer": 1,
        "Hugging Face, UPerNet": 1,
        "Hugging Face, SegFormer of its authors": 9 + 6,
        "HRNet": 9,
        "ContrastiveSeg": 4,
        "openseg.pytorch": 5,
    }


def test_every_family_is_one_that_reads_checkpoints() -> None:
    not_written_yet = {"huggingface", "swin"}
    assert {each.family for each in TABLE} - set(families.registered()) <= not_written_yet


@pytest.mark.parametrize("each", TABLE, ids=NAMES)
def test_every_entry_is_whole(each: PublishedCheckpoint) -> None:
    assert bool(each.urls) != bool(each.hub)
    assert each.licence and each.network
    assert all(url.startswith("https://") and url.endswith(".pth") for url in each.urls)
    assert not each.hub or re.fullmatch(r"[\w-]+/[\w.-]+", each.hub)
    assert not each.parameters or re.fullmatch(r"[\d,]+|\d+M", each.parameters)
    assert each.classes in table_names()
    assert class_table(each.classes).num_classes == CLASSES[each.classes]
    if each.data == "coco":
        assert each.data not in registry.names("dataset")
    else:
        assert each.classes == facts(each.data).table == each.data
        assert each.split in facts(each.data).splits
    assert (each.sha256_prefix == "") == (each.digest == "none")


@pytest.mark.parametrize("each", TABLE, ids=NAMES)
def test_every_figure_is_a_printed_number_with_its_protocol(each: PublishedCheckpoint) -> None:
    for figure in each.figures:
        assert re.fullmatch(r"\d\d\.\d\d?", figure.value)
        assert 30 < float(figure.value) < 97
        assert figure.protocol.short and figure.protocol.words and figure.source
        spec = figure.evaluation
        if spec is None:
            assert each.data == "coco" and figure.protocol.beyond
            continue
        assert (spec.data.name, spec.data.splits, spec.data.classes) == (each.data, (each.split,), None)
        words = f"{figure.protocol.short} {figure.protocol.words}"
        assert spec.flip == ("mirrored" in words)
        assert (len(spec.scales) > 1) == spec.flip
        assert (spec.mode == "slide") == ("windows" in words or "squar" in words)
        assert [str(side) for side in spec.window or () if str(side) not in words] == []
    assert len({(figure.metric, figure.protocol.short) for figure in each.figures}) == len(each.figures)


def test_several_scales_score_more_than_one() -> None:
    """A slip of the pen in a figure would most likely break the order that every pair of the table shows."""
    pairs = 0
    for each in TABLE:
        single = [float(one.value) for one in each.figures if one.evaluation and len(one.evaluation.scales) == 1]
        many = [float(one.value) for one in each.figures if one.evaluation and len(one.evaluation.scales) > 1]
        if single and many:
            pairs += 1
            # Resizing to a multiple of 32 gave the largest SegFormer of 640 more than many scales without it.
            assert 0.0 < max(many) - min(single) < 3.0, each.name
    assert pairs > 35


def test_larger_networks_and_longer_trainings_score_more() -> None:
    def first(name: str) -> float:
        return float(checkpoint(name).figures[0].value)

    for data in ("cityscapes", "ade20k"):
        sizes = [first(f"mmseg-segformer-b{size}-{data}-160k") for size in range(6)]
        assert sizes[:4] == sorted(sizes[:4]) and sizes[5] == max(sizes)
    lengths = [first(f"mmseg-fcn-hr48-cityscapes-{steps}k") for steps in (40, 80, 160)]
    assert lengths == sorted(lengths)
    assert first("mmseg-pspnet-r50-cityscapes-80k") < first("mmseg-pspnet-r101-cityscapes-80k")
    # Names of official HRNet files carry their own score.
    for each in TABLE:
        if each.project == "HRNet":
            scored = re.search(r"_(\d{4})_", each.file_name)
            assert scored is not None
            assert float(each.figures[0].value) == pytest.approx(int(scored[1]) / 100, abs=0.051)


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("torchvision-deeplabv3-r101-coco", segmentation.DeepLabV3_ResNet101_Weights.DEFAULT),
        ("torchvision-deeplabv3-r50-coco", segmentation.DeepLabV3_ResNet50_Weights.DEFAULT),
        ("torchvision-deeplabv3-mobilenetv3-coco", segmentation.DeepLabV3_MobileNet_V3_Large_Weights.DEFAULT),
    ],
)
def test_torchvision_says_the_same_of_its_own(name: str, weights: segmentation.DeepLabV3_ResNet50_Weights) -> None:
    each = checkpoint(name)
    assert each.urls == (weights.url,)
    assert each.parameters == f"{weights.meta['num_params']:,}"
    assert each.size_mib == weights.meta["_file_size"]
    printed = weights.meta["_metrics"]["COCO-val2017-VOC-labels"]
    assert {figure.metric: float(figure.value) for figure in each.figures} == {
        "miou": printed["miou"],
        "pixel_accuracy": printed["pixel_acc"],
    }
    assert each.digest == "trusted"
    theirs = [entry.lower().replace("__background__", "background") for entry in weights.meta["categories"]]
    ours = [entry.replace(" ", "") for entry in class_table(each.classes).names]
    assert [entry.replace(" ", "") for entry in theirs] == ours


def test_files_of_mmsegmentation_lie_in_folders_named_after_them() -> None:
    """``<address><family>/<stem>/<stem>[_<date>_<time>]-<hash>.pth``, as its publishing tool makes them."""
    found = [each for each in TABLE if each.family == "mmsegmentation"]
    for each in found:
        for url in each.urls:
            path = PurePosixPath(url.removeprefix("https://download.openmmlab.com/mmsegmentation/v0.5/"))
            stem = re.fullmatch(r"(.+?)(?:_20\d{6}_\d{6})?-[0-9a-f]{8}\.pth", path.name)
            assert stem is not None
            assert path.parts[1:] == (stem[1], path.name)
            steps = re.search(r"_(\d+k)_", path.name)
            assert steps is not None and each.name.endswith(f"-{steps[1]}")
            data = {"voc12aug": "voc2012", "context": "pascal-context"}
            wanted = next((ours for theirs, ours in data.items() if theirs in path.name), each.data)
            assert each.data == wanted and (wanted in path.name or wanted in data.values())
        assert each.digest == "doubtful"
    assert len({url for each in TABLE for url in each.urls}) == sum(len(each.urls) for each in TABLE)


def test_a_file_is_known_by_name_by_digest_and_in_the_hubs_cache() -> None:
    psp = checkpoint("mmseg-pspnet-r101-cityscapes-80k")
    assert psp.sha256_prefix == "e1e1100f"
    assert published_for(file_name=f"some/where/{psp.file_name}") is psp
    assert published_for(file_name="renamed.pth", sha256="e1e1100f" + 56 * "0") is psp
    assert published_for(file_name=psp.file_name, sha256=64 * "0") is psp, "newer files were changed after naming"
    assert published_for(file_name="renamed.pth", sha256=64 * "0") is None
    assert published_for(file_name="renamed.pth") is None
    assert published_for() is None
    old = checkpoint("mmseg-ocrnet-r101-cityscapes-40k")
    assert published_for(file_name="ocrnet_r101-d8_512x1024_40k_b8_cityscapes-02ac0f13.pth") is old
    snapshot = Path("hub/models--nvidia--segformer-b2-finetuned-ade-512-512/snapshots/0123/model.safetensors")
    assert published_for(file_name=str(snapshot)) is checkpoint("hf-segformer-b2-ade20k-512")
    assert published_for(file_name="model.safetensors") is None


def test_a_trusted_name_does_not_save_another_file() -> None:
    each = checkpoint("torchvision-deeplabv3-r50-coco")
    assert published_for(file_name=each.file_name, sha256="cd0a2569" + 56 * "0") is each
    assert published_for(file_name=each.file_name, sha256=64 * "0") is None
    assert each.disowns(64 * "0") and not checkpoint("hrnet-hr48-ade20k").disowns(64 * "0")


def test_unknown_names_meet_close_ones() -> None:
    with pytest.raises(UsageFault, match="mmseg-pspnet-r101-cityscapes-80k") as caught:
        checkpoint("mmseg-pspnet-r101-cityscape-80k")
    assert caught.value.next == "segbench weights list"
    with pytest.raises(UsageFault, match=r"'\?' is registered\.$"):
        checkpoint("?")


def test_a_slip_in_the_table_is_named_with_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = Path(checkpoints.__file__).with_name("published.yaml").read_text(encoding="utf-8")
    broken = tmp_path / "published.yaml"
    broken.write_text(text.replace("family: torchvision", "family: torchvison"), encoding="utf-8")
    monkeypatch.setattr(checkpoints, "_TABLE", broken)
    line = text[: text.index("family: torchvision")].count("\n") + 1
    with pytest.raises(
        InvalidFault,
        match=rf"published\.yaml:{line}: groups\.0\.family: no checkpoint family .* Close: torchv",
    ):
        checkpoint_table.__wrapped__()


def test_whose_code_enlarges_logits_twice() -> None:
    """That of MMSegmentation, of those built on it, and of HRNet: to the size that was shown, and to the label's."""
    twice = {"mmsegmentation", "swin", "huggingface", "hrnet"}
    specs = [(each.family, figure.evaluation) for each in checkpoint_table() for figure in each.figures]
    found = {(family, spec.enlarge) for family, spec in specs if spec is not None}
    assert found == {*((family, "twice") for family in twice), ("openseg", "once")}
