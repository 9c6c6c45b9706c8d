"""Where AWS keys come from, what happens when they expire, and that signing has them."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.aws_keys import LARGE_BODY_BYTES, AwsSigner, ChainKeys, KeySource, StaticKeys
from middleware.bedrock import BedrockMiddleware
from middleware.dispatch import ProviderDispatch
from providers.bedrock.provider import BedrockProvider
from providers.bedrock.signer import KeysUnavailable, Unsigned
from providers.bedrock.signing import AwsKeys
from providers.secret import Secret
from tests.answers import bedrock
from tests.answers.turn import Turn
from tests.asgi import call
from tests.aws_signature import Account, problem
from tests.gateway.aws import CONTAINER_TOKEN, ROLE, WEB_IDENTITY_TOKEN, Issuer, aws_environment
from tests.middleware.bedrock import ACCOUNTS, CHAIN_INSTANCE, PAIRS, REGION
from tests.middleware.exchanges import MESSAGES_BODY, known_scope
from tests.servers import serving
from tests.upstream import Received, Reply, Upstream
from tests.waiting import PATIENCE_S

__all__ = ["aws_environment"]

STATIC = {"AKIAFAKEFAKEFAKE0001": Account("fakesecretfakesecret1")}
URL = "https://bedrock.test/model/any%3A0/invoke"
REQUEST = Unsigned("POST", URL, [(b"host", b"bedrock.test")], b"{}")


async def refusal(source: KeySource, accounts: dict[str, Account], request: Unsigned = REQUEST) -> str:
    """Why AWS would refuse what is signed with keys from `source`; empty when it would not."""
    added = (await AwsSigner(source, REGION).sign(request, None)).headers
    path = request.url.removeprefix("https://bedrock.test").encode()
    received = Received("POST", "", path, b"", [*request.headers, *added], request.body)
    return problem(received, accounts, region=REGION)


@asynccontextmanager
async def opened(source: KeySource) -> AsyncIterator[KeySource]:
    await source.open()
    try:
        yield source
    finally:
        await source.close()


# -- each source ----------------------------------------------------------------------------------------------------


async def test_static_keys() -> None:
    """The pair whose access key is named, else the first; large bodies as well."""
    async with opened(StaticKeys(PAIRS)) as source:
        assert await refusal(source, ACCOUNTS) == ""
        assert (
            await refusal(
                source, ACCOUNTS, Unsigned("POST", URL, REQUEST.headers, bytes(LARGE_BODY_BYTES + 1))
            )
            == ""
        )
        assert [await source.keys(pair.access_key) for pair in PAIRS] == PAIRS
        assert await source.keys(None) == await source.keys(Secret("unknown")) == PAIRS[0]


async def test_the_environment(aws_environment: pytest.MonkeyPatch) -> None:
    """`AWS_ACCESS_KEY_ID` and its secret."""
    aws_environment.setenv("AWS_ACCESS_KEY_ID", "AKIAFAKEFAKEFAKE0001")
    aws_environment.setenv("AWS_SECRET_ACCESS_KEY", "fakesecretfakesecret1")
    async with opened(ChainKeys()) as source:
        assert await refusal(source, STATIC) == ""


async def test_a_shared_file(aws_environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The profile that the environment chooses."""
    file = tmp_path / "credentials"
    pair = "aws_access_key_id = AKIAFAKEFAKEFAKE0001\naws_secret_access_key = fakesecretfakesecret1\n"
    file.write_text(
        f"[default]\naws_access_key_id = AKIAFAKEOTHER\naws_secret_access_key = other\n[work]\n{pair}"
    )
    aws_environment.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    aws_environment.setenv("AWS_PROFILE", "work")
    async with opened(ChainKeys()) as source:
        assert await refusal(source, STATIC) == ""


