"""Texts in pieces, under one limit."""

from __future__ import annotations

from providers.fragments import Fragments, Room


def test_pieces_are_joined_in_order() -> None:
    """Empty ones cost nothing."""
    text = Fragments(Room(1000))
    assert all(text.add(piece) for piece in ("a", "", "b", "c"))
    assert text.join() == "abc"


def test_several_texts_share_one_room_and_give_it_back() -> None:
    """What one holds the other can't have, until it is joined."""
    room = Room(200)
    first, second = Fragments(room), Fragments(room)
    assert first.add("x" * 100)
    assert not second.add("y" * 100)
    first.join()
    assert second.add("y" * 100)
    assert second.join() == "y" * 100


def test_many_tiny_pieces_are_bounded_too() -> None:
    """A piece costs more than its text."""
    text = Fragments(Room(10_000))
    assert sum(text.add("x") for _ in range(10_000)) < 200


def test_what_is_kept_beside_the_text_takes_room() -> None:
    """Names and IDs count, and are given back with the text."""
    room = Room(100)
    text = Fragments(room)
    assert text.reserve(80)
    assert not text.reserve(30)
    text.join()
    assert Fragments(room).reserve(100)
