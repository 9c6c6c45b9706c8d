"""Other gateways as targets, on loopback and before the same upstream: LiteLLM's proxy and Portkey's gateway.

Each runs as one process and is asked only for what it relays as we do; neither may call anybody on the network.
LiteLLM checks a key and keeps no records, because it has no database here; Portkey's checks none and keeps none. What
they write anew of a body is compared by what it means.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.bench import install
from tests.bench.process import TARGET_CORE, Process
from tests.bench.rows import ROWS, Row
from tests.bench.targets import CLIENT_HEADERS, Target, free_port, listens

PEER_ROWS = ("small", "turn", "long", "blocking")
START_S = 120.0
KEY = "sk-bench-not-a-key-2"
_OFFLINE = {
    **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9"),
    **dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1"),
}
"""Sends whatever isn't for loopback to a port where nobody listens."""
_LITELLM_ENVIRONMENT: Mapping[str, str | None] = {
    **_OFFLINE,
    **dict.fromkeys(
        (
            "LITELLM_LOCAL_MODEL_COST_MAP",
            "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS",
            "LITELLM_LOCAL_AUTOROUTER_PRESETS",
            "LITELLM_LOCAL_BLOG_POSTS",
            "LITELLM_LOCAL_POLICY_TEMPLATES",
            "DISABLE_ADMIN_UI",
        ),
        "True",
    ),
    "DATABASE_URL": None,  # it would write there
}


class Litellm:
    """LiteLLM's proxy: one worker, a master key, no database."""

    name = f"litellm {install.LITELLM_VERSION}"
    rows = PEER_ROWS
    exact = False

    def __init__(self, upstream_port: int, folder: Path) -> None:
        binary = install.litellm()
        folder.mkdir()
        self.port = free_port()
        config = folder / "config.yaml"
        config.write_text(json.dumps(_litellm_config(upstream_port)))  # JSON is YAML
        address = ["--host", "127.0.0.1", "--port", str(self.port)]
        command = [
            str(binary),
            "--config",
            str(config),
            *address,
            "--num_workers",
            "1",
            "--telemetry",
            "False",
        ]
        self.process = Process(
            command,
            cores=TARGET_CORE,
            log=folder / "log",
            env=_LITELLM_ENVIRONMENT,
            says_lines=False,
        )
        self.process.wait_until(lambda: listens(self.port), timeout_s=START_S)

    def path(self, row: Row) -> str:
        return row.path

    def headers(self, row: Row) -> Mapping[str, str]:
        return {**CLIENT_HEADERS, "authorization": f"Bearer {KEY}"}

    def stop(self) -> None:
        self.process.stop()


def _litellm_config(upstream_port: int) -> dict[str, object]:
    upstream = f"http://127.0.0.1:{upstream_port}"
    models = []
    for row in (ROWS[name] for name in PEER_ROWS):
        model = json.loads(row.request.text)["model"]
        provider, base = ("openai", f"{upstream}/v1") if "chat" in row.path else ("anthropic", upstream)
        parameters = {"model": f"{provider}/{model}", "api_base": base, "api_key": "sk-bench-not-a-key-0"}
        models.append({"model_name": model, "litellm_params": parameters})
    return {
        "model_list": models,
        "general_settings": {"master_key": KEY},
        "litellm_settings": {"telemetry": False, "num_retries": 0},
    }


class Portkey:
    """Portkey's gateway on Node.js, told by headers where to go."""

    name = f"portkey {install.PORTKEY_VERSION}"
    rows = PEER_ROWS
    exact = False

    def __init__(self, upstream_port: int, folder: Path) -> None:
        script = install.portkey()
        node = shutil.which("node")
        if node is None:
            raise install.NotInstalledError("node is needed")
        folder.mkdir()
        self.port = free_port()
        self._upstream = f"http://127.0.0.1:{upstream_port}/v1"
        command = [node, str(script), f"--port={self.port}", "--headless"]
        self.process = Process(
            command,
            cores=TARGET_CORE,
            log=folder / "log",
            env={"NODE_ENV": "production"},
            says_lines=False,
        )
        self.process.wait_until(lambda: listens(self.port), timeout_s=START_S)

    def path(self, row: Row) -> str:
        return row.path

    def headers(self, row: Row) -> Mapping[str, str]:
        return {
            **CLIENT_HEADERS,
            "x-portkey-provider": "openai" if "chat" in row.path else "anthropic",
            "x-portkey-custom-host": self._upstream,
            "authorization": "Bearer sk-bench-not-a-key-0",
            "x-api-key": "sk-bench-not-a-key-1",
        }

    def stop(self) -> None:
        self.process.stop()


PEERS: Mapping[str, Callable[[int, Path], Target]] = {"litellm": Litellm, "portkey": Portkey}
