"""Settings as a whole: defaults, precedence, every option from every source, and the only reader of the environment."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.settings import (
    CATALOGUE,
    GATEWAY_OPTIONS,
    PROCESS_OPTIONS,
    GatewayOptions,
    Settings,
    SettingsError,
    load,
    vendor_providers,
)
from gateway.sources import PREFIXES, flag_of
from providers.options import ProviderOptions
from providers.secret import Secret

DEFAULTS: dict[str, Any] = {
    "enabled": True,
    "retention_s": 60 * 86_400,
    "structured_logging": False,
    "otlp_endpoint": "",
    "otlp_headers": Secret(""),
    "trace_prompts": False,
    "metrics_route": False,
    "metrics_initiator": False,
    "dump_dir": "",
    "send_actor_headers": False,
    "actor_id_header": "X-AI-Bridge-Actor-ID",
    "actor_username_header": "X-AI-Bridge-Actor-Metadata-Username",
    "allow_byok": True,
    "max_concurrency": 0,
    "rate_limit": 0,
    "circuit_breaker_enabled": False,
    "circuit_breaker_failure_threshold": 5,
    "circuit_breaker_interval_s": 10,
    "circuit_breaker_timeout_s": 30,
    "circuit_breaker_max_requests": 3,
    "max_retries": 2,
    "max_body_bytes": 32 * 1024 * 1024,
    "body_timeout_s": 60,
    "chat_routing_enabled": True,
    "chat_enabled": False,
    "chat_model": "",
    "chat_advisor_model": "",
    "chat_title_model": "",
    "chat_quick_model": "",
    "chat_subagent_model": "",
    "chat_computer_use_model": "",
    "database_url": Secret("sqlite:///data/ai-gateway.db"),
    "journal_dir": "data/journal",
    "journal_fsync": "interval",
    "journal_fsync_interval_s": 0.05,
    "journal_max_bytes": 1024 * 1024 * 1024,
    "journal_full": "refuse",
    "providers": (),
}

OTHER_TEXTS: dict[str, tuple[str, Any]] = {
    "host": ("0.0.0.0", "0.0.0.0"),
    "port": ("8080", 8080),
    "workers": ("4", 4),
    "reload_on_change": ("true", True),
    "log_human": ("/var/log/gateway.log", "/var/log/gateway.log"),
    "log_json": ("/var/log/gateway.jsonl", "/var/log/gateway.jsonl"),
    "log_level": ("debug", "debug"),
    "metrics_address": ("[::1]:9464", "[::1]:9464"),
    "enabled": ("false", False),
    "retention": ("1d12h", 129_600),
    "structured_logging": ("true", True),
    "otlp_endpoint": ("https://collector.test:4318", "https://collector.test:4318"),
    "otlp_headers": ("X-Api-Key=fake", Secret("x-api-key=fake")),
    "trace_prompts": ("on", True),
    "metrics_route": ("true", True),
    "metrics_initiator": ("true", True),
    "dump_dir": ("/tmp/dumps", "/tmp/dumps"),
    "send_actor_headers": ("yes", True),
    "actor_id_header": ("X-Who", "X-Who"),
    "actor_username_header": ("X-Name", "X-Name"),
    "allow_byok": ("0", False),
    "user_key_encryption_keys": (
        "ZmFrZS1lbmNyeXB0aW9uLWtleS1vZi0zMi1ieXRlcy4=",
        (Secret("ZmFrZS1lbmNyeXB0aW9uLWtleS1vZi0zMi1ieXRlcy4="),),
    ),
    "max_concurrency": ("100", 100),
    "rate_limit": ("50", 50),
    "circuit_breaker_enabled": ("on", True),
    "circuit_breaker_failure_threshold": ("7", 7),
    "circuit_breaker_interval": ("1m", 60),
    "circuit_breaker_timeout": ("500ms", 0.5),
    "circuit_breaker_max_requests": ("1", 1),
    "max_retries": ("0", 0),
    "max_body_bytes": ("64MiB", 64 * 1024 * 1024),
    "body_timeout": ("90s", 90),
    "chat_routing_enabled": ("false", False),
    "chat_enabled": ("true", True),
    "chat_model": ("anthropic/claude-sonnet-4-5", "anthropic/claude-sonnet-4-5"),
    "chat_advisor_model": ("openai/o3", "openai/o3"),
    "chat_title_model": ("openai/gpt-4.1-nano", "openai/gpt-4.1-nano"),
    "chat_quick_model": ("local/org/model", "local/org/model"),
    "chat_subagent_model": ("local/model:1", "local/model:1"),
    "chat_computer_use_model": ("anthropic/claude-opus-4-5", "anthropic/claude-opus-4-5"),
    "database_url": ("postgresql://u:p@h/db", Secret("postgresql://u:p@h/db")),
    "journal_dir": ("/var/lib/gateway/journal", "/var/lib/gateway/journal"),
    "journal_fsync": ("always", "always"),
    "journal_fsync_interval": ("200ms", 0.2),
    "journal_max_bytes": ("64MiB", 64 * 1024 * 1024),
    "journal_full": ("unrecorded", "unrecorded"),
    "connect_timeout": ("1s", 1),
    "first_byte_timeout": ("2s", 2),
    "idle_timeout": ("3s", 3),
    "total_timeout": ("4s", 4),
    "client_left": ("drain", "drain"),
    "client_left_drain_timeout": ("5s", 5),
    "request_stream_usage": ("false", False),
    "merge_chunks": ("true", True),
    "gather_chunks": ("2ms", 0.002),
    "upstream_transport": ("httpx", "httpx"),
    "extra_routes": ("openai=/files", {"openai": ("/files",)}),
    "bedrock_beta_flags": ("a,b=opus-4-5", {"a": (), "b": ("opus-4-5",)}),
    "shutdown_delay": ("5s", 5),
    "shutdown_grace": ("6s", 6),
    "auth": ("database", "database"),
    "auth_url": ("https://coder.example/api/v2/users/me", "https://coder.example/api/v2/users/me"),
    "auth_timeout": ("7s", 7),
    "auth_cache_ttl": ("0", 0),
    "auth_grace": ("8s", 8),
    "static_token": ("example-token", Secret("example-token")),
    "static_user": ("ada", "ada"),
}


def write(folder: Path, text: str) -> Path:
    """A configuration file that holds `text`."""
    path = folder / "settings.yaml"
    path.write_text(text, "utf-8")
    return path


def field_value(settings: Settings, name: str) -> object:
    """The value of the option `name`, wherever its struct is."""
    for struct, options in ((settings, PROCESS_OPTIONS), (settings.gateway, GATEWAY_OPTIONS)):
        for option in options:
            if option.name == name:
                return getattr(struct, option.field)
    raise LookupError(name)


def refusal(**sources: Any) -> str:
    """The sentence with which `load` refuses."""
    with pytest.raises(SettingsError) as refused:
        load(sources.get("flags"), config=sources.get("config"), environ=sources.get("environ", {}))
    return str(refused.value)


def test_with_nothing_given_every_option_has_its_documented_default() -> None:
    """No file, no variable, no flag: the table of the documentation."""
    settings = load(environ={})
    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 4001, 1)
    assert (settings.log_human, settings.log_json, settings.log_level) == ("/dev/stderr", "", "info")
    assert settings.metrics_address == ""
    assert {name: getattr(settings.gateway, name) for name in DEFAULTS} == DEFAULTS
    assert settings == Settings()
    assert settings.origin("retention") == "default"


def test_the_table_of_other_values_covers_every_option() -> None:
    """A new option must be added to the tests of every source."""
    assert list(OTHER_TEXTS) == [option.name for option in (*PROCESS_OPTIONS, *GATEWAY_OPTIONS)]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("name", OTHER_TEXTS)
def test_every_option_is_a_variable_under_each_prefix(prefix: str, name: str) -> None:
    """The canonical, the short and the old prefix mean the same."""
    text, value = OTHER_TEXTS[name]
    settings = load(environ={prefix + name.upper(): text})
    assert field_value(settings, name) == value
    assert settings.origin(name) == prefix + name.upper()


@pytest.mark.parametrize("name", OTHER_TEXTS)
def test_every_option_is_a_flag(name: str) -> None:
    """Options of the process stand alone, those of the gateway begin with `--ai-gateway-`."""
    text, value = OTHER_TEXTS[name]
    flag = flag_of(name, section=any(option.name == name for option in GATEWAY_OPTIONS))
    settings = load({flag: text}, environ={})
    assert field_value(settings, name) == value
    assert settings.origin(name) == flag


@pytest.mark.parametrize("name", OTHER_TEXTS)
def test_every_option_is_in_the_yaml_file(name: str, tmp_path: Path) -> None:
    """Text in the file means what it means in a variable."""
    text, value = OTHER_TEXTS[name]
    top = any(option.name == name for option in PROCESS_OPTIONS)
    path = write(tmp_path, f'{name}: "{text}"' if top else f'ai_gateway:\n  {name}: "{text}"')
    settings = load(config=path, environ={})
    assert field_value(settings, name) == value
    assert settings.origin(name) == str(path)


def test_a_flag_beats_a_variable_and_a_variable_beats_the_file(tmp_path: Path) -> None:
    """Each option takes the strongest source that gives it, and says which that was."""
    path = write(tmp_path, "ai_gateway: {retention: 1d, max_retries: 1, rate_limit: 1, max_concurrency: 9}")
    environ = {"CODER_AI_GATEWAY_RETENTION": "2d", "AI_GATEWAY_MAX_RETRIES": "3"}
    settings = load({"--ai-gateway-retention": "3d"}, config=path, environ=environ)
    gateway = settings.gateway
    assert (gateway.retention_s, gateway.max_retries, gateway.rate_limit) == (3 * 86_400, 3, 1)
    assert [settings.origin(name) for name in ("retention", "max_retries", "rate_limit", "allow_byok")] == [
        "--ai-gateway-retention",
        "AI_GATEWAY_MAX_RETRIES",
        str(path),
        "default",
    ]


def test_the_environment_is_that_of_the_process_unless_another_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A caller that passes a mapping is not disturbed by the shell it runs in."""
    monkeypatch.setenv("CODER_AI_GATEWAY_PORT", "5001")
    assert load().port == 5001
    assert load(environ={}).port == 4001


