"""What records add to the metrics, one after the other."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from gateway.metrics.instruments import Instruments
from gateway.metrics.labels import Models, Users
from gateway.metrics.records import RecordMeter
from recorders.records import (
    InterceptionEnd,
    InterceptionStart,
    ModelThought,
    PromptUsage,
    Record,
    TokenUsage,
)

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def start(interception_id: str = "i-1", **changes: Any) -> InterceptionStart:
    fields: dict[str, Any] = {
        "initiator_id": "user-1",
        "api_key_id": "key-1",
        "provider": "openai",
        "provider_name": "openai-eu",
        "model": "m",
        "client": "Codex",
        "client_session_id": None,
        "started_at": NOW,
        "metadata": {"username": "ada"},
        "credential_kind": "centralized",
        "credential_hint": "sk-f...fake",
    }
    return InterceptionStart(interception_id=interception_id, **fields | changes)


def usage(interception_id: str = "i-1", **tokens: int) -> TokenUsage:
    counts = dict.fromkeys(
        ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_write_input_tokens"), 0
    )
    return TokenUsage(
        id="t", interception_id=interception_id, msg_id="", created_at=NOW, metadata={}, **counts | tokens
    )


def prompt(interception_id: str = "i-1") -> PromptUsage:
    return PromptUsage(
        id="p", interception_id=interception_id, msg_id="", prompt="hi", created_at=NOW, metadata={}
    )


def end(interception_id: str = "i-1") -> InterceptionEnd:
    return InterceptionEnd(
        interception_id=interception_id, ended_at=NOW, outcome="completed", status=200, credential_hint=""
    )


def counted(*records: Record, users: Users | None = None) -> dict[tuple[str, ...], float]:
    """Every series that these records leave, by name and values of labels."""
    instruments = Instruments(initiator=users is not None)
    meter = RecordMeter(instruments, Models(), users)
    for record in records:
        meter(record)
    meter.hand_on()
    return {
        (sample.name.removeprefix("ai_gateway_"), *sample.labels.values()): sample.value
        for metric in instruments.registry.collect()
        for sample in metric.samples
        if sample.labels and sample.name.endswith("_total")
    }


def test_the_name_of_the_instance_tells_providers_apart() -> None:
    """As everywhere in the metrics; the type stands in `provider_info`."""
    seen = counted(start(), usage(input_tokens=7, cache_write_input_tokens=2), prompt(), end())
    assert seen["tokens_total", "openai-eu", "m", "Codex", "input"] == 7
    assert seen["tokens_total", "openai-eu", "m", "Codex", "cache_write"] == 2
    assert seen["prompts_total", "openai-eu", "m", "Codex"] == 1


def test_counts_of_nothing_make_no_series() -> None:
    """Most answers read no cache and write none."""
    seen = counted(start(), usage(output_tokens=1), end())
    assert [key[-1] for key in seen if key[0] == "tokens_total"] == ["output"]


def test_interceptions_side_by_side_are_told_apart() -> None:
    """Each fact is its own interception's."""
    seen = counted(
        start("i-1", model="a"),
        start("i-2", model="b", client="Zed"),
        usage("i-1", output_tokens=1),
        usage("i-2", output_tokens=2),
        end("i-1"),
        usage("i-2", output_tokens=4),
        end("i-2"),
    )
    assert seen["tokens_total", "openai-eu", "a", "Codex", "output"] == 1
    assert seen["tokens_total", "openai-eu", "b", "Zed", "output"] == 6


def test_a_fact_without_a_start_is_counted_as_nobodys() -> None:
    """It is still a prompt."""
    assert counted(prompt())["prompts_total", "other", "other", "other"] == 1
    assert counted(prompt(), users=Users())["prompts_total", "other", "other", "other", "other"] == 1


def test_every_record_is_counted_by_its_type() -> None:
    """The types under which they are logged and journalled."""
    thought = ModelThought(id="x", interception_id="i-1", content="hm", created_at=NOW, metadata={})
    seen = counted(start(), prompt(), thought, usage(), end())
    assert {key[1]: value for key, value in seen.items() if key[0] == "records_total"} == {
        "interception_start": 1,
        "prompt_usage": 1,
        "model_thought": 1,
        "token_usage": 1,
        "interception_end": 1,
    }


def test_users_stand_beside_what_they_cost() -> None:
    """By their names."""
    seen = counted(start(), prompt(), end(), users=Users())
    assert seen["prompts_total", "openai-eu", "other", "Codex", "ada"] == 1


def test_nothing_is_remembered_of_what_has_ended() -> None:
    """Or a gateway would grow with each request."""
    meter = RecordMeter(Instruments(), Models())
    for record in (start(), usage(), end()):
        meter(record)
    assert not meter._running
