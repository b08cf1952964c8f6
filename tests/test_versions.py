"""The tested versions of constraints.txt, and the floors of pyproject.toml that `make test-lowest` installs."""

import tomllib

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.floors import floors
from tests.program import ROOT

TEXT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
PROJECT = tomllib.loads(TEXT)["project"]
EXTRAS = PROJECT["optional-dependencies"]
NAMED = [Requirement(text) for text in PROJECT["dependencies"] + EXTRAS["docs"] + EXTRAS["test"]]
REQUIREMENTS = [requirement for requirement in NAMED if requirement.name != "segbench"]


def pinned(lines: list[str]) -> dict[str, Version]:
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def test_tested_versions_are_exact_and_satisfy_every_requirement() -> None:
    tested = pinned((ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines())
    for requirement in REQUIREMENTS:
        assert tested[canonicalize_name(requirement.name)] in requirement.specifier, requirement


def test_floors_are_the_oldest_versions_that_the_requirements_allow() -> None:
    lowest = pinned(floors(TEXT))
    for requirement in REQUIREMENTS:
        bounds = [Version(bound.version) for bound in requirement.specifier if bound.operator == ">="]
        assert [lowest[name] for name in [canonicalize_name(requirement.name)] if name in lowest] == bounds


def test_python_versions_that_are_claimed_start_with_the_required_one() -> None:
    claimed = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if "Python ::" in line]
    assert PROJECT["requires-python"] == f">={claimed[0]}"
