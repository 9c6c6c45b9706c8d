"""Sources: what they accept, what they refuse, and that dynaconf reads nothing it was not told to read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.settings import SettingsError, load
from gateway.sources import PREFIXES


def write(folder: Path, text: str) -> Path:
    """A configuration file that holds `text`."""
    path = folder / "settings.yaml"
    path.write_text(text, "utf-8")
    return path


def refusal(**given: Any) -> str:
    """The sentence with which `load` refuses."""
    with pytest.raises(SettingsError) as refused:
        load(given.get("flags"), config=given.get("config"), environ=given.get("environ", {}))
    return str(refused.value)


# -- environment --------------------------------------------------------------------------------------------------


def test_variables_of_others_are_ignored() -> None:
    """Only the three prefixes are ours, and only in capitals."""
    environ = {
        "PORT": "1",
        "CODER_URL": "x",
        "OPENAI_API_KEY": "x",
        "ai_gateway_port": "1",
        "XAI_GATEWAY_PORT": "1",
    }
    assert load(environ=environ) == load(environ={})


def test_a_variable_that_is_set_but_empty_is_not_given() -> None:
    """`KEY: ${KEY:-}` in a compose file leaves the default alone, and makes no provider."""
    environ = {"AI_GATEWAY_PORT": "", "AI_GATEWAY_PROVIDER_0_KEY": " ", "AI_GATEWAY_OPENAI_KEY": ""}
    assert load(environ=environ) == load(environ={})


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize(
    "variable",
    [
        "SERVICE_HOST",
        "SERVICE_PORT",
        "SERVICE_PORT_HTTP",
        "PORT_4001_TCP",
        "PORT_4001_TCP_ADDR",
        "PORT_4001_UDP_PROTO",
    ],
)
def test_what_kubernetes_adds_for_a_service_of_that_name_is_ignored(prefix: str, variable: str) -> None:
    """A service called `ai-gateway` puts such variables into every pod of its namespace."""
    environ = {prefix + variable: "tcp://10.0.0.1:4001", f"{prefix}PORT": "tcp://10.0.0.1:4001"}
    assert load(environ=environ) == load(environ={})


@pytest.mark.parametrize(
    ("variable", "sentence"),
    [
        (
            "CODER_AI_GATEWAY_RETENTOIN",
            "CODER_AI_GATEWAY_RETENTOIN is not a setting; the nearest is CODER_AI_GATEWAY_RETENTION, so rename or "
            "remove it",
        ),
        (
            "CODER_AIBRIDGE_PROVIDER_0_BASEURL",
            "CODER_AIBRIDGE_PROVIDER_0_BASEURL is not a setting; the nearest is CODER_AIBRIDGE_PROVIDER_0_BASE_URL, "
            "so rename or remove it",
        ),
        (
            "AI_GATEWAY_PROVIDER_00_TYPE",
            "AI_GATEWAY_PROVIDER_00_TYPE is not a setting; the nearest is AI_GATEWAY_PROVIDER_0_TYPE, so rename or "
            "remove it",
        ),
        (
            "AI_GATEWAY_port",
            "AI_GATEWAY_port is not a setting; the nearest is AI_GATEWAY_PORT, so rename or remove it",
        ),
        (
            "AI_GATEWAY_API_DUMP_DIR",
            "AI_GATEWAY_API_DUMP_DIR is not a setting; the nearest is AI_GATEWAY_DUMP_DIR, so rename or remove it",
        ),
    ],
)
def test_an_unknown_variable_under_our_prefixes_is_refused(variable: str, sentence: str) -> None:
    """A misspelt setting would otherwise be silently without effect."""
    refused = refusal(environ={variable: "canary"})
    assert refused == sentence
    assert "canary" not in refused


def test_prefixes_may_repeat_a_value_but_not_contradict_each_other() -> None:
    """During a migration both names may be set; which of two values to take nobody could tell."""
    both = {"CODER_AI_GATEWAY_RETENTION": "90d", "CODER_AIBRIDGE_RETENTION": "90d"}
    assert load(environ=both).gateway.retention_s == 90 * 86_400
    assert refusal(environ={**both, "AI_GATEWAY_RETENTION": "30d"}) == (
        "AI_GATEWAY_RETENTION and CODER_AIBRIDGE_RETENTION set the same option; remove one of them"
    )


def test_prefixes_may_be_mixed_within_one_instance() -> None:
    """An instance is its index, whatever the prefix."""
    environ = {
        "CODER_AI_GATEWAY_PROVIDER_0_TYPE": "openai",
        "AI_GATEWAY_PROVIDER_0_NAME": "one",
        "CODER_AIBRIDGE_PROVIDER_1_TYPE": "anthropic",
    }
    assert [provider.name for provider in load(environ=environ).gateway.providers] == ["one", "anthropic"]


@pytest.mark.parametrize(
    "key",
    [
        "@format-{env[HOME]}",
        "@int",
        "@jinja",
        "@read_file",
        "@none",
        "0123",
        "1e5",
        "true",
        "null",
        "a{b}",
        "[x]",
        "a=b",
    ],
)
def test_a_key_arrives_as_it_was_written(key: str) -> None:
    """No evaluation, no casting: not of what dynaconf would take for a directive, a number or a collection."""
    environ = {"AI_GATEWAY_PROVIDER_0_TYPE": "openai", "AI_GATEWAY_PROVIDER_0_KEY": key}
    assert load(environ=environ).gateway.providers[0].keys[0].reveal_secret_value() == key


def test_text_that_looks_like_a_directive_stays_text(tmp_path: Path) -> None:
    """Not in a variable, a flag or a file is anything evaluated."""
    text = "@format {env[HOME]}"
    path = write(tmp_path, f"log_json: '{text}'\nai_gateway: {{dump_dir: '@jinja {{{{ 1 + 1 }}}}'}}")
    settings = load(
        {"--host": "@read_file /etc/hostname"}, config=path, environ={"AI_GATEWAY_STATIC_USER": text}
    )
    assert (settings.log_json, settings.host) == (text, "@read_file /etc/hostname")
    assert (settings.gateway.static_user, settings.gateway.dump_dir) == (text, "@jinja {{ 1 + 1 }}")


# -- secrets from files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "content", "origin"),
    [
        ("AI_GATEWAY_STATIC_TOKEN_FILE", "example-token\n", "static_token"),
        ("AI_GATEWAY_DATABASE_URL_FILE", " sqlite:///x.db \n", "database_url"),
        ("AI_GATEWAY_OPENAI_KEY_FILE", "example-key", "providers.0.keys"),
    ],
)
def test_a_secret_may_come_from_a_file(variable: str, content: str, origin: str, tmp_path: Path) -> None:
    """The content counts without the blanks around it, and the origin names variable and file."""
    path = tmp_path / "secret"
    path.write_text(content, "utf-8")
    settings = load(environ={variable: str(path)})
    assert settings.origin(origin) == f"{variable} ({path})"
    found = {
        "static_token": settings.gateway.static_token,
        "database_url": settings.gateway.database_url,
        "providers.0.keys": next((provider.keys[0] for provider in settings.gateway.providers), None),
    }[origin]
    assert found is not None
    assert found.reveal_secret_value() == content.strip()


def test_every_way_to_give_a_secret_has_its_file(tmp_path: Path) -> None:
    """Keys of an instance, several of them, and both halves of an AWS pair; in YAML and as a flag too."""
    path = tmp_path / "secret"
    path.write_text("one\ntwo,three\n", "utf-8")
    environ = {
        "AI_GATEWAY_PROVIDER_0_TYPE": "anthropic",
        "AI_GATEWAY_PROVIDER_0_KEYS_FILE": str(path),
        "AI_GATEWAY_PROVIDER_0_BEDROCK_REGION": "eu-central-1",
        "AI_GATEWAY_PROVIDER_0_BEDROCK_ACCESS_KEYS_FILE": str(path),
        "AI_GATEWAY_PROVIDER_0_BEDROCK_ACCESS_KEY_SECRETS_FILE": str(path),
    }
    (provider,) = load(environ=environ).gateway.providers
    for secrets in (provider.keys, provider.bedrock_access_keys, provider.bedrock_access_key_secrets):
        assert [secret.reveal_secret_value() for secret in secrets] == ["one", "two", "three"]

    path.write_text("example-token", "utf-8")
    config = write(tmp_path, f"ai_gateway: {{static_token_file: {path}}}")
    assert load(config=config, environ={}).gateway.static_token.reveal_secret_value() == "example-token"
    flags = {"--ai-gateway-static-token-file": str(path)}
    assert load(flags, environ={}).gateway.static_token.reveal_secret_value() == "example-token"


def test_a_file_that_cannot_be_used_is_named_by_its_setting(tmp_path: Path) -> None:
    """Absent, a folder, not text, or with a content that is wrong: the sentence tells, the content stays out."""
    variable = "AI_GATEWAY_STATIC_TOKEN_FILE"
    path = tmp_path / "secret"
    assert refusal(environ={variable: str(path)}) == (
        f"{variable} names a file that can't be read (No such file or directory); correct the path"
    )
    assert refusal(environ={variable: str(tmp_path)}).startswith(
        f"{variable} names a file that can't be read"
    )
    path.write_bytes(b"\xff\xfe")
    assert refusal(environ={variable: str(path)}) == (
        f"{variable} names a file that does not hold UTF-8 text; correct the path"
    )
    path.write_text("canary\ncanary", "utf-8")
    assert refusal(environ={variable: str(path)}) == (
        f"the file that {variable} names must not contain line breaks or other control characters"
    )


def test_a_secret_and_its_file_together_are_refused(tmp_path: Path) -> None:
    """Even if they agree: one of them would be changed alone one day."""
    path = tmp_path / "secret"
    path.write_text("canary", "utf-8")
    environ = {"AI_GATEWAY_STATIC_TOKEN": "canary", "AI_GATEWAY_STATIC_TOKEN_FILE": str(path)}
    assert refusal(environ=environ) == (
        "AI_GATEWAY_STATIC_TOKEN and the file that AI_GATEWAY_STATIC_TOKEN_FILE names set the same option; remove one "
        "of them"
    )


def test_only_secrets_have_a_file() -> None:
    """A plain option from a file would be one more way that nobody needs."""
    assert refusal(environ={"AI_GATEWAY_PORT_FILE": "x"}).startswith("AI_GATEWAY_PORT_FILE is not a setting")


# -- flags --------------------------------------------------------------------------------------------------------


def test_an_unknown_flag_is_refused() -> None:
    """Callers that pass flags without argparse get the same care."""
    assert refusal(flags={"--ai-gateway-retentoin": "canary"}) == (
        "--ai-gateway-retentoin is not a setting; the nearest is --ai-gateway-retention, so rename or remove it"
    )


def test_a_flag_can_say_empty() -> None:
    """Unlike a variable, a flag that is there was meant."""
    assert load({"--log-human": ""}, environ={"AI_GATEWAY_LOG_HUMAN": "/var/log/x"}).log_human == ""


# -- YAML ---------------------------------------------------------------------------------------------------------


def test_yaml_has_types_and_aliases(tmp_path: Path) -> None:
    """Numbers and switches need no quotes, dashes stand for underscores, `api_dump_dir` is `dump_dir`."""
    path = write(
        tmp_path,
        """
        port: 8080
        log-json: /var/log/gateway.jsonl
        ai_gateway:
          enabled: false
          retention: 0
          api_dump_dir: /var/dumps
          max_body_bytes: 1048576
          extra_routes: {openai: [/files, /files/*]}
        """,
    )
    settings = load(config=path, environ={})
    gateway = settings.gateway
    assert (settings.port, settings.log_json) == (8080, "/var/log/gateway.jsonl")
    assert (gateway.enabled, gateway.retention_s, gateway.dump_dir) == (False, 0, "/var/dumps")
    assert (gateway.max_body_bytes, gateway.extra_routes) == (1_048_576, {"openai": ("/files", "/files/*")})


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "{}", "ai_gateway:\n", "host:\nai_gateway: {retention: , providers: }"]
)
def test_a_file_that_gives_nothing_leaves_the_defaults(text: str, tmp_path: Path) -> None:
    """An empty file, an empty section, and options left empty."""
    assert load(config=write(tmp_path, text), environ={}) == load(environ={})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("hots: canary", "hots in {path} is not a setting; the nearest is host, so rename or remove it"),
        ("HOST: canary", "HOST in {path} is not a setting; the nearest is host, so rename or remove it"),
        ("dynaconf_include: [canary]", "dynaconf_include in {path} is not a setting; the nearest is"),
        ("aigateway: canary", "aigateway in {path} is not a setting; the nearest is ai_gateway, so"),
        (
            "ai_gateway: {retentoin: canary}",
            "ai_gateway.retentoin in {path} is not a setting; the nearest is ai_gateway.retention, so rename or "
            "remove it",
        ),
        (
            "ai_gateway: {provider: canary}",
            "ai_gateway.provider in {path} is not a setting; the nearest is ai_gateway.providers, so rename or "
            "remove it",
        ),
        (
            "ai_gateway: {providers: [{typ: canary}]}",
            "ai_gateway.providers[0].typ in {path} is not a setting; the nearest is ai_gateway.providers[0].type, so "
            "rename or remove it",
        ),
        ("ai_gateway: canary", "ai_gateway in {path} must be a mapping of options"),
        ("ai_gateway: {providers: canary}", "ai_gateway.providers in {path} must be a list of mappings"),
        ("ai_gateway: {providers: [canary]}", "ai_gateway.providers in {path} must be a list of mappings"),
        ("port: canary", "port in {path} must be a whole number from 0 to 65535"),
        (
            "ai_gateway: {static_token: 123}",
            "ai_gateway.static_token in {path} must be text, in quotes if it looks like a number or a switch",
        ),
        (
            "ai_gateway: {dump_dir: canary, api_dump_dir: canary}",
            "ai_gateway.dump_dir in {path} and ai_gateway.api_dump_dir in {path} set the same option; remove one of "
            "them",
        ),
        (
            "ai_gateway: {providers: [{type: openai, key: canary, keys: [canary]}]}",
            "ai_gateway.providers[0].key in {path} and ai_gateway.providers[0].keys in {path} set the same option; "
            "remove one of them",
        ),
        ("- canary", "the configuration file {path} must hold a mapping of options; correct it"),
        ("canary", "the configuration file {path} must hold a mapping of options; correct it"),
        ("a: [canary", "the configuration file {path} is not valid YAML in line"),
        ("host: 'canary\n", "the configuration file {path} is not valid YAML in line"),
        (
            "host: canary\nhost: canary2",
            "the configuration file {path} is not valid YAML in line 2; correct it",
        ),
        (
            "host: a\n---\nhost: canary",
            "the configuration file {path} is not valid YAML in line 2; correct it",
        ),
        (
            "!!python/object/apply:os.system ['canary']",
            "the configuration file {path} is not valid YAML in line 1;",
        ),
        ("host: \x00canary", "the configuration file {path} is not valid YAML; correct it"),
    ],
)
def test_what_is_wrong_in_the_file_is_named_and_not_quoted(text: str, sentence: str, tmp_path: Path) -> None:
    """The sentence names the place; the content, which may be a secret, stays out of it."""
    path = write(tmp_path, text)
    refused = refusal(config=path)
    assert refused.startswith(sentence.format(path=path))
    assert "canary" not in refused


def test_no_refusal_leads_back_to_the_value(tmp_path: Path) -> None:
    """The traceback that a program prints for the error shows no secret either."""
    program = (
        "import sys; from pathlib import Path; from gateway.settings import load; "
        "load(config=Path(sys.argv[1]) if len(sys.argv) > 1 else None)"
    )
    base = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(Path(__file__).parents[2])}
    cases: list[tuple[dict[str, str], list[str]]] = [
        ({"AI_GATEWAY_PROVIDER_0_KEYS": "canary,canary"}, []),
        ({"AI_GATEWAY_DATABASE_URL": "postgresql://u:canary#x@h"}, []),
        ({}, [str(write(tmp_path, "ai_gateway: {static_token: canary, static_token: canary2}"))]),
    ]
    for environ, arguments in cases:
        ran = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            env={**base, **environ},
            capture_output=True,
            text=True,
            check=False,
        )
        assert "SettingsError" in ran.stderr
        assert "canary" not in ran.stderr
