"""The order check: what the declarations allow is composed, every other stack is refused with one sentence."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.stack import CLIENT_SIDE, LAYERS, UPSTREAM_SIDE, Layer, StackError, check_order, compose

BY_NAME = {layer.name: layer for layer in LAYERS}


def stack(*names: str) -> list[Layer]:
    return [BY_NAME[name] for name in names]


def without(name: str) -> list[Layer]:
    return [layer for layer in LAYERS if layer.name != name]


def swapped(one: str, other: str) -> list[Layer]:
    places = {one: other, other: one}
    return [BY_NAME[places.get(layer.name, layer.name)] for layer in LAYERS]


def test_the_standard_stack_is_in_order() -> None:
    """The two lists, and both together."""
    check_order(LAYERS)
    check_order(CLIENT_SIDE)
    assert (*CLIENT_SIDE, *UPSTREAM_SIDE) == LAYERS


def test_each_line_gives_the_reason_for_its_place() -> None:
    """And reads its declarations from the class."""
    for layer in LAYERS:
        assert layer.why
        assert (layer.requires, layer.provides) == (layer.kind.requires, layer.kind.provides)


def test_an_empty_stack_is_in_order() -> None:
    """Nothing needs nothing."""
    check_order([])


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            swapped("AuthMiddleware", "GovernanceMiddleware"),
            "GovernanceMiddleware needs `caller`, which AuthMiddleware sets: put AuthMiddleware outside it",
        ),
        (
            swapped("BodyMiddleware", "InterceptionMiddleware"),
            "InterceptionMiddleware needs `body`, which BodyMiddleware sets: put BodyMiddleware outside it",
        ),
        (
            swapped("ErrorsMiddleware", "AuthMiddleware"),
            "AuthMiddleware needs `errors`, which ErrorsMiddleware sets: put ErrorsMiddleware outside it",
        ),
        (
            swapped("ProviderDispatch", "FailoverMiddleware"),
            "FailoverMiddleware needs `credential`, which ProviderDispatch sets: "
            "put ProviderDispatch outside it",
        ),
        (
            swapped("FailoverMiddleware", "DumpMiddleware"),
            "DumpMiddleware needs `attempt`, which FailoverMiddleware sets: put FailoverMiddleware outside it",
        ),
        (
            swapped("LimitsMiddleware", "BodyMiddleware"),
            "BodyMiddleware needs `admitted`, which LimitsMiddleware sets: put LimitsMiddleware outside it",
        ),
        (
            swapped("RouteMiddleware", "LimitsMiddleware"),
            "LimitsMiddleware needs `route`, which RouteMiddleware sets: put RouteMiddleware outside it",
        ),
        (
            swapped("FailoverMiddleware", "CircuitBreakerMiddleware"),
            "CircuitBreakerMiddleware needs `attempt`, which FailoverMiddleware sets: "
            "put FailoverMiddleware outside it",
        ),
        (
            swapped("CircuitBreakerMiddleware", "DumpMiddleware"),
            "DumpMiddleware needs `circuit`, which CircuitBreakerMiddleware sets: "
            "put CircuitBreakerMiddleware outside it",
        ),
        (
            without("TelemetryMiddleware"),
            "MetricsMiddleware needs `request_id`, which no layer of this stack sets: "
            "add TelemetryMiddleware outside it",
        ),
        (
            without("RouteMiddleware"),
            "LimitsMiddleware needs `route`, which no layer of this stack sets: add RouteMiddleware outside it",
        ),
        (
            without("InterceptionMiddleware"),
            "ProviderDispatch needs `interception_id`, which no layer of this stack sets: "
            "add InterceptionMiddleware outside it",
        ),
        ([*LAYERS, LAYERS[0]], "ErrorsMiddleware is in the stack twice: remove one of them"),
        (
            stack("ErrorsMiddleware", "ErrorsMiddleware"),
            "ErrorsMiddleware is in the stack twice: remove one of them",
        ),
    ],
)
def test_a_wrong_stack_is_refused_with_one_sentence(layers: list[Layer], message: str) -> None:
    """It names both layers, and what to do."""
    with pytest.raises(StackError) as refused:
        check_order(layers)
    assert str(refused.value) == message


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
def test_a_layer_that_others_need_cannot_be_left_out(layer: Layer) -> None:
    """Only those that set nothing can."""
    if layer.provides:
        needed = any(layer.provides & other.requires for other in LAYERS)
        if needed:
            with pytest.raises(StackError, match=f"add {layer.name} outside it"):
                check_order(without(layer.name))
            return
    check_order(without(layer.name))


class Strange:
    """A host's own layer, which needs what nobody sets."""

    requires = frozenset({"phase_of_the_moon"})

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


class Plain(Strange):
    """A host's own layer, which declares nothing."""

    requires = frozenset()


def line(kind: type[Any]) -> Layer:
    return Layer(kind, lambda app, parts: kind(app), "a test")


def test_a_field_that_no_layer_knows_is_told_as_such() -> None:
    """There is nothing to add."""
    with pytest.raises(StackError, match=r"Strange needs `phase_of_the_moon`.*no known layer sets it"):
        check_order([*LAYERS, line(Strange)])


def test_a_layer_without_declarations_stands_anywhere() -> None:
    """Anyone's ASGI middleware fits in."""
    for place in range(len(LAYERS) + 1):
        check_order([*LAYERS[:place], line(Plain), *LAYERS[place:]])


async def test_layers_are_put_around_the_innermost_in_order() -> None:
    """The first of the list is the outermost."""
    built: list[str] = []

    def noting(name: str) -> Layer:
        kind = type(name, (Plain,), {})

        def build(app: ASGIApp, parts: object) -> ASGIApp:
            built.append(name)
            return Plain(app)

        return Layer(kind, build, "a test")

    async def innermost(scope: Scope, receive: Receive, send: Send) -> None:
        """The end."""

    app = compose([noting("Outer"), noting("Inner")], innermost, None)  # type: ignore[arg-type]
    assert built == ["Inner", "Outer"]
    assert isinstance(app, Plain)
    assert isinstance(app.app, Plain)
    assert app.app.app is innermost


def test_composing_checks_the_order_first() -> None:
    """Nothing is built of a stack that can't work."""

    async def innermost(scope: Scope, receive: Receive, send: Send) -> None:
        """The end."""

    with pytest.raises(StackError):
        compose(stack("GovernanceMiddleware"), innermost, None)  # type: ignore[arg-type]
