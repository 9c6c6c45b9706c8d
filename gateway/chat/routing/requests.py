"""What is asked of the routing: for which chat, which model and to what purpose, and under whose responsibility.

Attribution is an argument: `ModelOptions.active_api_key_id` says which API key is accountable, and nothing here reads
it from a context variable, a thread or a task.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from typing import Final, NamedTuple, TypeAlias


def _version() -> str:
    try:
        return version("ai-gateway")
    except PackageNotFoundError:  # a checkout that was never installed
        return "0"


USER_AGENT: Final = f"coder-agents/{_version()}"


class Purpose(Enum):
    """What a model is called for; each goes through the same routing."""

    CHAT = "the chat"
    ADVISOR = "the advisor"
    TITLE = "the title"
    QUICK = "quick generation"
    SUBAGENT = "a subagent"
    COMPUTER_USE = "computer use"


class ModelName(NamedTuple):
    """Written `provider/model`: the name of a provider instance, and the model as that provider calls it."""

    provider: str
    model: str

    @staticmethod
    def parse(text: str) -> ModelName:
        """What stands before the first slash is the provider; raises `ValueError` without both."""
        provider, slash, model = text.strip().partition("/")
        if not provider or not slash or not model:
            raise ValueError(
                f"{text!r} is not of the form provider/model, such as anthropic/claude-sonnet-4-5"
            )
        return ModelName(provider, model)

    def __str__(self) -> str:
        return f"{self.provider}/{self.model}"


@dataclass(frozen=True, slots=True)
class ChatIdentity:
    """The chat that asks. `root_id` is the top-level chat, which for that one is its own ID."""

    id: str
    root_id: str
    owner_id: str

    @property
    def headers(self) -> dict[str, str]:
        """What tells the gateway which chat is asking; it records and strips them."""
        named = {"X-Coder-Owner-Id": self.owner_id, "X-Coder-Chat-Id": self.root_id}
        return named if self.id == self.root_id else named | {"X-Coder-Subchat-Id": self.id}


@dataclass(frozen=True, slots=True)
class ModelRequest:
    chat: ChatIdentity
    model: ModelName
    purpose: Purpose = Purpose.CHAT
    user_agent: str = USER_AGENT
    extra_headers: Mapping[str, str] = field(default_factory=dict)
    """Beside those of the chat; they hold no credential, and can't set one."""


@dataclass(frozen=True, slots=True)
class HttpCall:
    """One exchange with a provider or the gateway, as a debugger may see it: no header that holds a credential."""

    method: str
    url: str
    request_headers: Mapping[str, str]
    status: int
    response_headers: Mapping[str, str]


RecordHttp: TypeAlias = Callable[[HttpCall], None]


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """`active_api_key_id` is the key of the turn; None where there is none, which gateway routing refuses."""

    active_api_key_id: str | None = None
    record_http: RecordHttp | None = None
    """Told of each HTTP exchange, when its answer begins."""
