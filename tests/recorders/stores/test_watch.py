from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from recorders.stores.base import StoreError
from recorders.stores.memory import MemoryStore
from recorders.stores.watch import DatabaseWatch, Watchable


class Watched:
    """A database that `looks` says something about, look by look; at its end nobody looks any more."""

    def __init__(self, *looks: Callable[[Watched], None]) -> None:
        self.looks = list(looks)
        self.generation = 0
        self.said: str | None = None
        self.synced_with_left: list[int] = []

    async def check(self) -> None:
        self.looks.pop(0)(self)

    async def sync(self) -> bool:
        self.synced_with_left.append(len(self.looks))
        return True

    def trouble(self) -> str | None:
        return self.said


def fine(watched: Watched) -> None:
    watched.said = None


def opened_again(watched: Watched) -> None:
    watched.generation += 1


def lost(watched: Watched) -> None:
    watched.said = "the database's file was removed or replaced"
    raise StoreError("x.db is gone")


async def watched_until_the_end(*watched: Watched) -> tuple[DatabaseWatch, list[str | None], list[float]]:
    """The watch, what it said when something had been opened again, and its pauses."""
    over = asyncio.Event()
    said: list[str | None] = []
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        if not watched[0].looks:
            over.set()
            await asyncio.Event().wait()

    watch = DatabaseWatch(watched, opened_again=lambda: said.append(watch.trouble()), pause=pause)
    watch.start()
    watch.start()
    async with asyncio.timeout(10):
        await over.wait()
    await watch.stop()
    return watch, said, pauses


async def test_it_looks_once_a_second() -> None:
    """And has nothing to say when all is in its place."""
    watch, said, pauses = await watched_until_the_end(Watched(fine, fine))

    assert pauses == [1.0, 1.0, 1.0]
    assert said == []
    assert watch.generations == 0


async def test_it_tells_when_a_database_was_opened_again_by_whomever() -> None:
    """Once for each time."""
    first = Watched(fine, opened_again, fine, fine)
    second = Watched(fine, fine, fine, opened_again)
    watch, said, _ = await watched_until_the_end(first, second)

    assert said == [None, None]
    assert watch.generations == 2


async def test_it_looks_on_while_a_database_is_lost() -> None:
    """It is ready again when it is back."""
    watched = Watched(lost, lost, fine)
    watch, _, _ = await watched_until_the_end(watched)
    assert watch.trouble() is None

    watched.looks = [lost]
    with pytest.raises(StoreError):
        await watched.check()
    assert watch.trouble() == "the database's file was removed or replaced"


async def test_who_wants_to_look_as_often_does() -> None:
    """The journal's files are another's to look at."""
    looks: list[int] = []
    over = asyncio.Event()

    async def pause(seconds: float) -> None:
        if len(looks) == 3:
            over.set()
            await asyncio.Event().wait()

    watch = DatabaseWatch([], opened_again=lambda: None, look=lambda: looks.append(1), pause=pause)
    watch.start()
    async with asyncio.timeout(10):
        await over.wait()
    await watch.stop()


async def test_every_ten_seconds_the_log_is_emptied() -> None:
    """Also of what other programs have put there."""
    watched = Watched(*[fine] * 25)
    await watched_until_the_end(watched)
    assert watched.synced_with_left == [15, 5]


async def test_without_a_database_there_is_nothing_to_look_at() -> None:
    """A host's store may be of any kind."""
    assert not isinstance(MemoryStore(), Watchable)
    watch = DatabaseWatch([], opened_again=lambda: None)
    watch.start()
    await watch.stop()
    assert (watch.trouble(), watch.generations) == (None, 0)
