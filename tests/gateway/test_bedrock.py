"""The whole gateway in front of a scripted Amazon Bedrock that judges every signature."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anthropic
import pytest

from gateway.app import create_app
from gateway.from_settings import provider_from, warnings_for
from gateway.settings_error import SettingsError
from providers.bedrock.provider import BedrockProvider
from providers.options import ProviderOptions
from providers.secret import Secret
from tests.answers import bedrock
from tests.answers.turn import ToolUse, Turn
from tests.asgi import call, http_scope
from tests.aws_signature import Account, problem
from tests.gateway.aws import CONTAINER_TOKEN, Issuer, aws_environment
from tests.gateway.rig import GOVERNANCE, PREFIX, TOKEN, USER_KEY, Rig, WatchedStore, gateway_settings, holds
from tests.gateway.rig import in_process as gateway_in_process
from tests.gateway.sdk_clients import MODEL, TOOL, TOOL_RESULT, messages
from tests.middleware.bedrock import ACCOUNTS, REGION, SECRETS
from tests.servers import serving
from tests.upstream import CUT, Received, Reply, Upstream

__all__ = ["aws_environment"]

KEYS = tuple(Secret(key) for key in SECRETS)
KEY_SECRETS = tuple(Secret(secret) for secret in SECRETS.values())
GREETING = Turn(text="Hello there from the model", thought="let me see", input_tokens=12, cached_tokens=3)
CALL = Turn(tool=ToolUse(TOOL, '{"city": "Turin"}'), response_id="resp_tool")
AUTHORIZATION = [("authorization", f"Bearer {TOKEN}")]
BODY = b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}'


def on_bedrock(base_url: str = "https://bedrock.test", **changes: Any) -> ProviderOptions:
    """An instance under the name by which the clients of the tests call Anthropic."""
    given = {
        "bedrock_region": REGION,
        "bedrock_base_url": base_url,
        "bedrock_access_keys": KEYS,
        "bedrock_access_key_secrets": KEY_SECRETS,
        **changes,
    }
    return ProviderOptions(type="anthropic", name="anthropic", **given)


def judged(*turns: Turn | Reply, accounts: Callable[[], dict[str, Account]] = lambda: ACCOUNTS) -> Upstream:
    """Bedrock: answers in turn, streamed where the path says so, but only what is rightly signed."""
    script = list(turns)

    def answer(request: Received) -> Reply:
        if why := problem(request, accounts(), region=REGION):
            return bedrock.error(403, "InvalidSignatureException", {"message": f"refused: {why}"})
        turn = script.pop(0)
        streamed = request.raw_path.endswith(b"/invoke-with-response-stream")
        return turn if isinstance(turn, Reply) else bedrock.reply(turn, streamed=streamed)

    return Upstream(answer)


@asynccontextmanager
async def in_process(upstream: Upstream, **changes: Any) -> AsyncIterator[Rig]:
    changes.setdefault("providers", (on_bedrock(),))
    async with gateway_in_process(upstream, **changes) as rig:
        yield rig


@asynccontextmanager
async def on_sockets(upstream: Upstream, **changes: Any) -> AsyncIterator[Rig]:
    async with serving(upstream) as provider_url:
        store = WatchedStore()
        settings = gateway_settings(providers=(on_bedrock(provider_url),), **changes)
        app = create_app(settings, store=store)
        async with serving(app) as base_url:
            yield Rig(app, upstream, store, base_url)


@pytest.fixture(autouse=True)
def no_vendor_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever keys and addresses the developer has must not reach these clients."""
    for name in ("API_KEY", "AUTH_TOKEN", "BASE_URL", "CUSTOM_HEADERS"):
        monkeypatch.delenv(f"ANTHROPIC_{name}", raising=False)


# -- whole turns ----------------------------------------------------------------------------------------------------

each_transport = pytest.mark.parametrize("transport", ["aiohttp", "httpx"])


@each_transport
async def test_a_blocking_turn_with_a_tool_call(transport: str) -> None:
    """Vendor's SDK, sockets, the transports that there are; records as of Anthropic's own API."""
    async with (
        on_sockets(judged(CALL, GREETING), upstream_transport=transport) as rig,
        messages(rig, "hypercorn", byok=False) as sdk,
    ):
        assert await sdk.ask_with_tool("What is the weather in Turin?") == GREETING.text
        store = await rig.settled()
    first, second = store.starts
    (called,) = store.tool_usages
    assert (first.provider, first.provider_name, first.model) == ("anthropic", "anthropic", MODEL)
    assert (called.interception_id, called.tool, called.msg_id) == (first.interception_id, TOOL, "resp_tool")
    assert second.correlating_tool_call_id == called.tool_call_id
    assert [(end.outcome, end.status) for end in store.ends] == [("completed", 200)] * 2
    assert {end.credential_hint for end in store.ends} == {KEYS[0].hint}
    assert first.credential_hint == KEYS[0].hint
    assert TOOL_RESULT.encode() in rig.upstream.requests[1].body
    assert not any(holds(request, TOKEN) for request in rig.upstream.requests)
    assert not any(holds(request, secret) for request in rig.upstream.requests for secret in SECRETS.values())


