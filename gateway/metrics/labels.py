"""What keeps labels few and plain: what is beyond a bound, or is none of ours, is `other`.

A client may name any model. A name gets a label of its own when its provider has answered it without an error, and
only while there is room; so what a client makes up neither fills the memory nor takes the room of what is used.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Final

from providers.base import ANY

OTHER: Final = "other"

MAX_MODELS: Final = 100
"""Of each provider instance."""
MAX_USERS: Final = 1000

_MODEL: Final = re.compile(r"[A-Za-z0-9._:/@+-]{1,128}", re.ASCII)


def method_label(method: str) -> str:
    """A method that routes can have; clients may send any word as one."""
    return method if method in ANY else OTHER


class Models:
    """The models that have a label of their own, by instance."""

    def __init__(self, most: int = MAX_MODELS) -> None:
        self._most = most
        self._known: defaultdict[str, set[str]] = defaultdict(set)

    def learn(self, provider: str, model: str) -> None:
        """The provider has answered a request for this model."""
        known = self._known[provider]
        if model not in known and len(known) < self._most and _MODEL.fullmatch(model):
            known.add(model)

    def label(self, provider: str, model: str) -> str:
        return model if model in self._known[provider] else OTHER


class Users:
    """The users who have a label of their own: the first `most` that were seen."""

    def __init__(self, most: int = MAX_USERS) -> None:
        self._most = most
        self._known: set[str] = set()

    def label(self, user: str) -> str:
        if user in self._known:
            return user
        if len(self._known) < self._most and user.isprintable():
            self._known.add(user)
            return user
        return OTHER
