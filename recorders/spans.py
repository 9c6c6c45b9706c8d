"""The seam to whatever keeps traces: what a layer may ask of it, without knowing who that is.

A span is one stretch of work, with a beginning, an end and attributes; a trace is the tree of them, also across
programs, by the headers `traceparent` and `tracestate` (W3C Trace Context). `recorders.otlp` keeps them with a
collector. Nothing here waits, and nothing here may fail what it observes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias

Value: TypeAlias = str | bool | int | float
Attributes: TypeAlias = Mapping[str, Value]
Headers: TypeAlias = Sequence[tuple[bytes, bytes]]


class Span(Protocol):
    """Has begun, and ends once."""

    def child(self, name: str, attributes: Attributes) -> Span:
        """Begin a span of what this one asks of another program."""
        ...

    def context(self) -> list[tuple[bytes, bytes]]:
        """The headers by which another program continues the trace below this span."""
        ...

    def end(self, attributes: Attributes, *, name: str = "", failed: bool = False) -> None:
        """It is over. A `name` replaces the one it began with."""
        ...


class Tracer(Protocol):
    def begin(self, name: str, headers: Headers, attributes: Attributes) -> Span:
        """Begin a span of what somebody asked of this program, in the trace that their headers name, if any."""
        ...


CONTEXT_HEADERS = frozenset({b"traceparent", b"tracestate"})
