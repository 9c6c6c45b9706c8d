"""From a Messages request to what Amazon Bedrock's InvokeModel takes: model, path and body.

The rules are data (`providers.bedrock.rules`); here they are applied. Every value that no rule names keeps its bytes:
messages, tools and thinking signatures go on as the client wrote them, so that prompt caching holds. Only what stands
around the members of the outermost object is written anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias
from urllib.parse import quote

import msgspec

from providers.bedrock import rules

Members: TypeAlias = dict[str, msgspec.Raw]

_MEMBERS: Final = msgspec.json.Decoder(Members)
_encode: Final = msgspec.json.encode


class NoObject(ValueError):
    """The body is not a JSON object."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """What is asked of Bedrock. `path` is percent-encoded and stands below the base URL."""

    path: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Models:
    """Which of an instance's two models answers, and which beta flags it is sent."""

    model: str = rules.DEFAULT_MODEL
    small_fast_model: str = rules.DEFAULT_SMALL_FAST_MODEL
    beta_flags: Mapping[str, Sequence[str]] = field(default_factory=lambda: rules.BETA_FLAGS)

    def chosen(self, asked: str) -> str:
        """The client's model is a wish: only whether it is a small, fast one counts."""
        return self.small_fast_model if rules.SMALL_FAST in asked.lower() else self.model

    def invocation(self, body: bytes, *, asked: str, stream: bool, betas: Iterable[bytes]) -> Invocation:
        """`asked` is the client's model, `betas` the values of `anthropic-beta`. Raises `NoObject`."""
        model = self.chosen(asked)
        flags = allowed_flags(betas, model, self.beta_flags)
        action = "invoke-with-response-stream" if stream else "invoke"
        return Invocation(f"/model/{quote(model, safe='')}/{action}", bedrock_body(body, model, flags))


def allowed_flags(betas: Iterable[bytes], model: str, allowed: Mapping[str, Sequence[str]]) -> list[str]:
    """The flags that may go to `model`, each once, in the order of the client."""
    asked = [flag.strip() for value in betas for flag in value.decode("latin-1").split(",")]
    return [
        flag
        for flag in dict.fromkeys(asked)
        if flag in allowed and (not allowed[flag] or is_one_of(model, allowed[flag]))
    ]


def is_one_of(model: str, names: Sequence[str]) -> bool:
    """Whether a model's ID has one of the names in it, which a further digit would make another name."""
    return any(re.search(re.escape(name) + r"(?!\d)", model) for name in names)


def bedrock_body(body: bytes, model: str, flags: Sequence[str]) -> bytes:
    """The body for `model`, with `flags` in it. Raises `NoObject`."""
    try:
        given = _MEMBERS.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NoObject("request body is not a JSON object") from error
    members: Members = {"anthropic_version": _raw(rules.ANTHROPIC_VERSION)}
    if flags:
        members["anthropic_beta"] = _raw(flags)
    for name, value in given.items():
        needed = rules.ONLY_WITH_FLAG.get(name)
        if name not in rules.REMOVED and (needed is None or needed in flags):
            members.setdefault(name, value)
    if "thinking" in members:
        members["thinking"] = _thinking(given, model)
    return _encode(members)


def _thinking(given: Members, model: str) -> msgspec.Raw:
    """The member `thinking` as the model knows it; its own bytes where the model takes it as it is."""
    asked = _members_of(given["thinking"])
    kind = _value(asked.get("type"))
    if kind == "enabled" and is_one_of(model, rules.ADAPTIVE_ONLY):
        return _changed(asked, type="adaptive")
    if kind != "adaptive" or is_one_of(model, (*rules.ADAPTIVE, *rules.ADAPTIVE_ONLY)):
        return given["thinking"]
    budget_tokens = _budget_tokens(given)
    if budget_tokens < rules.MIN_BUDGET_TOKENS:
        return _raw({"type": "disabled"})
    return _changed(asked, type="enabled", budget_tokens=budget_tokens)


def _budget_tokens(given: Members) -> int:
    max_tokens = _value(given.get("max_tokens"))
    effort = _value(_members_of(given.get("output_config")).get("effort"))
    percents = rules.BUDGET_PERCENT
    percent = percents.get(effort if isinstance(effort, str) else "", percents[rules.DEFAULT_EFFORT])
    return max_tokens * percent // 100 if isinstance(max_tokens, int) else 0


def _changed(asked: Members, **values: object) -> msgspec.Raw:
    kept = {name: value for name, value in asked.items() if name not in ("type", "budget_tokens")}
    return _raw({**values, **kept})


def _members_of(value: msgspec.Raw | None) -> Members:
    """The members of an object; none of anything else, which is for the provider to refuse."""
    try:
        return _MEMBERS.decode(value) if value is not None else {}
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}


def _value(value: msgspec.Raw | None) -> object:
    return msgspec.json.decode(value) if value is not None else None


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(_encode(value))