@each_transport
async def test_a_streamed_turn(transport: str) -> None:
    """Every piece in order, thoughts and tokens on record."""
    async with (
        on_sockets(judged(GREETING), upstream_transport=transport) as rig,
        messages(rig, "hypercorn", byok=False) as sdk,
    ):
        pieces = [piece async for piece in sdk.stream("Say hello")]
        assert [piece for piece in pieces if piece] == GREETING.text_pieces
        store = await rig.settled()
    (end,), (usage,), (prompt,), (thought,) = (
        store.ends,
        store.token_usages,
        store.prompts,
        store.thoughts,
    )
    assert (end.outcome, end.status, prompt.prompt, thought.content) == (
        "completed",
        200,
        "Say hello",
        "let me see",
    )
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (12, 3, 10)


async def test_what_claude_code_sends_beyond_that() -> None:
    """Query, flags, metadata, adaptive thinking: its session is on record, and Bedrock gets what it knows."""
    asked = {
        "model": "claude-opus-4-6",
        "max_tokens": 32000,
        "stream": True,
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "medium"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "metadata": {"user_id": "user_1_account__session_the-session"},
        "messages": [{"role": "user", "content": "hi"}],
    }
    headers = [
        *AUTHORIZATION,
        ("user-agent", "claude-cli/2.0 (external, cli)"),
        ("anthropic-beta", "claude-code-20250219,interleaved-thinking-2025-05-14,effort-2025-11-24"),
    ]
    async with in_process(judged(GREETING)) as rig:
        scope = http_scope("POST", f"{PREFIX}/anthropic/v1/messages?beta=true", headers=headers)
        client = await call(rig.app, scope, json.dumps(asked).encode())
        store = await rig.settled()
    assert client.status == 200
    assert rig.upstream.requests[0].json == {
        "anthropic_version": "bedrock-2023-05-31",
        "anthropic_beta": ["interleaved-thinking-2025-05-14"],
        "max_tokens": 32000,
        "thinking": {"type": "enabled", "budget_tokens": 16000},
        "messages": asked["messages"],
    }
    assert (store.starts[0].client, store.starts[0].client_session_id) == ("Claude Code", "the-session")


async def test_the_operator_says_which_flags_go_along() -> None:
    """Those of the setting, and no others."""
    headers = [*AUTHORIZATION, ("anthropic-beta", "context-1m-2025-08-07,new-flag")]
    async with in_process(judged(GREETING), bedrock_beta_flags={"new-flag": ()}) as rig:
        await call(rig.app, http_scope("POST", f"{PREFIX}/anthropic/v1/messages", headers=headers), BODY)
    assert rig.upstream.requests[0].json["anthropic_beta"] == ["new-flag"]


# -- what goes wrong ------------------------------------------------------------------------------------------------


async def test_a_wrong_secret_is_bedrocks_refusal() -> None:
    """The scripted Bedrock is no rubber stamp; its status and message reach the SDK."""
    wrong = on_bedrock(bedrock_access_key_secrets=(Secret("fakewrong1"), Secret("fakewrong2")))
    async with (
        in_process(judged(GREETING), providers=(wrong,)) as rig,
        messages(rig, "in process", byok=False) as sdk,
    ):
        with pytest.raises(anthropic.PermissionDeniedError, match="the signature is wrong"):
            await sdk.ask("Say hello")
        store = await rig.settled()
    assert (store.ends[0].outcome, store.ends[0].status) == ("upstream_failed", 403)
    assert store.ends[0].error_message == "refused: the signature is wrong"


async def test_a_throttled_pair_gives_way_to_the_next() -> None:
    """The same body, signed by the other account."""
    throttled = bedrock.error(429, "ThrottlingException", {"message": "too many tokens"})
    async with in_process(judged(throttled, GREETING)) as rig, messages(rig, "in process", byok=False) as sdk:
        assert await sdk.ask("Say hello") == GREETING.text
        store = await rig.settled()
    first, second = rig.upstream.requests
    assert first.body == second.body
    assert [
        key in (r.header("authorization") or "") for r, key in zip((first, second), SECRETS, strict=True)
    ] == [True] * 2
    assert store.ends[0].credential_hint == KEYS[1].hint


