"""Who answers whom, on each kind of database, in whatever order and by whatever replica the records come."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recorders.records import InterceptionStart, Record, ToolUsage
from recorders.stores.lineage import SQLITE_LIST, lineage_of
from recorders.stores.statements import row_by_row
from recorders.stores.tables import rows_of
from tests.recorders import samples
from tests.recorders.stores.kept import Kept


def at(seconds: float) -> datetime:
    return samples.NOON + timedelta(seconds=seconds)


async def test_the_answer_to_a_tool_call_belongs_to_the_thread_of_the_call(kept: Kept) -> None:
    """Parent, root and session follow a chain of three, also within one batch."""
    await kept.write(
        samples.start("a"),
        samples.tool("a", tool_call_id="call_a"),
        samples.start("b", correlating_tool_call_id="call_a"),
        samples.tool("b", tool_call_id="call_b"),
        samples.start("c", correlating_tool_call_id="call_b"),
    )

    assert await kept.thread("a") == (None, None, "a")
    assert await kept.thread("b") == ("a", "a", "a")
    assert await kept.thread("c") == ("b", "a", "a")


async def test_the_clients_own_session_id_wins(kept: Kept) -> None:
    """The thread is linked all the same."""
    await kept.write(
        samples.start("a", client_session_id="s"),
        samples.tool("a"),
        samples.start("b", correlating_tool_call_id="call_1", client_session_id="t"),
    )

    assert await kept.thread("a") == (None, None, "s")
    assert await kept.thread("b") == ("a", "a", "t")


async def test_another_users_call_of_the_same_id_is_no_parent(kept: Kept) -> None:
    """Nobody gets into the thread of somebody else by guessing a call ID."""
    await kept.write(
        samples.start("a", initiator_id="u2"),
        samples.tool("a"),
        samples.start("b", correlating_tool_call_id="call_1"),
    )

    assert await kept.thread("b") == (None, None, "b")


async def test_of_several_calls_with_the_same_id_the_newest_is_the_parent(kept: Kept) -> None:
    """Some providers count their calls from one in every answer."""
    await kept.write(
        samples.start("new"),
        samples.tool("new", created_at=samples.NOON + timedelta(seconds=1)),
        samples.start("old"),
        samples.tool("old", created_at=samples.NOON),
        samples.start("b", correlating_tool_call_id="call_1", started_at=at(2)),
    )

    assert (await kept.thread("b"))[0] == "new"


async def test_an_interception_is_not_its_own_parent(kept: Kept) -> None:
    """Its own tool usage may be stored before its start."""
    await kept.write(
        samples.tool("a"), samples.end("a"), samples.start("a", correlating_tool_call_id="call_1")
    )

    assert await kept.thread("a") == (None, None, "a")


async def test_a_thread_that_was_found_once_stays_when_the_start_comes_again(kept: Kept) -> None:
    """Also when a newer call of the same ID has come in between."""
    child = samples.start("b", correlating_tool_call_id="call_1")
    await kept.write(samples.start("a"), samples.tool("a"), child)
    await kept.write(samples.start("z"), samples.tool("z", created_at=samples.NOON + timedelta(seconds=1)))

    await kept.write(child)

    assert await kept.thread("b") == ("a", "a", "a")


async def test_a_thread_that_the_record_already_names_is_kept(kept: Kept) -> None:
    """Whoever knows it better than the store need not leave it to the store."""
    await kept.write(samples.start("b", thread_parent_id="p", thread_root_id="r"))

    assert await kept.thread("b") == ("p", "r", "r")


# -- in any order -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", list(itertools.permutations(range(5))), ids=str)
async def test_a_chain_is_linked_in_whatever_order_its_records_come(order: tuple[int, ...]) -> None:
    """The parent's call or its start may be the last to arrive; what stood below is moved along."""
    records: list[Record] = [
        samples.start("a", started_at=at(0)),
        samples.tool("a", tool_call_id="call_a", created_at=at(1)),
        samples.start("b", correlating_tool_call_id="call_a", started_at=at(2)),
        samples.tool("b", tool_call_id="call_b", created_at=at(3)),
        samples.start("c", correlating_tool_call_id="call_b", started_at=at(4)),
    ]
    async with on_sqlite() as kept:
        for number in order:
            await kept.write(records[number])

        assert await kept.threads() == {
            "a": (None, None, "a"),
            "b": ("a", "a", "a"),
            "c": ("b", "a", "a"),
        }


