"""A store in memory, for tests and for trying things out: it keeps everything, and forgets it with the process.

It is a `Sink` as well: what is emitted is there at once, without journal and drain. It resolves no lineage.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from recorders.records import (
    InterceptionEnd,
    InterceptionStart,
    ModelThought,
    PromptUsage,
    Record,
    TokenUsage,
    ToolUsage,
)

_R = TypeVar("_R", bound=Record)


class MemoryStore:
    """Records in the order of their coming, each once."""

    def __init__(self) -> None:
        self._records: dict[tuple[type[Record], str], Record] = {}

    async def open(self) -> None:
        """Nothing to open."""

    async def write(self, records: Sequence[Record]) -> None:
        for record in records:
            self.emit(record)

    async def close(self) -> None:
        """Nothing to close; the records stay readable."""

    def emit(self, record: Record) -> None:
        self._records.setdefault((type(record), _key(record)), record)

    async def settle(self) -> None:
        """Nothing to wait for."""

    @property
    def records(self) -> list[Record]:
        return list(self._records.values())

    @property
    def starts(self) -> list[InterceptionStart]:
        return self._all(InterceptionStart)

    @property
    def ends(self) -> list[InterceptionEnd]:
        return self._all(InterceptionEnd)

    @property
    def token_usages(self) -> list[TokenUsage]:
        return self._all(TokenUsage)

    @property
    def prompts(self) -> list[PromptUsage]:
        return self._all(PromptUsage)

    @property
    def tool_usages(self) -> list[ToolUsage]:
        return self._all(ToolUsage)

    @property
    def thoughts(self) -> list[ModelThought]:
        return self._all(ModelThought)

    def of(self, interception_id: str) -> list[Record]:
        """All records of one interception."""
        return [record for record in self._records.values() if record.interception_id == interception_id]

    def _all(self, kind: type[_R]) -> list[_R]:
        return [record for record in self._records.values() if isinstance(record, kind)]


def _key(record: Record) -> str:
    """An interception has one start and one end; of the rest it can have many, each with its own ID."""
    return record.interception_id if isinstance(record, InterceptionStart | InterceptionEnd) else record.id
