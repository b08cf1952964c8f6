"""What a row waits for comes from the registry."""

import pytest

from segbench.core import registry
from segbench.core.errors import InvalidFault
from segbench.recipe.protocol import flatten, pick, plain
from segbench.recipe.resolve import Request, resolve, resolve_all
from tests.recipe.made import HEAD, ROWS
from tests.unread import unread_set


def waits_by_hand(resolved) -> set[str]:
    """What the registry lacks of the names in the resolved tree, found without the typed protocol."""
    tree = plain(resolved.tree)
    overlays = list(tree.get("stages", {}).values())
    found = set()
    for part in [tree, *overlays] if not overlays or "method" in tree else overlays:
        places = (("method", "method"), ("backbone", "model.backbone"), ("decoder", "model.decoder"))
        for kind, place in places:
            name = pick(part, f"{place}.name")
            hidden = part is tree and overlays and all(pick(each, f"{place}.name") for each in overlays)
            if name and not hidden and name not in registry.names(kind):
                found.add(f"{kind} {name}")
    datasets = [tree["data"]] + [s["data"] for o in overlays for s in o.get("streams", {}).values() if "data" in s]
    scored = not resolved.figures or any(figure.kind in ("trained", "feature") for figure in resolved.figures)
    for data in datasets if scored else ():
        name = data.get("name", tree["data"]["name"])
        if not registry.has_part("dataset", name, "reader"):
            found.add(f"data set {name}")
    return found | (set() if resolved.ran.cost else lacks_by_hand(tree))


BUILT = {"emits": ("weights",), "ema_decay": (None,)}


def lacks_by_hand(tree) -> set[str]:
    """Settings that a training would have to ignore; options of methods have names of their own."""
    leaves = {path: value for path, value in flatten(tree).items() if not {"method", "cost"} & set(path.split("."))}
    return {
        f"{path.rsplit('.', 1)[-1]} {value}"
        for path, value in leaves.items()
        if path.rsplit(".", 1)[-1] in BUILT and value not in BUILT[path.rsplit(".", 1)[-1]]
    }


def test_waits_come_from_the_registry(shipped):
    for name in shipped.tables:
        for resolved in resolve_all(shipped, name):
            waits = [wait for wait in resolved.waits if not wait.startswith(("metric", "class table"))]
            assert set(waits) == waits_by_hand(resolved), resolved.name
            assert len(waits) == len(set(waits))
    assert resolve(shipped, "contextrast-table6", "layers-4", "camvid").waits == []


def test_a_data_set_without_reader_is_waited_for(shipped):
    with unread_set() as name:
        request = Request(settings=(("data.name", name),))
        assert resolve(shipped, "contextrast-table6", "layers-4", "camvid", request).waits == [f"data set {name}"]


def test_a_new_entry_ends_the_wait(shipped, monkeypatch):
    names = registry.names
    with monkeypatch.context() as hidden:
        hidden.setattr(registry, "names", lambda kind: tuple({*names(kind)} - {"resnet", "deeplabv3"}))
        before = resolve(shipped, "contextrast-table1", "camvid-deeplabv3", "camvid").waits
        assert before == ["backbone resnet", "decoder deeplabv3"]
    assert resolve(shipped, "contextrast-table1", "camvid-deeplabv3", "camvid").waits == []
    supervised = registry.options_of("method", "supervised")
    options = registry.options_of
    monkeypatch.setattr(
        registry, "options_of", lambda kind, name: supervised if name == "resnet" else options(kind, name)
    )
    with pytest.raises(InvalidFault, match="unknown key 'depth'"):
        resolve(shipped, "contextrast-table1", "camvid-deeplabv3", "camvid")


def test_class_tables(write):
    def waits(name, classes):
        text = (HEAD + ROWS).replace("{name: camvid}", f"{{name: {name}, classes: {classes}}}")
        text = text.replace("camvid.test", f"{name}.test")
        return resolve(write(one=text), "made-one", "base", name).waits

    assert waits("camvid", "camvid-11") == waits("camvid", "camvid") == []
    assert waits("camvid", "camvid-32") == ["class table camvid-32"]
    assert not any("class table" in wait for wait in waits("pascal-context", "pascal-context-59"))
    assert not any("class table" in wait for wait in waits("pascal-context", "pascal-context-60"))
    with pytest.raises(InvalidFault, match=r"one.yaml:6: .*no class table 'camvid' for pascal-context; known: pascal-"):
        waits("pascal-context", "camvid")
