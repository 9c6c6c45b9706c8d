"""What an interception came to, from its records: sums, the last word on each fact, and a bound."""

from __future__ import annotations

import pytest

from recorders.summaries import Summaries, Summary
from tests.recorders import samples


def summary_of(*records: object, prompts: bool = False) -> Summary | None:
    summaries = Summaries(prompts=prompts)
    for record in records:
        summaries(record)  # type: ignore[arg-type]
    return summaries.take("i1")


def test_the_records_of_an_interception_make_one_summary() -> None:
    """Each kind adds what it knows."""
    tokens, start = samples.tokens(), samples.start(client_session_id="s1")
    summary = summary_of(start, samples.prompt(), samples.tool(), samples.tool(), tokens, samples.end())
    assert summary == Summary(
        client=start.client,
        session_id="s1",
        response_id=tokens.msg_id,
        responses=1,
        input_tokens=tokens.input_tokens,
        output_tokens=tokens.output_tokens,
        cache_read_input_tokens=tokens.cache_read_input_tokens,
        cache_write_input_tokens=tokens.cache_write_input_tokens,
        tool_calls=2,
        outcome=samples.end().outcome,
        error_type=samples.end().error_type,
    )


def test_tokens_of_several_responses_are_added_up() -> None:
    """An interception may have more than one."""
    summary = summary_of(samples.start(), samples.tokens(output_tokens=3), samples.tokens(output_tokens=4))
    assert summary is not None
    assert (summary.responses, summary.output_tokens) == (2, 7)


def test_a_prompt_is_kept_only_where_it_was_asked_for() -> None:
    """It isn't even in memory otherwise."""
    records = samples.start(), samples.prompt(prompt="the secret")
    without, with_it = summary_of(*records), summary_of(*records, prompts=True)
    assert without is not None
    assert with_it is not None
    assert without.prompt is None
    assert with_it.prompt == "the secret"


def test_an_answer_that_told_no_cost_is_known_by_the_prompts_response() -> None:
    """Its ID came before it broke off."""
    summary = summary_of(samples.start(), samples.prompt(msg_id="m1"))
    assert summary is not None
    assert (summary.response_id, summary.responses) == ("m1", 0)


def test_what_is_taken_is_forgotten_and_what_never_began_is_not_there() -> None:
    """Records of an interception whose start was not told add nothing."""
    summaries = Summaries()
    summaries(samples.tokens("i2"))
    summaries(samples.start())
    assert summaries.take("i2") is None
    assert summaries.take(None) is None
    assert summaries.take("i1") is not None
    assert summaries.take("i1") is None


def test_summaries_that_nobody_takes_have_a_bound() -> None:
    """The oldest go; a bound that makes no sense is refused by its name."""
    summaries = Summaries(max_summaries=2)
    for number in range(3):
        summaries(samples.start(f"i{number}"))
    assert [summaries.take(f"i{number}") is not None for number in range(3)] == [False, True, True]
    with pytest.raises(ValueError, match="max_summaries"):
        Summaries(max_summaries=0)
