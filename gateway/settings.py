"""The settings of the program: what operators configure, validated, frozen, each value with its origin.

`load` is the only reader of the environment in the project. Flags beat the environment, the environment beats the
YAML file, the file beats the defaults below. The structs declare everything that is to be known of an option: type,
default, kind, a line of help (`gateway.options`); `gateway.sources` finds the values and `gateway.instances` makes
providers of them. Nothing here opens a socket or a store.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec

from gateway.beta_flags import BETA_FLAGS
from gateway.durations import DAY_S, HOUR_S, MINUTE_S
from gateway.export_headers import EXPORT_HEADERS
from gateway.instances import (
    INSTANCE_KINDS,
    LEGACY_SETTINGS,
    TYPE_NAMES,
    Instance,
    gather_instances,
    legacy_target,
    options_of_instance,
)
from gateway.kinds import (
    ADDRESS,
    DATABASE_URL,
    DURATION,
    ENCRYPTION_KEYS,
    HEADER_NAME,
    HTTP_URL,
    MODEL,
    SECRET,
    SIZE,
    SWITCH,
    TEXT,
    TIMEOUT,
    choice,
    routes,
    whole_number,
)
from gateway.options import Help, Option, options_of
from gateway.settings_error import SettingsError
from gateway.sizes import MEBIBYTE
from gateway.sources import Catalogue, Given, Spelling, instance_target, read_sources, spellings
from providers.bedrock import rules
from providers.options import ProviderOptions
from providers.secret import Secret

__all__ = ["GatewayOptions", "Settings", "SettingsError", "load", "terminal_variables", "vendor_providers"]

DEFAULT: Final = "default"
"""The origin of a value that nobody gave."""


class GatewayOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options below `ai_gateway`. Durations are seconds; `0` turns an optional limit off."""

    enabled: Annotated[bool, SWITCH, Help("serve AI clients; off: each of their routes answers 404")] = True
    retention_s: Annotated[
        float, DURATION, Help("age at which records are deleted; 0 keeps them for ever")
    ] = 60 * DAY_S
    structured_logging: Annotated[bool, SWITCH, Help("write one log line for each record")] = False
    otlp_endpoint: Annotated[
        str, HTTP_URL, Help("OpenTelemetry collector that gets traces, over OTLP/HTTP; empty: no traces")
    ] = ""
    otlp_headers: Annotated[
        Secret, EXPORT_HEADERS, Help("headers for the collector, such as authorization=...; by commas")
    ] = Secret("")
    trace_prompts: Annotated[bool, SWITCH, Help("put the last user prompt into traces")] = False
    metrics_route: Annotated[
        bool, SWITCH, Help("answer GET /metrics on the gateway's own port, to whoever asks")
    ] = False
    metrics_initiator: Annotated[bool, SWITCH, Help("tell users apart in metrics")] = False
    dump_dir: Annotated[
        str,
        TEXT,
        Help("folder for dumps of requests and answers; empty: no dumps", aliases=("api_dump_dir",)),
    ] = ""
    send_actor_headers: Annotated[bool, SWITCH, Help("tell the provider who is asking, in two headers")] = (
        False
    )
    actor_id_header: Annotated[str, HEADER_NAME, Help("header that carries the user's ID")] = (
        "X-AI-Bridge-Actor-ID"
    )
    actor_username_header: Annotated[str, HEADER_NAME, Help("header that carries the user's name")] = (
        "X-AI-Bridge-Actor-Metadata-Username"
    )
    allow_byok: Annotated[bool, SWITCH, Help("let users bring their own provider credentials")] = True
    user_key_encryption_keys: Annotated[
        tuple[Secret, ...],
        ENCRYPTION_KEYS,
        Help("encrypt the provider keys that users keep here: the first does, all decrypt; empty: keep none"),
    ] = ()
    max_concurrency: Annotated[int, whole_number(0), Help("requests at once in a process; 0: no limit")] = 0
    rate_limit: Annotated[int, whole_number(0), Help("requests a second for each API key; 0: no limit")] = 0
    circuit_breaker_enabled: Annotated[bool, SWITCH, Help("stop asking a provider that keeps failing")] = (
        False
    )
    circuit_breaker_failure_threshold: Annotated[
        int, whole_number(1), Help("failures in a row that open the circuit")
    ] = 5
    circuit_breaker_interval_s: Annotated[
        float, TIMEOUT, Help("time after which counted failures are forgotten")
    ] = 10
    circuit_breaker_timeout_s: Annotated[
        float, TIMEOUT, Help("time that an open circuit waits before it tries")
    ] = 30
    circuit_breaker_max_requests: Annotated[
        int, whole_number(1), Help("requests that a circuit lets through when it tries")
    ] = 3
    max_retries: Annotated[int, whole_number(0, 10), Help("further attempts before an answer began")] = 2
    max_body_bytes: Annotated[int, SIZE, Help("largest request body")] = 32 * MEBIBYTE
    body_timeout_s: Annotated[float, TIMEOUT, Help("longest silence within a request body")] = MINUTE_S
    chat_routing_enabled: Annotated[
        bool, SWITCH, Help("send the chat service's model calls through the gateway", hidden=True)
    ] = True
    chat_enabled: Annotated[
        bool, SWITCH, Help("serve chats at /chats: an agent loop that calls models for whoever asks")
    ] = False
    chat_model: Annotated[str, MODEL, Help("model of chats that name none, as provider/model")] = ""
    chat_advisor_model: Annotated[str, MODEL, Help("model that gives advice; empty: the chat's own")] = ""
    chat_title_model: Annotated[str, MODEL, Help("model that names chats; empty: the chat's own")] = ""
    chat_quick_model: Annotated[
        str, MODEL, Help("model for short texts beside a chat; empty: the chat's own")
    ] = ""
    chat_subagent_model: Annotated[str, MODEL, Help("model of spawned agents; empty: the chat's own")] = ""
    chat_computer_use_model: Annotated[
        str, MODEL, Help("model of agents that use a computer; empty: the chat's own")
    ] = ""
    database_url: Annotated[Secret, DATABASE_URL, Help("where users, keys and records are kept")] = Secret(
        "sqlite:///data/ai-gateway.db"
    )
    journal_dir: Annotated[
        str, TEXT, Help("folder for records that the database has not taken yet; empty: memory only")
    ] = "data/journal"
    journal_fsync: Annotated[
        Literal["always", "interval", "never"],
        choice("always", "interval", "never"),
        Help(
            "when records must be on the disk, to survive a power cut: before the request goes on, soon, or never"
        ),
    ] = "interval"
    journal_fsync_interval_s: Annotated[float, TIMEOUT, Help("for journal_fsync interval: how soon")] = 0.05
    journal_max_bytes: Annotated[int, SIZE, Help("records of a process that may wait for the database")] = (
        1024 * MEBIBYTE
    )
    journal_full: Annotated[
        Literal["refuse", "unrecorded"],
        choice("refuse", "unrecorded"),
        Help("when no more records can be taken: refuse requests, or let them go on unrecorded"),
    ] = "refuse"
    connect_timeout_s: Annotated[float, TIMEOUT, Help("longest wait for a connection to a provider")] = 10
    first_byte_timeout_s: Annotated[float, TIMEOUT, Help("longest wait for an answer to begin")] = (
        10 * MINUTE_S
    )
    idle_timeout_s: Annotated[float, TIMEOUT, Help("longest silence within an answer")] = 10 * MINUTE_S
    total_timeout_s: Annotated[float, TIMEOUT, Help("longest time for a request as a whole")] = HOUR_S
    client_left: Annotated[
        Literal["close", "drain"],
        choice("close", "drain"),
        Help("when a client leaves: close upstream, or drain it"),
    ] = "close"
    client_left_drain_timeout_s: Annotated[
        float, DURATION, Help("longest time to drain after a client left")
    ] = 30
    request_stream_usage: Annotated[
        bool, SWITCH, Help("ask for token usage where a client's stream did not")
    ] = True
    merge_chunks: Annotated[
        bool,
        SWITCH,
        Help("under another server than serve's: send chunks that arrived together as one, which costs less"),
    ] = False
    gather_chunks_s: Annotated[
        float,
        DURATION,
        Help("how long chunks may gather of a provider that sends them in a hurry; 0: not at all"),
    ] = 0.001
    upstream_transport: Annotated[
        Literal["aiohttp", "httpx"], choice("aiohttp", "httpx"), Help("what speaks to providers")
    ] = "aiohttp"
    extra_routes: Annotated[
        Mapping[str, tuple[str, ...]],
        routes(TYPE_NAMES),
        Help("further paths that pass through, by provider type; in text openai=/files,openai=/files/*"),
    ] = {}
    bedrock_beta_flags: Annotated[
        Mapping[str, tuple[str, ...]],
        BETA_FLAGS,
        Help(
            "flags of anthropic-beta for Amazon Bedrock, each with the models that know it; in text a,b=opus-4-5"
        ),
    ] = msgspec.field(default_factory=lambda: dict(rules.BETA_FLAGS))
    shutdown_delay_s: Annotated[
        float, DURATION, Help("time to go on serving at shutdown while /readyz says no; 0: none")
    ] = 0
    shutdown_grace_s: Annotated[
        float, DURATION, Help("time that running requests have to end at shutdown")
    ] = 30
    auth: Annotated[
        Literal["database", "http", "static"],
        choice("database", "http", "static"),
        Help("who knows the users: the database, a control plane, or this configuration"),
    ] = "database"
    auth_url: Annotated[str, HTTP_URL, Help("for auth http: the URL that tells who a token belongs to")] = ""
    auth_timeout_s: Annotated[float, TIMEOUT, Help("longest wait for the authority")] = 5
    auth_cache_ttl_s: Annotated[
        float, DURATION, Help("how long an identity is remembered; 0: not at all")
    ] = 10
    auth_grace_s: Annotated[
        float, DURATION, Help("how long known identities go on while the authority can't be reached")
    ] = 5 * MINUTE_S
    static_token: Annotated[Secret, SECRET, Help("for auth static: the one token")] = Secret("")
    static_user: Annotated[str, TEXT, Help("for auth static: the user it belongs to")] = "admin"
    providers: tuple[ProviderOptions, ...] = ()


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is configured. `origins` tells of each value that was given where it came from."""

    host: Annotated[str, TEXT, Help("address to listen on")] = "127.0.0.1"
    port: Annotated[int, whole_number(0, 65535), Help("port to listen on; 0: any free one")] = 4001
    workers: Annotated[int, whole_number(1, 1024), Help("processes that serve")] = 1
    reload_on_change: Annotated[
        bool, SWITCH, Help("read the file of --config again when it changes, as SIGHUP does")
    ] = False
    log_human: Annotated[str, TEXT, Help("file for the log as text; empty: none")] = "/dev/stderr"
    log_json: Annotated[str, TEXT, Help("file for the log as JSON lines; empty: none")] = ""
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        choice("debug", "info", "warning", "error"),
        Help("least level of the log's lines"),
    ] = "info"
    metrics_address: Annotated[
        str, ADDRESS, Help("address of a port that answers GET /metrics, such as 127.0.0.1:9464; empty: none")
    ] = ""
    gateway: GatewayOptions = GatewayOptions()
    origins: Mapping[str, str] = {}

    def origin(self, target: str) -> str:
        """Where a value came from: `default`, a file, a variable, a flag."""
        return self.origins.get(target, DEFAULT)


PROCESS_OPTIONS: Final = options_of(Settings)
GATEWAY_OPTIONS: Final = options_of(GatewayOptions)


def _catalogue() -> Catalogue:
    aliases = {
        alias: Spelling(option.name, option.kind)
        for option in GATEWAY_OPTIONS
        for alias in option.help.aliases
    }
    legacy = [(setting.name, legacy_target(setting), setting.kind) for setting in LEGACY_SETTINGS]
    return Catalogue(
        process=spellings((option.name, option.name, option.kind) for option in PROCESS_OPTIONS),
        section=spellings(
            [*((option.name, option.name, option.kind) for option in GATEWAY_OPTIONS), *legacy]
        ),
        instance=spellings(INSTANCE_KINDS),
        yaml_aliases=aliases,
    )


CATALOGUE: Final = _catalogue()


def load(
    argv_flags: Mapping[str, str] | None = None,
    *,
    config: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """The effective settings.

    `argv_flags` are flags as typed (`--ai-gateway-retention`) with their text, `environ` the process environment when
    it is None. Raises `SettingsError`, one sentence, at the first thing that can't be used.
    """
    given = read_sources(
        CATALOGUE,
        config=config,
        environ=os.environ if environ is None else environ,
        flags=argv_flags or {},
    )
    instances = gather_instances(given)
    gateway = _values(GATEWAY_OPTIONS, given)
    gateway["providers"] = tuple(options_of_instance(instance) for instance in instances)
    settings = msgspec.convert({**_values(PROCESS_OPTIONS, given), "gateway": gateway}, Settings)
    _check(settings, given)
    return msgspec.structs.replace(settings, origins=_origins(given, instances))


def _origins(given: Mapping[str, Given], instances: list[Instance]) -> dict[str, str]:
    """Where each value came from: options by their name, the rest by their place among the instances."""
    origins = {name: one.origin for name, one in given.items() if "." not in name}
    for index, instance in enumerate(instances):
        origins |= {instance_target(index, field): one.origin for field, one in instance.given.items()}
    return origins


def _values(options: tuple[Option, ...], given: Mapping[str, Given]) -> dict[str, Any]:
    return {option.field: given[option.name].value for option in options if option.name in given}


def _check(settings: Settings, given: Mapping[str, Given]) -> None:
    """What options demand of each other."""
    options = settings.gateway
    if options.actor_id_header.lower() == options.actor_username_header.lower():
        place = next(
            given[name].place for name in ("actor_id_header", "actor_username_header") if name in given
        )
        raise SettingsError(f"{place} names the header that the other actor header has; rename one of them")
    if options.auth == "http" and not options.auth_url:
        raise SettingsError(
            f"{given['auth'].place} asks for http, which needs auth_url; set it or change auth"
        )
    if options.auth == "static" and not options.static_token:
        raise SettingsError(
            f"{given['auth'].place} asks for static, which needs static_token; set it or change auth"
        )


def environment_with(variables: Mapping[str, str]) -> dict[str, str]:
    """This process's environment and `variables`, for processes that it starts; `load` never asks."""
    return {**os.environ, **variables}


def vendor_providers(environ: Mapping[str, str] | None = None) -> tuple[ProviderOptions, ...]:
    """Providers from the variables that the vendors' own tools read. Only `demo` asks; `load` never does."""
    environ = os.environ if environ is None else environ
    variables: tuple[tuple[Literal["openai", "anthropic"], str], ...] = (
        ("openai", "OPENAI_API_KEY"),
        ("anthropic", "ANTHROPIC_API_KEY"),
    )
    return tuple(
        ProviderOptions(type=name, name=name, keys=(Secret(environ[variable].strip()),))
        for name, variable in variables
        if environ.get(variable, "").strip()
    )


class TerminalVariables(NamedTuple):
    """What `ai-gateway chat` reads of the environment beside the settings."""

    token: Secret
    """The person's gateway token, under the name that `demo` prints it with; empty where there is none."""
    color: bool
    """Whether colors are welcome (https://no-color.org)."""


def terminal_variables(environ: Mapping[str, str] | None = None) -> TerminalVariables:
    """Only `chat` asks; `load` never does."""
    environ = os.environ if environ is None else environ
    color = not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
    return TerminalVariables(Secret(environ.get("GATEWAY_TOKEN", "").strip()), color)
