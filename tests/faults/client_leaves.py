"""The client leaves after k events: the provider's connection is closed at once, and the record says what was known."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.answers.turn import streaming
from tests.faults.apis import APIS, Api, events_of, turn_of
from tests.faults.ledger import rows
from tests.faults.report import Report
from tests.faults.scene import Scene, scene
from tests.upstream import Received, Reply

CLOSED_WITHIN_S = 0.1


async def client_leaves(report: Report, folder: Path, *, short: bool) -> None:
    leaves_after: dict[int, int] = {}

    def held(request: Received) -> Reply:
        events = events_of(request)
        events = events[: leaves_after[len(leaves_after) - 1]]
        return Reply(200, streaming(events).headers, [*events, asyncio.Event()])

    delays: list[float] = []
    async with scene(folder, held) as one:
        await one.start()
        expected: list[tuple[int, Api, int]] = []
        for api in APIS:
            whole = len(api.events(turn_of(0)))
            for k in [1, whole // 2, whole - 1] if short else range(1, whole):
                number = len(leaves_after)
                leaves_after[number] = k
                expected.append((number, api, k))
                delays.append(await _leave(one, api, number, k))
        status = await one.stop()
        found = _judge(report, one, expected)
        report.did(
            f"left {len(expected)} answers, after every number of events of each API; exit status {status}"
        )
        report.counted(
            left=len(expected), ended_as_client_left=found, slowest_close_ms=round(max(delays) * 1000, 1)
        )
        report.require(max(delays) <= CLOSED_WITHIN_S, f"the slowest close took {max(delays):.3f} s")
        report.require(found == len(expected), f"{found} of {len(expected)} ended as client_left")


async def _leave(one: Scene, api: Api, number: int, k: int) -> float:
    """Read k events and go; how long the provider's connection stayed open."""
    wanted = b"".join(api.events(turn_of(number))[:k])
    got = b""
    async with one.stream(api, number) as answer:
        async for chunk in answer.aiter_raw():
            got += chunk
            if len(got) >= len(wanted):
                break
        request = await one.upstream.request(number)
        left_at = asyncio.get_running_loop().time()
    assert got == wanted, (got, wanted)
    await asyncio.wait_for(request.disconnected.wait(), 10)
    return asyncio.get_running_loop().time() - left_at


def _judge(report: Report, one: Scene, expected: list[tuple[int, Api, int]]) -> int:
    """How many ended as they should; and for each whose stream had told of tokens, that those are recorded."""
    found = 0
    for number, api, k in expected:
        outcomes = rows(
            one.database,
            "SELECT i.outcome FROM aibridge_interceptions i JOIN aibridge_user_prompts p"
            " ON p.interception_id = i.id WHERE p.prompt = ?",
            f"question {number}",
        )
        found += outcomes == [("client_left",)]
        usages = rows(
            one.database,
            "SELECT input_tokens, output_tokens FROM aibridge_token_usages WHERE provider_response_id = ?",
            f"resp-{number}",
        )
        told = _told(api, number, k)
        report.require(usages == told, f"{api.name} left after {k} events: usage {usages}, told {told}")
    return found


def _told(api: Api, number: int, k: int) -> list[tuple[int, int]]:
    """What the first k events said of tokens."""
    turn = turn_of(number)
    seen = b"".join(api.events(turn)[:k])
    if b'"message_delta"' in seen or (api.name != "messages" and b'"output_tokens": 10' in seen):
        return [(turn.input_tokens, turn.output_tokens)]
    if api.name == "chat" and b'"completion_tokens": 10' in seen:
        return [(turn.input_tokens, turn.output_tokens)]
    return [(turn.input_tokens, 1)] if api.name == "messages" else []
