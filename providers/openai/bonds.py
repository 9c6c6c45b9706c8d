"""A short name for encrypted reasoning, by which an answer and the requests that build on it are known as one.

Clients that store nothing with the provider send the reasoning of earlier turns back, encrypted for the account that
made it, and some of them without its ID; so it is known by its content.
"""

from __future__ import annotations

from hashlib import blake2b


def bond_of(encrypted: str) -> str:
    return blake2b(encrypted.encode(errors="replace"), digest_size=16).hexdigest()
