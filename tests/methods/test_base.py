import pytest
import torch

from segbench.methods.base import Method, ParamGroup
from segbench.models.segmentor import Decoder
from tests.steps import at


class Plain(Method):
    def forward(self, batches, info):
        return {"ce": self.segmentor(batches["labelled"].images).logits.sum()}


@pytest.fixture
def method(segmentor):
    return Plain(segmentor(3), seed=7)


def test_a_method_needs_a_forward(segmentor):
    with pytest.raises(TypeError, match="abstract"):
        Method(segmentor(3), seed=0)


def test_every_trained_parameter_is_in_one_group(method):
    method.segmentor.classifier.bias.requires_grad_(False)
    (group,) = method.param_groups()
    assert (group.name, group.lr_multiplier) == ("model", 1.0)
    expected = {name for name, _ in method.named_parameters()} - {"segmentor.classifier.bias"}
    assert {name for name, _ in group.params} == expected
    assert all(parameter is method.get_parameter(name) for name, parameter in group.params)


def test_parameters_stay_out_of_messages(method):
    assert "tensor" not in repr(ParamGroup("heads", method.param_groups()[0].params, 10.0))


def test_draws_depend_on_seed_step_group_and_stream(segmentor, method):
    def draw(source, *args, **kwargs):
        return torch.randint(2**40, (), generator=source.generator(at(*args), **kwargs)).item()

    again = Plain(segmentor(3), seed=7)
    assert draw(method, 3, group=1, stream="a") == draw(again, 3, group=1, stream="a")
    draws = [
        draw(method, 3),
        draw(method, 4),
        draw(method, 3, group=1),
        draw(method, 3, stream="a"),
        draw(Plain(segmentor(3), seed=8), 3),
        draw(method, 31),
    ]
    assert len(set(draws)) == len(draws)
    assert draw(method, 3) == draws[0]


def test_defaults(method):
    assert method.predictor() is method.segmentor
    assert method.after_step(at(0)) is None


def test_a_decoder_with_a_rate_of_its_own_is_a_group(segmentor):
    network = segmentor(3)
    network.decoder = Decoder()
    network.decoder.classifier, network.classifier = network.classifier, None
    network.decoder.classifier.bias.requires_grad_(False)
    assert [group.name for group in Plain(network, seed=7).param_groups()] == ["model"]
    network.decoder.lr_factor = 10.0
    model, decoder = Plain(network, seed=7).param_groups()
    assert (model.lr_multiplier, decoder.lr_multiplier) == (1.0, 10.0)
    assert [name for name, _ in decoder.params] == ["segmentor.decoder.classifier.weight"]
    assert [name for name, _ in model.params] == [
        f"segmentor.layers.{number}.{kind}" for number in range(4) for kind in ("weight", "bias")
    ]


def test_a_decoder_with_weight_decay_of_its_own_for_some(segmentor):
    network = segmentor(3)
    network.decoder = Decoder()
    network.decoder.units = torch.nn.Linear(2, 2)
    network.decoder.units_besides = torch.nn.Linear(2, 2, bias=False)
    network.decoder.weight_decays = {"units.": 1e-4}
    for factor in (1.0, 10.0):
        network.decoder.lr_factor = factor
        groups = {group.name: group for group in Plain(network, seed=7).param_groups()}
        units = groups.pop("segmentor.decoder.units")
        assert (units.lr_multiplier, units.weight_decay) == (factor, 1e-4)
        assert {name for name, _ in units.params} == {f"segmentor.decoder.units.{kind}" for kind in ("weight", "bias")}
        assert {group.weight_decay for group in groups.values()} == {None}
        besides = groups["model" if factor == 1 else "segmentor.decoder"]
        assert "segmentor.decoder.units_besides.weight" in dict(besides.params)
    assert Decoder.weight_decays == {}
