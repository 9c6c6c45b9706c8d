"""Follow a chat: what is in it, then what happens, in the order in which it happened.

Messages are read from the store and heard from the hub, and each is told once. What another process does is seen by
looking into the store from time to time; its deltas aren't heard here.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final

from gateway.chat.events import ChatEvent, Delta, MessageAdded, StatusChanged
from gateway.chat.means import Means
from gateway.chat.store import Chat, UnknownChat
from gateway.chat.turns import Turns
from gateway.chat.views import added

IDLE_POLLS: Final = 5
"""How many times as rarely a chat is looked at that nobody runs."""


async def follow(
    means: Means, turns: Turns, chat_id: str, owner_id: str, *, after: int
) -> AsyncGenerator[ChatEvent, None]:
    """See `ChatService.events`. Raises `UnknownChat` and `StoreError`."""
    store, poll_s = means.store, means.poll_s
    with means.hub.feed(chat_id) as feed:  # first listen, then look: nothing happens unseen in between
        status = _status(await store.chat(chat_id, owner_id=owner_id))
        yield status
        while True:
            feed.lost = False
            for message in await store.messages(chat_id, after=after):
                after = message.position
                if message.visible in ("both", "user"):
                    yield added(message)
            try:
                looked = _status(await store.chat(chat_id, owner_id=owner_id))
            except UnknownChat:
                return
            # What happened meanwhile tells of its end itself, and in its place.
            if not (turns.runs(chat_id) or feed.waiting) and looked != status:
                status = looked
                yield status
            quiet = False
            while not (feed.lost or quiet):
                if turns.stopping and not turns.runs(chat_id) and not feed.waiting:
                    return
                await feed.changed(poll_s if status.status == "running" else IDLE_POLLS * poll_s)
                happened = feed.take()
                for event in _without_known(happened, after):
                    if isinstance(event, MessageAdded):
                        after = event.position
                    elif isinstance(event, StatusChanged):
                        status = event
                    yield event
                quiet = not happened and not turns.runs(chat_id)  # another process may be at it


def _status(chat: Chat) -> StatusChanged:
    return StatusChanged(status=chat.status, error=chat.error)


def _without_known(happened: list[ChatEvent], after: int) -> list[ChatEvent]:
    """What happened, but for messages that were seen in the store already, and the deltas that led to them."""
    known = [isinstance(event, MessageAdded) and event.position <= after for event in happened]
    seen = len(known) - known[::-1].index(True) if True in known else 0
    before, since = happened[:seen], happened[seen:]
    return [event for event in before if not isinstance(event, MessageAdded | Delta)] + since
