"""Judges AWS Signature Version 4 as AWS does: from the secret and the request that arrived, without botocore.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from tests.upstream import Received

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, "
    r"SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})"
)


@dataclass(frozen=True)
class Account:
    """What AWS knows of an access key."""

    secret: str
    token: str | None = None


def problem(request: Received, accounts: Mapping[str, Account], *, region: str) -> str:
    """Why AWS would refuse the request; empty when it would not."""
    found = _AUTHORIZATION.fullmatch(request.header("authorization") or "")
    if found is None or len(request.values("authorization")) != 1:
        return "no single signature"
    access_key, day, signed_region, service, signed, given = found.groups()
    account = accounts.get(access_key)
    if account is None:
        return "an unknown access key"
    if (signed_region, service) != (region, "bedrock"):
        return "signed for another region or service"
    if request.header("x-amz-security-token") != account.token:
        return "another session token"
    at = request.header("x-amz-date") or ""
    if not _is_now(at) or not at.startswith(day):
        return "signed at another time"
    names = signed.split(";")
    if names != sorted(names) or "host" not in names:
        return "the signed headers are not in order, or the host is not among them"
    if unsigned := {n.decode() for n, _ in request.headers if n.startswith(b"x-amz-")} - set(names):
        return f"not signed: {unsigned}"
    canonical = _canonical(request, names)
    scope = f"{day}/{region}/{service}/aws4_request"
    to_sign = f"AWS4-HMAC-SHA256\n{at}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{account.secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    wanted = hmac.new(key, to_sign.encode(), "sha256").hexdigest()
    return "" if hmac.compare_digest(wanted, given) else "the signature is wrong"


def _is_now(at: str) -> bool:
    try:
        then = datetime.strptime(at, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return False
    return abs(datetime.now(UTC) - then) < timedelta(minutes=5)


def _canonical(request: Received, names: list[str]) -> str:
    """Each segment of the path is encoded once more than it was sent, as services other than S3 do."""
    path = quote(request.raw_path.partition(b"?")[0], safe="/-_.~")
    query = request.query.decode()
    headers = "".join(
        f"{name}:{','.join(value.decode().strip() for value in request.values(name))}\n" for name in names
    )
    return f"{request.method}\n{path}\n{query}\n{headers}\n{';'.join(names)}\n{request.sha256}"
