"""The type of ``extra_loss``: the options of any registered loss, told apart by ``name``. Free of torch."""

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, create_model

from segbench.core import registry
from segbench.losses.options import LossOptions

if TYPE_CHECKING:

    class NamedLoss(LossOptions):
        """Options of a registered loss together with its name."""

        name: str

    ExtraLoss = NamedLoss
else:

    def _named(name: str) -> Any:
        options = registry.options_of("loss", name)
        named = create_model(options.__name__, __base__=options, name=(Literal[name], ...))
        named.__doc__ = options.__doc__
        return named

    _LOSSES = [_named(name) for name in registry.names("loss")]
    ExtraLoss = Annotated[reduce(or_, _LOSSES), Field(discriminator="name")]
