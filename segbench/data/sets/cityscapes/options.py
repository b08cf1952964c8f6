"""Facts of Cityscapes; what is only remembered is marked so."""

from pydantic import Field

from segbench.core.spec import Size
from segbench.data.facts import DatasetOptions


class Options(DatasetOptions):
    """Cityscapes."""

    title: str = "Cityscapes"
    table: str = "cityscapes"
    splits: dict[str, tuple[int, ...]] = Field(default={"train": (2975,), "val": (500,), "test": (1525,)})
    native_size: Size | None = (1024, 2048)
    size_bytes: int = 11_600_000_000
    licence: str = "Non-commercial use only; the data must not be passed on, trained models may be."
    obtain: str = (
        "Behind a login at www.cityscapes-dataset.com: leftImg8bit_trainvaltest.zip (11 GB) and "
        "gtFine_trainvaltest.zip (241 MB)."
    )
