"""Which program is asking, and which of its sessions.

Both are read from headers that the programs send of their own accord; `SESSION_HEADERS` and `USER_AGENTS` are the data
to extend when a new one appears. Names are looked up in order and the first that fits wins; a value is trimmed, and an
empty one is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

UNKNOWN: Final = "Unknown"
CLAUDE_CODE: Final = "Claude Code"

USER_AGENTS: Final = (
    ("claude", CLAUDE_CODE),
    ("codex", "Codex"),
    ("mux/", "Mux"),
    ("zed/", "Zed"),
    ("githubcopilotchat/", "GitHub Copilot (VS Code)"),
    ("copilot/", "GitHub Copilot (CLI)"),
    ("kilo-code/", "Kilo Code"),
    ("roo-code/", "Roo Code"),
    ("coder-agents/", "Coder Agents"),
    ("charm crush/", "Charm Crush"),
    ("charm-crush/", "Charm Crush"),
    ("opencode/", "OpenCode"),
)
ORIGINATORS: Final = {"kilo-code": "Kilo Code", "roo-code": "Roo Code"}

SESSION_HEADERS: Final[Mapping[str, tuple[bytes, ...]]] = {
    CLAUDE_CODE: (b"x-claude-code-session-id",),
    "Codex": (b"session-id", b"session_id"),
    "Mux": (b"x-mux-workspace-id",),
    "GitHub Copilot (VS Code)": (b"x-interaction-id",),
    "GitHub Copilot (CLI)": (b"x-client-session-id",),
    "Kilo Code": (b"x-kilocode-taskid",),
    "Coder Agents": (b"x-coder-chat-id",),
    "OpenCode": (b"x-opencode-session", b"x-session-affinity"),
}


def client_of(headers: Mapping[bytes, bytes]) -> str:
    """The program that sent `headers` (lower-case names), or `Unknown`."""
    user_agent = _text(headers, b"user-agent").lower()
    for prefix, name in USER_AGENTS:
        if user_agent.startswith(prefix):
            return name
    originator = ORIGINATORS.get(_text(headers, b"originator").lower())
    if originator:
        return originator
    return "Cursor" if b"x-cursor-client-version" in headers else UNKNOWN


def session_of(client: str, headers: Mapping[bytes, bytes], in_body: str | None) -> str | None:
    """The session that `client` names in its headers, else, for Claude Code, the one in its body."""
    for name in SESSION_HEADERS.get(client, ()):
        session = _text(headers, name)
        if session:
            return session
    if client != CLAUDE_CODE:
        return None
    return (in_body or "").strip() or None


def _text(headers: Mapping[bytes, bytes], name: bytes) -> str:
    return headers.get(name, b"").decode("utf-8", "replace").strip()
