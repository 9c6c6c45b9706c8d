"""Runs generated traffic through whole gateways, and keeps every place where a canary may not be and was."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import pickle
import random
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec
from starlette.types import Scope

from gateway.accounts import Accounts
from gateway.app import Gateway, create_app
from gateway.settings import Settings, load
from middleware.dump import DumpMiddleware
from middleware.exchange import DELEGATION_KEY, SCOPE_KEY, Delegation, Exchange
from recorders.log import HumanFormatter, JsonFormatter
from tests.asgi import Drive, drive, http_scope
from tests.security.canaries import Canaries, found, kind_of
from tests.security.provider import CREDENTIAL_HEADERS, TalkativeProvider
from tests.security.traffic import REMOVED_HEADERS, Shot, Traffic
from tests.waiting import PATIENCE_S

INSTANCES: Final = {
    "openai": "openai",
    "openai-eu": "openai",
    "openai-bare": "openai",
    "anthropic": "anthropic",
    "copilot": "copilot",
}
KEYLESS: Final = frozenset({"openai-bare", "copilot"})
KEY_ID: Final = "AAAAAAAAAA"
SHOTS: Final = 1000
"""Requests for each of the three gateways."""


@dataclass(slots=True)
class Observation:
    """`leaks`: (output, what was found). The rest shows that the run was worth something."""

    leaks: set[tuple[str, str]] = field(default_factory=set)
    mistakes: set[str] = field(default_factory=set)
    statuses: Counter[int] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)
    """Whose credential went upstream how often: an instance's name, `own`, or `none`."""
    kinds: set[str] = field(default_factory=set)
    recorded: int = 0
    torn: int = 0
    """Interceptions in a database: all, and those that lack their start or their end."""
    forwarded: int = 0
    """Requests that went upstream on recorded routes."""
    log_lines: int = 0
    dumps: int = 0
    journalled: int = 0

    def search(self, output: str, data: bytes | str, *allowed: str) -> None:
        data = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
        self.leaks |= {(output, kind_of(hit)) for hit in found(data, allowed)}

    def of(self, *outputs: str) -> list[tuple[str, str]]:
        return sorted(leak for leak in self.leaks if leak[0] in outputs)


def observe(directory: Path) -> Observation:
    """All three gateways: BYOK allowed, BYOK off, and one token from the settings."""
    seen = Observation()
    with _every_log_line(seen), asyncio.Runner() as runner:
        for number, (name, environ) in enumerate(_gateways().items()):
            rng = random.Random(number)
            canaries = Canaries(rng)
            runner.run(_run(directory / name, environ, rng, canaries, seen))
            seen.kinds |= canaries.kinds
    return seen


def _gateways() -> dict[str, dict[str, str]]:
    return {
        "open": {},
        "closed": {"ALLOW_BYOK": "false", "SEND_ACTOR_HEADERS": "true"},
        "static": {"AUTH": "static"},
    }


def make_settings(
    directory: Path, environ: dict[str, str], canaries: Canaries
) -> tuple[Settings, dict[str, str]]:
    """Settings with a canary for each central key, and the keys by instance."""
    given = {
        "DATABASE_URL": f"sqlite:///{directory / 'gateway.db'}",
        "JOURNAL_DIR": str(directory / "journal"),
        "DUMP_DIR": str(directory / "dumps"),
        "STRUCTURED_LOGGING": "true",
        "AUTH_CACHE_TTL": "1h",
        "MAX_RETRIES": "0",
        "STATIC_TOKEN": f"static-{canaries.make('token')}",
        **environ,
    }
    keys: dict[str, str] = {}
    for index, (name, kind) in enumerate(INSTANCES.items()):
        given |= {f"PROVIDER_{index}_TYPE": kind, f"PROVIDER_{index}_NAME": name}
        if name not in KEYLESS:
            keys[name] = given[f"PROVIDER_{index}_KEY"] = canaries.make("central")
    return load(environ={f"CODER_AI_GATEWAY_{name}": value for name, value in given.items()}), keys


