"""Flags: one for each option, in help too, but for the hidden one."""

from __future__ import annotations

import argparse

import pytest

from gateway.flags import add_flags, flags_of
from gateway.instances import LEGACY_SETTINGS
from gateway.settings import CATALOGUE, GATEWAY_OPTIONS, PROCESS_OPTIONS, load
from gateway.sources import flag_of, flag_spellings


@pytest.fixture
def parser() -> argparse.ArgumentParser:
    """A parser that has our flags."""
    parser = argparse.ArgumentParser(prog="ai-gateway", allow_abbrev=False)
    add_flags(parser)
    return parser


@pytest.mark.parametrize("flag", sorted(flag_spellings(CATALOGUE)))
def test_what_was_typed_is_handed_on_as_text(parser: argparse.ArgumentParser, flag: str) -> None:
    """Every flag that `load` knows exists, and its text is not touched."""
    assert flags_of(parser.parse_args([flag, "@a b"])) == {flag: "@a b"}
    assert flags_of(parser.parse_args([f"{flag}="])) == {flag: ""}


def test_what_was_not_typed_is_absent(parser: argparse.ArgumentParser) -> None:
    """An absent flag leaves the option to the other sources."""
    assert flags_of(parser.parse_args([])) == {}
    assert flags_of(argparse.Namespace()) == {}


def test_a_switch_needs_no_value(parser: argparse.ArgumentParser) -> None:
    """Alone it means true; with a value it means that."""
    flags = flags_of(parser.parse_args(["--ai-gateway-structured-logging", "--ai-gateway-allow-byok=false"]))
    gateway = load(flags, environ={}).gateway
    assert (gateway.structured_logging, gateway.allow_byok) == (True, False)


def test_help_shows_each_option_with_its_default(parser: argparse.ArgumentParser) -> None:
    """Name, line of help and default of everything but what is hidden."""
    text = " ".join(parser.format_help().split())
    for option in (*PROCESS_OPTIONS, *GATEWAY_OPTIONS):
        if not option.help.hidden:
            assert f"{option.help.line} (default: " in text
    for setting in LEGACY_SETTINGS:
        assert flag_of(setting.name, section=True) in text
    assert "(default: 60d)" in text
    assert "(default: 32MiB)" in text


def test_the_hidden_option_works_and_is_not_in_help(parser: argparse.ArgumentParser) -> None:
    """`chat_routing_enabled` is for the chat service's own deployment."""
    assert "chat-routing" not in parser.format_help()
    flags = flags_of(parser.parse_args(["--ai-gateway-chat-routing-enabled=false"]))
    assert not load(flags, environ={}).gateway.chat_routing_enabled


def test_config_is_a_path_and_no_setting(parser: argparse.ArgumentParser) -> None:
    """The file is an argument of `load`, not one of its flags."""
    namespace = parser.parse_args(["--config", "settings.yaml"])
    assert str(namespace.config) == "settings.yaml"
    assert flags_of(namespace) == {}
