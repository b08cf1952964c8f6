"""Personal recipes: where they are found, and that a broken one stops nothing but itself."""

import os
from pathlib import Path

import pytest

from segbench.core.errors import InvalidFault, UsageFault
from segbench.recipe import discover
from segbench.recipe.catalog import add_file, load_catalog, recipes_root, user_catalog
from segbench.recipe.resolve import resolve
from tests.recipe.made import HEAD, ROWS, line


def table(name: str, **replaced: str) -> str:
    text = HEAD.replace("made-one", name) + ROWS
    for old, new in replaced.items():
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Write files below a working directory that is nobody's, with a configuration folder beside it."""
    work, config = tmp_path / "work", tmp_path / "config"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setattr(discover, "user_config_path", lambda *_, **__: config)
    monkeypatch.delenv(discover.ENVIRONMENT, raising=False)

    def write(path: str, text: str) -> Path:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    return write


def own(catalog) -> dict[str, str]:
    return {table.name: table.paper for table in catalog.tables.values() if table.personal}


def test_all_places(place, tmp_path, monkeypatch):
    place("work/recipes/here.yaml", table("here"))
    place("work/recipes/thesis/deep/there.yaml", table("there"))
    place("config/recipes/home.yaml", table("home"))
    place("lab/group.yaml", table("group"))
    place("other/group2.yaml", table("group2"))
    place("package/shipped.yaml", table("shipped"))
    monkeypatch.setenv(
        discover.ENVIRONMENT, os.pathsep.join([str(tmp_path / "lab"), str(tmp_path / "other"), "recipes"])
    )
    catalog = user_catalog([tmp_path / "package"])
    assert catalog.broken == []
    assert own(catalog) == dict.fromkeys(["shipped", "group", "group2", "home", "here"], "own") | {"there": "deep"}
    assert list(catalog.tables)[: len(load_catalog(recipes_root()).tables)] == list(load_catalog(recipes_root()).tables)
    assert resolve(catalog, "there", "base", "camvid").ran.training is not None


def test_the_packaged_folder_is_not_personal(place, monkeypatch):
    monkeypatch.chdir(recipes_root().parent)
    catalog = user_catalog()
    assert (own(catalog), catalog.broken) == ({}, [])


def test_yaml_of_other_programs_and_copies_are_left_alone(place):
    place("work/recipes/llama.yaml", "model:\n  name: llama\nrows: 3\n")
    place("work/recipes/contextrast/table6.yaml", (recipes_root() / "contextrast" / "table6.yaml").read_text())
    catalog = user_catalog()
    assert (own(catalog), catalog.broken) == ({}, [])


def test_a_folder_shares_readings_and_networks(place):
    shared = "schema: 1\npaper: mine\ntitle: Mine\ncite: me\nnetworks: {tiny: {backbone: mit, decoder: segformer}}\n"
    named = table("named").replace("{backbone: {name: hrnetv2}, decoder: {name: concat}}", "{network: tiny}")
    place("work/recipes/contextrast/readings.yaml", shared)
    place("work/recipes/contextrast/named.yaml", named)
    place("work/recipes/flat.yaml", named.replace("named", "flat"))
    catalog = user_catalog()
    (stage,) = resolve(catalog, "named", "base", "camvid").ran.training.stages
    assert stage.model.backbone.name == "mit"
    assert catalog.readings_of(catalog.table("named")) == {}, "a folder's name does not make it segbench's paper"
    (broken,) = catalog.broken
    assert "flat.yaml" in str(broken) and "no network 'tiny'" in str(broken)


def test_faults_stop_the_broken_table_alone(place):
    text = table("broken", **{'"70.0"': "70.0"}).replace("version: 1", "version: one")
    path = place("work/recipes/broken.yaml", text)
    place("work/recipes/late.yaml", table("late").replace("{name: concat}", "{name: concat, haed: conv1x1}"))
    place("work/recipes/above.yaml", table("above") + "base: {camvid: broken/base}\n")
    place("work/recipes/fine.yaml", table("fine"))
    catalog = user_catalog()
    assert list(own(catalog)) == ["fine"]
    with pytest.raises(InvalidFault) as caught:
        catalog.table("broken")
    assert [fault.split(": ")[0] for fault in caught.value.faults] == [
        f"recipes/broken.yaml:{line(text, 'version')}", f"recipes/broken.yaml:{line(text, 'miou: 70.0,')}"
    ]  # fmt: skip
    assert caught.value.next == "fix these lines, then: segbench list --recipe recipes/broken.yaml"
    with pytest.raises(InvalidFault, match="unknown key 'haed'"):
        catalog.table("late")
    with pytest.raises(InvalidFault, match=r"broken/base is in recipes/broken\.yaml, which has faults"):
        catalog.table("above")
    with pytest.raises(UsageFault):
        catalog.table("nothing-like-it")
    lines = [str(broken) for broken in catalog.broken]
    assert "Ignored recipes/broken.yaml: 2 faults. Next: segbench list --recipe recipes/broken.yaml" in lines
    with pytest.raises(InvalidFault, match="version"):
        add_file(catalog, path)
    assert add_file(catalog, Path("recipes/fine.yaml")) is catalog.table("fine")


def test_a_broken_shared_file_takes_its_tables_with_it(place):
    place("work/recipes/mine/readings.yaml", "schema: 1\npaper: mine\n")
    place("work/recipes/mine/table.yaml", table("mine-table"))
    catalog = user_catalog()
    assert own(catalog) == {}
    with pytest.raises(InvalidFault, match=r"table.yaml: recipes/mine/readings.yaml has faults"):
        catalog.table("mine-table")


def test_a_clash_names_both_files_and_the_first_stays(place):
    place("work/recipes/mine.yaml", table("contextrast-table6"))
    catalog = user_catalog()
    (broken,) = catalog.broken
    packaged = recipes_root() / "contextrast" / "table6.yaml"
    assert broken.faults == (f"recipes/mine.yaml:3: table 'contextrast-table6' exists already in {packaged}",)
    assert not catalog.table("contextrast-table6").personal


def test_a_folder_of_the_environment_that_does_not_exist(place, monkeypatch):
    monkeypatch.setenv(discover.ENVIRONMENT, "nowhere")
    assert [broken.faults for broken in user_catalog().broken] == [("nowhere: there is no such folder",)]
