"""The rows have the sizes that the table promises, and bodies that an API would take."""

from __future__ import annotations

import json

import pytest

from tests.bench.rows import ALL_ROWS, ROWS


def test_turn_is_a_coding_agents_turn() -> None:
    """115 KB with 24 tools and a long history, which ends in the result of a tool call."""
    row = ROWS["turn"]
    body = json.loads(row.request.render(41))
    assert len(row.request) == 115_000
    assert len(body["tools"]) == 24
    assert len(body["messages"]) > 40
    assert body["messages"][-1]["content"][0]["tool_use_id"] == "toolu_0000000041"


@pytest.mark.parametrize(
    ("row", "events"), [("turn", 300), ("long", 3_000), ("idle", 18), ("idle-small", 18), ("steady", 500)]
)
def test_stream_is_made_of_so_many_whole_events(row: str, events: int) -> None:
    """Each piece is one event whose data is JSON of the type that the event names."""
    pieces = [piece.render(42).decode() for piece in ALL_ROWS[row].answer]
    assert len(pieces) == events
    for piece in pieces:
        event, data, end, rest = piece.split("\n")
        assert (end, rest) == ("", "")
        assert json.loads(data.removeprefix("data: "))["type"] == event.removeprefix("event: ")


def test_long_is_a_turn_with_a_longer_history() -> None:
    """600 KB of the same make."""
    row = ROWS["long"]
    assert len(row.request) == 600_000
    assert len(json.loads(row.request.render(41))["messages"]) > 400


@pytest.mark.parametrize(
    ("row", "request_bytes", "answer_bytes"), [("small", 150, 600), ("blocking", 115_000, 30_000)]
)
def test_documents_have_the_sizes_of_their_row(row: str, request_bytes: int, answer_bytes: int) -> None:
    """Request and answer are JSON documents of exactly these sizes."""
    request, answer = ROWS[row].request.render(1), ROWS[row].answer_body(2)
    assert (len(request), len(answer)) == (request_bytes, answer_bytes)
    assert json.loads(request)["model"] == json.loads(answer)["model"]


def test_no_two_rows_take_the_same_request() -> None:
    """The upstream tells rows on one route apart by their bodies."""
    for row in ALL_ROWS.values():
        takers = [
            other.name
            for other in ALL_ROWS.values()
            if (other.method, other.path) == (row.method, row.path)
            and other.request.number_of(row.request.render(3)) is not None
        ]
        assert takers == [row.name]
