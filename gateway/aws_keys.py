"""Where the AWS keys of a Bedrock instance come from: pairs from the settings, or AWS's default chain.

The chain is botocore's: environment, shared files, SSO, web identity, container endpoint, instance profile. botocore
waits for disks and networks, so it does all of that in a thread. Keys that expire are fetched again a quarter of an
hour before, beside the requests, which go on with the old ones meanwhile; they wait only where the old ones have
expired. A fetch that failed is tried again after `retry_s`, and fails a request only when there are no valid keys.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from botocore.credentials import RefreshableCredentials
from botocore.exceptions import ClientError, PartialCredentialsError, ProfileNotFound
from botocore.session import Session

from providers.bedrock.signer import KeysUnavailable, Signature, Unsigned
from providers.bedrock.signing import AwsKeys, signature
from providers.secret import Secret

log = logging.getLogger("ai_gateway.bedrock")
logging.getLogger("botocore.credentials").setLevel(logging.ERROR)  # it would quote what an endpoint answered

LARGE_BODY_BYTES: Final = 1024 * 1024
ABOUT_TO_EXPIRE_S: Final = 30


class KeySource(Protocol):
    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def keys(self, access_key: Secret | None) -> AwsKeys: ...


class AwsSigner:
    """Signs with keys from `source` for `region`. The hash of a large body is made in a thread."""

    def __init__(self, source: KeySource, region: str) -> None:
        self.source = source
        self.region = region

    async def open(self) -> None:
        await self.source.open()

    async def close(self) -> None:
        await self.source.close()

    async def sign(self, request: Unsigned, access_key: Secret | None) -> Signature:
        keys = await self.source.keys(access_key)
        if len(request.body) > LARGE_BODY_BYTES:
            return await asyncio.to_thread(signature, keys, self.region, request)
        return signature(keys, self.region, request)


class StaticKeys:
    """The pairs from the settings; the first where no access key is named."""

    def __init__(self, pairs: Sequence[AwsKeys]) -> None:
        self._pairs = {pair.access_key: pair for pair in pairs}
        self._first = pairs[0]

    async def open(self) -> None:
        """There is nothing to fetch."""

    async def close(self) -> None:
        """There is nothing to end."""

    async def keys(self, access_key: Secret | None) -> AwsKeys:
        return self._pairs.get(access_key, self._first) if access_key else self._first


def default_chain() -> Any:
    """The credentials that AWS's default chain finds, or None."""
    return Session().get_credentials()


class ChainKeys:
    """What the chain finds, whatever access key is named. `load` looks through the chain; it runs in a thread."""

    def __init__(
        self,
        load: Callable[[], Any] = default_chain,
        *,
        retry_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load = load
        self._retry_s, self._clock = retry_s, clock
        self._credentials: Any = None
        self._keys: AwsKeys | None = None
        self._fetching: asyncio.Task[KeysUnavailable | None] | None = None
        self._not_before = clock()

    async def open(self) -> None:
        try:
            self._credentials = await asyncio.to_thread(self._load)
        except Exception as error:
            raise _unavailable(error) from error
        if self._credentials is None:
            raise KeysUnavailable(
                "AWS's default chain has no credentials: give an access key pair, or set up the chain"
            )
        failure = await self._fetch()
        if failure is not None:
            raise failure

    async def close(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)

    async def keys(self, access_key: Secret | None = None) -> AwsKeys:
        if self._fetching is None and self._due():
            self._fetching = asyncio.get_running_loop().create_task(self._fetch())
            self._fetching.add_done_callback(self._fetched)
        if self._fetching is not None and not self._good_meanwhile():
            failure = await asyncio.shield(self._fetching)
            if failure is not None and self._needed(0):
                raise failure
        if self._keys is None:
            raise KeysUnavailable("the AWS credentials have not been fetched yet")
        return self._keys

    def _needed(self, within_s: float | None = None) -> bool:
        """Whether the keys expire within that time; None: soon enough to fetch new ones."""
        credentials = self._credentials
        return isinstance(credentials, RefreshableCredentials) and bool(credentials.refresh_needed(within_s))

    def _due(self) -> bool:
        return self._needed() and (self._clock() >= self._not_before or self._needed(0))

    def _good_meanwhile(self) -> bool:
        """Whether the known keys still serve while new ones are being fetched.

        The fetch changes what `_needed` says just before it ends. So this asks first whether they expire, then
        whether they are still the old ones: in the other order, old keys could be taken for the new ones.
        """
        return not self._needed(ABOUT_TO_EXPIRE_S) and self._needed()

    async def _fetch(self) -> KeysUnavailable | None:
        """Fetch what is due. What went wrong is returned: it need not concern any request."""
        try:
            found = await asyncio.to_thread(self._credentials.get_frozen_credentials)
        except Exception as error:
            self._not_before = self._clock() + self._retry_s
            failure = _unavailable(error)
            log.warning("%s", failure)
            return failure
        self._keys = AwsKeys(
            Secret(found.access_key), Secret(found.secret_key), Secret(found.token) if found.token else None
        )
        return None

    def _fetched(self, task: asyncio.Task[KeysUnavailable | None]) -> None:
        self._fetching = None


def _unavailable(error: Exception) -> KeysUnavailable:
    """Without the words of an endpoint, which may quote what should have been credentials."""
    reason = type(error).__name__
    if isinstance(error, ProfileNotFound | PartialCredentialsError):
        reason = str(error)
    elif isinstance(error, ClientError):
        reason = f"{error.operation_name} was refused with {error.response.get('Error', {}).get('Code', 'an error')}"
    return KeysUnavailable(f"AWS credentials can't be fetched: {reason}")
