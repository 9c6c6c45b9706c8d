from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.ai_providers import AiProvider
from gateway.chat.routing import (
    ActiveKeyMissing,
    ChatIdentity,
    DirectRoute,
    Ends,
    GatewayRoute,
    Mode,
    ModelName,
    ModelOptions,
    ModelRequest,
    ModelRouting,
    ModelUnnamed,
    ProviderDisabled,
    ProviderUnknown,
    ProviderUnnamed,
    Purpose,
    RegionMissing,
    RouteUnset,
    RoutingError,
    StoredKeyUnusable,
    TransportMissing,
    build_model,
    mode_of,
)
from gateway.transport import DelegationRequired, GatewayTransport
from providers.secret import Secret
from recorders.stores.base import StoreError

PROVIDER = AiProvider("p-1", "anthropic", "anthropic", True, "https://api.anthropic.com/")
REQUEST = ModelRequest(ChatIdentity("chat-1", "chat-1", "user-1"), ModelName("anthropic", "claude"))
WITH_KEY = ModelOptions(active_api_key_id="key0000001")
CENTRAL = Secret("sk-fake-central-key")
USERS = Secret("sk-fake-key-of-the-users-own")


async def app(scope: Any, receive: Any, send: Any) -> None:
    raise RuntimeError("nobody is called here")


class Rows:
    def __init__(self, *providers: AiProvider) -> None:
        self._providers = {provider.name: provider for provider in providers}

    async def find(self, name: str) -> AiProvider | None:
        return self._providers.get(name)


class Keys:
    """The user's own; it counts who asks."""

    def __init__(self, key: Secret | Exception | None) -> None:
        self._key = key
        self.asked: list[tuple[str, str]] = []

    async def key_of(self, user_id: str, provider: AiProvider) -> Secret | None:
        self.asked.append((user_id, provider.id))
        if isinstance(self._key, Exception):
            raise self._key
        return self._key


def routing(
    mode: Mode = "gateway",
    *,
    rows: Rows | None = None,
    keys: Keys | None = None,
    byok: bool = True,
    ends: Ends | None = None,
) -> ModelRouting:
    return ModelRouting(
        mode=lambda: mode,
        providers=rows or Rows(PROVIDER),
        ends=ends or Ends(gateway=app, direct=httpx2.MockTransport(lambda request: httpx2.Response(500))),
        allow_byok=lambda: byok,
        user_keys=keys,
        central_keys=lambda name: [CENTRAL],
    )


async def refused(
    router: ModelRouting, request: ModelRequest = REQUEST, options: ModelOptions = WITH_KEY
) -> Exception:
    with pytest.raises(Exception) as raised:  # noqa: PT011 - its type is what the caller checks
        async with router.model(request, options):
            pytest.fail("a model was built")
    return raised.value


@pytest.mark.parametrize(
    ("enabled", "chat_routing", "mode"),
    [(True, True, "gateway"), (True, False, "direct"), (False, True, "direct"), (False, False, "direct")],
)
def test_calls_go_through_the_gateway_unless_one_of_two_switches_is_off(
    enabled: bool, chat_routing: bool, mode: Mode
) -> None:
    """The gateway's own, and the one of its chats."""
    assert mode_of(gateway_enabled=enabled, chat_routing_enabled=chat_routing) == mode


@pytest.mark.parametrize("purpose", Purpose)
@pytest.mark.parametrize("mode", ["gateway", "direct"])
async def test_every_purpose_takes_the_same_way(mode: Mode, purpose: Purpose) -> None:
    """There is one entry, whatever a model is called for."""
    request = replace(REQUEST, purpose=purpose)
    async with routing(mode).model(request, WITH_KEY) as model:
        assert (model.routed, model.name, model.format) == (mode, REQUEST.model, "messages")


# -- what fails closed --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("router", "request_", "options", "error"),
    [
        (routing(), REQUEST, ModelOptions(), ActiveKeyMissing),
        (routing(), REQUEST, ModelOptions(active_api_key_id=""), ActiveKeyMissing),
        (routing(rows=Rows()), REQUEST, WITH_KEY, ProviderUnknown),
        (routing(), replace(REQUEST, model=ModelName("", "claude")), WITH_KEY, ProviderUnnamed),
        (routing(), replace(REQUEST, model=ModelName("anthropic", "")), WITH_KEY, ModelUnnamed),
        (routing(rows=Rows(replace(PROVIDER, enabled=False))), REQUEST, WITH_KEY, ProviderDisabled),
        (routing(ends=Ends()), REQUEST, WITH_KEY, TransportMissing),
        (routing("direct", ends=Ends(gateway=app)), REQUEST, WITH_KEY, TransportMissing),
        (routing("direct", rows=Rows()), REQUEST, WITH_KEY, ProviderUnknown),
        (routing("direct", rows=Rows(replace(PROVIDER, enabled=False))), REQUEST, WITH_KEY, ProviderDisabled),
        (routing(keys=Keys(StoredKeyUnusable("anthropic"))), REQUEST, WITH_KEY, StoredKeyUnusable),
        (routing("direct", keys=Keys(StoredKeyUnusable("anthropic"))), REQUEST, WITH_KEY, StoredKeyUnusable),
    ],
)
async def test_what_is_missing_is_one_error_of_its_own(
    router: ModelRouting, request_: ModelRequest, options: ModelOptions, error: type[RoutingError]
) -> None:
    """It says in a sentence what to do, and the call is not made some other way."""
    raised = await refused(router, request_, options)
    assert type(raised) is error
    assert str(raised).endswith(".")


