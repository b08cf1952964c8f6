"""Options that several decoders share; free of torch."""

from typing import Literal

from segbench.core.spec import Options, setting

# Initial weights of a decoder's convolutions: PyTorch's default (uniform within 1/sqrt(fan-in)); Kaiming normal over
# the fan-in with biases 0; N(0, 0.01) with PyTorch's biases; the same for the final classifier alone.
Init = Literal["torch", "kaiming", "normal", "normal_classifier"]
DropoutOf = Literal["channels", "elements"]


class NormOptions(Options):
    """The decoder's batch norms."""

    bn_momentum: float = setting(0.1, gt=0, le=1)
    bn_eps: float = setting(1e-5, gt=0)
    negative_slope: float = setting(0.0, ge=0, lt=1, description="of the activations after them; 0: ReLU")


class AuxiliaryOptions(NormOptions):
    """An auxiliary classifier on an inner encoder layer: 3x3 convolution, batch norm, ReLU, 1x1 classifier."""

    auxiliary: bool = setting(False, description="whether there is one; it is computed in training only")
    aux_layer: int = setting(-2, description="encoder layer that it reads; negative: counted from the coarsest")
    aux_channels: int = setting(256, gt=0, description="channels of its 3x3 convolution")
    aux_bias: bool = setting(False, description="whether its 3x3 convolution has a bias")
    aux_dropout: float = setting(0.0, ge=0, lt=1, description="probability of dropping before its classifier")
