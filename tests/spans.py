"""A tracer that keeps spans in memory, as they were told, for the tests of those who tell them.

spans = Spans()
app = TracingMiddleware(site, tracer=spans)
(span,) = spans.roots
"""

from __future__ import annotations

from recorders.spans import Attributes, Headers, Value


class KeptSpan:
    """What one span was told. Its context is its number, in the form that W3C gives it."""

    def __init__(self, spans: Spans, name: str, headers: Headers, attributes: Attributes) -> None:
        self.name, self.headers = name, list(headers)
        self.attributes: dict[str, Value] = dict(attributes)
        self.children: list[KeptSpan] = []
        self.ended = 0
        self.failed = False
        self._spans = spans
        self._number = spans.count = spans.count + 1

    def child(self, name: str, attributes: Attributes) -> KeptSpan:
        self._spans.check()
        self.children.append(KeptSpan(self._spans, name, [], attributes))
        return self.children[-1]

    @property
    def traceparent(self) -> bytes:
        return b"00-%032x-%016x-01" % (1, self._number)

    def context(self) -> list[tuple[bytes, bytes]]:
        return [(b"traceparent", self.traceparent)]

    def end(self, attributes: Attributes, *, name: str = "", failed: bool = False) -> None:
        self.ended += 1
        self._spans.check()
        self.attributes |= attributes
        self.name = name or self.name
        self.failed = failed


class Spans:
    """A `Tracer`. With `broken` set, everything that it is asked raises."""

    def __init__(self) -> None:
        self.roots: list[KeptSpan] = []
        self.count = 0
        self.broken = False

    def begin(self, name: str, headers: Headers, attributes: Attributes) -> KeptSpan:
        self.check()
        self.roots.append(KeptSpan(self, name, headers, attributes))
        return self.roots[-1]

    def check(self) -> None:
        if self.broken:
            raise LookupError("a mistake in the tracer")

    @property
    def root(self) -> KeptSpan:
        (span,) = self.roots
        return span
