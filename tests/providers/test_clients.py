"""Which program asks, and which of its sessions: every row of both tables."""

from __future__ import annotations

import pytest

from providers.clients import client_of, session_of


@pytest.mark.parametrize(
    ("user_agent", "client"),
    [
        ("claude-cli/2.0.1 (external, cli)", "Claude Code"),
        ("claude-code/2", "Claude Code"),
        ("Claude", "Claude Code"),
        ("codex_cli_rs/0.50.0 (Linux; x86_64)", "Codex"),
        ("Codex/1", "Codex"),
        ("mux/1", "Mux"),
        ("Zed/0.200", "Zed"),
        ("GitHubCopilotChat/0.30", "GitHub Copilot (VS Code)"),
        ("copilot/1.0", "GitHub Copilot (CLI)"),
        ("Kilo-Code/4", "Kilo Code"),
        ("Roo-Code/3", "Roo Code"),
        ("coder-agents/1", "Coder Agents"),
        ("Charm Crush/1", "Charm Crush"),
        ("charm-crush/1", "Charm Crush"),
        ("opencode/1.0", "OpenCode"),
        ("  opencode/1.0", "OpenCode"),
        ("OpenAI/Python 2.0", "Unknown"),
        ("muxer/1", "Unknown"),
        ("my-claude/1", "Unknown"),
        ("copilot", "Unknown"),
        ("", "Unknown"),
        ("\xff\xfe", "Unknown"),
    ],
)
def test_a_program_is_known_by_how_its_user_agent_begins(user_agent: str, client: str) -> None:
    """In any case; the name anywhere else doesn't count."""
    assert client_of({b"user-agent": user_agent.encode("latin-1")}) == client


@pytest.mark.parametrize(
    ("headers", "client"),
    [
        ({b"originator": b"kilo-code"}, "Kilo Code"),
        ({b"originator": b"Roo-Code"}, "Roo Code"),
        ({b"originator": b"codex_cli_rs"}, "Unknown"),
        ({b"x-cursor-client-version": b"1.0"}, "Cursor"),
        ({b"user-agent": b"axios/1", b"originator": b"roo-code"}, "Roo Code"),
        ({b"user-agent": b"codex/1", b"originator": b"roo-code"}, "Codex"),
        ({b"user-agent": b"claude/1", b"x-cursor-client-version": b"1"}, "Claude Code"),
        ({}, "Unknown"),
    ],
)
def test_other_headers_tell_where_the_user_agent_does_not(headers: dict[bytes, bytes], client: str) -> None:
    """The user agent first, then `originator`, then Cursor's own header."""
    assert client_of(headers) == client


@pytest.mark.parametrize(
    ("client", "header"),
    [
        ("Claude Code", b"x-claude-code-session-id"),
        ("Codex", b"session-id"),
        ("Codex", b"session_id"),
        ("Mux", b"x-mux-workspace-id"),
        ("GitHub Copilot (VS Code)", b"x-interaction-id"),
        ("GitHub Copilot (CLI)", b"x-client-session-id"),
        ("Kilo Code", b"x-kilocode-taskid"),
        ("Coder Agents", b"x-coder-chat-id"),
        ("OpenCode", b"x-opencode-session"),
        ("OpenCode", b"x-session-affinity"),
    ],
)
def test_a_session_stands_in_the_programs_own_header(client: str, header: bytes) -> None:
    """Trimmed, empty is none, and another program's header isn't read."""
    assert session_of(client, {header: b" s-1 "}, None) == "s-1"
    assert session_of(client, {header: b"  "}, None) is None
    assert session_of("Unknown", {header: b"s-1"}, "in-body") is None
    assert session_of("Zed", {header: b"s-1"}, "in-body") is None


@pytest.mark.parametrize(
    ("client", "headers", "session"),
    [
        ("Codex", {b"session-id": b"new", b"session_id": b"old"}, "new"),
        ("Codex", {b"session-id": b" ", b"session_id": b"old"}, "old"),
        ("OpenCode", {b"x-session-affinity": b"second", b"x-opencode-session": b"first"}, "first"),
    ],
)
def test_the_first_header_with_a_value_wins(client: str, headers: dict[bytes, bytes], session: str) -> None:
    """In the order of the table."""
    assert session_of(client, headers, None) == session


@pytest.mark.parametrize(
    ("client", "in_body", "session"),
    [
        ("Claude Code", "s-body", "s-body"),
        ("Claude Code", " s-body ", "s-body"),
        ("Claude Code", "  ", None),
        ("Claude Code", None, None),
        ("Codex", "s-body", None),
    ],
)
def test_only_claude_code_names_its_session_in_the_body(
    client: str, in_body: str | None, session: str | None
) -> None:
    """And only where no header does."""
    assert session_of(client, {}, in_body) == session
    header = {b"x-claude-code-session-id": b"s-header"}
    assert session_of("Claude Code", header, in_body) == "s-header"
