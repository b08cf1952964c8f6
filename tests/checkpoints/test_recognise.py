"""Whose checkpoint a file is, and how strictly it is loaded."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from segbench.checkpoints import families
from segbench.checkpoints.family import Family, ForeignCheckpoint
from segbench.checkpoints.layouts.renaming import ModuleNames
from segbench.checkpoints.open import open_foreign
from segbench.checkpoints.recognise import recognise
from segbench.core.errors import InvalidFault, MissingFault, RunFault, UsageFault
from segbench.core.spec import Choice, ModelSpec
from segbench.models.segmentor import build_segmentor
from tests.models.random_weights import randomise

TINY = ModelSpec(
    backbone=Choice(
        name="hrnetv2",
        options={
            "width": 4, "modules": (1, 1, 1), "blocks_per_branch": 1, "stem_channels": 4, "stage1_blocks": 1,
            "stage1_width": 4,
        },
    ),
    decoder=Choice(name="concat", options={"head": "conv1x1"}),
)  # fmt: skip
CLASSES = 3
MARK = "made.up"


@pytest.fixture
def network() -> nn.Module:
    return randomise(build_segmentor(TINY, num_classes=CLASSES))


def made_up(name: str, *, mark: str = MARK) -> Family:
    """A family whose files are segbench's own tensors under a prefix; those of a loss are left out."""

    def read(state: Mapping[str, Tensor]) -> ForeignCheckpoint:
        kept = {key.removeprefix(f"{mark}."): tensor for key, tensor in state.items() if ".loss." not in key}
        return ForeignCheckpoint(
            family=name,
            title=f"{name}'s network",
            model=TINY,
            num_classes=state[f"{mark}.decoder.classifier.weight"].shape[0],
            tensors=kept,
            dropped=tuple(key for key in state if ".loss." in key),
        )

    def detect(state: Mapping[str, Tensor]) -> bool:
        return any(key.startswith(f"{mark}.") for key in state)

    return Family(name=name, title=name, detect=detect, read=read)


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put other families in the place of the project's."""

    def put(*made: Family) -> None:
        monkeypatch.setattr(families, "registered", lambda: {family.name: family for family in made})

    return put


def saved(path: Path, network: nn.Module, *, without: str = "-", more: Mapping[str, Tensor] | None = None) -> Path:
    state = {f"{MARK}.{name}": tensor for name, tensor in network.state_dict().items() if not name.startswith(without)}
    torch.save({"state_dict": {**state, **(more or {})}, "epoch": 3}, path)
    return path


# The families that there are.


def test_every_family_keeps_its_promises() -> None:
    assert {"torchvision", "mmsegmentation"} <= set(families.registered())
    for name in families.registered():
        family = families.get(name)
        assert family.name == name and family.title, name
        assert family.detect({}) is False and family.detect({"weight": torch.ones(2)}) is False, name


def test_an_unknown_name_is_told_the_close_ones() -> None:
    with pytest.raises(UsageFault, match=r"'torchvison'\. Close: torchvision\."):
        families.get("torchvison")
    with pytest.raises(UsageFault, match="No checkpoint family"):
        recognise({"weight": torch.ones(1)}, source="net.pth", family="zzz")


@pytest.mark.parametrize("state", [{"fc.weight": torch.ones(2, 2)}, {"backbone.conv1.weight": torch.ones(4, 3, 3, 3)}])
def test_tensors_of_nobody(state: dict[str, Tensor]) -> None:
    with pytest.raises(InvalidFault) as caught:
        recognise(state, source="net.pth")
    (said,) = caught.value.faults
    assert "net.pth is of none of the known families" in said and next(iter(state)) in said
    assert all(name in said for name in families.registered())
    assert "--model" in caught.value.next


# What is done with them.


def test_one_family_claims_it(register: Callable[..., None], network: nn.Module, tmp_path: Path) -> None:
    register(made_up("one"), made_up("other", mark="elsewhere"))
    path = saved(tmp_path / "net.pth", network)
    for name in (None, "one"):
        opened = open_foreign(path, family=name)
        assert opened.foreign.family == "one" and opened.foreign.num_classes == CLASSES
        assert not opened.segmentor.training
        assert opened.report.faults == [] and opened.report.source == "net.pth"
        wanted = network.state_dict()
        assert opened.report.matched == len(wanted)
        assert all(torch.equal(tensor, wanted[name]) for name, tensor in opened.segmentor.state_dict().items())


