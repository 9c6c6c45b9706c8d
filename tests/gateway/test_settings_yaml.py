"""`config/settings.yaml` is the documentation of the options, so it must be complete and true."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.instances import INSTANCE_KINDS
from gateway.options import Option
from gateway.settings import GATEWAY_OPTIONS, PROCESS_OPTIONS, Settings, load

SETTINGS_YAML = Path(__file__).parents[2] / "config" / "settings.yaml"


@pytest.fixture
def document() -> dict[str, Any]:
    """The file as another YAML reader sees it."""
    document: dict[str, Any] = yaml.safe_load(SETTINGS_YAML.read_text("utf-8"))
    return document


def shown(options: tuple[Option, ...]) -> list[Option]:
    """The options that documents show."""
    return [option for option in options if not option.help.hidden]


def test_it_lists_exactly_the_options_in_their_order(document: dict[str, Any]) -> None:
    """Every option but the hidden one, and nothing else."""
    assert list(document) == [*(option.name for option in PROCESS_OPTIONS), "ai_gateway"]
    assert list(document["ai_gateway"]) == [*(option.name for option in shown(GATEWAY_OPTIONS)), "providers"]
    assert "chat_routing_enabled" not in SETTINGS_YAML.read_text("utf-8")


def test_each_value_is_the_default(document: dict[str, Any]) -> None:
    """Value by value, as its kind reads it."""
    for option in PROCESS_OPTIONS:
        assert option.kind.read(document[option.name]) == option.default, option.name
    for option in shown(GATEWAY_OPTIONS):
        assert option.kind.read(document["ai_gateway"][option.name]) == option.default, option.name


def test_loading_it_changes_nothing() -> None:
    """Settings from the file equal the defaults, but for where they came from."""
    settings = load(config=SETTINGS_YAML, environ={})
    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 4001, 1)
    assert settings.gateway == Settings().gateway
    assert set(settings.origins.values()) == {str(SETTINGS_YAML)}


def test_the_line_above_each_option_is_its_help() -> None:
    """One line of comment, the same that `--help` prints."""
    lines = SETTINGS_YAML.read_text("utf-8").splitlines()
    for option in (*PROCESS_OPTIONS, *shown(GATEWAY_OPTIONS)):
        place = next(n for n, line in enumerate(lines) if line.strip().startswith(f"{option.name}:"))
        assert lines[place - 1].strip() == f"# {option.help.line}"


def test_its_example_of_instances_can_be_used(tmp_path: Path) -> None:
    """Uncommented, with its files in place, it loads, and it shows every option of an instance."""
    text = SETTINGS_YAML.read_text("utf-8")
    head, _, example = text.partition("  providers: []\n")
    example = example.replace("# ", "", 1).replace("\n  # ", "\n  ").replace("/run/secrets", str(tmp_path))
    for name in ("openai-key", "aws-access-key", "aws-access-key-secret"):
        (tmp_path / name).write_text(f"example-{name}\n", "utf-8")
    (tmp_path / "settings.yaml").write_text(head + example, "utf-8")

    openai, anthropic, bedrock = load(config=tmp_path / "settings.yaml", environ={}).gateway.providers
    assert (openai.name, openai.keys[0].reveal_secret_value()) == ("openai-eu", "example-openai-key")
    assert (anthropic.name, len(anthropic.keys)) == ("anthropic", 2)
    assert bedrock.on_bedrock
    assert all(
        f"{name}:" in example or f"{name}_file:" in example
        for name, _, _ in INSTANCE_KINDS
        if name[-1] != "s"
    )
