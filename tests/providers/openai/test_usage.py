"""OpenAI's usage as our counts."""

from __future__ import annotations

from providers.base import Usage
from providers.counts import counts_of
from providers.openai.usage import usage_of


def test_cached_tokens_are_told_apart_from_the_input() -> None:
    """Input, cache reads and cache writes add up to what OpenAI calls the input."""
    counts = {"prompt_tokens": 100, "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 30}}
    assert usage_of("c", counts_of(counts)) == Usage(
        msg_id="c", input_tokens=10, cache_read_input_tokens=60, cache_write_input_tokens=30
    )


def test_the_names_of_both_apis_are_known() -> None:
    """Responses says input and output, Chat completions prompt and completion."""
    counts = {"input_tokens": 9, "output_tokens": 2, "input_tokens_details": {"cached_tokens": 4}}
    assert usage_of("r", counts_of(counts)) == Usage(
        msg_id="r", input_tokens=5, output_tokens=2, cache_read_input_tokens=4
    )


def test_more_cached_than_input_is_not_negative() -> None:
    """Some providers count cached tokens apart."""
    counts = {"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 60}}
    assert usage_of("c", counts_of(counts)).input_tokens == 0
