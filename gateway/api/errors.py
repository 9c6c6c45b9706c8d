"""Errors of the management API, in the tree of `middleware.errors`.

GatewayError
├── NotFound     404  a session, a user or a key; the same words whether it isn't there or isn't the caller's
└── Conflict     409  a name that is taken, a user who can't have keys
"""

from __future__ import annotations

from middleware.errors import GatewayError


class NotFound(GatewayError):
    status = 404


class Conflict(GatewayError):
    status = 409
