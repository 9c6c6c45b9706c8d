"""How each command-line client is pointed at a gateway and run through one turn, by nobody but this program.

A client is a frozen description: the base path it calls, the tool that the scripted model makes it use, and what
its command, environment and configuration files are. It runs in a home and a working directory that were empty.
Everything that would call out by itself is turned off by the switch its vendor gives for that; whatever ignores
the switch meets the fence (`tests.e2e.fence`).
"""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.answers.turn import ToolUse

FILE_NAME = "greeting.txt"
FILE_TEXT = "hello from the scripted model"
PROMPT = "Write a greeting into a file, then tell me that it is done."
GOVERNANCE_HEADER = "X-Coder-AI-Governance-Token"
RUN_TIMEOUT_S = 120


@dataclass(frozen=True, slots=True)
class Access:
    """What a user has in hand. With `own_key` (BYOK) the gateway token travels in a header of its own."""

    base_url: str
    """Where the client's provider instance begins, without what its vendor's client adds."""
    token: str
    own_key: str | None = None

    @property
    def key(self) -> str:
        """What belongs into the client's own setting for an API key."""
        return self.own_key or self.token


@dataclass(frozen=True, slots=True)
class Setup:
    """What to run. Paths of `files` are relative to the home."""

    arguments: list[str]
    environment: dict[str, str]
    files: dict[str, str]


class Client(Protocol):
    command: str
    provider: str
    """The type of provider it speaks to."""
    instance: str
    """The gateway's instance of it."""
    model: str
    recorded_name: str
    session_header: bytes
    shows_thoughts: bool
    """Whether its API carries reasoning that can be recorded."""
    stays_inside: bool
    """Whether its switches keep it from calling anybody else."""

    def tool(self, work: Path) -> ToolUse:
        """The call the scripted model makes: it must leave `FILE_NAME` with `FILE_TEXT` in `work`."""
        ...

    def setup(self, access: Access) -> Setup: ...


class ClaudeCode:
    command = "claude"
    provider = "anthropic"
    instance = "claude"
    model = "claude-sonnet-4-5"
    recorded_name = "Claude Code"
    session_header = b"x-claude-code-session-id"
    shows_thoughts = True
    stays_inside = True

    def tool(self, work: Path) -> ToolUse:
        arguments = {"file_path": str(work / FILE_NAME), "content": FILE_TEXT}
        return ToolUse("Write", json.dumps(arguments), "toolu_scripted_1")

    def setup(self, access: Access) -> Setup:
        credentials = {"ANTHROPIC_AUTH_TOKEN": access.token}
        if access.own_key:
            credentials = {
                "ANTHROPIC_API_KEY": access.own_key,
                "ANTHROPIC_CUSTOM_HEADERS": f"{GOVERNANCE_HEADER}: {access.token}",
            }
        switches = (
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
            "DISABLE_AUTOUPDATER",
            "DISABLE_ERROR_REPORTING",
            "DISABLE_TELEMETRY",
        )
        return Setup(
            ["-p", PROMPT, "--output-format", "json", "--model", self.model, "--allowedTools", "Write"],
            {"ANTHROPIC_BASE_URL": access.base_url, **credentials, **dict.fromkeys(switches, "1")},
            {},
        )


class Codex:
    command = "codex"
    provider = "openai"
    instance = "gpt"
    model = "gpt-5.1-codex"
    recorded_name = "Codex"
    session_header = b"session-id"
    shows_thoughts = True
    stays_inside = True

    def tool(self, work: Path) -> ToolUse:
        return ToolUse("exec_command", json.dumps({"cmd": f"printf '%s' '{FILE_TEXT}' > {FILE_NAME}"}))

    def setup(self, access: Access) -> Setup:
        config = f"""
model = "{self.model}"
model_provider = "gateway"
check_for_update_on_startup = false

[model_providers.gateway]
name = "AI gateway"
base_url = "{access.base_url}/v1"
env_key = "GATEWAY_KEY"
wire_api = "responses"
"""
        environment = {"GATEWAY_KEY": access.key}
        if access.own_key:
            config += f'env_http_headers = {{ "{GOVERNANCE_HEADER}" = "GATEWAY_TOKEN" }}\n'
            environment["GATEWAY_TOKEN"] = access.token
        config += "\n[analytics]\nenabled = false\n\n[features]\nplugins = false\n"
        return Setup(
            ["exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", PROMPT],
            environment,
            {".codex/config.toml": config},
        )


class OpenCode:
    command = "opencode"
    provider = "openai"
    instance = "gpt"
    model = "scripted-model"
    recorded_name = "OpenCode"
    session_header = b"x-session-affinity"
    shows_thoughts = False
    stays_inside = False  # asks a package registry for its plugin package, at each start, and goes on without

    def tool(self, work: Path) -> ToolUse:
        return ToolUse("write", json.dumps({"filePath": str(work / FILE_NAME), "content": FILE_TEXT}))

    def setup(self, access: Access) -> Setup:
        options: dict[str, object] = {"baseURL": f"{access.base_url}/v1", "apiKey": "{env:GATEWAY_KEY}"}
        environment = {"GATEWAY_KEY": access.key}
        if access.own_key:
            options["headers"] = {GOVERNANCE_HEADER: "{env:GATEWAY_TOKEN}"}
            environment["GATEWAY_TOKEN"] = access.token
        config = {
            "$schema": "https://opencode.ai/config.json",
            "provider": {
                "gateway": {
                    "npm": "@ai-sdk/openai-compatible",
                    "name": "AI gateway",
                    "options": options,
                    "models": {self.model: {"name": "Scripted"}},
                }
            },
            "model": f"gateway/{self.model}",
            "small_model": f"gateway/{self.model}",
            "enabled_providers": ["gateway"],
            "autoupdate": False,
            "share": "disabled",
            "permission": {"edit": "allow"},
        }
        switches = (
            "OPENCODE_DISABLE_AUTOUPDATE",
            "OPENCODE_DISABLE_DEFAULT_PLUGINS",
            "OPENCODE_DISABLE_LSP_DOWNLOAD",
            "OPENCODE_DISABLE_MODELS_FETCH",
            "OPENCODE_DISABLE_SHARE",
        )
        return Setup(
            ["run", PROMPT],
            {**environment, **dict.fromkeys(switches, "1")},
            {".config/opencode/opencode.json": json.dumps(config, indent=2)},
        )


CLIENTS: tuple[Client, ...] = (ClaudeCode(), Codex(), OpenCode())


@dataclass(frozen=True, slots=True)
class Outcome:
    status: int
    stdout: str
    stderr: str


async def run(client: Client, binaries: Path, access: Access, home: Path, work: Path, fence: str) -> Outcome:
    """One non-interactive run in `work`, with nothing of this user's own environment but the search path."""
    setup = client.setup(access)
    for name, text in setup.files.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "TMPDIR": str(home),
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        **{name: fence for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")},
        **{name: "127.0.0.1,localhost" for name in ("NO_PROXY", "no_proxy")},
        **setup.environment,
    }
    process = await asyncio.create_subprocess_exec(
        binaries / client.command,
        *setup.arguments,
        cwd=work,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        stdout, stderr = await asyncio.wait_for(process.communicate(), RUN_TIMEOUT_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Outcome(process.returncode or 0, stdout.decode(), stderr.decode())
