"""The rows of the table: what is asked, what the upstream answers, and on which route.

A row's paths are those of the provider; `gateway_path` is what a client of the gateway asks for.
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

    def answer_body(self, number: int) -> bytes:
        """What the client must have received, byte for byte, for the request of this number."""
        return b"".join(piece.render(number) for piece in self.answer)

    @property
    def answer_bytes(self) -> int:
        return sum(len(piece) for piece in self.answer)


def _rows() -> tuple[Row, ...]:
    chat = ("POST", "/v1/chat/completions", "/openai/v1/chat/completions")
    messages = ("POST", "/v1/messages", "/anthropic/v1/messages")
    models = ("GET", "/v1/models", "/openai/v1/models")
    return (
        Row("small", *chat, payloads.small_request(), (payloads.small_answer(),)),
        Row(
            "turn",
            *messages,
            payloads.turn_request(),
            tuple(payloads.turn_events()),
            streamed=True,
            calls_tool=True,
        ),
        Row(
            "blocking",
            *messages,
            payloads.turn_request(stream=False),
            (payloads.blocking_answer(),),
            calls_tool=True,
        ),
        Row("models", *models, Template(b""), (payloads.models_answer(),), recorded=False),
    )


ROWS = {row.name: row for row in _rows()}
