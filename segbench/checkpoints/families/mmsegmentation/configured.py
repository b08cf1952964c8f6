"""Strides, dilations, rates and grids of MMSegmentation's networks, which shapes do not show, from a configuration.

A setting that a configuration leaves out has the default of the code (``ResNet``, ``ASPPHead`` and ``PSPHead`` of
versions 0.x and 1.x).
"""

from collections.abc import Mapping
from typing import Any

from segbench.checkpoints.layouts.config_text import as_ints, lookup
from segbench.core.errors import InvalidFault
from segbench.core.spec import Choice, ModelSpec

from .heads import OWN_CODE

# Strides and dilations of the four stages of a ResNet, and the output stride that follows.
_RESNET: dict[tuple[tuple[int, ...], tuple[int, ...]], int] = {
    ((1, 2, 2, 2), (1, 1, 1, 1)): 32,
    ((1, 2, 2, 1), (1, 1, 1, 2)): 16,
    ((1, 2, 1, 1), (1, 1, 2, 4)): 8,
}
_MOBILENET = ((1, 2, 2, 1, 1, 1, 1), (1, 1, 1, 2, 2, 4, 4))
_GRIDS = (1, 2, 3, 6)


def refine_model(model: ModelSpec, settings: Mapping[str, Any]) -> tuple[ModelSpec, tuple[str, ...]]:
    """Return the network with the settings that the configuration states.

    Args:
        model: as read from the tensors.
        settings: the configuration, plain data.

    Returns:
        The network, and the settings that were applied, in a word each.

    Raises:
        InvalidFault: segbench has no such network and would compute something else with these tensors.
    """
    backbone, decoder = model.backbone, model.decoder
    said: list[str] = []
    named = lookup(settings, "model.backbone")
    if isinstance(named, Mapping) and backbone.name in _BACKBONES:
        found = _BACKBONES[backbone.name](named)
        backbone = Choice(name=backbone.name, options={**backbone.options, **found})
        said.append("strides")
    head = lookup(settings, "model.decode_head")
    if isinstance(head, Mapping) and decoder.name in _HEADS:
        option, theirs, usual, kept = _HEADS[decoder.name]
        values = usual if head.get(theirs) is None else as_ints(head.get(theirs))
        if values is None or len(values) != len(usual) or min(values) < 1 or (kept == 1 and values[0] != 1):
            raise _other(f"its head {theirs} {head.get(theirs)}")
        decoder = Choice(name=decoder.name, options={**decoder.options, option: values[kept:]})
        said.append(_WORDS[option])
    return model.model_copy(update={"backbone": backbone, "decoder": _without_usual(decoder)}), tuple(said)


def _resnet(named: Mapping[str, Any]) -> dict[str, Any]:
    strides, dilations = (
        usual if named.get(name) is None else as_ints(named.get(name))
        for name, usual in (("strides", (1, 2, 2, 2)), ("dilations", (1, 1, 1, 1)))
    )
    if strides is None or dilations is None or (strides, dilations) not in _RESNET:
        raise _other(f"its ResNet strides {named.get('strides')} and dilations {named.get('dilations')}")
    if named.get("multi_grid") is not None:
        raise _other(f"the last stage of its ResNet multi_grid {named['multi_grid']}")
    caffe = named.get("style") == "caffe"
    return {
        "output_stride": _RESNET[strides, dilations],
        **({} if named.get("contract_dilation") is True or max(dilations) == 1 else {"dilation": "full"}),
        **({"stride_in": "conv1"} if caffe else {}),
    }


def _mobilenet(named: Mapping[str, Any]) -> dict[str, Any]:
    found = tuple(as_ints(named.get(name)) for name in ("strides", "dilations"))
    if any(each is not None for each in found) and found != _MOBILENET:
        raise _other(f"its MobileNetV2 strides {named.get('strides')} and dilations {named.get('dilations')}")
    return {}


def _without_usual(decoder: Choice) -> Choice:
    """Return the decoder without the options that its reader leaves out as defaults."""
    usual = {("deeplabv3", "rates"): (12, 24, 36), ("pspnet", "bins"): _GRIDS, ("upernet", "bins"): _GRIDS}
    options = {key: value for key, value in decoder.options.items() if usual.get((decoder.name, key)) != value}
    return Choice(name=decoder.name, options=options)


def _other(what: str) -> InvalidFault:
    return InvalidFault(f"The configuration in the file gives {what}; segbench has no such network.", next=OWN_CODE)


_BACKBONES = {"resnet": _resnet, "mobilenetv2": _mobilenet}
# Of each decoder the option, its name in configurations, the code's default, and how many leading values to skip.
_HEADS: dict[str, tuple[str, str, tuple[int, ...], int]] = {
    "deeplabv3": ("rates", "dilations", (1, 6, 12, 18), 1),
    "deeplabv3plus": ("rates", "dilations", (1, 6, 12, 18), 1),
    "pspnet": ("bins", "pool_scales", _GRIDS, 0),
    "upernet": ("bins", "pool_scales", _GRIDS, 0),
}
_WORDS = {"rates": "rates", "bins": "grids"}
