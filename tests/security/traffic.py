"""Requests at random, with a canary in every slot in which a secret can stand.

`Traffic.shots` is endless and repeats itself for a seed. A shot knows what may be seen of it upstream: in the body what
its body holds, in its head the user's own credential and the parameters that aren't the gateway's.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from tests.security.canaries import Canaries

Mode: TypeAlias = Literal["centralized", "byok", "delegated", "delegated byok", "stranger", "nobody"]
Outcome: TypeAlias = Literal[
    "answers",
    "echoes",
    "echoes in a stream",
    "unreachable",
    "times out",
    "cuts",
    "babbles",
    "fails",
    "stalls",
]

MODES: Final[tuple[Mode, ...]] = ("centralized", "byok", "delegated", "delegated byok", "stranger", "nobody")
OUTCOMES: Final[tuple[Outcome, ...]] = (
    *("answers", "echoes", "echoes in a stream", "unreachable", "times out"),
    *("cuts", "babbles", "fails", "stalls"),
)

GOVERNANCE: Final = "X-Coder-AI-Governance-Token"

RECORDED: Final = {
    "openai": ("/v1/chat/completions", "/v1/responses"),
    "anthropic": ("/v1/messages",),
    "copilot": ("/chat/completions", "/responses", "/v1/messages"),
}
PASSED: Final = {
    "openai": (("GET", "/v1/models"), ("GET", "/v1/models/m1"), ("DELETE", "/v1/responses/r1")),
    "anthropic": (("GET", "/v1/models"), ("POST", "/v1/messages/count_tokens")),
    "copilot": (("GET", "/models"), ("POST", "/agents/a/b"), ("GET", "/_ping")),
}
REFUSED: Final = (("GET", "/v1/files"), ("POST", "/v1/../x"), ("PUT", "/v1/messages"), ("GET", "//v1/models"))

REMOVED_HEADERS: Final = (
    *("Cookie", "Proxy-Authorization", "Api-Key", "X-Goog-Api-Key", "X-Auth-Token", "Forwarded"),
    *("X-Forwarded-For", "X-Forwarded-Authorization", "X-Coder-Session-Token", "Coder-Session-Token"),
    *("X-AI-Bridge-Actor-ID", "Connection", "Keep-Alive", "TE", "Proxy-Connection"),
)
"""What no request carries upstream, whoever sent it and whatever it holds."""


@dataclass(slots=True)
class Shot:
    mode: Mode
    instance: str
    method: str
    target: str
    outcome: Outcome
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    own_keys: list[str] = field(default_factory=list)
    """The user's own credentials; at most one of them goes upstream."""
    own_parameters: list[str] = field(default_factory=list)
    in_body: list[str] = field(default_factory=list)