async def test_an_exception_in_mid_stream_is_the_sdks_own_error_and_on_record() -> None:
    """As if Anthropic had sent it."""
    frames = [bedrock.chunk(event) for event in bedrock.events(GREETING)[:4]]
    reply = bedrock.stream([*frames, bedrock.exception("serviceUnavailableException", "come back later")])
    async with in_process(judged(reply)) as rig, messages(rig, "in process", byok=False) as sdk:
        with pytest.raises(anthropic.APIStatusError, match="come back later"):
            [piece async for piece in sdk.stream("Say hello")]
        store = await rig.settled()
    (end,) = store.ends
    assert (end.outcome, end.error_type, end.error_message) == (
        "upstream_failed",
        "overloaded_error",
        "come back later",
    )


@pytest.mark.parametrize("last", [CUT, b"\0" * 12], ids=["cut", "a wrong checksum"])
async def test_a_stream_that_breaks_is_a_cut_and_on_record(last: Any) -> None:
    """Nothing is made up in its place."""
    frames = [bedrock.chunk(event) for event in bedrock.events(GREETING)[:4]]
    async with (
        on_sockets(judged(bedrock.stream([*frames, last]))) as rig,
        messages(rig, "hypercorn", byok=False) as sdk,
    ):
        with pytest.raises(Exception, match=r"(?i)peer closed|incomplete|connection"):
            [piece async for piece in sdk.stream("Say hello")]
        store = await rig.ended()
    assert store.ends[0].outcome == "upstream_failed"
    assert "broke off" in (store.ends[0].error_message or "")


async def test_a_stream_that_is_closed_early_closes_bedrocks() -> None:
    """At once."""
    frames = [bedrock.chunk(event) for event in bedrock.events(GREETING)]
    reply = bedrock.stream([*frames[:4], asyncio.Event(), *frames[4:]])
    async with on_sockets(judged(reply)) as rig, messages(rig, "hypercorn", byok=False) as sdk:
        pieces = sdk.stream("Say hello")
        await anext(aiter(pieces))
        await pieces.aclose()  # type: ignore[attr-defined]
        await asyncio.wait_for(rig.upstream.requests[0].disconnected.wait(), 5)
        store = await rig.ended()
    assert store.ends[0].outcome == "client_left"


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v1/messages/count_tokens"), ("GET", "/v1/models"), ("POST", "/api/event_logging/batch")],
)
async def test_what_bedrock_does_not_have_is_not_found(method: str, path: str) -> None:
    """Clients do without."""
    async with in_process(judged()) as rig:
        client = await call(
            rig.app, http_scope(method, f"{PREFIX}/anthropic{path}", headers=AUTHORIZATION), BODY
        )
    assert (client.status, json.loads(client.body)["error"]["type"]) == (404, "not_found_error")


@pytest.mark.parametrize("own", [("authorization", f"Bearer {USER_KEY}"), ("x-api-key", USER_KEY)])
async def test_a_users_own_bedrock_key_goes_as_a_bearer(own: tuple[str, str]) -> None:
    """BYOK: neither signed nor retried with the organisation's keys."""
    headers = [(GOVERNANCE, TOKEN), own]
    upstream = Upstream(bedrock.reply(GREETING, streamed=False))
    async with in_process(upstream) as rig:
        client = await call(
            rig.app, http_scope("POST", f"{PREFIX}/anthropic/v1/messages", headers=headers), BODY
        )
        store = await rig.settled()
    assert client.status == 200
    assert upstream.requests[0].values("authorization") == [f"Bearer {USER_KEY}".encode()]
    assert upstream.requests[0].values("x-api-key") == []
    assert store.starts[0].credential_hint == Secret(USER_KEY).hint
    assert store.ends[0].credential_hint == Secret(USER_KEY).hint


def texts_below(folder: Path) -> list[str]:
    return [path.read_bytes().decode() for path in sorted(folder.rglob("*.txt"))]


async def test_a_dump_shows_what_was_sent_and_no_secret(tmp_path: Path) -> None:
    """Bedrock's path and body; the signature and the keys masked."""
    async with in_process(judged(GREETING), dump_dir=str(tmp_path)) as rig:
        await call(
            rig.app, http_scope("POST", f"{PREFIX}/anthropic/v1/messages", headers=AUTHORIZATION), BODY
        )
    request, answer = texts_below(tmp_path)
    assert request.startswith(
        "POST /model/global.anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke HTTP/1.1\r\n"
    )
    assert '"anthropic_version": "bedrock-2023-05-31"' in request
    assert GREETING.text in answer
    assert not [part for part in (*SECRETS, *SECRETS.values(), TOKEN) if part in request + answer]


