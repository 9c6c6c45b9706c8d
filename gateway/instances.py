"""From what was given to the provider instances: indexed and legacy settings, names, and what contradicts what.

The values are already of their kind (`gateway.kinds`); here they are judged together. Each contradiction is one
`SettingsError` that says what to remove or rename. Instances come in the order of their index, the legacy ones after.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args

import msgspec

from gateway.kinds import HTTP_URL, ONE_KEY, SEVERAL_KEYS, SWITCH, TEXT, Kind, choice
from gateway.settings_error import SettingsError
from gateway.sources import Given, parse_instance_target
from providers.options import INSTANCE_NAME, ProviderOptions, TypeName

TYPE_NAMES: Final[tuple[str, ...]] = get_args(TypeName)

INSTANCE_KINDS: Final[tuple[tuple[str, str, Kind], ...]] = (
    ("type", "type", choice(*TYPE_NAMES)),
    ("name", "name", TEXT),
    ("base_url", "base_url", HTTP_URL),
    ("key", "keys", ONE_KEY),
    ("keys", "keys", SEVERAL_KEYS),
    ("enabled", "enabled", SWITCH),
    ("bedrock_region", "bedrock_region", TEXT),
    ("bedrock_base_url", "bedrock_base_url", HTTP_URL),
    ("bedrock_access_key", "bedrock_access_keys", ONE_KEY),
    ("bedrock_access_keys", "bedrock_access_keys", SEVERAL_KEYS),
    ("bedrock_access_key_secret", "bedrock_access_key_secrets", ONE_KEY),
    ("bedrock_access_key_secrets", "bedrock_access_key_secrets", SEVERAL_KEYS),
    ("bedrock_model", "bedrock_model", TEXT),
    ("bedrock_small_fast_model", "bedrock_small_fast_model", TEXT),
)
"""(name, field of `ProviderOptions`, kind) of what can be said about an instance."""


@dataclass(frozen=True, slots=True)
class LegacySetting:
    """A setting from the time when there was one provider of a type."""

    name: str
    type: str
    field: str
    kind: Kind
    help: str


LEGACY_SETTINGS: Final = (
    LegacySetting("openai_key", "openai", "keys", ONE_KEY, "central key of the provider `openai`"),
    LegacySetting("openai_base_url", "openai", "base_url", HTTP_URL, "base URL of the provider `openai`"),
    LegacySetting("anthropic_key", "anthropic", "keys", ONE_KEY, "central key of the provider `anthropic`"),
    LegacySetting(
        "anthropic_base_url", "anthropic", "base_url", HTTP_URL, "base URL of the provider `anthropic`"
    ),
    *(
        LegacySetting(name, "anthropic", target, kind, f"{line} of the provider `anthropic`")
        for name, target, kind, line in (
            ("bedrock_region", "bedrock_region", TEXT, "AWS region"),
            ("bedrock_base_url", "bedrock_base_url", HTTP_URL, "Bedrock base URL"),
            ("bedrock_access_key", "bedrock_access_keys", ONE_KEY, "AWS access key ID"),
            ("bedrock_access_key_secret", "bedrock_access_key_secrets", ONE_KEY, "AWS secret access key"),
            ("bedrock_model", "bedrock_model", TEXT, "Bedrock model"),
            (
                "bedrock_small_fast_model",
                "bedrock_small_fast_model",
                TEXT,
                "Bedrock model for small, fast requests",
            ),
        )
    ),
)

RESERVED_NAMES: Final = frozenset(
    {"api", "chats", "clients", "healthz", "interceptions", "keys", "livez", "metrics", "models", "openapi"}
    | {"provider-keys", "providers", "readyz", "sessions", "users"}
)
"""Route segments that mean something else at the place where an instance's name stands."""

_PREFIX: Final = "CODER_AI_GATEWAY_PROVIDER_"


@dataclass(frozen=True, slots=True)
class Instance:
    """What was given for one instance, by field of `ProviderOptions`."""

    given: Mapping[str, Given]
    label: str
    """How an error names it."""
    type: str
    name: str
    named: bool

    def value(self, field: str) -> Any:
        given = self.given.get(field)
        return given.value if given else None

    def place(self, *fields: str) -> str:
        """Where the first of `fields` that was given stands."""
        return next(self.given[field].place for field in fields if field in self.given)


def legacy_target(setting: LegacySetting) -> str:
    """Where the value of a legacy setting is kept."""
    return f"legacy.{setting.name}"


def gather_instances(given: Mapping[str, Given]) -> list[Instance]:
    """Every configured instance. Raises `SettingsError` when they contradict themselves or each other."""
    indexed = [_indexed(index, values) for index, values in enumerate(_by_index(given))]
    instances = [*indexed, *_legacy(given, indexed)]
    for instance in instances:
        _check_bedrock(instance)
    return instances