class Traffic:
    """`instances` are names and types, `token` the gateway token that is good, `seed` makes it repeatable."""

    def __init__(
        self, rng: random.Random, canaries: Canaries, *, instances: dict[str, str], token: str
    ) -> None:
        self._rng, self._canaries, self._token = rng, canaries, token
        self._instances = instances

    def shots(self) -> Iterator[Shot]:
        while True:
            yield self._shot()

    def _shot(self) -> Shot:
        rng = self._rng
        mode = rng.choice(MODES)
        instance = rng.choice(list(self._instances))
        method, path = self._route(self._instances[instance])
        shot = Shot(mode, instance, method, f"/{instance}{path}", rng.choice(OUTCOMES))
        shot.body = self._body(shot, path) if method == "POST" else b""
        self._authenticate(shot)
        self._litter(shot)
        self._ask(shot)
        if rng.random() < 0.1:
            rng.shuffle(shot.headers)  # the first of a kind counts, so not every shuffled request is let in
        return shot

    def _route(self, kind: str) -> tuple[str, str]:
        dice = self._rng.random()
        if dice < 0.1:
            return self._rng.choice(REFUSED)
        if dice < 0.3:
            return self._rng.choice(PASSED[kind])
        return "POST", self._rng.choice(RECORDED[kind])

    # -- the body ------------------------------------------------------------------------------------------------

    def _body(self, shot: Shot, path: str) -> bytes:
        secrets = [self._canaries.make("body") for _ in range(2)]
        shot.in_body = secrets
        document = {
            "model": self._rng.choice(["m1", "m2"]),
            "stream": self._rng.random() < 0.5,
            "metadata": {"user_id": f"user_{secrets[0]}_account__session_s1", "api_key": secrets[0]},
            "user": secrets[1],
        }
        turns = [{"role": "user", "content": "hello"}]
        document |= {"input": turns} if path.endswith("/responses") else {"messages": turns}
        text = json.dumps(document).encode()
        return text[:-3] if self._rng.random() < 0.05 else text

    # -- who asks ------------------------------------------------------------------------------------------------

    def _authenticate(self, shot: Shot) -> None:
        token = self._canaries.make("wrong") if shot.mode == "stranger" else self._token
        if shot.mode == "nobody":
            return
        if shot.mode in ("byok", "delegated byok"):
            self._bring_own_keys(shot)
            shot.headers.append((GOVERNANCE, token if shot.mode == "byok" else "delegated"))
            return
        slots = [(GOVERNANCE, token), ("Authorization", f"bEaReR {token}"), ("X-Api-Key", f" {token} ")]
        if shot.mode != "delegated":
            # The governance header alone means centralized too, for there is no credential of the user's.
            shot.headers.append(self._rng.choice(slots))

    def _bring_own_keys(self, shot: Shot) -> None:
        for name, scheme in (("Authorization", "Bearer "), ("X-Api-Key", "")):
            if self._rng.random() < 0.7:
                key = self._canaries.make("own")
                shot.own_keys.append(key)
                shot.headers.append((name, scheme + key))

    # -- what else lies about ------------------------------------------------------------------------------------

    def _litter(self, shot: Shot) -> None:
        """Other people's secrets in slots of all kinds, and the token again where it doesn't belong."""
        rng = self._rng
        for name in rng.sample(REMOVED_HEADERS, k=rng.randint(0, 6)):
            kind = "".join(c for c in name.lower() if c.isalpha())
            shot.headers.append((name, rng.choice(["", "Bearer ", "a="]) + self._canaries.make(kind)))
        if shot.mode in ("centralized", "byok"):
            shot.headers += rng.sample(self._copies(), k=rng.randint(0, 4))
        shot.headers.append(("User-Agent", rng.choice(["claude-cli/2", "codex/1", "curl/8"])))

    def _copies(self) -> list[tuple[str, str]]:
        """The good token once more, in other slots, in another case, within other text."""
        basic = base64.b64encode(f"user:{self._token}".encode()).decode()
        return [
            ("X-Goog-Api-Key", self._token),
            ("Cookie", f"a=b; session={self._token}"),
            ("Proxy-Authorization", f"Basic {basic}"),
            ("AUTHORIZATION", f"Bearer {self._token}"),
            ("x-api-key", self._token),
            ("Authorization", f"Basic {basic}"),
            ("Authorization", f"basic  {basic.rstrip('=')}"),
            ("X-Custom", f"prefix {self._token} suffix"),
            ("Referer", f"https://host.example/?token={self._token}"),
        ]

    def _ask(self, shot: Shot) -> None:
        """Query parameters: the client's own pass, those with the gateway token don't."""
        pairs = []
        if self._rng.random() < 0.3:
            own = self._canaries.make("parameter")
            shot.own_parameters.append(own)
            pairs.append(f"{self._rng.choice(['key', 'api_key', 'access%5Ftoken', '%6Bey'])}={own}")
        if shot.mode in ("centralized", "byok"):
            encoded = "".join(f"%{ord(c):02x}" for c in self._token)
            pairs += [
                f"t{n}={text}" for n, text in enumerate((self._token, encoded)) if self._rng.random() < 0.3
            ]
        if pairs:
            shot.target += "?" + "&".join([*pairs, "beta=true"])
