"""What a turn can have done beside it: agents that work on their own, and a word of advice.

Whatever is begun here carries the key of the turn that asked; without one, gateway mode refuses it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from gateway.chat.errors import TooManyAgents
from gateway.chat.generation import Generation, advisor_ask
from gateway.chat.means import Means
from gateway.chat.purposes import ModelChoices
from gateway.chat.routing import ActiveKeyMissing, Purpose
from gateway.chat.store import Chat, UnknownChat
from gateway.chat.tools import Turning
from gateway.chat.turns import Turns
from gateway.chat.views import ChatView, Sent

MAX_AGENTS: Final = 16
"""Agents of one chat that are at work at once."""


class Agency:
    def __init__(self, means: Means, turns: Turns, generation: Generation, models: ModelChoices) -> None:
        self._means = means
        self._turns = turns
        self._generation = generation
        self._models = models

    async def spawn(self, turn: Turning, prompt: str, *, title: str, kind: str) -> Chat:
        self._check_accountable(turn)
        store = self._means.store
        parent = await store.chat(turn.chat_id)
        agents = await store.children(parent.id)
        if sum(agent.status == "running" for agent in agents) >= MAX_AGENTS:
            raise TooManyAgents(MAX_AGENTS)
        purpose = Purpose.COMPUTER_USE if kind == "computer_use" else Purpose.SUBAGENT
        child = await store.create_chat(
            owner_id=parent.owner_id,
            owner_name=parent.owner_name,
            model=self._models.for_purpose(purpose, parent.model),
            title=title,
            system=parent.system,
            kind="computer_use" if kind == "computer_use" else "subagent",
            parent=parent,
            api_key_id=turn.api_key_id,
        )
        await self._turns.deliver(child, prompt, turn.api_key_id)
        return child

    async def message(self, turn: Turning, agent_id: str, text: str) -> Sent:
        self._check_accountable(turn)
        return await self._turns.deliver(await self._agent(turn, agent_id), text, turn.api_key_id)

    async def wait(self, turn: Turning, agent_id: str, *, timeout_s: float) -> ChatView:
        """It listens before it looks, and looks again in any case after a while: an agent that ends between the two
        is heard, and one that another process runs is seen."""
        agent = await self._agent(turn, agent_id)
        store = self._means.store
        with self._means.hub.feed(agent.id) as feed, suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while (agent := await store.chat(agent.id)).status == "running":
                    await feed.changed(self._means.poll_s)
                    feed.take()
        return ChatView(agent, await store.messages(agent.id), await store.queued(agent.id), [])

    async def advise(self, turn: Turning, question: str) -> str:
        self._check_accountable(turn)
        chat = await self._means.store.chat(turn.chat_id)
        ask = advisor_ask(await self._means.store.messages(chat.id), question)
        return await self._generation.generate(chat, Purpose.ADVISOR, ask, turn.api_key_id)

    def _check_accountable(self, turn: Turning) -> None:
        if not turn.api_key_id and self._means.routing.mode == "gateway":
            raise ActiveKeyMissing

    async def _agent(self, turn: Turning, agent_id: str) -> Chat:
        agent = await self._means.store.chat(agent_id, owner_id=turn.owner_id)
        if agent.parent_id != turn.chat_id:
            raise UnknownChat
        return agent