async def _run(
    directory: Path, environ: dict[str, str], rng: random.Random, canaries: Canaries, seen: Observation
) -> None:
    settings, keys = make_settings(directory, environ, canaries)
    provider = TalkativeProvider()
    app = create_app(settings, transport=provider)
    async with app.lifespan():
        if environ.get("AUTH") == "static":
            token, key_id = settings.gateway.static_token.reveal_secret_value(), "static"
        else:
            token, key_id = await _plant_key(app, canaries.make("token")), KEY_ID
        traffic = Traffic(rng, canaries, instances=INSTANCES, token=token)
        for number, shot in enumerate(islice(traffic.shots(), SHOTS)):
            scope = _scope(shot, key_id)
            await _fire(app, provider, shot, scope, seen)
            _check_upstream(provider, shot, keys, seen)
            _check_objects(scope[SCOPE_KEY], seen, thoroughly=number % 10 == 0)
            if number % 200 == 199:
                _check_journal(directory, seen)
            seen.forwarded += provider.seen is not None and scope[SCOPE_KEY].facts is not None
        await _count_records(app, seen)
    _finish_dumps(app)
    _check_files(directory, seen)


async def _count_records(app: Gateway, seen: Observation) -> None:
    if app.database is None or not await app.drain.flush(PATIENCE_S):
        raise AssertionError("the records did not get to the database")
    (row,) = await app.database.fetch(
        "SELECT count(*) AS recorded, sum(started_at IS NULL OR ended_at IS NULL) AS torn FROM aibridge_interceptions"
    )
    seen.recorded += row["recorded"]
    seen.torn += row["torn"]


async def _plant_key(app: Gateway, secret: str) -> str:
    """A key whose secret is a canary; its token."""
    if app.database is None:
        raise AssertionError("this gateway has a database")
    user = await Accounts(app.database).create_user("ada")
    await app.database.execute(
        "INSERT INTO api_keys (id, user_id, hashed_secret, created_at) VALUES (?, ?, ?, ?)",
        *(KEY_ID, user.id, hashlib.sha256(secret.encode()).hexdigest(), "2026-01-01T00:00:00.000000Z"),
    )
    return f"{KEY_ID}-{secret}"


def _scope(shot: Shot, key_id: str) -> Scope:
    headers = [*shot.headers, ("Content-Type", "application/json")]
    scope = http_scope(shot.method, shot.target, headers=headers)
    if shot.mode.startswith("delegated"):
        scope[DELEGATION_KEY] = Delegation(key_id, "test")
    return scope


async def _fire(
    app: Gateway, provider: TalkativeProvider, shot: Shot, scope: Scope, seen: Observation
) -> None:
    provider.outcome, provider.seen = shot.outcome, None
    async with drive(app, scope, body=shot.body) as client:
        if shot.outcome == "stalls":
            await client.message(1)
            client.disconnect()
        await client.ended()
        if client.exception is not None:
            seen.search("exception", "".join(traceback.format_exception(await client.failed())))
            seen.search("exception", repr(client.exception))
    _check_answer(client, shot, seen)


def _check_answer(client: Drive, shot: Shot, seen: Observation) -> None:
    """The provider's own body reaches the client as it came, what it quotes of the client's credential too."""
    seen.statuses[client.status] += 1
    seen.search("answer head", b"\n".join(b": ".join(header) for header in client.headers))
    if not shot.outcome.startswith("echoes"):
        seen.search("answer body", client.body)