def test_two_families_claim_it(register: Callable[..., None], network: nn.Module, tmp_path: Path) -> None:
    register(made_up("one"), made_up("other"))
    path = saved(tmp_path / "net.pth", network)
    with pytest.raises(InvalidFault, match="could be of one or other") as caught:
        open_foreign(path)
    assert caught.value.next == f"segbench eval --checkpoint {path} --family one"
    assert open_foreign(path, family="other").foreign.family == "other"


def test_it_is_not_the_family_that_was_named(register: Callable[..., None], network: nn.Module, tmp_path: Path) -> None:
    register(made_up("one"), made_up("other", mark="elsewhere"))
    path = saved(tmp_path / "net.pth", network)
    with pytest.raises(InvalidFault, match="is laid out as one, not as other") as caught:
        open_foreign(path, family="other")
    assert caught.value.next.endswith("--family one")


def test_a_decisive_tensor_is_missing(register: Callable[..., None], network: nn.Module, tmp_path: Path) -> None:
    register(made_up("one"))
    path = saved(tmp_path / "net.pth", network, without="decoder.classifier.")
    with pytest.raises(InvalidFault, match=r"laid out as one, but is incomplete: .*decoder\.classifier\.weight"):
        open_foreign(path)


def test_an_absent_file(tmp_path: Path) -> None:
    with pytest.raises(MissingFault, match="no file"):
        open_foreign(tmp_path / "absent.pth")


def test_tensors_left_out_on_purpose_are_listed(
    register: Callable[..., None], network: nn.Module, tmp_path: Path
) -> None:
    register(made_up("one"))
    path = saved(tmp_path / "net.pth", network, more={f"{MARK}.loss.weight": torch.ones(3)})
    report = open_foreign(path).report
    assert report.dropped == (f"{MARK}.loss.weight",)
    assert report.missing == report.unexpected == () and not report.misshapen


def test_what_does_not_fit_stops_the_loading_unless_it_is_allowed(
    register: Callable[..., None], network: nn.Module, tmp_path: Path
) -> None:
    register(made_up("one"))
    more = {f"{MARK}.decoder.extra.weight": torch.ones(3), f"{MARK}.backbone.bn1.weight": torch.ones(5)}
    path = saved(tmp_path / "net.pth", network, without="backbone.conv2.", more=more)
    with pytest.raises(InvalidFault) as caught:
        open_foreign(path)
    assert [re.sub(r"^net\.pth: ", "", fault) for fault in caught.value.faults] == [
        "1 missing tensor, e.g. backbone.conv2.weight.",
        "1 unexpected tensor, e.g. decoder.extra.weight.",
        "1 tensor of another shape, e.g. backbone.bn1.weight: (5,) where the network has (4,).",
    ]
    assert "--allow-partial" in caught.value.next

    torch.manual_seed(1)
    opened = open_foreign(path, allow_partial=True)
    assert opened.report.missing == ("backbone.conv2.weight",)
    assert opened.report.unexpected == ("decoder.extra.weight",)
    assert opened.report.misshapen == {"backbone.bn1.weight": ((5,), (4,))}
    own, theirs = opened.segmentor.state_dict(), network.state_dict()
    differing = {name for name, tensor in own.items() if not torch.equal(tensor, theirs[name])}
    assert differing == {"backbone.conv2.weight", "backbone.bn1.weight"}


def test_two_tensors_of_one_name_are_refused() -> None:
    names = ModuleNames((("a", "x"), ("b", "x")))
    with pytest.raises(InvalidFault, match=r"a\.weight and b\.weight would both be x\.weight"):
        names.to_segbench({"a.weight": torch.ones(1), "b.weight": torch.ones(1)})


def test_the_innermost_module_decides_a_name() -> None:
    names = ModuleNames((("net", "backbone"), ("net.stem.7", "backbone.bn1"), ("net.stem", "backbone.conv1")))
    state = {name: torch.tensor(k) for k, name in enumerate(("net.stem.7.bias", "net.stem.70.bias", "net.layer.w"))}
    own = names.to_segbench({**state, "network.w": torch.tensor(9)})
    assert {name: int(tensor) for name, tensor in own.items()} == {
        "backbone.bn1.bias": 0, "backbone.conv1.70.bias": 1, "backbone.layer.w": 2, "network.w": 9,
    }  # fmt: skip
    del own["network.w"]
    assert list(names.from_segbench(own, title="theirs")) == list(state)
    with pytest.raises(InvalidFault, match=r"Theirs has no module for 1 tensors .* decoder\.w"):
        names.from_segbench({"decoder.w": torch.ones(1)}, title="Theirs")


