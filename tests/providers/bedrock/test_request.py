"""The table of rules, row by row: model and path, body, beta flags, thinking."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from providers.bedrock import rules
from providers.bedrock.request import Models, NoObject, allowed_flags, bedrock_body, is_one_of

SONNET_4 = "us.anthropic.claude-sonnet-4-20250514-v1:0"
SONNET_4_5 = "global.anthropic.claude-sonnet-4-5-20250929-v1:0"
SONNET_4_6 = "eu.anthropic.claude-sonnet-4-6"
OPUS_4_5 = "us.anthropic.claude-opus-4-5-20251101-v1:0"
OPUS_4_6 = "us.anthropic.claude-opus-4-6-v1"
OPUS_4_7 = "us.anthropic.claude-opus-4-7"
OPUS_4_8 = "us.anthropic.claude-opus-4-8"
SONNET_5 = "us.anthropic.claude-sonnet-5"
HAIKU_4_5 = "global.anthropic.claude-haiku-4-5-20251001-v1:0"
EFFORT = "effort-2025-11-24"
CONTEXT_MANAGEMENT = "context-management-2025-06-27"


def changed(body: dict[str, Any], model: str = SONNET_4, flags: Sequence[str] = ()) -> Any:
    """The body as Bedrock gets it, without what every one of them has."""
    made = json.loads(bedrock_body(json.dumps(body).encode(), model, flags))
    assert made.pop("anthropic_version") == "bedrock-2023-05-31"
    return made


# -- model and path -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "model"),
    [
        ("claude-opus-4-6", "big"),
        ("claude-haiku-4-5", "small"),
        ("Claude-3-Haiku", "small"),
        ("anything", "big"),
        ("", "big"),
    ],
)
def test_the_clients_model_only_chooses_between_the_two(asked: str, model: str) -> None:
    """Whatever the client names, one of the instance's own models answers."""
    assert Models(model="big", small_fast_model="small").chosen(asked) == model


@pytest.mark.parametrize(
    ("model", "stream", "path"),
    [
        (SONNET_4, False, "/model/us.anthropic.claude-sonnet-4-20250514-v1%3A0/invoke"),
        (SONNET_4, True, "/model/us.anthropic.claude-sonnet-4-20250514-v1%3A0/invoke-with-response-stream"),
        (
            "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc",
            False,
            "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Aapplication-inference-profile%2Fabc/invoke",
        ),
    ],
)
def test_the_path_names_model_and_action(model: str, stream: bool, path: str) -> None:
    """A model's ID is one segment, whatever is in it."""
    assert Models(model=model).invocation(b"{}", asked="", stream=stream, betas=[]).path == path


def test_an_instance_has_models_by_default() -> None:
    """The small, fast one is a haiku, the other is not."""
    models = Models()
    assert (models.chosen("claude-haiku-4-5"), models.chosen("claude-opus-4-6")) == (HAIKU_4_5, SONNET_4_5)


# -- the body -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["model", "stream", "metadata", "service_tier", "container", "inference_geo"]
)
def test_what_bedrock_does_not_take_is_removed(name: str) -> None:
    """The member goes and its neighbours stay."""
    assert changed({"max_tokens": 9, name: "value", "system": "s"}) == {"max_tokens": 9, "system": "s"}


@pytest.mark.parametrize(
    ("name", "flag"), [("output_config", EFFORT), ("context_management", CONTEXT_MANAGEMENT)]
)
def test_a_member_of_a_beta_stays_only_with_its_flag(name: str, flag: str) -> None:
    """Without the flag Bedrock would refuse the request."""
    body = {name: {"effort": "low"}}
    assert changed(body) == {}
    assert changed(body, flags=["context-1m-2025-08-07"]) == {"anthropic_beta": ["context-1m-2025-08-07"]}
    assert changed(body, flags=[flag]) == {"anthropic_beta": [flag], **body}


def test_version_and_flags_are_the_gateways_to_say() -> None:
    """A body that names its own has them replaced, so that no flag gets past the list."""
    made = bedrock_body(
        b'{"anthropic_version":"old","anthropic_beta":["files-api-2025-04-14"]}', SONNET_4, []
    )
    assert made == b'{"anthropic_version":"bedrock-2023-05-31"}'


def test_the_values_that_no_rule_names_keep_their_bytes() -> None:
    """Prompt caching and thinking signatures depend on it."""
    messages = b'[ {"role":"user" ,"content":"caf\\u00e9 \xc3\xa9", "n":1.50e3, "a":1,"a":2} ]'
    made = bedrock_body(b'{ "stream":true,\n "messages" : ' + messages + b' ,"top_p":1.0}', SONNET_4, [])
    assert made == b'{"anthropic_version":"bedrock-2023-05-31","messages":' + messages + b',"top_p":1.0}'


def test_of_a_member_given_twice_the_last_counts() -> None:
    """As it does for whoever else reads the body."""
    assert b'"top_k":2' in bedrock_body(b'{"top_k":1,"top_k":2}', SONNET_4, [])


@pytest.mark.parametrize("body", [b"[]", b"", b'"text"', b'{"a":', b"\xff"])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    """There is nothing to put a version into."""
    with pytest.raises(NoObject):
        bedrock_body(body, SONNET_4, [])


