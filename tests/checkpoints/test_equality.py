"""When two descriptions are of one network."""

import pytest

from segbench.checkpoints.layouts.equality import check_same_network
from segbench.core.errors import InvalidFault
from segbench.core.spec import Choice, ModelSpec
from tests.checkpoints.test_recognise import TINY


@pytest.mark.parametrize(
    ("options", "equal"),
    [
        ({}, True),
        ({"relu": True}, True),
        ({"classifier_bias": True, "relu": True, "dropout": 0.3}, True),
        ({"relu": False}, False),
        ({"classifier_bias": False}, False),
        ({"head": "conv3x3", "relu": True, "classifier_bias": True}, False),
    ],
)
def test_what_a_kernel_decides_is_the_same_as_what_is_said(options: dict[str, object], equal: bool) -> None:
    theirs = ModelSpec(backbone=TINY.backbone, decoder=Choice(name="concat", options={"head": "conv1x1"}))
    ours = theirs.model_copy(update={"decoder": Choice(name="concat", options={"head": "conv1x1", **options})})
    if equal:
        check_same_network(theirs, ours, title="Theirs")
        check_same_network(ours, theirs, title="Theirs")
    else:
        with pytest.raises(InvalidFault, match=r"Theirs has decoder\."):
            check_same_network(theirs, ours, title="Theirs")


def test_the_wide_kernel_decides_otherwise() -> None:
    wide = ModelSpec(backbone=TINY.backbone, decoder=Choice(name="concat"))
    said = {"relu": False, "classifier_bias": False}
    check_same_network(wide, wide.model_copy(update={"decoder": Choice(name="concat", options=said)}), title="Theirs")
