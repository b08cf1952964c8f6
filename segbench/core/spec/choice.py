"""The choice of a registered entry with its options."""

from typing import Any

from pydantic import Field, model_serializer, model_validator

from .base import Spec


class Choice(Spec):
    """A registered entry by name with its options, written flat: ``{name: contextrast, alpha: 0.1}``."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, data: Any) -> Any:
        if isinstance(data, str):
            return {"name": data}
        if isinstance(data, dict) and "options" not in data:
            rest = {key: value for key, value in data.items() if key != "name"}
            return {**({"name": data["name"]} if "name" in data else {}), "options": rest}
        return data

    @model_serializer
    def _flat(self) -> dict[str, Any]:
        return {"name": self.name, **self.options}
