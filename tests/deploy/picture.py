"""Draws the dashboard's panels from a gateway that runs: `python -m tests.deploy.picture`, about two minutes.

Prometheus watches a gateway with two workers that serves the demo provider and others that fail, throttle and wait;
the panels' own queries are asked of it, and matplotlib draws the answers at the panels' places. It is not Grafana:
the picture says so. It shows operators what to expect, and us that every panel says something.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from tests.deploy.files import DEPLOY, panels, whole
from tests.deploy.scene import AGENT, PROMPT, QUESTION, SDK, Scene, watched_gateway
from tests.deploy.tools import Unavailable, install, tool

PICTURE: Final = DEPLOY / "docs" / "dashboard.png"
SECONDS: Final = 120
RATE: Final = "15s"


async def serve_a_while(scene: Scene) -> None:
    """More and less of everything; troubles now and then; one answer that takes its time."""
    end_s = time.monotonic() + SECONDS
    async with scene.a_long_answer():
        second = 0
        while time.monotonic() < end_s:
            for _ in range(2 + second % 30 // 4):
                await scene.ask("anthropic/v1/messages", PROMPT, AGENT)
            await scene.ask("openai/v1/chat/completions", QUESTION, SDK)
            await scene.ask("tools/v1/chat/completions", QUESTION, SDK)
            await scene.ask("openai/v1/models", None, SDK)
            if second % 20 == 10:
                await scene.a_day()
            await asyncio.sleep(0.5)
            second += 1


def series_of(scene: Scene) -> list[dict[str, Any]]:
    """Each panel that draws, with the series that Prometheus gives for its queries."""
    drawn = []
    for panel in panels():
        lines = []
        for target in panel.get("targets", []):
            expression = whole(target["expr"], rate=RATE)
            if panel["type"] == "timeseries":
                found = scene.query_range(expression, SECONDS, 1)
            else:
                found = [{**one, "values": [one["value"]]} for one in scene.query(expression)]
            lines += [{"legend": target["legendFormat"], **one} for one in found]
        drawn.append({"panel": panel, "lines": lines})
    return drawn


async def gather(prometheus: Path) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        async with watched_gateway(prometheus, Path(folder)) as scene:
            await serve_a_while(scene)
            return series_of(scene)


def main() -> int:
    for name in ("prometheus", "matplotlib"):
        print(install(name))
    try:
        prometheus, python = tool("prometheus"), tool("matplotlib")
    except Unavailable as why:
        print(why, file=sys.stderr)
        return 1
    with tempfile.NamedTemporaryFile("w", suffix=".json") as gathered:
        json.dump(asyncio.run(gather(prometheus)), gathered)
        gathered.flush()
        drawing = Path(__file__).with_name("drawing.py")
        subprocess.run([python, drawing, gathered.name, PICTURE], check=True)
    print(PICTURE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