async def test_web_identity(aws_environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The token in a file is exchanged at the token service, which runs in the loop that must not be blocked."""
    issuer = Issuer()
    async with serving(Upstream(issuer.token_service)) as url:
        assume_role(aws_environment, url, tmp_path, WEB_IDENTITY_TOKEN)
        async with opened(ChainKeys()) as source:
            assert await refusal(source, issuer.accounts) == ""
    assert len(issuer.issued) == 1


def assume_role(environment: pytest.MonkeyPatch, url: str, folder: Path, token: str) -> None:
    (folder / "token").write_text(token)
    environment.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(folder / "token"))
    environment.setenv("AWS_ROLE_ARN", ROLE)
    environment.setenv("AWS_REGION", REGION)
    environment.setenv("AWS_DEFAULT_REGION", REGION)
    environment.setenv("AWS_ENDPOINT_URL_STS", url)


async def test_a_container_endpoint(aws_environment: pytest.MonkeyPatch) -> None:
    """As ECS and EKS have it; it runs in the same loop too."""
    issuer = Issuer()
    async with serving(Upstream(issuer.container)) as url:
        aws_environment.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{url}/keys")
        aws_environment.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", CONTAINER_TOKEN)
        async with opened(ChainKeys()) as source:
            assert await refusal(source, issuer.accounts) == ""
    assert len(issuer.issued) == 1


# -- what can't work ------------------------------------------------------------------------------------------------


async def test_no_credentials_at_all(aws_environment: pytest.MonkeyPatch) -> None:
    """The start ends with one sentence."""
    with pytest.raises(KeysUnavailable, match="default chain has no credentials"):
        await ChainKeys().open()


async def test_half_a_pair(aws_environment: pytest.MonkeyPatch) -> None:
    """In botocore's words, which name what is missing."""
    aws_environment.setenv("AWS_ACCESS_KEY_ID", "AKIAFAKEFAKEFAKE0001")
    with pytest.raises(KeysUnavailable, match="AWS_SECRET_ACCESS_KEY"):
        await ChainKeys().open()


async def test_a_profile_that_does_not_exist(aws_environment: pytest.MonkeyPatch) -> None:
    """It is named."""
    aws_environment.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(KeysUnavailable, match="nobody"):
        await ChainKeys().open()


async def test_a_refusal_of_the_token_service_is_named_and_not_quoted(
    aws_environment: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It might quote the token."""
    caplog.set_level(logging.DEBUG)
    async with serving(Upstream(Issuer().token_service)) as url:
        assume_role(aws_environment, url, tmp_path, "fake.wrong.token")
        with pytest.raises(
            KeysUnavailable, match="AssumeRoleWithWebIdentity was refused with InvalidIdentityToken"
        ) as no:
            await ChainKeys().open()
    assert "fake.wrong.token" not in str(no.value) + caplog.text


async def test_nothing_of_the_keys_shows(
    aws_environment: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Not in a log that takes everything from everybody, and not in a repr."""
    caplog.set_level(logging.DEBUG)
    issuer = Issuer()
    async with serving(Upstream(issuer.token_service)) as url:
        assume_role(aws_environment, url, tmp_path, WEB_IDENTITY_TOKEN)
        async with opened(ChainKeys()) as source:
            await refusal(source, {})
            shown = caplog.text + repr(await source.keys(None)) + repr(vars(source))
    for secret in ("fakesessionsecret1", "fakesessiontoken1", WEB_IDENTITY_TOKEN):
        assert secret not in shown


# -- expiry ---------------------------------------------------------------------------------------------------------


class Time:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = datetime(2027, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def seconds(self) -> float:
        return self.now.timestamp()

    def forward(self, **delta: float) -> None:
        self.now += timedelta(**delta)


def chain(issuer: Issuer, time: Time, refresh: Any = None) -> ChainKeys:
    return ChainKeys(lambda: issuer.credentials(refresh), clock=time.seconds)


async def test_keys_that_expire_under_load_fail_no_request() -> None:
    """A day of twenty at once every five minutes, through the layer; Bedrock refuses a key that has expired."""
    time = Time()
    issuer = Issuer(time)
    refused: list[str] = []

    def judging(request: Received) -> Reply:
        if why := problem(request, issuer.accounts, region=REGION):
            refused.append(why)
        return bedrock.reply(Turn(text="Hello"), streamed=False)

    async with opened(chain(issuer, time)) as source:
        instance = instance_with(source)
        app = ProviderDispatch(BedrockMiddleware(Upstream(judging)))
        for _ in range(24 * 12):
            asked = (known_scope("/v1/messages", provider=instance, body=MESSAGES_BODY) for _ in range(20))
            await asyncio.gather(*(call(app, scope, MESSAGES_BODY) for scope in asked))
            time.forward(minutes=5)
    assert refused == []
    assert 24 <= len(issuer.issued) <= 36


def instance_with(source: KeySource) -> BedrockProvider:
    return BedrockProvider(
        type=CHAIN_INSTANCE.type,
        name="bedrock",
        base_url="https://bedrock.test",
        models=CHAIN_INSTANCE.models,
        signer=AwsSigner(source, REGION),
    )


class Held:
    """A refresh that the test lets end; it counts how often it was asked."""

    def __init__(self, issuer: Issuer) -> None:
        self.issuer, self.gate, self.asked = issuer, threading.Event(), 0

    def __call__(self) -> dict[str, str]:
        self.asked += 1
        if not self.gate.wait(PATIENCE_S):
            raise AssertionError("nobody let the refresh end")
        return self.issuer.issue()


async def test_requests_go_on_with_the_old_keys_while_new_ones_are_fetched() -> None:
    """One fetch, whoever asks meanwhile; the new keys are used when they are there."""
    time = Time()
    issuer = Issuer(time)
    held = Held(issuer)
    async with opened(chain(issuer, time, held)) as source:
        first = await source.keys(None)
        time.forward(minutes=50)
        assert [await source.keys(None) for _ in range(3)] == [first] * 3
        held.gate.set()
        time.forward(minutes=9, seconds=45)  # about to expire: now it is worth waiting
        assert (await source.keys(None)).access_key == Secret("ASIAFAKEFAKEFAKE0002")
    assert held.asked == 1


async def test_requests_wait_where_the_old_keys_have_expired() -> None:
    """For one fetch, all together."""
    time = Time()
    issuer = Issuer(time)
    held = Held(issuer)
    async with opened(chain(issuer, time, held)) as source:
        time.forward(hours=2)
        waiting = [asyncio.create_task(source.keys(None)) for _ in range(3)]
        done, _ = await asyncio.wait(waiting, timeout=0)
        assert not done
        held.gate.set()
        assert {(await task).access_key for task in waiting} == {Secret("ASIAFAKEFAKEFAKE0002")}
    assert held.asked == 1


class Failing:
    """A refresh that fails until it is mended."""

    def __init__(self, issuer: Issuer) -> None:
        self.issuer, self.mended, self.asked = issuer, False, 0

    def __call__(self) -> dict[str, str]:
        self.asked += 1
        if not self.mended:
            raise OSError("the endpoint said fakesessionsecret9")
        return self.issuer.issue()


async def fetched(source: ChainKeys) -> AwsKeys:
    """The keys after a fetch that may have been begun has ended."""
    await source.keys(None)
    if source._fetching is not None:
        await asyncio.wait([source._fetching])
    return await source.keys(None)


async def test_a_fetch_that_fails_is_tried_again_and_fails_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The old keys go on while they are valid; not every request asks again, and the log quotes nothing."""
    time = Time()
    issuer = Issuer(time)
    failing = Failing(issuer)
    source = chain(issuer, time, failing)
    async with opened(source):
        first = await source.keys(None)
        time.forward(minutes=51)
        for _ in range(5):
            assert await fetched(source) == first
        assert failing.asked == 1
        failing.mended = True
        time.forward(seconds=11)
        assert (await fetched(source)).access_key == Secret("ASIAFAKEFAKEFAKE0002")
    assert "OSError" in caplog.text
    assert "fakesessionsecret9" not in caplog.text


async def test_without_valid_keys_a_request_fails_until_they_are_back() -> None:
    """Each asks anew then: there is nothing to lose."""
    time = Time()
    issuer = Issuer(time)
    failing = Failing(issuer)
    async with opened(chain(issuer, time, failing)) as source:
        time.forward(hours=2)
        for _ in range(2):
            with pytest.raises(KeysUnavailable, match="OSError"):
                await source.keys(None)
        failing.mended = True
        assert (await source.keys(None)).access_key == Secret("ASIAFAKEFAKEFAKE0002")
    assert failing.asked == 3


async def test_closing_does_not_wait_for_a_fetch() -> None:
    """The thread ends in its own time; nothing of it comes back."""
    time = Time()
    issuer = Issuer(time)
    held = Held(issuer)
    source = chain(issuer, time, held)
    await source.open()
    time.forward(minutes=50)
    await source.keys(None)
    await source.close()
    held.gate.set()


async def test_keys_are_not_there_before_the_start() -> None:
    """Whoever forgets to open gets told."""
    with pytest.raises(KeysUnavailable, match="not been fetched"):
        await ChainKeys(lambda: None).keys(None)