# -- where the keys come from, and the start ------------------------------------------------------------------------


async def test_keys_of_the_default_chain(aws_environment: pytest.MonkeyPatch) -> None:
    """A container's endpoint on loopback, fetched at start; the record names the key that signed."""
    issuer = Issuer()
    async with serving(Upstream(issuer.container)) as url:
        aws_environment.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{url}/keys")
        aws_environment.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", CONTAINER_TOKEN)
        instance = on_bedrock(bedrock_access_keys=(), bedrock_access_key_secrets=())
        upstream = judged(GREETING, accounts=lambda: issuer.accounts)
        async with (
            in_process(upstream, providers=(instance,)) as rig,
            messages(rig, "in process", byok=False) as sdk,
        ):
            assert await sdk.ask("Say hello") == GREETING.text
            store = await rig.settled()
    assert store.ends[0].credential_hint == Secret("ASIAFAKEFAKEFAKE0001").hint
    assert len(issuer.issued) == 1


async def test_a_start_without_credentials_ends_with_one_sentence(
    aws_environment: pytest.MonkeyPatch,
) -> None:
    """It names the instance and what is missing."""
    instance = on_bedrock(bedrock_access_keys=(), bedrock_access_key_secrets=())
    with pytest.raises(SettingsError) as refused:
        async with in_process(judged(), providers=(instance,)):
            pass
    assert str(refused.value).startswith(
        "provider \"anthropic\" can't sign: AWS's default chain has no credentials"
    )


async def test_a_disabled_instance_needs_no_credentials(aws_environment: pytest.MonkeyPatch) -> None:
    """It signs nothing."""
    off = on_bedrock(enabled=False, bedrock_access_keys=(), bedrock_access_key_secrets=())
    async with in_process(judged(), providers=(off,)) as rig:
        scope = http_scope("POST", f"{PREFIX}/anthropic/v1/messages", headers=AUTHORIZATION)
        assert (await call(rig.app, scope, BODY)).status == 503


def instance(**changes: Any) -> BedrockProvider:
    settings = gateway_settings()
    made = provider_from(on_bedrock(**changes), settings.gateway)
    assert isinstance(made, BedrockProvider)
    return made


def test_region_and_address(aws_environment: pytest.MonkeyPatch) -> None:
    """The base URL says where to go; the region, the address or AWS's configuration what to sign for."""
    aws_environment.setenv("AWS_DEFAULT_REGION", "ap-southeast-2")
    address = "https://bedrock-runtime.eu-west-3.amazonaws.com"
    assert instance(base_url="").base_url == f"https://bedrock-runtime.{REGION}.amazonaws.com"
    cases = [("https://proxy.test", REGION), (address, ""), ("https://proxy.test", "")]
    made = [instance(base_url=url, bedrock_region=region) for url, region in cases]
    assert [each.base_url for each in made] == [url for url, _ in cases]
    assert [vars(each.signer)["region"] for each in made] == [REGION, "eu-west-3", "ap-southeast-2"]


def test_an_address_without_a_region_is_refused(aws_environment: pytest.MonkeyPatch) -> None:
    """AWS would refuse every signature."""
    with pytest.raises(SettingsError, match="give it a BEDROCK_REGION"):
        instance(base_url="https://proxy.test", bedrock_region="")


def test_half_a_pair_is_refused_to_a_host_too() -> None:
    """Settings from a file are judged before; these came from code."""
    with pytest.raises(SettingsError, match="one half"):
        instance(bedrock_access_key_secrets=())


def test_what_an_instance_on_bedrock_has_no_use_for_is_warned_about() -> None:
    """Whoever gives Anthropic's key beside a region may not have meant it."""
    given = on_bedrock(keys=(Secret("fake-key-of-anthropics"),))
    for providers, warnings in (((given,), 1), ((on_bedrock(),), 0)):
        told = list(warnings_for(gateway_settings(providers=providers), own_store=True))
        assert len([sentence for sentence in told if "are not used" in sentence]) == warnings
        assert "fake-key" not in str(told)


def test_models_are_the_instances_or_the_defaults() -> None:
    """Each of the two by itself."""
    given = instance(bedrock_model="big").models
    assert (given.model, "haiku" in given.small_fast_model) == ("big", True)
    assert instance(bedrock_small_fast_model="small").models.small_fast_model == "small"


def test_botocore_is_only_loaded_where_it_is_needed() -> None:
    """A start without Bedrock does not pay for it."""
    script = "import sys, gateway.app; sys.exit('botocore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