def options_of_instance(instance: Instance) -> ProviderOptions:
    values = {field: one.value for field, one in instance.given.items() if field not in {"type", "name"}}
    return msgspec.convert({**values, "type": instance.type, "name": instance.name}, ProviderOptions)


# -- indexed ------------------------------------------------------------------------------------------------------


def _by_index(given: Mapping[str, Given]) -> list[dict[str, Given]]:
    found: dict[int, dict[str, Given]] = {}
    for target, one in given.items():
        if (place := parse_instance_target(target)) is not None:
            index, field = place
            found.setdefault(index, {})[field] = one
    for expected, index in enumerate(sorted(found)):
        if expected != index:
            raise SettingsError(
                f"{_first_place(found[index])} leaves a gap: there is no provider {expected}; rename PROVIDER_{index} "
                f"to PROVIDER_{expected}, or add {_PREFIX}{expected}_TYPE"
            )
    return [found[index] for index in sorted(found)]


def _first_place(values: Mapping[str, Given]) -> str:
    return next(iter(values.values())).place


def _indexed(index: int, values: Mapping[str, Given]) -> Instance:
    if "type" not in values:
        raise SettingsError(
            f"provider {index} has no type: set {_PREFIX}{index}_TYPE to one of {', '.join(TYPE_NAMES)}, or remove "
            f"{_first_place(values)}"
        )
    type_name = str(values["type"].value)
    name = str(values["name"].value) if "name" in values else ""
    if name and not INSTANCE_NAME.fullmatch(name):
        raise SettingsError(
            f"{values['name'].place} must be lower-case letters and digits in groups joined by single dashes, such as "
            "openai-eu; rename it"
        )
    if name in RESERVED_NAMES:
        raise SettingsError(f"{values['name'].place} is a name that the gateway's own routes use; rename it")
    return Instance(values, f"provider {index}", type_name, name or type_name, named=bool(name))


# -- legacy -------------------------------------------------------------------------------------------------------


def _legacy(given: Mapping[str, Given], indexed: Iterable[Instance]) -> list[Instance]:
    found: dict[str, dict[str, Given]] = {}
    for setting in LEGACY_SETTINGS:
        one = given.get(legacy_target(setting))
        if one is not None and one.value:
            found.setdefault(setting.type, {})[setting.field] = one
    taken = _distinct(indexed)
    for type_name, values in found.items():
        if type_name in taken:
            place = _first_place(values)
            raise SettingsError(
                f"{place} configures a provider named {type_name}, and so does {taken[type_name].label}; remove "
                f"{place}, or give {taken[type_name].label} another NAME"
            )
    return [Instance(values, f"provider {name}", name, name, named=False) for name, values in found.items()]


def _distinct(instances: Iterable[Instance]) -> dict[str, Instance]:
    """The instances by name, which no two may share."""
    found: dict[str, Instance] = {}
    for instance in instances:
        before = found.setdefault(instance.name, instance)
        if before is instance:
            continue
        if not before.named and not instance.named:
            raise SettingsError(
                f"{before.label} and {instance.label} are both of type {instance.type} and both leave out NAME; give "
                "one of them a NAME"
            )
        raise SettingsError(
            f"{before.label} and {instance.label} are both named {instance.name}; rename one of them"
        )
    return found


# -- Bedrock ------------------------------------------------------------------------------------------------------


def _check_bedrock(instance: Instance) -> None:
    fields = [field for field in instance.given if field.startswith("bedrock_") and instance.value(field)]
    if not fields:
        return
    if instance.type != "anthropic":
        raise SettingsError(
            f"{instance.place(*fields)} belongs to a provider of type anthropic, and {instance.label} is of type "
            f"{instance.type}; remove it or change the type"
        )
    ids, secrets = (
        instance.value("bedrock_access_keys") or (),
        instance.value("bedrock_access_key_secrets") or (),
    )
    if len(ids) != len(secrets):
        place = instance.place(
            "bedrock_access_keys" if len(ids) > len(secrets) else "bedrock_access_key_secrets"
        )
        raise SettingsError(
            f"{place} is one half of an access key pair (access keys: {len(ids)}, secrets: {len(secrets)}); add the "
            "missing half or remove it"
        )
    if not instance.value("bedrock_region") and not instance.value("bedrock_base_url"):
        raise SettingsError(
            f"{instance.place(*fields)} needs a place to go: give {instance.label} a BEDROCK_REGION or a "
            "BEDROCK_BASE_URL, or remove it"
        )
