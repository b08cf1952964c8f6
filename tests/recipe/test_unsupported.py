"""Entries that a row needs and segbench does not support, by the registry."""

import pytest

from segbench.core import registry
from segbench.core.errors import InvalidFault
from segbench.recipe.catalog import load_catalog, recipes_root
from segbench.recipe.resolve import Request, resolve, resolve_all
from segbench.recipe.tree import flatten, pick, plain
from tests.recipe.made import HEAD, ROWS
from tests.unread import unread_set


def unsupported_by_hand(resolved) -> set[str]:
    """Return the names in the resolved tree that are not registered, found without the typed protocol."""
    tree = plain(resolved.tree)
    overlays = list(tree.get("stages", {}).values())
    found = set()
    for own in [tree, *overlays] if not overlays or "method" in tree else overlays:
        places = (("method", "method"), ("backbone", "model.backbone"), ("decoder", "model.decoder"))
        for kind, place in places:
            name = pick(own, f"{place}.name")
            hidden = own is tree and overlays and all(pick(each, f"{place}.name") for each in overlays)
            if name and not hidden and name not in registry.names(kind):
                found.add(f"{kind} {name}")
    datasets = [tree["data"]] + [s["data"] for o in overlays for s in o.get("streams", {}).values() if "data" in s]
    scored = not resolved.figures or any(figure.kind in ("trained", "feature") for figure in resolved.figures)
    for data in datasets if scored else ():
        name = data.get("name", tree["data"]["name"])
        if not registry.has_module("dataset", name, "reader"):
            found.add(f"data set {name}")
    return found | (set() if resolved.ran.cost else not_built_by_hand(tree))


BUILT = {"ema_decay": (None,)}


def not_built_by_hand(tree) -> set[str]:
    """Settings that a training would have to ignore; options of methods have names of their own."""
    leaves = {path: value for path, value in flatten(tree).items() if not {"method", "cost"} & set(path.split("."))}
    return {
        f"{path.rsplit('.', 1)[-1]} {value}"
        for path, value in leaves.items()
        if path.rsplit(".", 1)[-1] in BUILT and value not in BUILT[path.rsplit(".", 1)[-1]]
    }


def test_every_row_by_hand(shipped):
    for name in shipped.tables:
        for resolved in resolve_all(shipped, name):
            found = [each for each in resolved.unsupported if not each.startswith(("metric", "class table"))]
            assert set(found) == unsupported_by_hand(resolved), resolved.name
            assert len(found) == len(set(found))
    assert resolve(shipped, "contextrast-table6", "layers-4", "camvid").unsupported == []


def test_a_data_set_without_reader(shipped):
    with unread_set() as name:
        request = Request(settings=(("data.name", name),))
        assert resolve(shipped, "contextrast-table6", "layers-4", "camvid", request).unsupported == [f"data set {name}"]


def test_support_follows_the_registry(monkeypatch):
    def resolved():
        return resolve(load_catalog(recipes_root()), "contextrast-table1", "camvid-deeplabv3", "camvid")

    names = registry.names
    with monkeypatch.context() as hidden:
        hidden.setattr(registry, "names", lambda kind: tuple({*names(kind)} - {"resnet", "deeplabv3"}))
        assert resolved().unsupported == ["backbone resnet", "decoder deeplabv3"]
    assert resolved().unsupported == []
    supervised = registry.options_of("method", "supervised")
    options = registry.options_of
    monkeypatch.setattr(
        registry, "options_of", lambda kind, name: supervised if name == "resnet" else options(kind, name)
    )
    with pytest.raises(InvalidFault, match="unknown key 'depth'"):
        resolved()


def test_class_tables(write):
    def unsupported(name, classes):
        text = (HEAD + ROWS).replace("{name: camvid}", f"{{name: {name}, classes: {classes}}}")
        text = text.replace("camvid.test", f"{name}.test")
        return resolve(write(one=text), "made-one", "base", name).unsupported

    assert unsupported("camvid", "camvid-11") == unsupported("camvid", "camvid") == []
    assert unsupported("camvid", "camvid-32") == ["class table camvid-32"]
    assert not any("class table" in each for each in unsupported("pascal-context", "pascal-context-59"))
    assert not any("class table" in each for each in unsupported("pascal-context", "pascal-context-60"))
    with pytest.raises(InvalidFault, match=r"one.yaml:6: .*no class table 'camvid' for pascal-context; known: pascal-"):
        unsupported("pascal-context", "camvid")
