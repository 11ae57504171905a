"""A user's own network: its wrapper, its record, and how it is built again."""

from __future__ import annotations

import functools
import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mezzotint.errors import UserError
from mezzotint.networks import passing, record
from mezzotint.networks.custom import Custom, check, wrap
from mezzotint.networks.passing import made, passed, passed_again
from mezzotint.networks.record import CustomConfig, code, code_of
from own import Lacking, Own, Plain, Wrong


@pytest.fixture(autouse=True)
def nothing_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passing, "_PASSED", {})


def test_without_labels_the_module_gets_the_null_class() -> None:
    module = Own(classes=2)
    net = wrap(module, 2)
    x, t = torch.randn(3, 3, 8, 8), torch.full((3,), 5.0)
    null = torch.full((3,), 2)
    module.eval()
    torch.testing.assert_close(net(x, t, None), module(x, t, null))
    assert not torch.equal(net(x, t, None), net(x, t, torch.zeros(3, dtype=torch.int64)))


def test_a_network_without_classes_gets_none_and_takes_no_labels() -> None:
    net = wrap(Plain(), 0)
    x, t = torch.randn(2, 3, 8, 8), torch.zeros(2)
    assert net(x, t).shape == x.shape
    with pytest.raises(UserError, match="takes no labels"):
        net(x, t, torch.zeros(2, dtype=torch.int64))


def test_the_users_module_is_left_as_it_is() -> None:
    module = Own()
    before = {name: w.clone() for name, w in module.state_dict().items()}
    net = wrap(module, 10)
    check(net, (3, 8, 8), 3)
    assert not net.training
    assert module.training
    assert all(w.requires_grad for w in module.parameters())
    assert not any(w.requires_grad for w in net.parameters())
    assert all(torch.equal(w, before[name]) for name, w in module.state_dict().items())


def test_the_dry_call_leaves_no_trace() -> None:
    """It changes no batch norm's mean, no mode, and no later random number."""
    module = Own(classes=2)
    module.norm.eval()  # frozen, as one may
    net = Custom(module, passed(module), 2)
    before = {name: w.clone() for name, w in module.state_dict().items()}
    torch.manual_seed(0)
    check(net, (3, 8, 8), 3, training=True)
    drawn = torch.rand(())
    torch.manual_seed(0)
    assert drawn == torch.rand(())
    assert module.training
    assert not module.norm.training
    assert all(torch.equal(w, before[name]) for name, w in module.state_dict().items())


def test_in_bf16_it_computes_by_autocast_and_returns_what_it_got() -> None:
    net = wrap(Own(), 10)
    low = net.for_inference(torch.bfloat16)
    assert (net.dtype, low.dtype) == (torch.float32, torch.bfloat16)
    x, t = torch.randn(2, 3, 8, 8), torch.zeros(2)
    high, rough = net(x, t, None), low(x, t, None)
    assert rough.dtype == torch.float32
    assert not torch.equal(high, rough)
    torch.testing.assert_close(high, rough, atol=0.05, rtol=0.05)
    assert low.digest != net.digest


def test_weights_have_the_modules_own_names() -> None:
    module = Own()
    net = wrap(module, 10)
    assert net.state_dict().keys() == module.state_dict().keys()
    module.load_state_dict(net.state_dict())


def test_the_digest_tells_weights_settings_and_code_apart() -> None:
    def digest(module: nn.Module) -> str:
        return wrap(module, 0).digest

    torch.manual_seed(0)
    plain = Plain()
    same, scaled = Plain(), Plain(2.0)
    for other in (same, scaled):
        other.load_state_dict(plain.state_dict())
    assert digest(plain) == digest(same)
    assert digest(plain) != digest(scaled)
    with torch.no_grad():
        same.out.bias += 1
    assert digest(plain) != digest(same)


def test_of_a_function_nothing_is_known_and_its_digest_is_its_own() -> None:
    """Functions of the same name may differ, so they must not share figures."""

    def make(factor: float) -> object:
        return lambda x, t, condition: factor * x

    one, two = wrap(make(1.0), 0), wrap(make(2.0), 0)
    assert one.digest == one.digest
    assert one.digest != two.digest
    assert one.device == torch.device("cpu")


def test_the_code_is_what_was_written_and_how_layers_are_set() -> None:
    class Loud(Plain):
        def forward(self, x, t, condition):
            return 2 * super().forward(x, t, condition)

    assert code(Plain()) == code(Plain())
    assert code(Plain()) != code(Plain(2.0))
    assert code(Plain()) != code(Loud())
    a, b = nn.Sequential(nn.Conv2d(3, 3, 3)), nn.Sequential(nn.Conv2d(3, 3, 3, stride=2))
    assert code(a) != code(b)


@dataclass
class Scale:
    value: float

    def times(self, x: float) -> float:
        return self.value * x


@pytest.mark.parametrize("of", [torch.tensor, np.array, np.float32, Scale, lambda x: {x}])
def test_the_code_covers_arrays_and_settings_in_attributes(of) -> None:
    a, b = Plain(of(1.0)), Plain(of(2.0))
    assert code(a) == code(Plain(of(1.0)))
    assert code(a) != code(b)