# -- beta flags -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flag", rules.BETA_FLAGS)
def test_a_flag_goes_to_the_models_that_know_it(flag: str) -> None:
    """The two that only some models know stay away from the others."""
    knowing = {CONTEXT_MANAGEMENT: [SONNET_4_5, HAIKU_4_5], EFFORT: [OPUS_4_5]}
    models = [SONNET_4, SONNET_4_5, OPUS_4_5, OPUS_4_6, HAIKU_4_5]
    assert [m for m in models if allowed_flags([flag.encode()], m, rules.BETA_FLAGS)] == knowing.get(
        flag, models
    )


def test_other_flags_are_left_out() -> None:
    """Whatever Claude Code tries out; the rest goes once each, in its order, from however many headers."""
    betas = [b"claude-code-20250219, context-1m-2025-08-07 ,oauth-2025-04-20", b"", b"context-1m-2025-08-07"]
    betas.append(b"computer-use-2025-01-24,\xff")
    assert allowed_flags(betas, SONNET_4, rules.BETA_FLAGS) == [
        "context-1m-2025-08-07",
        "computer-use-2025-01-24",
    ]


def test_the_list_of_flags_can_be_another() -> None:
    """It is the operator's, with ours as the default."""
    models = Models(model=SONNET_4, beta_flags={"new-flag-2027-01-01": ("sonnet-4",)})
    made = models.invocation(
        b"{}", asked="", stream=False, betas=[b"new-flag-2027-01-01,context-1m-2025-08-07"]
    )
    assert json.loads(made.body)["anthropic_beta"] == ["new-flag-2027-01-01"]


# -- thinking -------------------------------------------------------------------------------------------------------

ENABLED = {"type": "enabled", "budget_tokens": 4000}
ADAPTIVE = {"type": "adaptive"}
DISABLED = {"type": "disabled"}


@pytest.mark.parametrize(
    ("model", "asked", "sent"),
    [
        (OPUS_4_6, ADAPTIVE, ADAPTIVE),
        (OPUS_4_6, ENABLED, ENABLED),
        (SONNET_4_6, ADAPTIVE, ADAPTIVE),
        (SONNET_4_6, ENABLED, ENABLED),
        (OPUS_4_7, ENABLED, ADAPTIVE),
        (OPUS_4_8, ENABLED, ADAPTIVE),
        (SONNET_5, ENABLED, ADAPTIVE),
        (SONNET_5, ADAPTIVE, ADAPTIVE),
        (SONNET_5, DISABLED, DISABLED),
        (SONNET_4_5, ENABLED, ENABLED),
        (SONNET_4_5, DISABLED, DISABLED),
        (SONNET_4_5, ADAPTIVE, {"type": "enabled", "budget_tokens": 8000}),
        ("arn:aws:bedrock:profile/abc", ADAPTIVE, {"type": "enabled", "budget_tokens": 8000}),
        (SONNET_4_5, "odd", "odd"),
        (SONNET_4_5, {"type": 7}, {"type": 7}),
    ],
)
def test_thinking_is_asked_for_as_the_model_knows_it(model: str, asked: object, sent: object) -> None:
    """What a model knows goes as it came; what it does not know becomes what it knows."""
    assert changed({"max_tokens": 10000, "thinking": asked}, model)["thinking"] == sent


@pytest.mark.parametrize(
    ("effort", "budget_tokens"),
    [("low", 2000), ("medium", 5000), ("high", 8000), ("max", 9500), (None, 8000), ("unheard-of", 8000)],
)
def test_the_budget_follows_the_effort(effort: str | None, budget_tokens: int) -> None:
    """A share of `max_tokens`, also where `output_config` itself may not go along."""
    config = {} if effort is None else {"output_config": {"effort": effort}}
    made = changed({"max_tokens": 10000, "thinking": ADAPTIVE, **config}, SONNET_4_5)
    assert made == {"max_tokens": 10000, "thinking": {"type": "enabled", "budget_tokens": budget_tokens}}


@pytest.mark.parametrize(
    ("max_tokens", "sent"),
    [
        (1280, {"type": "enabled", "budget_tokens": 1024}),
        (1279, DISABLED),
        (None, DISABLED),
        ("many", DISABLED),
    ],
)
def test_too_small_a_budget_disables_thinking(max_tokens: object, sent: object) -> None:
    """Bedrock refuses less than 1024 tokens; 80 % of 1280 are just enough."""
    assert changed({"max_tokens": max_tokens, "thinking": ADAPTIVE}, SONNET_4_5)["thinking"] == sent


def test_what_else_is_said_of_thinking_stays() -> None:
    """Only type and budget are the rule's."""
    asked = {"type": "enabled", "budget_tokens": 4000, "display": "summarized"}
    sent = changed({"max_tokens": 9, "thinking": asked}, OPUS_4_7)["thinking"]
    assert sent == {"type": "adaptive", "display": "summarized"}


@pytest.mark.parametrize(
    ("model", "name", "same"),
    [
        (SONNET_5, "sonnet-5", True),
        ("claude-sonnet-50", "sonnet-5", False),
        ("claude-3-5-sonnet-20241022-v2:0", "sonnet-5", False),
        (OPUS_4_6, "opus-4-6", True),
    ],
)
def test_a_name_ends_where_its_digits_end(model: str, name: str, same: bool) -> None:
    """Sonnet 50 would not be Sonnet 5."""
    assert is_one_of(model, [name]) is same