def test_settings_do_not_change() -> None:
    """They are frozen, and so is what they hold."""
    settings = load(environ={"AI_GATEWAY_PROVIDER_0_TYPE": "openai"})
    for struct in (settings, settings.gateway, settings.gateway.providers[0]):
        with pytest.raises(AttributeError):
            setattr(struct, struct.__struct_fields__[0], None)


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        (
            {"AI_GATEWAY_AUTH": "http"},
            "AI_GATEWAY_AUTH asks for http, which needs auth_url; set it or change auth",
        ),
        (
            {"AI_GATEWAY_AUTH": "static"},
            "AI_GATEWAY_AUTH asks for static, which needs static_token; set it or change auth",
        ),
        (
            {"AI_GATEWAY_ACTOR_ID_HEADER": "x-ai-bridge-actor-metadata-username"},
            "AI_GATEWAY_ACTOR_ID_HEADER names the header that the other actor header has; rename one of them",
        ),
    ],
)
def test_options_that_need_each_other_are_checked_together(environ: dict[str, str], sentence: str) -> None:
    """An authenticator without what it needs, and two headers of one name, stop the start."""
    assert refusal(environ=environ) == sentence


@pytest.mark.parametrize(
    "environ",
    [
        {"AI_GATEWAY_AUTH": "http", "AI_GATEWAY_AUTH_URL": "https://coder.example"},
        {"AI_GATEWAY_AUTH": "static", "AI_GATEWAY_STATIC_TOKEN": "example-token"},
    ],
)
def test_an_authenticator_with_what_it_needs_is_accepted(environ: dict[str, str]) -> None:
    """The http authority has its URL, the static one its token."""
    assert load(environ=environ).gateway.auth == environ["AI_GATEWAY_AUTH"]