async def test_a_call_that_comes_late_takes_over_from_an_older_one_of_the_same_id(kept: Kept) -> None:
    """As if it had come in time; the thread below goes with it."""
    old: list[Record] = [samples.start("old", started_at=at(0)), samples.tool("old", created_at=at(1))]
    new: list[Record] = [samples.start("new", started_at=at(2)), samples.tool("new", created_at=at(3))]
    child = samples.start("b", correlating_tool_call_id="call_1", started_at=at(4))
    below = samples.start("c", correlating_tool_call_id="call_2", started_at=at(6))
    await kept.write(*old, child)
    await kept.write(samples.tool("b", tool_call_id="call_2", created_at=at(5)), below)
    assert await kept.thread("c") == ("b", "old", "old")

    await kept.write(*new)

    assert await kept.thread("b") == ("new", "new", "new")
    assert await kept.thread("c") == ("b", "new", "new")


async def test_a_call_made_after_the_request_is_not_what_it_answers(kept: Kept) -> None:
    """Unless there is no other: then it is the clock of its replica that is ahead."""
    await kept.write(
        samples.start("a", started_at=at(0)),
        samples.tool("a", created_at=at(2)),
        samples.start("b", correlating_tool_call_id="call_1", started_at=at(1)),
    )
    assert (await kept.thread("b"))[0] == "a"

    await kept.write(samples.start("z", started_at=at(0.1)), samples.tool("z", created_at=at(0.5)))

    assert (await kept.thread("b"))[0] == "z"


async def test_no_thread_is_a_circle(kept: Kept) -> None:
    """Whatever clients claim to answer, a parent has started before its child."""
    await kept.write(
        samples.start("a", started_at=at(0), correlating_tool_call_id="call_b"),
        samples.tool("a", tool_call_id="call_a", created_at=at(1)),
        samples.start("b", started_at=at(2), correlating_tool_call_id="call_a"),
        samples.tool("b", tool_call_id="call_b", created_at=at(3)),
    )

    assert await kept.threads() == {"a": (None, None, "a"), "b": ("a", "a", "a")}


async def test_a_circle_that_records_claim_does_not_hold_up_the_store(kept: Kept) -> None:
    """A host may hand in what it likes; links against time are not followed."""
    await kept.write(
        samples.start("x", started_at=at(1), thread_parent_id="y", correlating_tool_call_id="call_1"),
        samples.start("y", started_at=at(2), thread_parent_id="x"),
    )

    await kept.write(samples.start("a", started_at=at(0)), samples.tool("a", created_at=at(0)))

    assert await kept.thread("x") == ("a", "a", "a")
    assert await kept.thread("y") == ("x", "a", "a")


async def test_a_batch_that_tells_of_no_call_and_no_request_asks_nothing() -> None:
    """Most of what a busy gateway stores touches no thread."""
    assert lineage_of(rows_of([samples.end(), samples.tokens(), samples.thought()]), SQLITE_LIST) == []


@pytest.mark.parametrize("writers", [1, 3])
async def test_replicas_that_write_at_once_leave_no_link_out(
    kept: Kept, database_url: str, writers: int
) -> None:
    """Each sees only part of what the others are about to commit."""
    replicas = [kept, *[Kept(database_url) for _ in range(writers - 1)]]
    for replica in replicas[1:]:
        await replica.store.open()
    records = list(conversation(60))
    shuffled = Random(7).sample(records, len(records))

    async def replay(replica: Kept, own: Sequence[Record]) -> None:
        for number in range(0, len(own), 5):
            await replica.write(*own[number : number + 5])

    async with asyncio.TaskGroup() as group:
        for number, replica in enumerate(replicas):
            group.create_task(replay(replica, shuffled[number::writers]))

    threads = await kept.threads()
    assert threads == {f"{n:04}": (f"{n - 1:04}", "0000", "0000") for n in range(1, 60)} | {
        "0000": (None, None, "0000")
    }
    for replica in replicas[1:]:
        await replica.store.close()


def conversation(turns: int) -> Iterator[Record]:
    """Each turn answers the call of the one before."""
    for number in range(turns):
        answers = f"call_{number - 1}" if number else None
        own_id = f"{number:04}"
        yield samples.start(own_id, correlating_tool_call_id=answers, started_at=at(number))
        yield samples.tool(own_id, tool_call_id=f"call_{number}", created_at=at(number + 0.5))


# -- the rule, once more and slowly -----------------------------------------------------------------------------------


