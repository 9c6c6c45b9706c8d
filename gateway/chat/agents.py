"""The tools that come with the service: agents that work on their own, and an advisor.

Agents are chats below the chat that spawned them; they have the host's tools and can't spawn further ones.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from gateway.chat.content import ModelError, text_of
from gateway.chat.errors import ChatError
from gateway.chat.routing import RoutingError
from gateway.chat.store import Chat, Message, UnknownChat
from gateway.chat.tools import Tool, ToolError, Turning, text_argument

WAIT_S: Final = 300.0
MAX_WAIT_S: Final = 1_800.0

_TOP: Final = frozenset({"chat"})


class _View(Protocol):
    @property
    def chat(self) -> Chat: ...

    @property
    def messages(self) -> list[Message]: ...


class Service(Protocol):
    """What the tools need of the chat service."""

    async def spawn(self, turn: Turning, prompt: str, *, title: str = "", kind: str = "subagent") -> Chat: ...

    async def message(self, turn: Turning, agent_id: str, text: str) -> Any: ...

    async def wait(self, turn: Turning, agent_id: str, *, timeout_s: float) -> _View: ...

    async def advise(self, turn: Turning, question: str) -> str: ...


def agent_tools(service: Service) -> list[Tool]:
    async def spawn_agent(turn: Turning, arguments: dict[str, Any]) -> str:
        kind = arguments.get("kind", "subagent")
        if kind not in ("subagent", "computer_use"):
            raise ToolError("the argument kind is subagent or computer_use")
        prompt, title = text_argument(arguments, "prompt"), str(arguments.get("title") or "")
        agent = await _told(service.spawn(turn, prompt, title=title, kind=kind))
        return f"The agent {agent.id} is at work. Wait for it with wait_agent."

    async def message_agent(turn: Turning, arguments: dict[str, Any]) -> str:
        agent_id, text = text_argument(arguments, "agent_id"), text_argument(arguments, "message")
        sent = await _told(service.message(turn, agent_id, text))
        return "The agent has it." if sent.queued is None else "The agent gets it when its turn ends."

    async def wait_agent(turn: Turning, arguments: dict[str, Any]) -> str:
        agent_id = text_argument(arguments, "agent_id")
        view = await _told(service.wait(turn, agent_id, timeout_s=_seconds(arguments)))
        return outcome(view.chat, view.messages)

    async def ask_advisor(turn: Turning, arguments: dict[str, Any]) -> str:
        advice: str = await _told(service.advise(turn, text_argument(arguments, "question")))
        return advice

    return [
        Tool(
            "spawn_agent",
            "Start an agent that works on a task of its own while you go on. It sees only the prompt.",
            _object(
                ["prompt"],
                prompt=_text("The whole task."),
                title=_text("A few words on what it is for."),
                kind={
                    "type": "string",
                    "enum": ["subagent", "computer_use"],
                    "description": "computer_use for tasks that are done by looking at a screen.",
                },
            ),
            spawn_agent,
            _TOP,
        ),
        Tool(
            "message_agent",
            "Say something to an agent that you started; while it works, it gets it after its turn.",
            _object(["agent_id", "message"], agent_id=_text("Its ID."), message=_text("What to say.")),
            message_agent,
            _TOP,
        ),
        Tool(
            "wait_agent",
            "Wait until an agent has ended its turn, and get what it said last.",
            _object(
                ["agent_id"],
                agent_id=_text("Its ID."),
                timeout_s={
                    "type": "number",
                    "description": f"Longest wait in seconds; {WAIT_S:.0f} by default.",
                },
            ),
            wait_agent,
            _TOP,
        ),
        Tool(
            "ask_advisor",
            "Ask another model, which sees this conversation, for advice on a hard decision.",
            _object(["question"], question=_text("What to advise on.")),
            ask_advisor,
            _TOP,
        ),
    ]


def outcome(agent: Chat, messages: list[Message]) -> str:
    """What an agent has to show, in words for the model that waits for it."""
    said = next((text_of(one.parts) for one in reversed(messages) if one.role == "assistant"), "")
    if agent.status == "running":
        return "The agent is still at work. Wait again."
    if agent.status == "error":
        return f"The agent stopped: {agent.error}\nIts last words: {said or 'none'}"
    return said or "The agent ended without a word."


async def _told(work: Any) -> Any:
    """Mistakes and refusals in words for the model."""
    try:
        return await work
    except UnknownChat as error:
        raise ToolError("there is no such agent of yours") from error
    except (ChatError, RoutingError, ModelError) as error:
        raise ToolError(str(error)) from error


def _seconds(arguments: dict[str, Any]) -> float:
    given = arguments.get("timeout_s", WAIT_S)
    if isinstance(given, bool) or not isinstance(given, int | float) or not given >= 0:
        raise ToolError("the argument timeout_s is a number of seconds")
    return min(float(given), MAX_WAIT_S)


def _object(required: list[str], **properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _text(description: str) -> dict[str, Any]:
    return {"type": "string", "description": description}
