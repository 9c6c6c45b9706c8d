"""What the border makes of errors that the streams of the other tests don't show."""

from __future__ import annotations

import httpx
import httpx2
import pytest
from botocore.exceptions import NoCredentialsError

from gateway.chat.content import ModelError
from gateway.chat.models.errors import MAX_CHARS, model_errors, refused
from tests.answers.turn import blocking, data_event
from tests.gateway.chat.models.apis import CHAT, QUESTION


def mapped(error: Exception) -> ModelError:
    with pytest.raises(ModelError) as caught, model_errors("scripted"):
        raise error
    assert caught.value.__cause__ is error
    return caught.value


@pytest.mark.parametrize("error", [httpx2.ReadTimeout("slow"), httpx.ReadTimeout("slow")])
def test_a_provider_that_is_too_slow(error: Exception) -> None:
    """Of either library: the transport inside may be of the older one."""
    assert str(mapped(error)) == "scripted didn't answer in time."


@pytest.mark.parametrize("error", [httpx2.ReadError("cut"), httpx.ReadError("cut"), httpx2.StreamClosed()])
def test_a_connection_that_breaks(error: Exception) -> None:
    """Whatever the library calls it."""
    assert str(mapped(error)) == "The connection to scripted failed or broke off."


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (NoCredentialsError(), "NoCredentialsError"),
        (RuntimeError("/home/ada/.aws/credentials"), "RuntimeError"),
    ],
)
def test_credentials_of_aws_that_are_missing(error: Exception, name: str) -> None:
    """By its name only: its text is for an operator."""
    assert str(mapped(error)) == f"scripted can't be called: {name}."


def test_a_model_error_passes_as_it_is() -> None:
    """A reader raises it for an error that came as an event."""
    error = ModelError("as it is", status=429)

    with pytest.raises(ModelError) as caught, model_errors("scripted"):
        raise error

    assert caught.value is error


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"error": {"message": "inside"}}, "inside"),
        ({"error": "plain"}, "plain"),
        ({"message": "of Amazon"}, "of Amazon"),
        ({"Message": "of Amazon"}, "of Amazon"),
        ({"detail": "of a small server"}, "of a small server"),
        ({"detail": [{"loc": ["body"]}]}, "scripted answered with HTTP 400."),
        ({"error": {"message": None}}, "scripted answered with HTTP 400."),
        ({"message": " "}, "scripted answered with HTTP 400."),
    ],
)
async def test_a_providers_words_are_found_where_it_puts_them(body: dict[str, object], told: str) -> None:
    """Or there is a sentence of our own."""
    with pytest.raises(ModelError) as caught:
        await CHAT.ask(blocking(body, 400), QUESTION)

    assert str(caught.value) == told


async def test_an_error_in_mid_stream_may_be_a_text() -> None:
    """Small servers write it without an object around it."""
    with pytest.raises(ModelError) as caught:
        await CHAT.ask(CHAT.stream([data_event({"error": "out of memory"})]), QUESTION)

    assert str(caught.value) == "out of memory"


async def test_a_long_text_is_cut() -> None:
    """An error is no place for a page."""
    with pytest.raises(ModelError) as caught:
        await CHAT.ask(CHAT.error(400, "x" * (MAX_CHARS + 1)), QUESTION)

    assert str(caught.value) == "x" * (MAX_CHARS - 1) + "…"


@pytest.mark.parametrize("message", [None, "", " "])
def test_an_error_event_without_words_gets_ours(message: str | None) -> None:
    """A person shouldn't read an empty line."""
    assert str(refused(message, "scripted")) == "scripted broke off its answer."
