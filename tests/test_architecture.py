"""The house plan: which room may use which, what stays free of torch, and what every registered entry promises."""

import ast
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
import torch
from torch import Tensor

from segbench.core import registry
from segbench.core.spec import Choice, DataSpec, ModelSpec, OptimizerSpec, ScheduleSpec, StageSpec, StreamSpec
from segbench.data.batch import Batch
from segbench.data.classes import class_table
from segbench.data.facts import DatasetOptions, facts
from segbench.data.open import open_dataset
from segbench.methods.base import Method
from segbench.methods.build import build_method
from segbench.models.segmentor import build_segmentor
from tests.steps import at

ROOT = Path(__file__).parents[1] / "segbench"

# What each room may import beside itself; imports go down this list, never up.
ALLOWED = {
    "cli": {
        "reproduce", "capacity", "engine", "figures", "checkpoints", "methods", "losses", "models", "data", "metrics",
        "recipe", "results", "core",
    },
    "reproduce": {
        "capacity", "engine", "figures", "checkpoints", "methods", "losses", "models", "data", "metrics", "recipe",
        "results", "core",
    },
    "capacity": {"engine", "checkpoints", "methods", "models", "data", "metrics", "recipe", "results", "core"},
    "engine": {"checkpoints", "methods", "losses", "models", "data", "metrics", "core"},
    "figures": {"checkpoints", "methods", "losses", "models", "data", "metrics", "core"},
    "methods": {"losses", "models", "data", "metrics", "core"},
    "checkpoints": {"models", "data", "core"},
    "losses": {"core"},
    "models": {"core"},
    "data": {"core"},
    "metrics": {"core"},
    "results": {"recipe", "metrics", "core"},  # of metrics the torch-free half, see below
    "recipe": {"metrics", "core"},
    "core": set(),
}  # fmt: skip
TORCH = {"torch", "torchvision", "timm"}
# Slow for `segbench --help`, which costs no more than a few bare imports of typer and rich.
SLOW = TORCH | {"cv2", "httpx", "numpy", "pandas", "pydantic", "rich.live", "scipy", "yaml"}
# Commands that only look load these of the rooms above.
LOOKED_INTO = [
    "segbench.models.labels",
    "segbench.checkpoints.published",
    "segbench.checkpoints.families",
    "segbench.data.classes",
    "segbench.data.facts",
    "segbench.data.describe",
    "segbench.checkpoints.fetch",
    "segbench.checkpoints.find",
]


def modules() -> dict[str, Path]:
    found = {}
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


