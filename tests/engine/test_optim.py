"""Learning rates and optimisers against values worked out by hand and against torch's own schedulers."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, PolynomialLR

from segbench.core.spec import OptimizerSpec, PolicySpec
from segbench.engine.optim import build_optimizer, learning_rate, set_learning_rate, update
from segbench.methods.base import Method, ParamGroup


def rates(policy: PolicySpec, *, steps: int, base: float = 1.0) -> list[float]:
    return [learning_rate(policy, base, step=step, steps=steps) for step in range(steps)]


def test_poly() -> None:
    # 0.75^0.9, 0.5^0.9, 0.25^0.9
    expected = [0.01, 0.0077188951, 0.0053588673, 0.0028717459]
    assert rates(PolicySpec(power=0.9), steps=4, base=0.01) == pytest.approx(expected, rel=1e-7)


def test_linear_with_warm_up() -> None:
    policy = PolicySpec(power=1.0, warmup_steps=2, warmup_ratio=0.1)
    # Ramp 0.1, 0.55, then 1; times 1, 0.9, 0.8, ...
    expected = [0.1, 0.495, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]
    assert rates(policy, steps=10) == pytest.approx(expected)


def test_warm_up_from_nothing() -> None:
    policy = PolicySpec(name="constant", warmup_steps=4, warmup_ratio=0.0)
    assert rates(policy, steps=6, base=2.0) == pytest.approx([0, 0.5, 1, 1.5, 2, 2])


def test_cosine() -> None:
    half = math.sqrt(0.5)
    expected = [1, (1 + half) / 2, 0.5, (1 - half) / 2]
    assert rates(PolicySpec(name="cosine"), steps=4) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["poly", "cosine"])
def test_against_torch(name: str) -> None:
    steps, base = 17, 0.3
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=base)
    theirs = PolynomialLR(optimizer, steps, power=0.9) if name == "poly" else CosineAnnealingLR(optimizer, steps)
    expected = []
    for _ in range(steps):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()
    assert rates(PolicySpec(name=name, power=0.9), steps=steps, base=base) == pytest.approx(expected, rel=1e-9)


class Toy(Method):
    """One parameter of each kind; the network's and the head's learn at different rates."""

    def __init__(self, *, forget: bool = False) -> None:
        super().__init__(nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)), seed=0)  # type: ignore[arg-type]
        self.head = nn.ModuleDict({"linear": nn.Linear(1, 1), "group": nn.GroupNorm(1, 1), "layer": nn.LayerNorm(1)})
        self.position_table = nn.Parameter(torch.ones(1))
        self.frozen = nn.Parameter(torch.ones(1), requires_grad=False)
        self.forget = forget

    def forward(self, batches: object, info: object) -> dict[str, Tensor]:
        raise NotImplementedError

    def param_groups(self) -> list[ParamGroup]:
        items = [item for item in self.named_parameters() if item[1].requires_grad]
        head = [item for item in items if item[0].startswith("head")]
        rest = [item for item in items if not item[0].startswith("head")]
        return [ParamGroup("network", rest[self.forget :]), ParamGroup("head", head, lr_multiplier=10.0)]


def spec(**more: object) -> OptimizerSpec:
    return OptimizerSpec.model_validate({"name": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, **more})


def groups_by_name(method: Method, optimizer: torch.optim.Optimizer) -> dict[str, dict[str, object]]:
    names = {id(parameter): name for name, parameter in method.named_parameters()}
    return {names[id(parameter)]: group for group in optimizer.param_groups for parameter in group["params"]}


NORMS = {f"{place}.{kind}" for place in ("segmentor.1", "head.group", "head.layer") for kind in ("weight", "bias")}
BIASES = {"segmentor.0.bias", "segmentor.1.bias", "head.linear.bias", "head.group.bias", "head.layer.bias"}


@pytest.mark.parametrize(
    ("no_decay", "spared"),
    [
        ((), set()),
        (("norm",), NORMS),
        (("bias",), BIASES),
        (("position",), {"position_table"}),
        (("depthwise",), set()),  # its convolution has a single channel, which is no reason to call it depthwise
        (("norm", "bias", "position"), NORMS | BIASES | {"position_table"}),
    ],
)
def test_groups(no_decay: tuple[str, ...], spared: set[str]) -> None:
    method = Toy()
    optimizer = build_optimizer(spec(no_decay=no_decay), method, fused=False)
    found = groups_by_name(method, optimizer)
    assert found.keys() == {name for name, _ in method.named_parameters()} - {"frozen"}
    assert {name for name, group in found.items() if group["weight_decay"] == 0.0} == spared
    assert {group["weight_decay"] for group in found.values()} <= {0.0, 0.01}
    assert all(group["momentum"] == 0.9 for group in found.values())
    set_learning_rate(optimizer, 0.04)
    for name, group in found.items():
        assert group["lr"] == pytest.approx(0.4 if name.startswith("head") else 0.04)


class Convolutions(Method):
    """Depthwise ones, one that widens, and those that mix channels: all, in groups, or of a single channel."""

    def __init__(self) -> None:
        layers = {
            "all": nn.Conv2d(4, 4, 3),
            "depthwise": nn.Conv2d(4, 4, 3, groups=4),
            "widening": nn.Conv2d(4, 8, 3, groups=4, bias=False),
            "line": nn.Conv1d(3, 3, 5, groups=3),
            "pairs": nn.Conv2d(4, 4, 3, groups=2),
            "single": nn.Conv2d(1, 4, 3),
            "norm": nn.BatchNorm2d(4),
        }
        super().__init__(nn.ModuleDict(layers), seed=0)  # type: ignore[arg-type]

    def forward(self, batches: object, info: object) -> dict[str, Tensor]:
        raise NotImplementedError


DEPTHWISE = {"segmentor.depthwise.weight", "segmentor.widening.weight", "segmentor.line.weight"}
THEIR_BIASES = {f"segmentor.{name}.bias" for name in ("all", "depthwise", "line", "pairs", "single", "norm")}


@pytest.mark.parametrize(
    ("no_decay", "spared"),
    [((), set()), (("depthwise",), DEPTHWISE), (("bias", "depthwise"), DEPTHWISE | THEIR_BIASES)],
)
def test_depthwise_kernels(no_decay: tuple[str, ...], spared: set[str]) -> None:
    method = Convolutions()
    found = groups_by_name(method, build_optimizer(spec(no_decay=no_decay), method, fused=False))
    assert found.keys() == dict(method.named_parameters()).keys()
    assert {name for name, group in found.items() if group["weight_decay"] == 0.0} == spared


def test_forgotten_parameter_is_a_bug() -> None:
    with pytest.raises(ValueError, match=r"segmentor\.0\.weight|position_table"):
        build_optimizer(spec(), Toy(forget=True), fused=False)


class Scalar(Method):
    """A single number, 2."""

    def __init__(self) -> None:
        super().__init__(nn.Module(), seed=0)  # type: ignore[arg-type]
        self.value = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))

    def forward(self, batches: object, info: object) -> dict[str, Tensor]:
        raise NotImplementedError


def steps(optimizer: torch.optim.Optimizer, value: nn.Parameter, gradients: list[float], lr: float) -> list[float]:
    seen = []
    for gradient in gradients:
        set_learning_rate(optimizer, lr)
        value.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
        seen.append(value.item())
    return seen


@pytest.mark.parametrize("fused", [False, True])
def test_sgd_steps(fused: bool) -> None:
    method = Scalar()
    optimizer = build_optimizer(spec(), method, fused=fused)
    # v1 = 0.5 + 0.01 * 2 = 0.52; w1 = 2 - 0.1 * 0.52
    # v2 = 0.9 * 0.52 + (-1) + 0.01 * 1.948; w2 = w1 - 0.1 * v2
    assert steps(optimizer, method.value, [0.5, -1.0], 0.1) == pytest.approx([1.948, 1.948 + 0.051252], rel=1e-12)


@pytest.mark.parametrize("fused", [False, True])
def test_adamw_steps(fused: bool) -> None:
    method = Scalar()
    optimizer = build_optimizer(
        spec(name="adamw", betas=(0.9, 0.99), weight_decay=0.1, momentum=0.0), method, fused=fused
    )
    lr, decay, value, first, second, expected = 0.01, 0.1, 2.0, 0.0, 0.0, []
    for number, gradient in enumerate([0.5, -1.0], 1):  # Loshchilov & Hutter 2019, algorithm 2
        first = 0.9 * first + 0.1 * gradient
        second = 0.99 * second + 0.01 * gradient**2
        update = (first / (1 - 0.9**number)) / (math.sqrt(second / (1 - 0.99**number)) + 1e-8)
        value = value - lr * decay * value - lr * update
        expected.append(value)
    assert steps(optimizer, method.value, [0.5, -1.0], lr) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("fused", [False, True])
def test_adam_decays_through_the_gradient(fused: bool) -> None:
    method = Scalar()
    optimizer = build_optimizer(spec(name="adam", weight_decay=0.1, momentum=0.0), method, fused=fused)
    # The first step of Adam has the gradient's sign alone: 0.5 + 0.1 * 2 > 0.
    assert steps(optimizer, method.value, [0.5], 0.01) == pytest.approx([2 - 0.01], rel=1e-6)


class Pair(Method):
    """Two numbers, 2 and 3, of which the first is updated several times a step."""

    def __init__(self, updates: int) -> None:
        super().__init__(nn.Module(), seed=0)  # type: ignore[arg-type]
        self.often = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
        self.once = nn.Parameter(torch.tensor([3.0], dtype=torch.float64))
        self.updates = updates

    def forward(self, batches: object, info: object) -> dict[str, Tensor]:
        raise NotImplementedError

    def param_groups(self) -> list[ParamGroup]:
        often = ParamGroup("often", [("often", self.often)], updates_per_step=self.updates)
        return [often, ParamGroup("once", [("once", self.once)])]


def sgd_by_hand(value: float, gradients: list[float], *, updates: int) -> float:
    """torch 1.6 with a parameter that is listed so often: every listing decays, moves the momentum and subtracts."""
    momentum = 0.0
    for gradient in gradients:
        for _ in range(updates):
            momentum = 0.9 * momentum + gradient + 0.01 * value
            value -= 0.1 * momentum
    return value


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("updates", [1, 3])
def test_several_updates_per_step(fused: bool, updates: int) -> None:
    method = Pair(updates)
    optimizer = build_optimizer(spec(), method, fused=fused)
    gradients = [0.5, -1.0]
    for number, gradient in enumerate(gradients):
        for parameter in method.parameters():
            parameter.grad = torch.tensor([gradient], dtype=torch.float64)
        update(optimizer)
        optimizer.zero_grad(set_to_none=True)
        if not number:  # as a resumed training goes on
            state, optimizer = optimizer.state_dict(), build_optimizer(spec(), method, fused=fused)
            optimizer.load_state_dict(state)
    assert method.often.item() == pytest.approx(sgd_by_hand(2.0, gradients, updates=updates), rel=1e-12)
    assert method.once.item() == pytest.approx(sgd_by_hand(3.0, gradients, updates=1), rel=1e-12)


def test_a_saved_state_from_before_updates_were_counted() -> None:
    method = Pair(1)
    optimizer = build_optimizer(spec(), method, fused=False)
    state = optimizer.state_dict()
    for group in state["param_groups"]:
        del group["updates_per_step"]
    optimizer.load_state_dict(state)
    method.once.grad = torch.ones_like(method.once)
    update(optimizer)
    assert method.once.item() == pytest.approx(sgd_by_hand(3.0, [1.0], updates=1), rel=1e-12)


def test_an_optimiser_that_forgets_descends_along_signs() -> None:
    """Adam's first step: lr g / (|g| + eps), every time."""
    parameter = torch.nn.Parameter(torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64))
    optimizer = torch.optim.Adam([parameter], lr=0.1)
    value = parameter.detach().clone()
    for gradient in ([0.5, -0.01, 0.0], [-3.0, 0.2, 1e-9]):
        parameter.grad = torch.tensor(gradient, dtype=torch.float64)
        update(optimizer, reset=True)
        g = torch.tensor(gradient, dtype=torch.float64)
        value = value - 0.1 * g / (g.abs() + 1e-8)
    torch.testing.assert_close(parameter.detach(), value)


def test_poly_ends_at_the_lowest_rate() -> None:
    """MMSegmentation's: (base - lowest) (1 - t/T)^0.9 + lowest, the ramp over all of it."""
    policy = PolicySpec(power=0.9, min_lr=1e-4)
    found = rates(policy, base=0.01, steps=40000)
    for step in (0, 1, 17, 20000, 39999):
        assert found[step] == pytest.approx((0.01 - 1e-4) * (1 - step / 40000) ** 0.9 + 1e-4, rel=1e-12)
    assert found[-1] == pytest.approx(1e-4, rel=1e-2) and min(found) > 1e-4
    ramped = rates(policy.model_copy(update={"warmup_steps": 10, "warmup_ratio": 0.5}), base=0.01, steps=40000)
    assert [ramped[step] / found[step] for step in (0, 5, 10)] == pytest.approx([0.5, 0.75, 1.0])
    assert rates(policy, base=5e-5, steps=10) == [5e-5] * 10, "a rate below it does not rise"
