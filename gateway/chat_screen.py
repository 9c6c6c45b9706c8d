"""Shows on a terminal what happens in a chat: the answer as it comes, and beside it thoughts, tools, who answered.

What models and tools say is shown without the characters that a terminal would act on. It writes and knows nothing
else: no service, no keyboard, no event loop.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TextIO

from gateway.chat.content import Part, Reasoning, Text, Tokens, ToolCall, ToolResult, text_of
from gateway.chat.events import ChatEvent, Delta, MessageAdded, QueueChanged, Turn
from gateway.session_commands import printable

SHOWN_CHARACTERS: Final = 160
"""How much of a tool's arguments or result stands in its line."""

KEYS: Final = {"byok": "your own key", "centralized": "organisation's key"}
WAYS: Final = {"gateway": "through the gateway", "direct": "straight to the provider"}

_KEPT: Final = (0x09, 0x0A)
_OBEYED: Final = dict.fromkeys(
    (
        *(code for code in (*range(0x20), *range(0x7F, 0xA0)) if code not in _KEPT),
        *range(0x202A, 0x202F),  # turned writing
        *range(0x2066, 0x206A),
        *range(0xD800, 0xE000),  # halves of characters, which can't be written at all
    ),
    "\N{REPLACEMENT CHARACTER}",
)


def harmless(text: str) -> str:
    """`text` without what a terminal would obey, but for line breaks and tabs."""
    return text.translate(_OBEYED)


def one_line(text: str, characters: int = SHOWN_CHARACTERS) -> str:
    """The beginning, on one line."""
    line = " ".join(text[: 4 * characters].split())
    return printable(line if len(line) <= characters else f"{line[: characters - 3]}...")


class Screen:
    """The answer goes to `out`. Who answered goes to `notes`, as do tools when the answer stands alone.

    An answer that stands `alone` is for a program: no thoughts among it. `color` dims what isn't the answer.
    """

    def __init__(self, out: TextIO, notes: TextIO, *, alone: bool, color: bool) -> None:
        self._out = out
        self._notes = notes
        self._alone = alone
        self._color = color
        self._within_line = False
        self._thinking = False
        self.begin()

    def begin(self) -> None:
        """Forget the last turn."""
        self._turn: Turn | None = None
        self._tokens = Tokens()
        self._streamed = ""
        self._open = False
        self._early = 0
        self._muted = False

    def show(self, event: ChatEvent) -> None:
        match event:
            case Turn():
                self._turn = event
                self._streamed = ""
                # A message can be read from the database before what led to it is heard; that is not said again.
                self._muted = self._early > 0
                self._early -= self._muted
                self._open = not self._muted
            case Delta(kind="text") if not self._muted:
                self._streamed += event.text
                self._say(event.text)
            case Delta(kind="reasoning") if not self._muted:
                self._think(event.text)
            case MessageAdded(role="assistant"):
                self._whole(event)
            case MessageAdded(role="tool"):
                self._tools(event.parts)
            case QueueChanged() if event.waiting:
                self.note("It waits until the turn that runs has ended.")

    def end(self, *, interrupted: bool = False) -> None:
        """Who answered, once the turn is over."""
        self._fresh_line()
        if self._turn is None:
            return
        turn, tokens = self._turn, self._tokens
        words = [
            f"{turn.provider}/{turn.model}",
            KEYS.get(turn.credential_kind, turn.credential_kind),
            WAYS.get(turn.routed, turn.routed),
        ]
        if tokens != Tokens():
            cached = f" ({tokens.cached:,} cached)" if tokens.cached else ""
            words.append(f"{tokens.input + tokens.cached:,} in{cached} / {tokens.output:,} out")
        self.note(" · ".join([*words, "interrupted"] if interrupted else words))

    def note(self, line: str) -> None:
        """A line for the person."""
        self._fresh_line()
        self._write(self._notes, f"{self._dim(printable(line))}\n")

    def line(self, line: str) -> None:
        """A line of the result itself."""
        self._fresh_line()
        self._write(self._out, f"{printable(line)}\n")

    def _whole(self, message: MessageAdded) -> None:
        """What was missed of a message that has been streamed is made up for."""
        if not (self._open or self._muted):
            self._early += 1
        text = text_of(message.parts)
        if text.startswith(self._streamed):
            self._say(text[len(self._streamed) :])
        else:
            self._fresh_line()
            self._say(text)
        self._fresh_line()
        self._streamed, self._open, self._muted = "", False, False
        self._tools(message.parts)
        if message.tokens is not None:
            self._tokens = Tokens(
                input=self._tokens.input + message.tokens.input,
                output=self._tokens.output + message.tokens.output,
                cached=self._tokens.cached + message.tokens.cached,
            )

    def _tools(self, parts: Iterable[Part]) -> None:
        for part in parts:
            match part:
                case ToolCall():
                    self._aside(f"calls {part.name} {one_line(part.arguments)}")
                case ToolResult():
                    verb = "failed" if part.is_error else "gave"
                    self._aside(f"{part.name} {verb} {one_line(part.content)}")
                case Text() | Reasoning():
                    pass

    def _say(self, text: str) -> None:
        if text:
            if self._thinking:
                self._fresh_line()
            self._put(harmless(text))

    def _think(self, text: str) -> None:
        if self._alone or not text:
            return
        if not self._thinking:
            self._fresh_line()
            text = text if self._color else f"(thinks) {text}"
        self._put(self._dim(harmless(text)), ends_line=text.endswith("\n"))
        self._thinking = True

    def _aside(self, line: str) -> None:
        self._fresh_line()
        self._write(self._notes if self._alone else self._out, f"{self._dim(printable(line))}\n")

    def _put(self, text: str, *, ends_line: bool | None = None) -> None:
        self._write(self._out, text)
        self._within_line = not (text.endswith("\n") if ends_line is None else ends_line)

    def _fresh_line(self) -> None:
        self._thinking = False
        if self._within_line:
            self._put("\n")

    def _dim(self, text: str) -> str:
        return f"\x1b[2m{text}\x1b[0m" if self._color else text

    def _write(self, stream: TextIO, text: str) -> None:
        stream.write(text)
        stream.flush()
