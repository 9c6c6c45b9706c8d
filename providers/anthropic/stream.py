"""Reads Anthropic's streamed answers.

Tool input and thinking come in pieces and are told when their block ends. Usage in `message_delta` is cumulative:
each field it has replaces the one of `message_start`, and the result is told once. What a cut leaves open is told at
`close` as far as it came, a tool call with `truncated` in its metadata.

Most events are deltas. Their beginning is the same again and again, so it is learned: of one of text, up to the delta's
type, and an event that begins with it is passed over without being decoded; of one of thinking or tool input, up to the
piece itself, and of an event that begins with it that piece alone is decoded.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from providers.anthropic.content import Block, thought, tool_call, usage_of
from providers.base import Fact
from providers.counts import Counts, add_counts
from providers.documents import read, text, written
from providers.failures import failure
from providers.flaws import Flaws
from providers.fragments import Fragments, Room
from providers.sse import data_of, name_of

MAX_HELD_BYTES: Final = 32 * 1024 * 1024
"""Of all open blocks of one answer together."""
MAX_OPEN_BLOCKS: Final = 1024

_DULL: Final = re.compile(
    rb'(?:event: ?content_block_delta\n)?data: ?\{\s*"type"\s*:\s*"content_block_delta"\s*,'
    rb'\s*"index"\s*:\s*\d{1,9}\s*,\s*"delta"\s*:\s*\{\s*'
    rb'"type"\s*:\s*"(?:text_delta|signature_delta|citations_delta)"'
)
_PIECE: Final = re.compile(
    rb'(?:event: ?content_block_delta\n)?data: ?\{\s*"type"\s*:\s*"content_block_delta"\s*,'
    rb'\s*"index"\s*:\s*\d{1,9}\s*,\s*"delta"\s*:\s*\{\s*'
    rb'"type"\s*:\s*"(?:thinking_delta|input_json_delta)"\s*,\s*"(?:thinking|partial_json)"\s*:\s*(?=")'
)
_BEHIND_PIECE: Final = b'"}}'
_TEXT: Final = msgspec.json.Decoder(str)


class _Delta(msgspec.Struct, frozen=True):
    partial_json: str | None = None
    thinking: str | None = None


class _Message(msgspec.Struct, frozen=True):
    id: str | None = None
    usage: Any = None


class _Event(msgspec.Struct, frozen=True):
    type: str | None = None
    index: int = 0
    delta: _Delta | None = None
    content_block: Block | None = None
    message: _Message | None = None
    usage: Any = None
    error: Any = None


_EVENT: Final = msgspec.json.Decoder(_Event)


class MessageEvents:
    """`AnswerEvents` of the Messages API; see the module for what it tells when."""

    def __init__(self, flaws: Flaws, max_held_bytes: int = MAX_HELD_BYTES) -> None:
        self.msg_id = ""
        self.complete = False
        self._flaws = flaws
        self._dull: tuple[bytes, ...] = ()
        self._before_piece: tuple[bytes, ...] = ()
        self._piece_of = 0
        self._open: dict[int, tuple[Block, Fragments]] = {}
        self._room = Room(max_held_bytes)
        self._counts: Counts = {}
        self._usage_told = False

    def passes_over(self, event: bytes) -> bool:
        return event.startswith(self._dull)

    def read(self, event: bytes, facts: list[Fact]) -> None:
        if dull := _DULL.match(event):
            self._dull = (dull.group(),)
            return
        if event.startswith(self._before_piece) and self._read_piece(event):
            return
        data = data_of(event)
        if not data:
            return
        told = read(_EVENT, data)
        match told.type or name_of(event).decode("utf-8", "replace"):
            case "content_block_delta":
                self._extend(told)
                if before := _PIECE.match(event):
                    self._before_piece, self._piece_of = (before.group(),), told.index
            case "content_block_start":
                self._start_block(told, len(data), facts)
            case "content_block_stop":
                self._end_block(told.index, facts)
            case "message_start":
                self._start(told.message, facts)
            case "message_delta":
                add_counts(self._counts, told.usage)
            case "message_stop":
                self.end(facts)
                self.complete = True
            case "error":
                if told_failure := failure(told.error):
                    facts.append(told_failure)

    def end(self, facts: list[Fact]) -> None:
        """A block that is still open was cut."""
        for index in list(self._open):
            self._end_block(index, facts, truncated="true")
        if self._counts and not self._usage_told:
            facts.append(usage_of(self.msg_id, self._counts))
            self._usage_told = True

    def _start(self, message: _Message | None, facts: list[Fact]) -> None:
        self.end(facts)
        self._usage_told = False
        self._counts = {}
        if message is not None:
            self.msg_id = message.id or self.msg_id
            add_counts(self._counts, message.usage)

    def _start_block(self, event: _Event, size: int, facts: list[Fact]) -> None:
        self._end_block(event.index, facts, truncated="true")
        block = event.content_block
        if block is None or not (block.is_tool_call or block.is_thinking):
            return
        pieces = Fragments(self._room)
        if len(self._open) < MAX_OPEN_BLOCKS and pieces.reserve(size):
            self._open[event.index] = (block, pieces)
        else:
            self._flaws.note("more content blocks were open than are kept; some were not recorded")

    def _read_piece(self, event: bytes) -> bool:
        """Whether the event is nothing but one more piece, which is added then."""
        if not event.endswith(_BEHIND_PIECE):
            return False
        try:
            piece = _TEXT.decode(event[len(self._before_piece[0]) : -2])
        except (msgspec.DecodeError, UnicodeDecodeError):
            return False  # more stands in it, or what only a lenient reader takes
        self._add(self._piece_of, piece)
        return True

    def _extend(self, event: _Event) -> None:
        if event.delta is not None:
            self._add(event.index, event.delta.partial_json or event.delta.thinking or "")

    def _add(self, index: int, piece: str) -> None:
        opened = self._open.get(index)
        if opened is not None and not opened[1].add(piece):
            self._flaws.note("tool input or thinking was longer than what is kept, and is incomplete")

    def _end_block(self, index: int, facts: list[Fact], **metadata: str) -> None:
        opened = self._open.pop(index, None)
        if opened is None:
            return
        block, joined = opened[0], opened[1].join()
        if block.is_tool_call:
            facts.append(tool_call(self.msg_id, block, joined or written(block.input), **metadata))
        elif told := thought((text(block.thinking) or "") + joined):
            facts.append(told)