@st.composite
def stories(draw: st.DrawFn) -> list[Record]:
    """Interceptions of two users who share three call IDs, at times that may coincide, in any order."""
    records: list[Record] = []
    for number in range(draw(st.integers(1, 7))):
        own_id, begin = f"i{number}", draw(st.integers(0, 6))
        answers = draw(st.sampled_from([None, "x", "y", "z"]))
        records.append(
            samples.start(
                own_id,
                started_at=at(begin),
                initiator_id=draw(st.sampled_from(["u1", "u1", "u2"])),
                correlating_tool_call_id=answers,
                client_session_id=draw(st.sampled_from([None, None, "s"])),
            )
        )
        for call in draw(st.lists(st.sampled_from("xyz"), max_size=2)):
            made = at(begin + draw(st.integers(-1, 3)))
            tool_id = f"{own_id}-{len(records)}"
            records.append(samples.tool(own_id, id=tool_id, tool_call_id=call, created_at=made))
    return draw(st.permutations(records))


def expected_threads(records: Sequence[Record]) -> dict[str, tuple[str | None, str | None, str]]:
    """What the documentation of `lineage` says, record by record."""
    starts = {r.interception_id: r for r in records if isinstance(r, InterceptionStart)}
    calls = [r for r in records if isinstance(r, ToolUsage)]

    def parent(child: InterceptionStart) -> str | None:
        made = [
            call
            for call in calls
            if call.tool_call_id == child.correlating_tool_call_id
            and (caller := starts[call.interception_id]).initiator_id == child.initiator_id
            and (caller.started_at, caller.interception_id) < (child.started_at, child.interception_id)
        ]
        made.sort(key=lambda call: (call.created_at, call.id))
        before = [call for call in made if call.created_at <= child.started_at]
        found = before[-1:] or made[:1]
        return found[0].interception_id if found else None

    parents = {own_id: parent(start) for own_id, start in starts.items()}

    def root(own_id: str) -> str:
        above = parents[own_id]
        return own_id if above is None else root(above)

    return {
        own_id: (
            parents[own_id],
            root(own_id) if parents[own_id] else None,
            start.client_session_id or root(own_id),
        )
        for own_id, start in starts.items()
    }


@given(story=stories(), cuts=st.lists(st.integers(1, 5), min_size=1, max_size=8))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_order_in_any_batches_gives_the_same_threads_in_sqlite(
    story: list[Record], cuts: list[int]
) -> None:
    """As the rule says, whatever came first."""
    asyncio.run(tell(on_sqlite(), story, cuts))


@given(story=stories(), cuts=st.lists(st.integers(1, 5), min_size=1, max_size=8))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_order_in_any_batches_by_any_writers_gives_the_same_threads_in_postgresql(
    postgres_url: str, story: list[Record], cuts: list[int]
) -> None:
    """As the rule says, whoever came first."""
    asyncio.run(tell(emptied(postgres_url), story, cuts, writers=3))


async def tell(
    fresh: AbstractAsyncContextManager[Kept], story: Sequence[Record], cuts: Sequence[int], writers: int = 1
) -> None:
    """Store the story in batches of those sizes; with several writers that many batches at once."""
    batches: list[list[Record]] = []
    sizes, left = itertools.cycle(cuts), list(story)
    while left:
        size = next(sizes)
        batches.append(left[:size])
        left = left[size:]
    async with fresh as kept:
        for number in range(0, len(batches), writers):
            await asyncio.gather(*(kept.write(*batch) for batch in batches[number : number + writers]))
        assert await kept.threads() == expected_threads(story)


@asynccontextmanager
async def on_sqlite() -> AsyncIterator[Kept]:
    with TemporaryDirectory() as folder:
        async with emptied(f"sqlite:///{folder}/x.db") as kept:
            yield kept


@asynccontextmanager
async def emptied(url: str) -> AsyncIterator[Kept]:
    kept = Kept(url)
    await kept.store.open()
    try:
        await kept.forget()
        yield kept
    finally:
        await kept.store.close()


# -- at any size ------------------------------------------------------------------------------------------------------


async def test_every_statement_of_sqlite_finds_its_rows_by_an_index(tmp_path: Path) -> None:
    """Storing takes as long with ten million rows as with ten."""
    kept = Kept(f"sqlite:///{tmp_path}/x.db")
    await kept.store.open()
    rows = rows_of([samples.start("b", correlating_tool_call_id="call_1"), *samples.whole()])
    for sql, parameters in (*row_by_row(rows), *lineage_of(rows, SQLITE_LIST)):
        plan = await kept.database.fetch(f"EXPLAIN QUERY PLAN {sql}", *parameters)
        tables = {"child", "caller", "call", "parent", "aibridge_interceptions"}
        details = [str(row["detail"]).split() for row in plan]
        assert not [words for words in details if words[0] == "SCAN" and words[1] in tables]
    await kept.store.close()
