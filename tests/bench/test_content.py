"""What answers say, compared across encodings."""

from __future__ import annotations

import json

import pytest

from tests.bench.content import UnreadableError, content
from tests.bench.rows import ROWS


def test_document_that_was_written_anew_says_the_same() -> None:
    """Order, spaces and added fields of a peer's encoder make no difference."""
    for name in ("small", "blocking"):
        answer = ROWS[name].answer_body(7)
        anew = json.dumps({"added": 1, **json.loads(answer)}, sort_keys=True, indent=1).encode()
        assert content(anew) == content(answer) != ""


def test_stream_may_be_cut_in_other_places() -> None:
    """Two pieces of text or one: the answer says the same."""
    block = b'{"type":"tool_use","id":"t1","name":"n","input":{}}'
    start = b'data: {"type":"content_block_start","content_block":%s}\n\n' % block
    piece = b'event: x\ndata: {"type":"content_block_delta","delta":{"partial_json":"%s"}}\n\n'
    assert content(start + piece % b"ab" + piece % b"c") == content(start + piece % b"abc") == "t1nabc"


@pytest.mark.parametrize("name", ["turn", "blocking"])
def test_another_answer_says_something_else(name: str) -> None:
    """The tool call of the next answer has another number."""
    assert content(ROWS[name].answer_body(7)) != content(ROWS[name].answer_body(8))


def test_pieces_of_chat_completions_are_joined() -> None:
    """And the end of the stream is no piece."""
    chunk = b'data: {"choices":[{"delta":{"content":"%s"}}]}\n\n'
    assert content(chunk % b"a" + chunk % b"b" + b"data: [DONE]\n\n") == "ab"


def test_what_is_no_answer_is_refused() -> None:
    """A page of HTML with status 200, or a document that breaks off."""
    with pytest.raises(UnreadableError):
        content(b'{"choices": [')
    assert content(b"<html>") == ""