def test_no_repr_shows_a_secret() -> None:
    """Printing settings, whole or in parts, shows hints."""
    environ = {
        "AI_GATEWAY_PROVIDER_0_TYPE": "anthropic",
        "AI_GATEWAY_PROVIDER_0_KEYS": "canary-canary-canary-1,canary-canary-canary-2",
        "AI_GATEWAY_PROVIDER_0_BEDROCK_REGION": "eu-central-1",
        "AI_GATEWAY_PROVIDER_0_BEDROCK_ACCESS_KEY": "canary-canary-canary-3",
        "AI_GATEWAY_PROVIDER_0_BEDROCK_ACCESS_KEY_SECRET": "canary-canary-canary-4",
        "AI_GATEWAY_DATABASE_URL": "postgresql://u:canary-canary@h/db",
        "AI_GATEWAY_STATIC_TOKEN": "canary-canary-canary-5",
        "AI_GATEWAY_OPENAI_KEY": "canary-canary-canary-6",
    }
    settings = load(environ=environ)
    assert len(settings.gateway.providers) == 2
    assert "canary" not in repr(settings) + str(settings) + repr(
        vendor_providers({"OPENAI_API_KEY": "canary-canary-7"})
    )


def test_vendor_variables_make_providers_only_for_who_asks() -> None:
    """`load` does not see them; `vendor_providers` makes one instance of each that is set."""
    environ = {
        "OPENAI_API_KEY": "example-openai",
        "ANTHROPIC_API_KEY": " example-anthropic ",
        "OPENAI_BASE_URL": "x",
    }
    assert load(environ=environ).gateway.providers == ()
    assert vendor_providers(environ) == (
        ProviderOptions(type="openai", name="openai", keys=(Secret("example-openai"),)),
        ProviderOptions(type="anthropic", name="anthropic", keys=(Secret("example-anthropic"),)),
    )
    assert vendor_providers({"OPENAI_API_KEY": " "}) == ()