@cache
def imported(module: str) -> frozenset[str]:
    """Full names of everything a module imports, inside functions too, but not under ``if TYPE_CHECKING``."""
    path = MODULES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    names: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, node.module] if node.module else above)
            names.update(f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return frozenset(names)


def closure(module: str) -> set[str]:
    """Everything that importing a module can bring in: the packages above it, and what all of them import."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        parents = [name.rsplit(".", cut)[0] for cut in range(1, name.count(".") + 1)]
        waiting += parents + (sorted(imported(name)) if name in MODULES else [])
    return found


def room(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "segbench" and len(parts) > 1 and parts[1] in ALLOWED else None


def test_every_folder_is_a_room_of_the_plan() -> None:
    assert {path.parent.name for path in ROOT.glob("*/__init__.py")} <= set(ALLOWED)


def test_imports_go_down() -> None:
    wrong = [
        f"{module} imports {name}"
        for module in MODULES
        for name in imported(module)
        if (own := room(module)) and (other := room(name)) and other != own and other not in ALLOWED[own]
    ]
    assert not wrong


def circle(edges: dict[str, set[str]]) -> list[str]:
    """One circle of imports, empty if there is none."""
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circle({module: {name for name in imported(module) if name in MODULES} for module in MODULES}) == []


@pytest.mark.parametrize("name", ["segbench", *(f"segbench.{name}" for name in ALLOWED)])
def test_no_packages_import_each_other_in_a_circle(name: str) -> None:
    """Of a package its modules and sub-packages, each of these as a whole, inside functions too."""

    def child(module: str) -> str | None:
        return ".".join(module.split(".")[: name.count(".") + 2]) if module.startswith(f"{name}.") else None

    edges: dict[str, set[str]] = {}
    for module in MODULES:
        if own := child(module):
            others = {child(used) for used in imported(module) if used in MODULES} - {own, None}
            edges.setdefault(own, set()).update(other for other in others if other)
    assert circle(edges) == []


def test_a_circle_is_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) in (["b", "c", "b"], ["c", "b", "c"])


def test_only_packages_that_are_declared_are_imported() -> None:
    text = (ROOT.parent / "pyproject.toml").read_text(encoding="utf-8")
    named = {"PIL": "pillow", "cv2": "opencv-python-headless", "yaml": "pyyaml"}
    names = {name.split(".")[0] for module in MODULES for name in imported(module)}
    foreign = names - set(sys.stdlib_module_names) - {"segbench"}
    assert {name for name in foreign if f'"{named.get(name, name).replace("_", "-")}>' not in text} == set()


TORCH_FREE = sorted(
    module
    for module in MODULES
    if room(module) in ("core", "recipe", "results") or module.endswith(".options") or module in LOOKED_INTO
)


@pytest.mark.parametrize("module", TORCH_FREE)
def test_torch_free(module: str) -> None:
    assert {name.split(".")[0] for name in closure(module)} & TORCH == set()


def test_options_of_every_loss_load_no_torch() -> None:
    lines = ["import sys", "from segbench.core import registry"]
    lines += [
        "for name in registry.names('loss'): registry.options_of('loss', name)()",
        "print('torch' in sys.modules)",
    ]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_the_walk_itself_finds_torch() -> None:
    assert "torch" in closure("segbench.reproduce.execute")
    assert "segbench.core.errors" in closure("segbench.recipe.catalog")


def loaded_after(*commands: tuple[str, ...], out: Path) -> tuple[set[str], str]:
    """Modules in memory after some commands in a fresh interpreter, and what they printed."""
    lines = ["import sys", "from segbench.cli.main import main"]
    lines += [f"assert main({list(command)!r}) == 0" for command in commands]
    lines += ["print('modules:', *sys.modules, file=sys.stderr)"]
    environment = {"PATH": "/usr/bin:/bin", "SEGBENCH_RESULTS": str(out), "SEGBENCH_DATA": str(out), "HOME": str(out)}
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, env=environment, cwd=ROOT.parent
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.rpartition("modules:")[2].split()), done.stdout


def test_looking_loads_no_torch(tmp_path: Path) -> None:
    row = "contextrast-table6/layers-4-3"
    found, printed = loaded_after(
        ("list",),
        ("list", "--json"),
        ("list", "--figures"),
        ("show", "contextrast-table6"),
        ("show", row, "--dataset", "camvid"),
        ("show", row, "--json"),
        ("report",),
        ("report", "contextrast-table7"),
        ("report", "--format", "json"),
        ("data", "list"),
        ("weights", "list"),
        ("weights", "list", "--json"),
        ("weights", "list", "mmseg-pspnet-r101-cityscapes-80k"),
        out=tmp_path,
    )
    assert "contextrast-table6" in printed
    assert found & TORCH == set()


def test_help_loads_next_to_nothing(tmp_path: Path) -> None:
    found, printed = loaded_after(("--help",), out=tmp_path)
    assert "segbench list" in printed
    assert found & SLOW == set()


@pytest.mark.parametrize("command", [(), ("reproduce", "--help"), ("--version",)])
def test_small_talk_loads_little(command: tuple[str, ...], tmp_path: Path) -> None:
    found, printed = loaded_after(command, out=tmp_path)
    assert printed
    assert found & SLOW <= {"pydantic"}  # newer versions of Typer check what was typed with it


# The registry: whatever lies in a kind's folder is registered and held to the kind's promises.

SMALL_NETWORKS: dict[str, dict[str, object]] = {
    "hrnetv2": {"width": 8, "modules": [1, 1, 1], "blocks_per_branch": 1, "stage1_blocks": 1, "stem_channels": 16}
}
OWN_DECODERS = {"segsort": "segsort"}  # of methods that train no other
OWN_STREAMS = {"memory-contrast": ("unlabelled",)}
ENTRIES = [(kind, name) for kind in registry.KINDS for name in registry.names(kind)]


def of_kind(kind: str) -> list[str]:
    return [name for other, name in ENTRIES if other == kind]


def test_every_kind_has_entries() -> None:
    assert {kind for kind, _ in ENTRIES} == set(registry.KINDS)


@pytest.mark.parametrize(("kind", "name"), [entry for entry in ENTRIES if entry[0] not in ("family", "format")])
def test_options_are_typed_and_have_defaults(kind: str, name: str) -> None:
    options = registry.options_of(kind, name)
    assert options().canonical() == {}, "defaults are left out of ids"


@pytest.mark.parametrize("name", of_kind("backbone"))
def test_backbones_keep_their_promises(name: str) -> None:
    with torch.device("meta"):
        network = registry.implementation("backbone", name, "network").build(
            registry.options_of("backbone", name)(), align_corners=False
        )
        layers = network(torch.empty(2, 3, 64, 96))
    assert tuple(layer.shape[1] for layer in layers) == tuple(network.layer_channels)
    assert tuple(64 // layer.shape[2] for layer in layers) == tuple(network.layer_strides)
    assert tuple(96 // layer.shape[3] for layer in layers) == tuple(network.layer_strides)
    assert sorted(network.layer_strides) == list(network.layer_strides), "finest first"


@pytest.mark.parametrize("backbone", of_kind("backbone"))
@pytest.mark.parametrize("decoder", of_kind("decoder"))
def test_decoders_keep_their_promises(decoder: str, backbone: str) -> None:
    """Of every pair; on the smallest backbones, as sizes are promised by these alone."""
    small = dict(registry.options_of("backbone", backbone).SMOKE)
    spec = ModelSpec(backbone=Choice(name=backbone, options=small), decoder=Choice(name=decoder))
    with torch.device("meta"):
        segmentor = build_segmentor(spec, num_classes=5)
        output = segmentor(torch.empty(2, 3, 64, 96))
    assert output.logits.shape[:2] == (2, 5)
    assert output.embedding.shape[1] == segmentor.embedding_channels
    assert segmentor.resize(output.logits, (64, 96)).shape == (2, 5, 64, 96)
    assert all(aux.shape[:2] == (2, 5) for aux in output.aux.values())


@pytest.mark.parametrize("name", of_kind("method"))
def test_methods_keep_their_promises(name: str) -> None:
    backbone = Choice(name="hrnetv2", options=SMALL_NETWORKS["hrnetv2"])
    stream = StreamSpec(data=DataSpec(name="camvid"), crop=(64, 64), batch_total=2)
    names = ("labelled", *OWN_STREAMS.get(name, ()))
    stage = StageSpec(
        streams=dict.fromkeys(names, stream),
        model=ModelSpec(backbone=backbone, decoder=Choice(name=OWN_DECODERS.get(name, "concat"))),
        method=Choice(name=name),
        schedule=ScheduleSpec(steps=1, optimizer=OptimizerSpec(name="sgd", lr=0.1)),
    )
    torch.manual_seed(0)
    method = build_method(stage, num_classes=5)
    assert isinstance(method, Method)
    batch = Batch(
        torch.randn(2, 3, 64, 64), torch.randint(0, 5, (2, 8, 8)).repeat_interleave(8, 1).repeat_interleave(8, 2)
    )
    terms = method(dict.fromkeys(names, batch), at(10**6))
    assert terms and all(isinstance(term, Tensor) and term.ndim == 0 and term.isfinite() for term in terms.values())
    torch.stack(list(terms.values())).sum().backward()
    grouped = [parameter for group in method.param_groups() for _, parameter in group.params]
    trained = [parameter for parameter in method.parameters() if parameter.requires_grad]
    assert len(grouped) == len(trained) and {id(p) for p in grouped} == {id(p) for p in trained}
    assert method.predictor() is method.segmentor


@pytest.mark.parametrize("name", of_kind("dataset"))
def test_data_sets_keep_their_promises(name: str) -> None:
    known = facts(name)
    assert isinstance(known, DatasetOptions)
    assert known.licence and known.obtain and known.size_bytes > 0 and known.splits
    for table in (known.table, *known.variants):
        assert class_table(table).num_classes > 1
    split = next(iter(known.splits))
    drawn = open_dataset(DataSpec(name=name, source="generated", splits=(split,), size=(32, 48), images=1))
    image, label = drawn.read(0)
    assert image.shape == (32, 48, 3) and label.shape == (32, 48)
    if registry.has_module("dataset", name, "reader"):
        reader = registry.implementation("dataset", name, "reader")
        assert callable(reader.locate) and callable(reader.pairs)
    else:
        assert not known.archives, "what cannot be read need not be downloaded"
