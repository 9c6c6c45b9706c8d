"""opencode, with a provider of the kind "OpenAI compatible" in `opencode.json`.

At each start it asks a package registry for a package of its own, whatever its switches say; the fence refuses,
and it goes on without.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.answers.turn import ToolUse
from tests.e2e.client import FILE_NAME, FILE_TEXT, GOVERNANCE_HEADER, PROMPT, Access, Client, Setup

MODEL = "scripted-model"
SWITCHES = (
    "OPENCODE_DISABLE_AUTOUPDATE",
    "OPENCODE_DISABLE_DEFAULT_PLUGINS",
    "OPENCODE_DISABLE_LSP_DOWNLOAD",
    "OPENCODE_DISABLE_MODELS_FETCH",
    "OPENCODE_DISABLE_SHARE",
)


def _tool(work: Path) -> ToolUse:
    return ToolUse("write", json.dumps({"filePath": str(work / FILE_NAME), "content": FILE_TEXT}))


def _setup(access: Access) -> Setup:
    options: dict[str, object] = {"baseURL": f"{access.base_url}/v1", "apiKey": "{env:GATEWAY_KEY}"}
    environment = {"GATEWAY_KEY": access.key, **dict.fromkeys(SWITCHES, "1")}
    if access.own_key:
        options["headers"] = {GOVERNANCE_HEADER: "{env:GATEWAY_TOKEN}"}
        environment["GATEWAY_TOKEN"] = access.token
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "AI gateway",
        "options": options,
        "models": {MODEL: {"name": "Scripted"}},
    }
    config = {
        "provider": {"gateway": provider},
        "enabled_providers": ["gateway"],
        "model": f"gateway/{MODEL}",
        "small_model": f"gateway/{MODEL}",
        "permission": {"edit": "allow"},
        "autoupdate": False,
        "share": "disabled",
    }
    return Setup(["run", PROMPT], environment, {".config/opencode/opencode.json": json.dumps(config)})


OPENCODE = Client(
    id="opencode",
    command="opencode",
    provider="openai",
    instance="gpt",
    model=MODEL,
    recorded_name="OpenCode",
    session_header=b"x-session-affinity",
    own_slot=b"authorization",
    tool=_tool,
    setup=_setup,
    stays_inside=False,
    shows_thoughts=False,
)
