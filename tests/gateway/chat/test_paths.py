"""Which requests are the chat service's."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gateway.chat.paths import is_chat


@pytest.mark.parametrize(
    ("path", "root_path", "ours"),
    [
        ("/chats", "", True),
        ("/chats/x/stream", "", True),
        ("/api/v2/ai-gateway/chats", "", True),
        ("/api/v2/aibridge/chats/x", "", True),
        ("/host/chats", "/host", True),
        ("/host/chats", "", False),
        ("/openai/chats", "", False),
        ("/chatsx", "", False),
        ("//chats", "", False),
        ("/", "", False),
        ("", "", False),
        ("*", "", False),
    ],
)
def test_the_first_segment_decides(path: str, root_path: str, ours: bool) -> None:
    """By a look-up, because every request of the data plane pays for it."""
    assert is_chat({"path": path, "root_path": root_path}) is ours


def test_a_gateway_without_chats_loads_no_sdk() -> None:
    """They take a second to load."""
    program = (
        "import gateway.app, sys; print([name for name in ('anthropic', 'openai') if name in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert printed.stdout.strip() == "[]"
