"""`config show`: what runs, where it came from, and no secret."""

from __future__ import annotations

from pathlib import Path

import yaml

from gateway.config_show import render
from gateway.settings import GATEWAY_OPTIONS, PROCESS_OPTIONS, load


def test_each_value_stands_beside_its_origin(tmp_path: Path) -> None:
    """File, variable, flag and default, each named."""
    path = tmp_path / "settings.yaml"
    path.write_text("port: 8080\nai_gateway: {dump_dir: '/var/my dumps'}", "utf-8")
    environ = {"AI_GATEWAY_RETENTION": "1d12h"}
    lines = render(load({"--ai-gateway-max-retries": "0"}, config=path, environ=environ)).splitlines()
    assert "host: 127.0.0.1  # default" in lines
    assert f"port: 8080  # {path}" in lines
    assert f'  dump_dir: "/var/my dumps"  # {path}' in lines
    assert "  retention: 1d12h  # AI_GATEWAY_RETENTION" in lines
    assert "  max_retries: 0  # --ai-gateway-max-retries" in lines
    assert "  providers: []" in lines


def test_instances_show_what_was_given_and_what_they_are_called(tmp_path: Path) -> None:
    """Type and name always, the rest when somebody set it; keys as hints."""
    secret = tmp_path / "key"
    secret.write_text("canary-canary-canary-0001", "utf-8")
    environ = {
        "AI_GATEWAY_PROVIDER_0_TYPE": "openai",
        "AI_GATEWAY_PROVIDER_0_KEY_FILE": str(secret),
        "AI_GATEWAY_PROVIDER_0_ENABLED": "false",
        "CODER_AIBRIDGE_ANTHROPIC_BASE_URL": "https://proxy.example/",
    }
    text = render(load(environ=environ))
    assert text.endswith(
        "  providers:\n"
        "    - type: openai  # AI_GATEWAY_PROVIDER_0_TYPE\n"
        "      name: openai  # default\n"
        f"      keys: cana...0001  # AI_GATEWAY_PROVIDER_0_KEY_FILE ({secret})\n"
        "      enabled: false  # AI_GATEWAY_PROVIDER_0_ENABLED\n"
        "    - type: anthropic  # default\n"
        "      name: anthropic  # default\n"
        "      base_url: https://proxy.example/  # CODER_AIBRIDGE_ANTHROPIC_BASE_URL\n"
    )


def test_no_secret_is_shown() -> None:
    """Keys, AWS pairs, tokens and the password of the database are masked."""
    environ = {
        "AI_GATEWAY_PROVIDER_0_TYPE": "anthropic",
        "AI_GATEWAY_PROVIDER_0_KEYS": "canary-canary-canary-1,canary-canary-canary-2",
        "AI_GATEWAY_PROVIDER_0_BEDROCK_REGION": "eu-central-1",
        "AI_GATEWAY_PROVIDER_0_BEDROCK_ACCESS_KEY": "canary-canary-canary-3",
        "AI_GATEWAY_PROVIDER_0_BEDROCK_ACCESS_KEY_SECRET": "canary-canary-canary-4",
        "AI_GATEWAY_DATABASE_URL": "postgresql://gateway:canary@db.example/ai",
        "AI_GATEWAY_STATIC_TOKEN": "canary-canary-canary-5",
        "AI_GATEWAY_OPENAI_KEY": "canary-canary-canary-6",
    }
    text = render(load(environ=environ))
    assert "canary" not in text
    assert "postgresql://gateway:***@db.example/ai" in text
    assert 'keys: "cana...ry-1, cana...ry-2"' in text


def test_it_lists_every_option_but_a_hidden_one_that_nobody_set() -> None:
    """What is hidden stays so, until it has an effect."""
    shown = yaml.safe_load(render(load(environ={})))
    names = [*shown, *shown["ai_gateway"]]
    options = [option.name for option in (*PROCESS_OPTIONS, *GATEWAY_OPTIONS) if not option.help.hidden]
    assert [name for name in names if name not in {"ai_gateway", "providers"}] == options
    changed = render(load(environ={"AI_GATEWAY_CHAT_ROUTING_ENABLED": "false"}))
    assert "chat_routing_enabled: false  # AI_GATEWAY_CHAT_ROUTING_ENABLED" in changed


def test_what_it_prints_is_a_configuration_again(tmp_path: Path) -> None:
    """Without secrets in play, the text can be saved and loaded, and means the same."""
    environ = {
        "AI_GATEWAY_LOG_JSON": "yes",
        "AI_GATEWAY_DUMP_DIR": "a: b # c",
        "AI_GATEWAY_STATIC_USER": "-",
        "AI_GATEWAY_EXTRA_ROUTES": "openai=/files,openai=/files/*,anthropic=/v1/files",
        "AI_GATEWAY_PROVIDER_0_TYPE": "anthropic",
        "AI_GATEWAY_PROVIDER_0_BEDROCK_REGION": "eu-central-1",
        "AI_GATEWAY_PROVIDER_0_BEDROCK_MODEL": "anthropic.claude-haiku-4-5-20251001-v1:0",
    }
    settings = load(environ=environ)
    path = tmp_path / "settings.yaml"
    path.write_text(render(settings).replace('static_token: ""', "static_token:"), "utf-8")
    again = load(config=path, environ={})
    assert (again.log_json, again.gateway) == (settings.log_json, settings.gateway)
