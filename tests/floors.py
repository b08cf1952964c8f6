"""Print the oldest versions that pyproject.toml allows, as a pip constraints file: `make test-lowest` installs them."""

import re
import tomllib
from pathlib import Path

_PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def floors(text: str) -> list[str]:
    """Return `name==version` for every requirement of pyproject.toml's `text` that has a lower bound.

    Covers the dependencies and the `docs` and `test` extras. A requirement without a `>=` is left out.
    """
    project = tomllib.loads(text)["project"]
    extras = project["optional-dependencies"]
    requirements = [*project["dependencies"], *extras["docs"], *extras["test"]]
    found = (re.fullmatch(r"([\w.-]+)(?:\[[\w,-]+\])?>=([\w.]+)", requirement) for requirement in requirements)
    return [f"{match[1]}=={match[2]}" for match in found if match]


if __name__ == "__main__":
    print("\n".join(floors(_PROJECT.read_text(encoding="utf-8"))))
