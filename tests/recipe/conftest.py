"""The recipes that come with segbench, and made ones."""

from collections.abc import Callable
from pathlib import Path

import pytest

from segbench.core.errors import InvalidFault
from segbench.recipe.catalog import Catalog, load_catalog, recipes_root

Write = Callable[..., Catalog]


@pytest.fixture(scope="session")
def shipped() -> Catalog:
    return load_catalog(recipes_root())


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes files below a folder of recipes and loads them all."""

    def load(**files: str) -> Catalog:
        for name, text in files.items():
            path = tmp_path / ("budgets.yaml" if name == "budgets" else f"made/{name}.yaml")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        return load_catalog(tmp_path)

    return load


@pytest.fixture
def faults(write: Write) -> Callable[..., list[str]]:
    """The faults of loading such files, none if they load."""

    def found(**files: str) -> list[str]:
        try:
            write(**files)
        except InvalidFault as fault:
            return list(fault.faults)
        return []

    return found
