"""Files whose tensors are of no form that their project has: faults of the file, and no bugs."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from segbench.checkpoints.recognise import recognise
from segbench.core.errors import InvalidFault
from tests.checkpoints.families import mmseg_like, segformer_like, upernet_like


@pytest.mark.parametrize(
    "build",
    [
        lambda: upernet_like.upernet(upernet_like.AuthorsSwin(6, (1, 1, 1, 1), (1, 2, 3, 4)), 5, width=8, aux=4),
        lambda: segformer_like.segformer(segformer_like.AuthorsMiT((8, 16, 40, 64), (1, 1, 1, 1)), 5, width=6),
        lambda: mmseg_like.pspnet(mmseg_like.ResNet((1, 1, 1, 1), width=8), 5, channels=8, aux=6),
    ],
    ids=["UPerNet", "SegFormer", "PSPNet"],
)
def test_a_tensor_of_no_form_or_none_is_a_fault_of_the_file(build: Callable[[], nn.Module]) -> None:
    """Each tensor in turn has no dimension, no element or one dimension, or is gone: never a traceback."""
    state = build().state_dict()
    faults = 0
    for name in state:
        others = {key: tensor for key, tensor in state.items() if key != name}
        forms = (torch.ones(()), torch.ones(0), torch.ones(0, 3, 3, 3), torch.ones(3))
        for changed in (others, *({**others, name: form} for form in forms)):
            try:
                recognise(changed, source="net.pth")
            except InvalidFault:
                faults += 1
    assert faults > 10
