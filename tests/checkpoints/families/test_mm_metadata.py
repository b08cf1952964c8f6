"""What a file's own configuration settles, written as MMSegmentation's programs write it, and texts that are none."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from segbench.checkpoints.family import ForeignCheckpoint
from segbench.checkpoints.layouts.config_text import lookup, parse_config
from segbench.checkpoints.open import open_foreign
from segbench.checkpoints.recognise import recognise
from segbench.checkpoints.unwrap import read_contents
from segbench.core.errors import InvalidFault
from segbench.core.spec import DataSpec, EvaluationSpec, InputSpec
from segbench.models.segmentor import build_segmentor
from tests.checkpoints.families import mmseg_like as mm
from tests.checkpoints.families.registered import registered
from tests.models.random_weights import randomise

# As `Config.pretty_text` of versions 0.x prints it, but for what is of no concern here.
OLD = """
norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    type='EncoderDecoder',
    pretrained='open-mmlab://resnet101_v1c',
    backbone=dict(
        type='ResNetV1c', depth=101, num_stages=4, out_indices=(0, 1, 2, 3),
        dilations=({dilations}), strides=({strides}), norm_eval=False, style='{style}', contract_dilation={contract}),
    decode_head=dict(
        type='{head}', in_channels=2048, {more}, num_classes=19, align_corners={align},
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)),
    auxiliary_head=dict(type='FCNHead', align_corners={align}),
    train_cfg=dict(),
    test_cfg=dict({test}))
dataset_type = '{data}'
img_norm_cfg = dict(
    mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb={rgb})
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='MultiScaleFlipAug', img_scale=({scale}), flip=False,
        transforms=[
            dict(type='Resize', keep_ratio=True),
            dict(type='RandomFlip'),
            dict(type='Normalize', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb={rgb}),
            dict(type='ImageToTensor', keys=['img']),
            dict(type='Collect', keys=['img'])
        ])
]
"""
# Versions 1.x.
NEW = """
crop_size = (512, 512)
data_preprocessor = dict(bgr_to_rgb=True, mean=[123.675, 116.28, 103.53], pad_val=0, size=(512, 512),
    std=[58.395, 57.12, 57.375], type='SegDataPreProcessor')
dataset_type = 'ADE20KDataset'
model = dict(
    backbone=dict(contract_dilation=True, depth=50, dilations=(1, 1, 2, 4), strides=(1, 2, 1, 1), type='ResNetV1c'),
    decode_head=dict(align_corners=False, pool_scales=(1, 2, 3, 6), type='PSPHead'),
    test_cfg=dict(mode='whole'), train_cfg=dict(), type='EncoderDecoder')