def test_the_code_of_a_function_covers_what_is_bound_to_it() -> None:
    def keyword(factor: float) -> Any:
        return lambda x, *, factor=factor: factor * x

    def kept(factor: float) -> Any:
        @functools.cache
        def scale(x: float, factor: float = factor) -> float:
            return factor * x

        return scale

    for make in (keyword, kept, lambda factor: Scale(factor).times):
        assert code_of([make(1.0)]) == code_of([make(1.0)])
        assert code_of([make(1.0)]) != code_of([make(2.0)])


def test_large_arrays_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "HASHED", 7)
    assert code(Plain(np.zeros(1))) == code(Plain(np.ones(1)))
    assert code(Plain(torch.eye(2).to_sparse())) == code(Plain(torch.empty(2, device="meta")))


def test_the_code_covers_buffers_that_are_not_in_the_state_dict() -> None:
    a, b = Plain(), Plain()
    a.register_buffer("table", torch.ones(2, dtype=torch.bfloat16), persistent=False)
    b.register_buffer("table", torch.zeros(2, dtype=torch.bfloat16), persistent=False)
    assert code(a) != code(b)


@pytest.mark.parametrize(
    ("net", "arguments"),
    [
        (Own, {}),
        (functools.partial(Own, 4, classes=2), {"width": 4, "classes": 2}),
        (functools.partial(Own, width=torch.tensor(4)), None),  # which JSON cannot hold
        (Own(4), None),
    ],
    ids=["class", "partial", "partial-of-a-tensor", "module"],
)
def test_the_record_says_what_made_the_network(net: object, arguments: object) -> None:
    config = passed(net)
    assert config.constructor == "own:Own"
    assert config.arguments == arguments
    again = CustomConfig(**json.loads(json.dumps(asdict(config))))  # through config.json
    assert isinstance(made(again), Own)


def test_a_module_is_made_again_with_its_weights_and_a_class_anew() -> None:
    module = Own()
    copy = made(passed(module))
    assert copy is not module
    assert torch.equal(copy.out.weight, module.out.weight)
    anew = made(passed(Own))
    assert not torch.equal(anew.out.weight, module.out.weight)


def test_making_it_to_look_at_it_draws_no_random_number() -> None:
    torch.manual_seed(0)
    passed(Own)
    drawn = torch.rand(())
    torch.manual_seed(0)
    assert drawn == torch.rand(())


def test_nothing_is_made_of_a_record_alone() -> None:
    for name in ("own:Own", "os:system", "torch.nn.modules.linear:Identity"):
        with pytest.raises(UserError, match=r"its code is not in the folder: .*net=\.\.\."):
            made(CustomConfig(name, {}))


def test_a_record_of_other_arguments_or_code_is_not_answered_by_what_was_passed() -> None:
    config = passed(functools.partial(Own, width=4))
    for other in (CustomConfig(config.constructor, {"width": 8}, config.code),
                  CustomConfig(config.constructor, config.arguments, "other")):  # fmt: skip
        with pytest.raises(UserError, match="its code is not in the folder"):
            made(other)


def test_a_class_passed_again_is_called_with_the_recorded_arguments() -> None:
    config = passed(functools.partial(Own, width=4, classes=2))
    again = passed_again(config, Own)
    assert again == config
    assert made(again).out.in_channels == 4


def test_what_has_changed_is_warned_of() -> None:
    config = passed(Plain(1.0))
    with pytest.warns(UserWarning, match="has changed since the training"):
        passed_again(config, Plain(2.0))


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (3, "`net` is of type int: pass an nn.Module, its class"),
        (lambda: 3, "`net` returns int when it is called"),
        (Wrong, "`net` cannot be called without arguments .*'how'.*functools.partial"),
    ],
)
def test_what_is_no_network_is_refused(net: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        passed(net)


def test_what_no_pipeline_can_hold_is_refused() -> None:
    for net in (Own, 3, "net"):
        with pytest.raises(UserError, match=r"pass an nn\.Module, or a function"):
            wrap(net, 0)


@pytest.mark.parametrize(
    ("module", "classes", "outputs", "message"),
    [
        (Lacking(), 0, 3, r"does not take \(x, t, condition\) \(too many positional"),
        (Wrong("channels"), 0, 3, r"returns \(2, 1, 8, 8\) .*: make it return \(2, 3, 8, 8\)$"),
        (Wrong("sides"), 0, 3, r"returns \(2, 3, 7, 8\)"),
        (Wrong("tuple"), 0, 3, r"returns a tuple: make it return a tensor"),
        (Wrong("variance"), 0, 3, r"returns \(2, 6, 8, 8\)"),
        (Plain(), 0, 6, r"return \(2, 6, 8, 8\), a prediction and a variance for each channel"),
        (Own(), 0, 3, "cannot be called with .* condition None"),
        (Own(classes=2), 3, 3, "cannot be called with .* of class 0 and the null class 3"),
        (Own(channels=1), 10, 3, "cannot be called with .*expected input"),
    ],
)
def test_a_network_that_cannot_be_used_is_refused(
    module: nn.Module, classes: int, outputs: int, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        check(Custom(module, passed(module), classes), (3, 8, 8), outputs)


def test_a_network_without_weights_cannot_be_trained() -> None:
    module = Plain().requires_grad_(False)
    net = Custom(module, passed(module))
    check(net, (3, 8, 8), 3)
    with pytest.raises(UserError, match="no weights that require a gradient"):
        check(net, (3, 8, 8), 3, training=True)
