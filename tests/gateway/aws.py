"""What AWS offers a process for credentials, on loopback: a token service and a container's endpoint; and its clock."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from botocore.credentials import RefreshableCredentials

from tests.aws_signature import Account
from tests.upstream import Received, Reply

ROLE = "arn:aws:iam::123456789012:role/fake-gateway"
WEB_IDENTITY_TOKEN = "fake.web.identity"
CONTAINER_TOKEN = "fake-container-authorization"


@pytest.fixture
def aws_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Nothing of this machine's, nor its metadata service."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("BOTO_CONFIG", str(tmp_path / "no-boto"))
    return monkeypatch


class Issuer:
    """Issues numbered session keys that live for an hour of its own clock, and knows which are valid."""

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.now = now
        self.life = timedelta(hours=1)
        self.issued: list[datetime] = []

    def issue(self) -> dict[str, str]:
        self.issued.append(self.now() + self.life)
        number = len(self.issued)
        return {
            "access_key": f"ASIAFAKEFAKEFAKE{number:04}",
            "secret_key": f"fakesessionsecret{number}",
            "token": f"fakesessiontoken{number}",
            "expiry_time": self.issued[-1].isoformat(),
        }

    @property
    def accounts(self) -> dict[str, Account]:
        """Those that have not expired."""
        return {
            f"ASIAFAKEFAKEFAKE{number:04}": Account(f"fakesessionsecret{number}", f"fakesessiontoken{number}")
            for number, expires in enumerate(self.issued, 1)
            if self.now() < expires
        }

    def credentials(self, refresh: Callable[[], dict[str, str]] | None = None) -> Any:
        """As botocore would have them, by this clock."""
        first = self.issue()
        return RefreshableCredentials(
            first["access_key"],
            first["secret_key"],
            first["token"],
            self.issued[-1],
            refresh or self.issue,
            "test",
            time_fetcher=self.now,
        )

    # -- on loopback --------------------------------------------------------------------------------------------------

    def container(self, request: Received) -> Reply:
        """What a container's metadata endpoint answers."""
        if request.header("authorization") != CONTAINER_TOKEN:
            return Reply(401, chunks=[b"{}"])
        keys = self.issue()
        document = {
            "AccessKeyId": keys["access_key"],
            "SecretAccessKey": keys["secret_key"],
            "Token": keys["token"],
            "Expiration": keys["expiry_time"],
        }
        return Reply(chunks=[json.dumps(document).encode()])

    def token_service(self, request: Received) -> Reply:
        """What STS answers to AssumeRoleWithWebIdentity."""
        asked = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        wanted = ("AssumeRoleWithWebIdentity", ROLE, WEB_IDENTITY_TOKEN)
        if (asked.get("Action"), asked.get("RoleArn"), asked.get("WebIdentityToken")) != wanted:
            text = (
                "<ErrorResponse><Error><Type>Sender</Type><Code>InvalidIdentityToken</Code>"
                f"<Message>{asked.get('WebIdentityToken')}</Message></Error></ErrorResponse>"
            )
            return Reply(400, [(b"content-type", b"text/xml")], [text.encode()])
        keys = self.issue()
        text = (
            '<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
            "<AssumeRoleWithWebIdentityResult><Credentials>"
            f"<AccessKeyId>{keys['access_key']}</AccessKeyId>"
            f"<SecretAccessKey>{keys['secret_key']}</SecretAccessKey>"
            f"<SessionToken>{keys['token']}</SessionToken><Expiration>{keys['expiry_time']}</Expiration>"
            "</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
        )
        return Reply(200, [(b"content-type", b"text/xml")], [text.encode()])