test_cfg = dict(type='TestLoop')
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(keep_ratio=True, scale=(2048, 512), type='Resize'),
    dict(reduce_zero_label=True, type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
"""
USUAL = {
    "dilations": "1, 1, 2, 4", "strides": "1, 2, 1, 1", "style": "pytorch", "contract": "True", "head": "PSPHead",
    "more": "pool_scales=(1, 2, 3, 6)", "align": "False", "test": "mode='whole'", "data": "CityscapesDataset",
    "rgb": "True", "scale": "2048, 1024",
}  # fmt: skip


def old(**changes: str) -> str:
    return OLD.format(**{**USUAL, **changes})


def pspnet(classes: int = 19) -> dict[str, Tensor]:
    with torch.device("meta"):
        return mm.pspnet(mm.ResNet((1, 2, 2, 1), width=8), classes, channels=12, aux=6).state_dict()


def deeplabv3() -> dict[str, Tensor]:
    with torch.device("meta"):
        return mm.deeplabv3(mm.ResNet((1, 2, 2, 1), width=8), 19, channels=12, aux=6).state_dict()


def read(text: str, state: dict[str, Tensor] | None = None, **more: Any) -> ForeignCheckpoint:
    return recognise(
        pspnet() if state is None else state, source="net.pth", metadata={"meta": {"config": text, **more}}
    )


def test_what_the_reader_assumes_is_what_the_usual_configuration_states() -> None:
    unsaid, said = recognise(pspnet(), source="net.pth"), read(old())
    assert said.model == unsaid.model and said.protocol == unsaid.protocol
    assert "769x769" in unsaid.notes[-1] and "It scores whole images" in unsaid.notes[0]
    assert said.notes == ("Input, corners, strides, grids and scoring are as the configuration in the file states.",)


def test_what_the_files_of_other_crops_state() -> None:
    """Those of 769 differ by what the note of files without words warns of."""
    foreign = read(old(align="True", test="mode='slide', crop_size=(769, 769), stride=(513, 513)"))
    assert foreign.model.align_corners is True
    wanted = {"mode": "slide", "window": (769, 769), "stride": (513, 513), "enlarge": "twice"}
    assert foreign.protocol == wanted
    assert EvaluationSpec.model_validate({"data": DataSpec(name="cityscapes"), **foreign.protocol}).window == (769, 769)


def test_strides_dilations_and_rates_that_shapes_do_not_show() -> None:
    d16 = {"dilations": "1, 1, 1, 2", "strides": "1, 2, 2, 1"}
    assert read(old(**d16)).model.backbone.options["output_stride"] == 16
    assert "dilation" not in read(old(**d16)).model.backbone.options
    assert read(old(**d16, contract="False")).model.backbone.options["dilation"] == "full"
    assert read(old(style="caffe")).model.backbone.options["stride_in"] == "conv1"
    assert read(old(dilations="1, 1, 1, 1", strides="1, 2, 2, 2")).model.backbone.options["output_stride"] == 32
    head = {"head": "ASPPHead", "more": "dilations=(1, 6, 12, 18)"}
    assert read(old(**d16, **head), deeplabv3()).model.decoder.options["rates"] == (6, 12, 18)
    usual = read(old(head="ASPPHead", more="dilations=(1, 12, 24, 36)"), deeplabv3())
    assert usual.model == recognise(deeplabv3(), source="net.pth").model
    assert read(old(more="pool_scales=(1, 2, 4, 8)")).model.decoder.options["bins"] == (1, 2, 4, 8)


def test_a_network_of_stride_16_computes_what_it_does_there(tmp_path: Path) -> None:
    """With the strides and dilations of ``d16`` its answers are those; with those of ``d8`` they are not."""
    theirs = randomise(mm.pspnet(mm.ResNet((1, 2, 2, 2), width=8), 19, channels=12))
    for stage, rate in ((3, 1), (4, 2)):
        for number, block in enumerate(getattr(theirs.backbone, f"layer{stage}")):
            stride = 2 if (stage, number) == (3, 0) else 1
            own = max(1, rate // 2) if number == 0 else rate
            block.conv2.stride, block.conv2.padding, block.conv2.dilation = (stride,) * 2, (own,) * 2, (own,) * 2
            if number == 0:
                block.downsample[0].stride = (stride, stride)
    answers = {}
    image = torch.randn(1, 3, 97, 129, generator=torch.Generator().manual_seed(3))
    for name, meta in {"said": {"config": old(dilations="1, 1, 1, 2", strides="1, 2, 2, 1")}, "silent": {}}.items():
        torch.save({"meta": meta, "state_dict": theirs.state_dict()}, tmp_path / f"{name}.pth")
        with torch.inference_mode():
            answers[name] = open_foreign(tmp_path / f"{name}.pth").segmentor(image).logits
    with torch.inference_mode():
        wanted = theirs.eval()(image)
    assert answers["said"].shape == wanted.shape != answers["silent"].shape
    assert (answers["said"] - wanted).abs().max() <= 1e-4 * wanted.abs().max()
    enlarged = F.interpolate(wanted, answers["silent"].shape[2:], mode="bilinear")
    assert (answers["silent"] - enlarged).abs().max() > 1e-2 * wanted.abs().max()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"style": "pytorch', multi_grid=(1, 2, 4), x='"}, r"multi_grid \(1, 2, 4\)"),
        ({"dilations": "1, 2, 4, 8", "strides": "1, 1, 1, 1"}, r"strides \(1, 1, 1, 1\) and dilations \(1, 2, 4, 8\)"),
        ({"more": "pool_scales=(1, 2, 3)"}, r"its head pool_scales \(1, 2, 3\)"),
        ({"more": "pool_scales='all'"}, "its head pool_scales all"),
    ],
)
def test_a_network_that_would_compute_something_else_is_refused(changes: dict[str, str], says: str) -> None:
    with pytest.raises(InvalidFault, match=f"The configuration in the file gives .*{says}") as caught:
        read(old(**changes))
    assert len(caught.value.faults) == 1 and "--model" in caught.value.next


def test_what_is_fed() -> None:
    assert read(old()).model.input == InputSpec()
    assert read(old(rgb="False")).model.input.channels == "bgr"
    halves = old().replace("mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]", "mean=[127.5]*3")
    assert read(halves).model.input == InputSpec(), "what is no plain data is unsaid"
    other = old().replace("[58.395, 57.12, 57.375]", "[127.5, 127.5, 51.0]")
    assert read(other).model.input.std == (0.5, 0.5, 0.2)
    for bad in ("[58.395, 57.12]", "[58.395, 0.0, 57.375]", "['a', 'b', 'c']", "None", "[True, 1.0, 1.0]"):
        assert read(old().replace("[58.395, 57.12, 57.375]", bad)).model.input == InputSpec()


def test_both_generations_and_the_registered_protocols() -> None:
    """Sizes of the test's pipeline are those of the published figures' protocols."""
    protocols = {
        (file.name, file.num_classes): file.evaluation
        for file in registered("mmsegmentation", "PSPNet")
        if file.evaluation is not None
    }
    assert len({classes for _, classes in protocols}) == 2
    for (name, classes), spec in protocols.items():
        text = old() if classes == 19 else old(data="ADE20KDataset", scale="2048, 512")
        for each in (text, NEW) if classes == 150 else (text,):
            for key in ("config", "cfg"):
                foreign = recognise(pspnet(classes), source="net.pth", metadata={"meta": {key: each}})
                assert EvaluationSpec.model_validate({"data": spec.data, **foreign.protocol}) == spec, name
    context = read(old(data="X", scale="520, 520", test="mode='slide', crop_size=(480, 480), stride=(320, 320)"))
    (file,) = (each for each in registered("mmsegmentation", "FCN") if "pascal" in each.name)
    assert file.evaluation is not None
    assert EvaluationSpec.model_validate({"data": file.evaluation.data, **context.protocol}) == file.evaluation


@pytest.mark.parametrize(
    "change",
    [
        ("keep_ratio=True", "keep_ratio=False"),
        ("mode='whole'", "mode='other'"),
        ("mode='whole'", "mode='slide', crop_size=(769, 769), stride=(1000, 1000)"),
        ("mode='whole'", "mode='slide', crop_size=769, stride=513"),
        ("img_scale=(2048, 1024)", "img_scale=[(2048, 1024), (1024, 512)]"),
        ("img_scale=(2048, 1024)", "img_scale=(2048, 0)"),
        ("test_pipeline", "pipeline_of_tests"),
    ],
)
def test_a_scoring_that_is_half_said_or_cannot_be_said_stays_assumed(change: tuple[str, str]) -> None:
    foreign = read(old().replace(*change))
    assert foreign.protocol == recognise(pspnet(), source="net.pth").protocol
    assert "It scores whole images" in foreign.notes[0] and "scoring" not in foreign.notes[-1]


def test_names_of_classes_are_handed_on() -> None:
    names = [f"class {number}" for number in range(19)]
    for meta in ({"CLASSES": names}, {"CLASSES": tuple(names)}, {"dataset_meta": {"classes": names, "palette": [[0]]}}):
        assert recognise(pspnet(), source="net.pth", metadata={"meta": meta}).classes == tuple(names)
    for meta in ({"CLASSES": names[1:]}, {"CLASSES": [*names[1:], 7]}, {"CLASSES": "road"}, {"dataset_meta": 3}):
        assert recognise(pspnet(), source="net.pth", metadata={"meta": meta}).classes == ()


NO_CONFIGURATIONS = {
    "nothing": "",
    "not even text": 17,
    "prose": "This is PSPNet.",
    "half of one": old()[:700],
    "a null byte": "model = 1\0",
    "brackets without end": "model = " + "(" * 100_000,
    "a tower": "model = " + "-" * 50_000 + "1",
    "a huge one": "#" * (1 << 21),
    "code alone": "import os\nos.system('false')\nmodel = build()\n[model for model in range(3)]",
}


@pytest.mark.parametrize("what", NO_CONFIGURATIONS)
def test_texts_that_are_no_configuration_state_nothing(what: str, recwarn: pytest.WarningsRecorder) -> None:
    unsaid = recognise(pspnet(), source="net.pth")
    found = recognise(pspnet(), source="net.pth", metadata={"meta": {"config": NO_CONFIGURATIONS[what]}})
    assert found == type(found)(**{**vars(unsaid), "tensors": found.tensors})
    assert not recwarn.list


def test_nothing_of_a_text_is_executed(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    call = f"__import__('pathlib').Path({str(sprung)!r}).touch()"
    text = f"a = {call}\nb = dict(c={call}, d=3, **dict(e={call}))\nf = [{call}, 1]\n{call}\n"
    assert parse_config(text) == {"b": {"d": 3}, "f": [None, 1]}
    assert not sprung.exists()
    exec(text)
    assert sprung.exists(), "the trap is one"


def test_values_of_a_text() -> None:
    text = "x = dict(a=-1, b={'c': (1, 2.5), 3: 4}, d=None)\ny = dict(x=x, z=unknown)\nw = (x)\n'''words'''"
    found = parse_config(text)
    assert found == {"x": {"a": -1, "b": {"c": (1, 2.5)}, "d": None}, "y": {"x": found["x"]}, "w": found["x"]}
    assert lookup(found, "y.x.b.c.1") == 2.5 and lookup(found, "y.x.b.c.-2") == 1
    for path in ("y.x.b.c.7", "y.q", "x.a.b", "x.d.e"):
        assert lookup(found, path) is None


def test_only_plain_data_is_taken_of_what_lies_beside(tmp_path: Path) -> None:
    deep: Any = 1
    for _ in range(50):
        deep = {"down": deep}
    meta = {
        "config": "a = 1",
        "weight": torch.ones(2),
        7: "x",
        "list": [1, "a", torch.ones(1)],
        "deep": deep,
        "none": None,
    }
    torch.save({"meta": meta, "state_dict": {"weight": torch.ones(3)}}, tmp_path / "net.pth")
    contents = read_contents(tmp_path / "net.pth")
    found = dict(contents.metadata["meta"])
    bottom = found.pop("deep")
    assert found == {"config": "a = 1", "list": (1, "a", None)}
    for _ in range(7):
        bottom = bottom.get("down", {})
    assert bottom == {}
    torch.save({"meta": "words", "state_dict": {"weight": torch.ones(3)}}, tmp_path / "net.pth")
    assert read_contents(tmp_path / "net.pth").metadata == {}


def test_the_settled_network_still_fits_its_tensors() -> None:
    foreign = read(old(dilations="1, 1, 1, 2", strides="1, 2, 2, 1", align="True", style="caffe", contract="False"))
    with torch.device("meta"):
        ours = build_segmentor(foreign.model, num_classes=19)
    assert ours.state_dict().keys() == foreign.tensors.keys()
