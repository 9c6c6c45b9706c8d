"""The frame of all stream readers: what it does with events, flaws and the end."""

from __future__ import annotations

from providers.base import Fact, Thought
from providers.documents import Unreadable
from providers.flaws import Flaws
from providers.streaming import StreamReader


class Echo:
    """`AnswerEvents` that tell each event back."""

    def __init__(self, flaws: Flaws) -> None:
        self.msg_id = ""
        self.complete = False
        self.flaws = flaws

    def passes_over(self, event: bytes) -> bool:
        return event.startswith(b"dull")

    def read(self, event: bytes, facts: list[Fact]) -> None:
        if event.startswith(b"broken"):
            raise Unreadable("no JSON")
        self.msg_id = event.decode()
        facts.append(Thought(content=event.decode(), source="thinking"))

    def end(self, facts: list[Fact]) -> None:
        facts.append(Thought(content="end", source="thinking"))


def contents(facts: object) -> list[str]:
    assert isinstance(facts, list)
    return [fact.content for fact in facts]


def test_each_event_is_read_when_it_is_whole() -> None:
    """In order, with the response ID as soon as it is known."""
    reader = StreamReader(Echo)
    assert contents(reader.feed(b"a\n\ndull\n\nb\n\nc")) == ["a", "b"]
    assert reader.msg_id == "b"
    assert contents(reader.close()) == ["c", "end"]
    assert (reader.msg_id, reader.flaws) == ("c", [])


def test_an_event_that_cannot_be_read_is_named_and_passed_over() -> None:
    """What comes behind it is read."""
    reader = StreamReader(Echo)
    assert contents(reader.feed(b"broken\n\na\n\n")) == ["a"]
    assert reader.flaws == ["an event was not read: no JSON"]


def test_a_cut_event_at_the_end_is_no_flaw() -> None:
    """That a stream was cut is known from elsewhere."""
    reader = StreamReader(Echo)
    reader.feed(b"broken")
    assert contents(reader.close()) == ["end"]
    assert reader.flaws == []
