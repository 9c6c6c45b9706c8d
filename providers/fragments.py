"""Texts that come in pieces, joined when they are complete, under one limit for all of an answer.

A provider could send tool input for ever; what is held of unfinished things stays within a `Room`.
"""

from __future__ import annotations

from typing import Final

_PIECE_BYTES: Final = 64
"""What a piece costs beside its text, so that many tiny pieces are bounded too."""


class Room:
    """How much of unfinished things may still be held, in bytes, roughly."""

    def __init__(self, max_bytes: int) -> None:
        self._left = max_bytes

    def take(self, size: int) -> bool:
        """Take some, or nothing when there isn't enough left."""
        if size > self._left:
            return False
        self._left -= size
        return True

    def give_back(self, size: int) -> None:
        self._left += size


class Fragments:
    """One text in the making. What it took of the room it gives back when it is joined."""

    __slots__ = ("_pieces", "_room", "_size")

    def __init__(self, room: Room) -> None:
        self._room = room
        self._pieces: list[str] = []
        self._size = 0

    def reserve(self, size: int) -> bool:
        """Take room for what is kept beside the text; False when there isn't enough."""
        if not self._room.take(size):
            return False
        self._size += size
        return True

    def add(self, piece: str) -> bool:
        """Append a piece; False when there is no room for it."""
        if not piece:
            return True
        if not self.reserve(len(piece) + _PIECE_BYTES):
            return False
        self._pieces.append(piece)
        return True

    def join(self) -> str:
        self._room.give_back(self._size)
        self._size = 0
        return "".join(self._pieces)
