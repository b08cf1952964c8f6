"""The type of ``extra_loss``: the options of any registered loss, told apart by ``name``. Free of torch."""

from collections.abc import Iterator
from contextlib import suppress
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, create_model

from segbench.core import registry
from segbench.core.errors import InvalidFault
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

    def _usable() -> Iterator[Any]:
        for name in registry.names("loss"):
            with suppress(InvalidFault):  # of an installed package; said where a recipe names the loss
                yield _named(name)

    def _registered(value: Any) -> Any:
        """Raise on a loss that is not registered, or that cannot be used."""
        name = value.get("name") if isinstance(value, dict) else None
        if isinstance(name, str):
            known = registry.names("loss")
            if name not in known:
                raise ValueError(f"no loss {name!r}. {registry.choices(name, known)}")
            registry.options_of("loss", name)
        return value

    ExtraLoss = Annotated[reduce(or_, _usable()), Field(discriminator="name"), BeforeValidator(_registered)]