def _check_upstream(provider: TalkativeProvider, shot: Shot, keys: dict[str, str], seen: Observation) -> None:
    request = provider.seen
    if request is None:
        return
    byok = shot.mode in ("byok", "delegated byok") and bool(shot.own_keys)
    expected = shot.own_keys if byok else [keys[shot.instance]] if shot.instance in keys else []
    slots = [value for name, value in request.headers.multi_items() if name in CREDENTIAL_HEADERS]
    sent = [value.removeprefix("Bearer ") for value in slots]
    if len(sent) != min(1, len(expected)) or not set(sent) <= set(expected):
        seen.mistakes.add(
            f"{shot.mode} on {shot.instance} sent {len(sent)} credentials, or not the right one"
        )
    seen.sent["own" if byok else shot.instance if sent else "none"] += 1
    others = [(n, v) for n, v in request.headers.raw if n.decode().lower() not in CREDENTIAL_HEADERS]
    seen.mistakes |= {
        f"{name} went upstream"
        for name in REMOVED_HEADERS
        if name in request.headers and not (name.startswith("X-AI-Bridge") and shot.mode not in ("nobody",))
    }
    seen.search("upstream head", b"\n".join(b": ".join(header) for header in others))
    seen.search("upstream target", request.url.raw_path, *shot.own_parameters)
    seen.search("upstream body", provider.body, *shot.in_body)


def _check_objects(exchange: Exchange, seen: Observation, *, thoroughly: bool) -> None:
    seen.search("object", repr(exchange))
    if not thoroughly:
        return
    for thing in (exchange.token, exchange.credential, exchange.caller, exchange.provider, exchange.route):
        check_object(thing, seen)


def check_object(thing: Any, seen: Observation) -> None:
    """Every way in which an object becomes text or bytes."""
    seen.search("object", f"{thing!r} {thing!s} {thing}")
    seen.search("object", pickle.dumps(thing))
    for encode in (msgspec.json.encode, msgspec.msgpack.encode):
        try:
            seen.search("object", encode(thing))
        except TypeError as refused:
            seen.search("object", str(refused))
        seen.search("object", encode(thing, enc_hook=str))


def _finish_dumps(app: Any) -> None:
    """Wait until the layer that dumps has written everything."""
    layer = app._pipeline
    while not isinstance(layer, DumpMiddleware):
        layer = layer.app
    layer.close()


def _check_journal(directory: Path, seen: Observation) -> None:
    """Its segments go away once they are stored, so they are looked at while they are there."""
    for path in (directory / "journal").glob("**/*"):
        if path.is_file():
            data = path.read_bytes().rstrip(b"\0")  # a segment has its full size from the start
            seen.journalled += len(data)
            seen.search("journal", data)


def _check_files(directory: Path, seen: Observation) -> None:
    for path in directory.glob("gateway.db*"):
        seen.search("database", path.read_bytes())
    for path in directory.glob("dumps/*/*/*"):
        seen.dumps += 1
        seen.search("dump name", str(path))
        head, _, body = path.read_bytes().partition(b"\r\n\r\n")
        seen.search("dump head", head)
        # Bodies are what dumps are for; of ours, nothing but the client's body and the provider's echo gets there.
        expected = {"body"} if path.name.endswith(".req.txt") else {"central", "own"}
        seen.leaks |= {("dump body", kind) for kind in map(kind_of, found(body)) if kind not in expected}


class _Searcher(logging.Handler):
    """Looks at each line as every formatter would write it, and at what it was made of."""

    def __init__(self, seen: Observation) -> None:
        super().__init__(level=1)
        self._seen = seen
        self._formatters = (logging.Formatter(), HumanFormatter(), JsonFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        self._seen.log_lines += 1
        self._seen.search(f"log of {record.name}", repr(vars(record)))
        for formatter in self._formatters:
            self._seen.search(f"log of {record.name}", formatter.format(record))


@contextmanager
def _every_log_line(seen: Observation, lowest: int = 1) -> Iterator[None]:
    root, handler = logging.getLogger(), _Searcher(seen)
    level = root.level
    root.addHandler(handler)
    root.setLevel(lowest)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


@asynccontextmanager
async def every_log_line(seen: Observation) -> AsyncIterator[None]:
    """The same for a test with an event loop, which is put into its talkative mode as well."""
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    with _every_log_line(seen, logging.DEBUG):
        yield
    loop.set_debug(False)
