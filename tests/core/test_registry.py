"""Entries of segbench and of installed packages, by name."""

import importlib
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest

from segbench.core import registry
from segbench.core.errors import InvalidFault, UsageFault
from segbench.core.spec import Options
from tests.outside import install

OPTIONS = """
from segbench.core.spec import Options as Base, setting

class Options(Base):
    width: int = setting(64, gt=0)
"""

LOSS = """
from segbench.losses.options import LossOptions

class Options(LossOptions):
    title = "focal loss"
"""

Add = Callable[..., None]


@pytest.fixture
def package(tmp_path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Add]:
    """Install packages that last as long as the test."""
    monkeypatch.syspath_prepend(tmp_path)

    def add(modules, groups, name="segbench-extras"):
        install(tmp_path, name, modules, groups)
        forget()

    yield add
    monkeypatch.undo()
    forget()


def forget() -> None:
    importlib.invalidate_caches()
    registry.installed.cache_clear()
    registry._plugins.cache_clear()


def test_an_installed_package_adds_a_decoder(package):
    files = {"extras_a/fpn/options.py": OPTIONS, "extras_a/fpn/network.py": "NAME = 'fpn'"}
    package(files, {"segbench.decoders": {"fpn-lite": "extras_a.fpn"}})
    assert "fpn-lite" in registry.names("decoder")
    assert registry.options_of("decoder", "fpn-lite")().model_dump() == {"width": 64}
    assert registry.implementation("decoder", "fpn-lite", "network").NAME == "fpn"
    assert registry.has_module("decoder", "fpn-lite", "network")
    assert not registry.has_module("decoder", "fpn-lite", "server")
    assert not registry.is_packaged("decoder", "fpn-lite")


def test_a_package_of_several_entries(package):
    options = "from segbench.core.spec import Options\n\nclass Narrow(Options): ...\n\nclass Wide(Options): ...\n"
    files = {
        "extras_several/__init__.py": "ENTRIES = {'fpn-narrow': 'Narrow', 'fpn-wide': 'Wide'}",
        "extras_several/options.py": options,
        "extras_several/network.py": "",
    }
    package(files, {"segbench.decoders": {"fpn-narrow": "extras_several", "fpn-wide": "extras_several"}})
    assert registry.options_of("decoder", "fpn-wide").__name__ == "Wide"
    assert registry.options_of("decoder", "fpn-narrow").__name__ == "Narrow"
    assert {"mobilenetv1", "mobilenetv2", "mobilenetv3-large", "efficientnet-lite0"} < {*registry.names("backbone")}
    assert "mobilenet" not in registry.names("backbone")


def test_a_kind_of_single_modules(package):
    package({"extras_b/focal.py": LOSS}, {"segbench.losses": {"focal": "extras_b.focal"}})
    assert registry.names("loss") == ("aaf", "focal", "lovasz", "rmi")
    assert registry.implementation("loss", "focal").__name__ == "extras_b.focal"
    assert issubclass(registry.options_of("loss", "focal"), Options)


def test_nothing_of_it_is_imported_for_its_name(package):
    package(
        {"extras_c/ocr2/options.py": "raise RuntimeError('imported')"}, {"segbench.decoders": {"ocr2": "extras_c.ocr2"}}
    )
    assert "ocr2" in registry.names("decoder")
    with pytest.raises(
        InvalidFault, match=r"'ocr2' of segbench-extras 1\.0 cannot be imported: RuntimeError: imported"
    ) as fault:
        registry.options_of("decoder", "ocr2")
    assert fault.value.next == "python -m pip uninstall segbench-extras"


def test_a_package_whose_parent_is_not_there(package):
    package({"extras_d/empty.py": ""}, {"segbench.decoders": {"gone": "extras_nowhere.gone"}})
    with pytest.raises(InvalidFault, match="cannot be imported: ModuleNotFoundError"):
        registry.has_module("decoder", "gone", "network")


def test_options_are_wanted(package):
    package({"extras_e/bare.py": "def loss(): ..."}, {"segbench.losses": {"bare": "extras_e.bare"}})
    with pytest.raises(InvalidFault, match=r"'bare' of segbench-extras 1\.0 defines no Options"):
        registry.options_of("loss", "bare")


@pytest.mark.parametrize("options", [OPTIONS, "class Options: ...", "Options = 1"])
def test_options_are_those_of_the_kind(package, options):
    package({"extras_k/loss.py": options}, {"segbench.losses": {"mine": "extras_k.loss"}})
    with pytest.raises(InvalidFault, match=r"must be a subclass of segbench\.losses\.options\.LossOptions"):
        registry.options_of("loss", "mine")


def test_a_function_that_is_not_defined(package):
    files = {"extras_l/x/options.py": OPTIONS, "extras_l/x/network.py": "def biuld(): ..."}
    package(files, {"segbench.decoders": {"x": "extras_l.x"}})
    with pytest.raises(InvalidFault, match=r"segbench-extras 1\.0 defines no build in extras_l\.x\.network"):
        registry.member("decoder", "x", "build", module="network")


def test_the_package_that_an_exception_came_through(package):
    package({"extras_m/x.py": "def fail(): return int('x')"}, {"segbench.decoders": {"x": "extras_m"}})
    from extras_m.x import fail

    with pytest.raises(ValueError) as raised:
        fail()
    assert registry.failed_entry(raised.value).startswith("decoder 'x' of segbench-extras 1.0 failed in ")
    assert registry.failed_entry(raised.value).endswith("x.py:1")
    with pytest.raises(ValueError) as own:
        int("x")
    assert registry.failed_entry(own.value) == ""


def test_a_name_of_segbench_is_taken(package):
    package({"extras_f/ocr/options.py": OPTIONS}, {"segbench.decoders": {"ocr": "extras_f.ocr"}})
    with pytest.raises(InvalidFault, match=r"segbench-extras 1\.0 adds a decoder 'ocr', which segbench has already"):
        registry.names("decoder")


def test_two_packages_with_one_name(package):
    package({"extras_g/x/options.py": OPTIONS}, {"segbench.decoders": {"x": "extras_g.x"}}, "first")
    package({"extras_h/x/options.py": OPTIONS}, {"segbench.decoders": {"x": "extras_h.x"}}, "second")
    with pytest.raises(InvalidFault, match=r"both add 'x' to segbench\.decoders"):
        registry.names("decoder")


@pytest.mark.parametrize("name", ["Focal", "focal_loss", "-focal", "focal loss"])
def test_names_are_spelled_alike(package, name):
    package({"extras_i/y.py": OPTIONS}, {"segbench.losses": {name: "extras_i.y"}})
    with pytest.raises(InvalidFault, match="lower-case letters, digits and dashes"):
        registry.names("loss")


def test_an_entry_of_the_moment_cannot_take_an_installed_name(package):
    package({"extras_j/z/options.py": OPTIONS}, {"segbench.decoders": {"z": "extras_j.z"}})
    with pytest.raises(UsageFault, match="another name is needed"):
        registry.add("decoder", "z", {"options": ModuleType("options")})


def test_unknown_names_are_told_close_ones():
    with pytest.raises(UsageFault, match=r"No loss 'lovas'\. Close: lovasz\."):
        registry.options_of("loss", "lovas")
