"""What Amazon Bedrock takes of a Messages request, as data: `providers.bedrock.request` applies it.

Models are named by a part of their ID, so that a region or an inference profile in front of it makes no difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

ANTHROPIC_VERSION: Final = "bedrock-2023-05-31"

DEFAULT_MODEL: Final = "global.anthropic.claude-sonnet-4-5-20250929-v1:0"
DEFAULT_SMALL_FAST_MODEL: Final = "global.anthropic.claude-haiku-4-5-20251001-v1:0"
SMALL_FAST: Final = "haiku"
"""A client that asks for a model with this in its name gets the small, fast one."""

BETA_FLAGS: Final[Mapping[str, tuple[str, ...]]] = {
    "computer-use-2025-01-24": (),
    "token-efficient-tools-2025-02-19": (),
    "interleaved-thinking-2025-05-14": (),
    "output-128k-2025-02-19": (),
    "dev-full-thinking-2025-05-14": (),
    "context-1m-2025-08-07": (),
    "context-management-2025-06-27": ("sonnet-4-5", "haiku-4-5"),
    "effort-2025-11-24": ("opus-4-5",),
    "tool-search-tool-2025-10-19": (),
    "tool-examples-2025-10-29": (),
}
"""The flags of `anthropic-beta` that pass, each with the models that know it; none named means all."""

REMOVED: Final = frozenset(
    {
        "model",  # the path says it
        "stream",  # the path says it
        "anthropic_beta",  # made from the header, so that no flag comes in beside the list
        "metadata",
        "service_tier",
        "container",
        "inference_geo",
    }
)
"""Members of the body that Bedrock does not take."""

ONLY_WITH_FLAG: Final[Mapping[str, str]] = {
    "output_config": "effort-2025-11-24",
    "context_management": "context-management-2025-06-27",
}
"""Members that stay only when the flag that they belong to goes along."""

ADAPTIVE: Final = ("opus-4-6", "sonnet-4-6")
"""Models that think as the client says, `adaptive` or `enabled`."""
ADAPTIVE_ONLY: Final = ("opus-4-7", "opus-4-8", "sonnet-5")
"""Models without a thinking budget: `enabled` becomes `adaptive`."""

BUDGET_PERCENT: Final[Mapping[str, int]] = {"low": 20, "medium": 50, "high": 80, "max": 95}
"""How much of `max_tokens` the other models may think, by the effort asked for: `adaptive` becomes `enabled`."""
DEFAULT_EFFORT: Final = "high"
MIN_BUDGET_TOKENS: Final = 1024
"""With less than this, thinking is `disabled`."""
