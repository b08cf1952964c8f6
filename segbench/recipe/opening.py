"""The catalog of a command or a call: packaged recipes, personal ones and a file that is named."""

from pathlib import Path

from segbench.core.errors import InvalidFault

from .catalog import Catalog, add_file, user_catalog


def open_catalog(recipe: Path | None = None) -> Catalog:
    """Load the recipes that come with segbench, the user's own, and a further file.

    Personal files with faults are left out and listed in ``Catalog.broken``; the named file is not among them.

    Raises:
        InvalidFault: the file does not exist or has faults; all of them, each with file and line.
    """
    catalog = user_catalog()
    if recipe is not None:
        if not recipe.exists() or recipe.is_dir():
            raise InvalidFault(f"There is no recipe file {recipe}.", next="segbench list --recipe FILE")
        try:
            add_file(catalog, recipe)
        except InvalidFault as error:
            again = f"fix these lines, then: segbench list --recipe {recipe}"
            raise InvalidFault(*error.faults, next=again) from None
    return catalog