def test_no_option_has_the_name_of_another() -> None:
    """Variables have one namespace for the options of the process and of the gateway."""
    names = [option.name for option in (*PROCESS_OPTIONS, *GATEWAY_OPTIONS)]
    assert len(names) == len(set(names))


def test_every_field_but_the_composed_ones_is_an_option() -> None:
    """A field that cannot be configured would be dead, and so would a default without help."""
    fields = {field.name for struct in (Settings, GatewayOptions) for field in msgspec.structs.fields(struct)}
    options = {option.field for option in (*PROCESS_OPTIONS, *GATEWAY_OPTIONS)}
    assert fields - options == {"gateway", "origins", "providers"}


def test_nothing_else_in_the_project_reads_the_environment() -> None:
    """`os.environ` and `os.getenv` stand in `gateway/settings.py` alone."""
    root = Path(__file__).parents[2]
    readers = {
        path.relative_to(root).as_posix()
        for floor in ("gateway", "middleware", "providers", "recorders")
        for path in (root / floor).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute | ast.ImportFrom)
        if {"environ", "getenv", "environb"} & _names(node)
    }
    assert readers == {"gateway/settings.py"}


def _names(node: ast.Attribute | ast.ImportFrom) -> set[str]:
    if isinstance(node, ast.ImportFrom):
        return {alias.name for alias in node.names} if node.module == "os" else set()
    return {node.attr} if isinstance(node.value, ast.Name) and node.value.id == "os" else set()


@given(
    variable=st.sampled_from(
        [
            *(PREFIXES[0] + name.upper() for name in [*CATALOGUE.process, *CATALOGUE.section]),
            *(f"{PREFIXES[0]}PROVIDER_0_{name.upper()}" for name in CATALOGUE.instance),
        ]
    ),
    text=st.sampled_from(
        ["{}", "https://{}", "https://u:{}@h", "postgresql://{}:{}@h/db", "a,{}", "openai={}", "0{}"]
    )
    | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20),
)
def test_whatever_a_variable_holds_is_accepted_or_refused_in_a_sentence(variable: str, text: str) -> None:
    """No text leads to another error, and no error repeats the text."""
    environ = {f"{PREFIXES[0]}PROVIDER_0_TYPE": "anthropic", variable: text.replace("{}", "canary-canary")}
    refused = ""
    try:
        load(environ=environ)
    except SettingsError as error:
        refused = str(error)
    assert "canary" not in refused
    assert "\n" not in refused
