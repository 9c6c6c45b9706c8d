"""Claude Code, with its credential in either of the two variables it knows.

It sends a key as `X-Api-Key` and a token as a bearer. Where it sees no proxy it probes its base URL first, so one
of the two runs without the fence; the other shows that it calls nobody else.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

from tests.answers.turn import ToolUse
from tests.e2e.client import FILE_NAME, FILE_TEXT, GOVERNANCE_HEADER, PROMPT, Access, Client, Setup

MODEL = "claude-sonnet-4-5"
SWITCHES = (
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
    "DISABLE_AUTOUPDATER",
    "DISABLE_ERROR_REPORTING",
    "DISABLE_TELEMETRY",
)


def _tool(work: Path) -> ToolUse:
    arguments = {"file_path": str(work / FILE_NAME), "content": FILE_TEXT}
    return ToolUse("Write", json.dumps(arguments), "toolu_scripted_1")


def _setup(variable: str, model: str, access: Access) -> Setup:
    environment = {
        "ANTHROPIC_BASE_URL": access.base_url,
        variable: access.key,
        **dict.fromkeys(SWITCHES, "1"),
    }
    if access.own_key:
        environment["ANTHROPIC_CUSTOM_HEADERS"] = f"{GOVERNANCE_HEADER}: {access.token}"
    arguments = ["-p", PROMPT, "--output-format", "json", "--model", model, "--allowedTools", "Write"]
    return Setup(arguments, environment)


def claude_code(
    variable: Literal["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"], slot: bytes, *, fenced: bool
) -> Client:
    """Claude Code that finds its credential in `variable`, and sends it in the header `slot`."""
    return Client(
        id="claude-" + slot.decode(),
        command="claude",
        provider="anthropic",
        instance="claude",
        model=MODEL,
        recorded_name="Claude Code",
        session_header=b"x-claude-code-session-id",
        own_slot=slot,
        tool=_tool,
        setup=partial(_setup, variable, MODEL),
        fenced=fenced,
    )


CLAUDE_CODE_WITH_KEY = claude_code("ANTHROPIC_API_KEY", b"x-api-key", fenced=False)
CLAUDE_CODE_WITH_TOKEN = claude_code("ANTHROPIC_AUTH_TOKEN", b"authorization", fenced=True)


def claude_code_on_bedrock(model: str) -> Client:
    """Claude Code that asks for `model`, and has no idea that its base URL leads to Amazon Bedrock."""
    return replace(
        CLAUDE_CODE_WITH_TOKEN,
        id=f"bedrock-{model}",
        instance="bedrock",
        model=model,
        setup=partial(_setup, "ANTHROPIC_AUTH_TOKEN", model),
    )
