"""Records of a given time, with IDs of that time."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

from recorders.records import Record
from tests.recorders import samples

_numbers = count(1)


def id_at(at: datetime) -> str:
    """A UUIDv7 of that millisecond, another one each time."""
    milliseconds = (at - datetime.fromisoformat("1970-01-01T00:00:00Z")) // timedelta(milliseconds=1)
    return str(UUID(int=milliseconds << 80 | 7 << 76 | 2 << 62 | next(_numbers)))


def part(make: Any, interception_id: str, at: datetime) -> Record:
    """A prompt, thought, tool call or usage, as `make` of the samples makes it."""
    record: Record = make(interception_id, id=id_at(at), created_at=at)
    return record


def parts(interception_id: str, at: datetime) -> list[Record]:
    """One of each kind that belongs to an interception."""
    kinds = (samples.prompt, samples.thought, samples.tool, samples.tokens)
    return [part(make, interception_id, at) for make in kinds]


def whole(at: datetime) -> list[Record]:
    """An interception that started then, ended three seconds later and left a record of each kind."""
    own_id = id_at(at)
    return [
        samples.start(own_id, started_at=at),
        *parts(own_id, at),
        samples.end(own_id, ended_at=at + timedelta(seconds=3)),
    ]
