"""What a chat looks like on a terminal, event by event."""

from __future__ import annotations

import io

import pytest

from gateway.chat.content import Part, Reasoning, Role, Text, Tokens, ToolCall, ToolResult
from gateway.chat.events import Delta, MessageAdded, QueueChanged, StatusChanged, Turn
from gateway.chat_screen import Screen, harmless

TURN = Turn(
    purpose="chat", provider="anthropic", model="claude", credential_kind="centralized", routed="gateway"
)


class Shown:
    def __init__(self, *, alone: bool = False, color: bool = False) -> None:
        self._out, self._notes = io.StringIO(), io.StringIO()
        self.screen = Screen(self._out, self._notes, alone=alone, color=color)

    @property
    def out(self) -> str:
        return self._out.getvalue()

    @property
    def notes(self) -> str:
        return self._notes.getvalue()


def text(piece: str) -> Delta:
    return Delta(kind="text", text=piece)


def thought(piece: str) -> Delta:
    return Delta(kind="reasoning", text=piece)


def message(*parts: Part, role: Role = "assistant", tokens: Tokens | None = None) -> MessageAdded:
    return MessageAdded(id="m", position=1, role=role, parts=parts, tokens=tokens)


CALL = ToolCall(call_id="c", name="read", arguments='{"path": "a\x1bb"}')


def test_the_answer_is_shown_once_as_it_is_streamed() -> None:
    """The whole that follows the pieces adds nothing but the end of the line."""
    shown = Shown()
    for event in (StatusChanged(status="running"), TURN, text("Hel"), text("lo")):
        shown.screen.show(event)
    assert shown.out == "Hello"
    shown.screen.show(message(Text("Hello")))
    assert shown.out == "Hello\n"


def test_what_was_missed_of_an_answer_is_made_up_for() -> None:
    """The end is added; an answer whose middle was missed is shown again, whole."""
    shown = Shown()
    for event in (
        TURN,
        text("Hel"),
        message(Text("Hello")),
        TURN,
        text("a"),
        text("c"),
        message(Text("abc")),
    ):
        shown.screen.show(event)
    assert shown.out == "Hello\nac\nabc\n"


def test_a_message_that_was_read_before_its_pieces_were_heard_is_shown_once() -> None:
    """And the next one is streamed again, also when pieces were lost instead of late."""
    shown = Shown()
    for event in (message(Text("one")), TURN, text("one"), TURN, text("tw")):
        shown.screen.show(event)
    assert shown.out == "one\ntw"
    lost = Shown()
    for event in (message(Text("one")), TURN, text("tw"), message(Text("two")), TURN, text("thr")):
        lost.screen.show(event)
    assert lost.out == "one\ntwo\nthr"


def test_thoughts_and_tools_stand_on_lines_of_their_own() -> None:
    """A tool's arguments and results are one line each, without what a terminal would obey."""
    shown = Shown()
    result = ToolResult(call_id="c", name="read", content="first\nsecond\x1b[2J", is_error=True)
    for event in (
        TURN,
        thought("let me "),
        thought("see"),
        text("Reading"),
        message(Reasoning(text="let me see"), Text("Reading"), CALL),
        message(result, role="tool"),
    ):
        shown.screen.show(event)
    assert shown.out == (
        '(thinks) let me see\nReading\ncalls read {"path": "a\ufffdb"}\nread failed first second\ufffd[2J\n'
    )
    assert shown.notes == ""


def test_with_color_all_but_the_answer_is_dimmed() -> None:
    """And nothing stays dim behind a piece, should it be the last."""
    shown = Shown(color=True)
    for event in (TURN, thought("hm"), text("Yes"), message(Text("Yes"), CALL)):
        shown.screen.show(event)
    shown.screen.end()
    assert shown.out.startswith("\x1b[2mhm\x1b[0m\nYes\n\x1b[2mcalls read ")
    assert shown.notes.startswith("\x1b[2manthropic/claude")
    assert shown.notes.endswith("\x1b[0m\n")


def test_an_answer_that_stands_alone_has_no_thoughts_and_no_tools_in_it() -> None:
    """Tools are told beside it."""
    shown = Shown(alone=True)
    for event in (TURN, thought("hm"), text("Yes"), message(Text("Yes"), CALL)):
        shown.screen.show(event)
    assert shown.out == "Yes\n"
    assert shown.notes == 'calls read {"path": "a\ufffdb"}\n'


def test_who_answered_is_told_with_the_tokens_of_the_whole_turn() -> None:
    """Input counts what came from a cache; a turn before it counts no more."""
    shown = Shown()
    tokens = Tokens(input=1_000, output=20, cached=200)
    shown.screen.show(message(Text("before"), tokens=tokens))
    shown.screen.begin()
    byok = Turn(purpose="chat", provider="own", model="m", credential_kind="byok", routed="direct")
    for event in (TURN, message(CALL, tokens=tokens), byok, message(Text("Done"), tokens=Tokens(output=1))):
        shown.screen.show(event)
    shown.screen.end()
    assert shown.notes == "own/m · your own key · straight to the provider · 1,200 in (200 cached) / 21 out\n"


def test_a_message_that_waits_is_told_of() -> None:
    """Once it is taken out of the queue there is nothing to tell."""
    shown = Shown()
    for waiting in (1, 0):
        shown.screen.show(QueueChanged(waiting=waiting))
    assert shown.notes == "It waits until the turn that runs has ended.\n"


def test_a_turn_that_called_no_model_was_answered_by_nobody() -> None:
    """The error that ended it says why."""
    shown = Shown()
    shown.screen.show(StatusChanged(status="error", error="no"))
    shown.screen.end()
    assert (shown.out, shown.notes) == ("", "")


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("line\n\ttab é 漢 👩\u200d💻 a\u00a0b", "line\n\ttab é 漢 👩\u200d💻 a\u00a0b"),
        ("\x1b[31m \x07 \r \x00 \x7f \x9b31m", "\ufffd[31m \ufffd \ufffd \ufffd \ufffd \ufffd31m"),
        ("a\u202eb\u2066c", "a\ufffdb\ufffdc"),
        ("\ud800", "\ufffd"),
    ],
)
def test_a_terminal_obeys_nothing_that_a_model_says(given: str, shown: str) -> None:
    """Controls of both kinds, turned writing and halves of characters are replaced; writing of all kinds stays."""
    assert harmless(given) == shown
