"""Codex, with a model provider of its own in `config.toml`.

Its sandbox is off: the working directory is a throw-away, and a sandbox would ask the machine for more than tests
may. Plugins are off because their catalogue comes from elsewhere.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.answers.turn import ToolUse
from tests.e2e.client import FILE_NAME, FILE_TEXT, GOVERNANCE_HEADER, PROMPT, Access, Client, Setup

MODEL = "gpt-5.1-codex"
CONFIG = """\
model = "{model}"
model_provider = "gateway"
check_for_update_on_startup = false

[analytics]
enabled = false

[features]
plugins = false

[model_providers.gateway]
name = "AI gateway"
base_url = "{base_url}/v1"
env_key = "GATEWAY_KEY"
wire_api = "responses"
"""


def _tool(work: Path) -> ToolUse:
    command = f"printf '%s' '{FILE_TEXT}' > '{work / FILE_NAME}'"
    return ToolUse("exec_command", json.dumps({"cmd": command}))


def _setup(access: Access) -> Setup:
    config = CONFIG.format(model=MODEL, base_url=access.base_url)
    environment = {"GATEWAY_KEY": access.key}
    if access.own_key:
        config += f'env_http_headers = {{ "{GOVERNANCE_HEADER}" = "GATEWAY_TOKEN" }}\n'
        environment["GATEWAY_TOKEN"] = access.token
    arguments = ["exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", PROMPT]
    return Setup(arguments, environment, {".codex/config.toml": config})


CODEX = Client(
    id="codex",
    command="codex",
    provider="openai",
    instance="gpt",
    model=MODEL,
    recorded_name="Codex",
    session_header=b"session-id",
    own_slot=b"authorization",
    tool=_tool,
    setup=_setup,
)