async def test_a_database_that_is_away_is_no_reason_to_do_without_the_users_key() -> None:
    """The organisation's key would be billed for what the user wanted to pay."""
    for mode in ("gateway", "direct"):
        raised = await refused(routing(mode, keys=Keys(StoreError("away"))))
        assert isinstance(raised, StoreError)


async def test_a_direct_call_needs_no_key_that_is_accountable() -> None:
    """Nothing of it is recorded."""
    async with routing("direct").model(REQUEST, ModelOptions()) as model:
        assert model.routed == "direct"


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"name": ""}, ProviderUnnamed),
        ({"enabled": False}, ProviderDisabled),
    ],
)
@pytest.mark.parametrize("route", [lambda p: GatewayRoute(p, None), lambda p: DirectRoute(p, None, False)])
def test_a_route_that_a_host_made_itself_is_checked_too(
    route: Callable[[AiProvider], GatewayRoute | DirectRoute],
    change: dict[str, Any],
    error: type[RoutingError],
) -> None:
    """`build_model` trusts nobody."""
    ends = Ends(gateway=app, direct=httpx2.MockTransport(lambda request: httpx2.Response(500)))
    with pytest.raises(error):
        build_model(REQUEST, route(replace(PROVIDER, **change)), WITH_KEY, ends=ends)


def test_a_route_that_was_never_chosen_is_an_error() -> None:
    """And not the other of the two."""
    with pytest.raises(RouteUnset):
        build_model(REQUEST, None, WITH_KEY, ends=Ends(gateway=app))


def test_the_transport_itself_refuses_to_call_for_nobody() -> None:
    """Whoever builds one by hand meets the same rule."""
    with pytest.raises(DelegationRequired):
        GatewayTransport(app, provider="anthropic", api_key_id="")
    with pytest.raises(ValueError, match="provider must name"):
        GatewayTransport(app, provider="", api_key_id="key0000001")


# -- whose credential ---------------------------------------------------------------------------------------------


async def test_with_byok_off_the_store_of_keys_is_not_even_asked() -> None:
    """An operator who turned it off may have turned the store off too."""
    keys = Keys(USERS)
    for mode in ("gateway", "direct"):
        route = await routing(mode, keys=keys, byok=False).route(REQUEST, WITH_KEY)
        assert route == (
            GatewayRoute(PROVIDER, None) if mode == "gateway" else DirectRoute(PROVIDER, CENTRAL, False)
        )
    assert keys.asked == []


async def test_the_users_own_key_wins() -> None:
    """It is looked up for the chat's owner and this very provider."""
    keys = Keys(USERS)
    assert await routing(keys=keys).route(REQUEST, WITH_KEY) == GatewayRoute(PROVIDER, USERS)
    assert await routing("direct", keys=keys).route(REQUEST, WITH_KEY) == DirectRoute(PROVIDER, USERS, True)
    assert keys.asked == [("user-1", "p-1")] * 2


async def test_a_central_key_never_goes_into_a_gateway_route() -> None:
    """The gateway's own policy decides about it."""
    route = await routing(keys=Keys(None)).route(REQUEST, WITH_KEY)
    assert route == GatewayRoute(PROVIDER, None)


async def test_bedrock_goes_straight_by_the_environments_credentials() -> None:
    """A central key that is configured beside it belongs to the gateway's signer, not to the SDK."""
    bedrock = replace(PROVIDER, type="bedrock", region="eu-central-1")
    route = await routing("direct", rows=Rows(bedrock)).route(REQUEST, WITH_KEY)
    assert route == DirectRoute(bedrock, None, False)


async def test_bedrock_without_a_region_is_an_error_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Neither the row nor the environment names one."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    bedrock = replace(PROVIDER, type="bedrock", base_url="https://bedrock.internal")
    assert isinstance(await refused(routing("direct", rows=Rows(bedrock))), RegionMissing)
