"""Token counts: known ones by path, further ones under stable names, nothing but whole numbers."""

from __future__ import annotations

import pytest

from providers.counts import add_counts, counts_of, further_counts


@pytest.mark.parametrize(
    ("usage", "name"),
    [
        ({"cache_creation": {"ephemeral_5m_input_tokens": 7}}, "cache_ephemeral_5m_input"),
        ({"cache_creation": {"ephemeral_1h_input_tokens": 7}}, "cache_ephemeral_1h_input"),
        ({"server_tool_use": {"web_search_requests": 7}}, "web_search_requests"),
        ({"output_tokens_details": {"reasoning_tokens": 7}}, "output_reasoning"),
        ({"output_tokens_details": {"thinking_tokens": 7}}, "output_reasoning"),
        ({"completion_tokens_details": {"reasoning_tokens": 7}}, "output_reasoning"),
        ({"completion_tokens_details": {"audio_tokens": 7}}, "completion_audio"),
        ({"completion_tokens_details": {"accepted_prediction_tokens": 7}}, "completion_accepted_prediction"),
        ({"completion_tokens_details": {"rejected_prediction_tokens": 7}}, "completion_rejected_prediction"),
        ({"prompt_tokens_details": {"audio_tokens": 7}}, "prompt_audio"),
        (
            {"input_tokens_details": {"cache_write_tokens_details": {"ttl_30m_tokens": 7}}},
            "input_cache_write_ttl_30m",
        ),
        ({"total_tokens": 7}, "total_tokens"),
        ({"future_tokens": 7}, "future_tokens"),
        ({"future_details": {"odd_count": 7.0}}, "future_odd_count"),
    ],
)
def test_each_count_has_its_stable_name(usage: dict[str, object], name: str) -> None:
    """The names are part of what a bill or a dashboard rests on."""
    assert further_counts(counts_of(usage), ()) == {name: 7}


def test_what_is_told_elsewhere_is_not_told_again() -> None:
    """The columns of a record are not repeated in its metadata."""
    counts = counts_of({"input_tokens": 1, "total_tokens": 2})
    assert further_counts(counts, [("input_tokens",)]) == {"total_tokens": 2}


def test_later_counts_replace_earlier_ones_one_by_one() -> None:
    """Cumulative reports replace, they do not add up; what they leave out, or give as null, stays."""
    counts = counts_of({"a": 1, "b": 2, "c": {"x": 3, "y": 4}})
    add_counts(counts, {"a": 10, "b": None, "c": {"x": 30}})
    assert counts == {("a",): 10, ("b",): 2, ("c", "x"): 30, ("c", "y"): 4}


@pytest.mark.parametrize("value", [True, False, -1, 0.5, 2**63, 1e300, "7", None, [7], float("nan")])
def test_only_whole_numbers_that_fit_a_database_are_counts(value: object) -> None:
    """Everything else a provider may put there is left out."""
    assert counts_of({"a": value}) == {}


def test_a_provider_cannot_flood_the_record() -> None:
    """Number, depth and length of names are bounded."""
    assert len(counts_of({f"k{number}": number for number in range(1000)})) == 64
    assert counts_of({"k" * 65: 1}) == {}
    deep: object = 1
    for _ in range(500):
        deep = {"k": deep}
    assert counts_of(deep) == {}


@pytest.mark.parametrize("usage", [None, 7, "text", [1], {}])
def test_what_is_no_object_has_no_counts(usage: object) -> None:
    """Odd shapes are no error."""
    assert counts_of(usage) == {}
