"""A secret shows itself by one method, and nowhere else."""

from __future__ import annotations

import copy
import json
import logging
import pickle
from collections.abc import Callable

import msgspec
import pytest

from providers.secret import Secret, mask

VALUE = "fake-secret-value-0123456789"
HINT = "fake...6789"
SECRET = Secret(VALUE)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("", "..."),
        ("a", "..."),
        ("abcd", "..."),
        ("abcde", "a...e"),
        ("abcdefghi", "a...i"),
        ("abcdefghij", "ab...ij"),
        ("abcdefghijklmnopqrs", "ab...rs"),
        ("abcdefghijklmnopqrst", "abcd...qrst"),
        ("x" * 500, "xxxx...xxxx"),
    ],
)
def test_the_hint_shows_more_of_a_longer_value(value: str, shown: str) -> None:
    """4+4 characters from length 20 on, 2+2 from 10, 1+1 from 5, else none."""
    assert mask(value) == Secret(value).hint == shown


@pytest.mark.parametrize(
    "shown",
    [
        repr,
        str,
        ascii,
        lambda secret: f"{secret}",
        lambda secret: f"{secret!r:>40}",
        lambda secret: "%s %r" % (secret, [secret]),  # noqa: UP031
        lambda secret: json.dumps(secret, default=str),
        lambda secret: str(pickle.loads(pickle.dumps(secret))),
        lambda secret: pickle.dumps(secret).decode("latin-1"),
        lambda secret: msgspec.json.encode({"key": secret}, enc_hook=str).decode(),
        lambda secret: str(AttributeError(secret)),
    ],
)
def test_no_way_of_writing_it_shows_the_value(shown: Callable[[Secret], str]) -> None:
    """A hint at most."""
    text = shown(SECRET)
    assert VALUE not in text
    assert HINT in text


def test_plain_json_refuses_it() -> None:
    """Without a hook nothing is guessed."""
    with pytest.raises(TypeError):
        json.dumps(SECRET)
    with pytest.raises(TypeError):
        msgspec.json.encode(SECRET)


def test_a_log_line_shows_the_hint(caplog: pytest.LogCaptureFixture) -> None:
    """Also where it is an argument of the message."""
    caplog.set_level(logging.INFO)
    logging.getLogger("t").info("using %s and %r", SECRET, SECRET)
    assert VALUE not in caplog.text
    assert HINT in caplog.text


def test_format_aligns_the_hint() -> None:
    """The format specification is honoured."""
    assert f"{SECRET:>15}" == HINT.rjust(15)


def test_it_has_no_attributes_to_look_into() -> None:
    """`vars` is how many dumps are made."""
    with pytest.raises(TypeError):
        vars(SECRET)


def test_the_value_comes_out_by_its_one_method() -> None:
    """As it went in."""
    assert SECRET.reveal_secret_value() == VALUE


def test_secrets_compare_by_value_and_only_with_secrets() -> None:
    """Text that happens to be equal is not."""
    assert Secret("ä") == Secret("ä")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2


def test_an_empty_secret_is_false() -> None:
    """So `if secret` asks whether there is one."""
    assert not Secret("")
    assert Secret("x")


def test_it_does_not_change() -> None:
    """What was authorized stays what is sent."""
    with pytest.raises(AttributeError, match="a Secret does not change"):
        SECRET.value = "other"
    with pytest.raises(AttributeError, match="a Secret does not change"):
        SECRET._Secret__value = "other"
    assert SECRET.reveal_secret_value() == VALUE


def test_copies_are_the_same_object() -> None:
    """Copying options doesn't multiply the value in memory."""
    assert copy.copy(SECRET) is SECRET
    assert copy.deepcopy([SECRET])[0] is SECRET
