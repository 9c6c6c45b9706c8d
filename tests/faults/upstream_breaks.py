"""The provider stalls, cuts, sends what none should: the bytes pass, the reader survives, the record ends."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.answers.turn import STREAM_HEADERS
from tests.faults.apis import APIS, Api, events_of, number_of, turn_of
from tests.faults.ledger import rows
from tests.faults.report import Report
from tests.faults.scene import Scene, scene
from tests.upstream import CUT, Received, Reply, Step

IDLE_TIMEOUT = "500ms"
LARGE = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Break:
    """What becomes of a good answer's events. `whole`: the client gets an end. `read`: its tokens are still known."""

    name: str
    steps: Callable[[list[bytes]], Sequence[Step]]
    whole: bool = True
    read: bool = True


def _bytewise(events: list[bytes]) -> list[Step]:
    return [bytes([byte]) for byte in b"".join(events)]


def _garbage(events: list[bytes]) -> list[Step]:
    rng = random.Random(16)
    return [rng.randbytes(size) for size in (1, 100, 10_000)]


BREAKS = (
    Break("stalls", lambda events: [*events[:2], asyncio.Event()], whole=False, read=False),
    Break("cuts", lambda events: [*events[:2], CUT], whole=False, read=False),
    Break("sends garbage", _garbage, read=False),
    Break("sends a line of 16 MB", lambda events: [b"data: ", b"x" * LARGE, b"\n\n", *events], read=False),
    Break("splits at every byte", _bytewise),
    Break("ends lines with CR", lambda events: [event.replace(b"\n", b"\r") for event in events]),
    Break("ends lines with CRLF", lambda events: [event.replace(b"\n", b"\r\n") for event in events]),
    Break("mixes line ends", lambda events: [event.replace(b"\n", b"\r\n", 1) for event in events]),
    Break("sends comments", lambda events: [b": ping\n\n" + event + b":\n" for event in events]),
    Break("begins with a BOM", lambda events: [b"\xef\xbb\xbf" + events[0], *events[1:]]),
    Break(
        "sends invalid UTF-8", lambda events: [event.replace(b"sunny", b"s\xff\xc3ny") for event in events]
    ),
)


async def upstream_breaks(report: Report, folder: Path, *, short: bool) -> None:
    apis = APIS[:1] if short else APIS
    cases = dict(enumerate((one, api) for one in BREAKS for api in apis))

    def answer(request: Received) -> Reply:
        one, _ = cases[number_of(request)]
        return Reply(200, STREAM_HEADERS, one.steps(events_of(request)))

    async with scene(folder, answer, idle_timeout=IDLE_TIMEOUT) as gateway:
        await gateway.start()
        for number, (one, api) in cases.items():
            await _play(report, gateway, number, one, api)
        status = await gateway.stop()
        report.require(status == 0, f"exit status {status}")
        ended = sum(_judge(report, gateway, number, *case) for number, case in cases.items())
        report.did(f"the provider {', '.join(one.name for one in BREAKS)}")
        report.counted(answers=len(cases), records_ended=ended)
        report.require("a reader failed" not in gateway.log, "a reader did not survive")


async def _play(report: Report, gateway: Scene, number: int, one: Break, api: Api) -> None:
    """Ask, and compare what came with what was sent."""
    sent = b"".join(step for step in one.steps(api.events(turn_of(number))) if isinstance(step, bytes))
    got, whole = b"", True
    try:
        async with gateway.stream(api, number) as answer:
            async for chunk in answer.aiter_raw():
                got += chunk
    except httpx.HTTPError:
        whole = False
    report.require(
        got == sent, f"{one.name}, {api.name}: {len(got)} bytes came of {len(sent)}, or other ones"
    )
    report.require(
        whole == one.whole, f"{one.name}, {api.name}: the answer {'ended' if whole else 'broke off'}"
    )


def _judge(report: Report, gateway: Scene, number: int, one: Break, api: Api) -> bool:
    outcomes = rows(
        gateway.database,
        "SELECT i.outcome FROM aibridge_interceptions i JOIN aibridge_user_prompts p"
        " ON p.interception_id = i.id WHERE p.prompt = ?",
        f"question {number}",
    )
    expected = [("completed" if one.whole else "upstream_failed",)]
    report.require(outcomes == expected, f"{one.name}, {api.name}: recorded as {outcomes}")
    if one.read:
        turn = turn_of(number)
        usages = rows(
            gateway.database,
            "SELECT input_tokens, output_tokens FROM aibridge_token_usages WHERE provider_response_id = ?",
            f"resp-{number}",
        )
        known = usages == [(turn.input_tokens, turn.output_tokens)]
        report.require(known, f"{one.name}, {api.name}: usage {usages}")
    return len(outcomes) == 1
