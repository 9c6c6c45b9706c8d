"""The rows of the table: what is asked, what the upstream answers, and on which route.

A row's paths are those of the provider; `gateway_path` is what a client of the gateway asks for. `ROWS` are asked as
fast as they are answered and at half load; `SLOW_ROWS` are streams whose events have pauses between them, of which many
are held open at once.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.bench import payloads
from tests.bench.template import Template


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of load. An answer of several pieces is a stream, one piece an event."""

    name: str
    method: str
    path: str
    gateway_path: str
    request: Template
    answer: tuple[Template, ...]
    streamed: bool = False
    recorded: bool = True
    calls_tool: bool = False
    """Whether the answer makes one tool call, for the gateway to record."""
    gap_s: float = 0.0
    """The pause after each event."""
    stamped: bool = False
    """Whether events tell when they were written."""

    def answer_body(self, number: int) -> bytes:
        """What the client must have received, byte for byte, for the request of this number."""
        return b"".join(piece.render(number) for piece in self.answer)

    @property
    def answer_bytes(self) -> int:
        return sum(len(piece) for piece in self.answer)


CHAT = ("POST", "/v1/chat/completions", "/openai/v1/chat/completions")
MESSAGES = ("POST", "/v1/messages", "/anthropic/v1/messages")
MODELS = ("GET", "/v1/models", "/openai/v1/models")
IDLE_GAP_S = 2.5


def _turn(name: str, size: int, events: int, *, gap_s: float = 0.0) -> Row:
    model = f"claude-bench-{name}"
    request, answer = payloads.turn_request(model, size), payloads.turn_events(model, events)
    return Row(name, *MESSAGES, request, answer, streamed=True, calls_tool=True, gap_s=gap_s)


def _blocking() -> Row:
    request = payloads.turn_request("claude-bench-blocking", stream=False)
    return Row("blocking", *MESSAGES, request, (payloads.blocking_answer(),), calls_tool=True)


def _steady() -> Row:
    request, answer = payloads.short_request("claude-bench-steady"), payloads.steady_events()
    return Row("steady", *MESSAGES, request, answer, streamed=True, gap_s=0.02, stamped=True)


def _idle_small() -> Row:
    model = "claude-bench-idle-small"
    request, answer = payloads.short_request(model), payloads.turn_events(model, payloads.IDLE_EVENTS)
    return Row("idle-small", *MESSAGES, request, answer, streamed=True, calls_tool=True, gap_s=IDLE_GAP_S)


def _by_name(*rows: Row) -> dict[str, Row]:
    return {row.name: row for row in rows}


ROWS = _by_name(
    Row("small", *CHAT, payloads.small_request(), (payloads.small_answer(),)),
    _turn("turn", payloads.TURN_BYTES, payloads.TURN_EVENTS),
    _turn("long", payloads.LONG_BYTES, payloads.LONG_EVENTS),
    _blocking(),
    Row("models", *MODELS, Template(b""), (payloads.models_answer(),), recorded=False),
)
SLOW_ROWS = _by_name(
    _turn("idle", payloads.TURN_BYTES, payloads.IDLE_EVENTS, gap_s=IDLE_GAP_S),
    _idle_small(),
    _steady(),
)
ALL_ROWS = {**ROWS, **SLOW_ROWS}