def test_a_tensor_of_another_form_is_a_fault_and_no_bug(
    register: Callable[..., None], network: nn.Module, tmp_path: Path
) -> None:
    register(made_up("one"))
    more = {f"{MARK}.decoder.classifier.weight": torch.tensor(1.0)}
    path = saved(tmp_path / "net.pth", network, more=more)
    with pytest.raises(InvalidFault, match=r"net\.pth is laid out as one, but a tensor in it has a form or a name"):
        open_foreign(path)


def test_a_network_under_a_name_of_its_own(register: Callable[..., None], network: nn.Module) -> None:
    """As programs that wrap networks save it: Lightning under ``model.``, teachers and students under theirs."""
    register(made_up("one"), made_up("other", mark="elsewhere"))
    state = {f"{MARK}.{name}": tensor for name, tensor in network.state_dict().items()}
    wrapped = {f"model.{name}": tensor for name, tensor in state.items()}
    loss = {"criterion.weight": torch.ones(3), "model.made.up.loss.weight": torch.ones(3)}
    for name in (None, "one"):
        found = recognise({**wrapped, **loss}, source="net.pth", family=name)
        assert found.family == "one" and found.tensors.keys() == network.state_dict().keys()
        assert set(found.dropped) == set(loss)
    with pytest.raises(InvalidFault, match="laid out as one, not as other"):
        recognise(wrapped, source="net.pth", family="other")


def test_what_lies_beside_a_wrapped_network_is_not_forgotten(
    register: Callable[..., None], network: nn.Module, tmp_path: Path
) -> None:
    register(made_up("one"))
    wrapped = {f"model.{MARK}.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save({**wrapped, "refinement.weight": torch.ones(3)}, tmp_path / "net.pth")
    with pytest.raises(InvalidFault, match=r"1 unexpected tensor, e\.g\. refinement\.weight"):
        open_foreign(tmp_path / "net.pth")


def test_of_two_networks_none_is_chosen(register: Callable[..., None], network: nn.Module) -> None:
    register(made_up("one"))
    state = {f"{MARK}.{name}": tensor for name, tensor in network.state_dict().items()}
    both = {f"{part}.{name}": tensor for part in ("student", "teacher") for name, tensor in state.items()}
    with pytest.raises(InvalidFault, match=r"net\.pth holds several networks, student and teacher"):
        recognise(both, source="net.pth")


def test_a_family_that_it_is_not_by_any_sign(register: Callable[..., None]) -> None:
    register(made_up("one"))
    with pytest.raises(InvalidFault, match=r"net\.pth is not laid out as one: 'made\.up\.decoder\S+' is missing"):
        recognise({"fc.weight": torch.ones(2, 2)}, source="net.pth", family="one")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_network_that_diverged_is_not_scored(
    value: float, register: Callable[..., None], network: nn.Module, tmp_path: Path
) -> None:
    register(made_up("one"))
    state = network.state_dict()
    state["backbone.conv1.weight"][0, 0, 0, 0] = value
    path = saved(tmp_path / "net.pth", network, more={f"{MARK}.loss.weight": torch.tensor([value])})
    with pytest.raises(InvalidFault, match=r"1 tensor of the network with values that .* backbone\.conv1\.weight\."):
        open_foreign(path)
    state["backbone.conv1.weight"][0, 0, 0, 0] = 1.0
    path = saved(tmp_path / "net.pth", network, more={f"{MARK}.loss.weight": torch.tensor([value])})
    assert open_foreign(path).report.faults == [], "of what is left out it does not matter"


@pytest.mark.parametrize(
    ("short", "meant"),
    [("mmseg", "mmsegmentation"), ("hf", "huggingface"), ("torch", "torchvision"), ("transformers", "huggingface")],
)
def test_what_people_call_families(short: str, meant: str) -> None:
    with pytest.raises(UsageFault, match=rf"No checkpoint family '{short}'\. Close: {meant}\."):
        families.get(short)


def test_a_network_that_no_memory_holds(register: Callable[..., None], network: nn.Module, tmp_path: Path) -> None:
    """A tensor of one number that says it has a tera of rows takes no room in a file."""
    register(made_up("one"))
    vast = torch.zeros(1, 1, 1, 1).expand(1 << 44, 28, 1, 1)
    path = saved(tmp_path / "net.pth", network, more={f"{MARK}.decoder.classifier.weight": vast})
    with pytest.raises(RunFault, match=r"net\.pth: the memory of this machine does not hold .* 17,592,"):
        open_foreign(path)
