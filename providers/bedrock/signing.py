"""Signs a request for Amazon Bedrock with AWS Signature Version 4, as botocore does it.

A signature covers method, path, host, date and body, so it is made last, of what is really sent, and anew for each
attempt. Nothing here is kept: the secret is out of its `Secret` only while a signature is made.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials

from providers.bedrock.signer import Signature, Unsigned
from providers.secret import Secret

SERVICE: Final = "bedrock"
ADDED: Final = ("Authorization", "X-Amz-Date", "X-Amz-Security-Token")

logging.getLogger("botocore").setLevel(
    logging.INFO
)  # its debug lines hold session tokens, and answers with secrets


@dataclass(frozen=True, slots=True)
class AwsKeys:
    """An access key with its secret, and the token of a session if it belongs to one."""

    access_key: Secret
    secret_key: Secret
    session_token: Secret | None = None


def signature(keys: AwsKeys, region: str, request: Unsigned) -> Signature:
    """The signature of `request` as of now."""
    token = keys.session_token.reveal_secret_value() if keys.session_token else None
    credentials = ReadOnlyCredentials(
        keys.access_key.reveal_secret_value(), keys.secret_key.reveal_secret_value(), token, None
    )
    made = AWSRequest(
        method=request.method,
        url=request.url,
        data=request.body,
        headers={name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers},
    )
    SigV4Auth(credentials, SERVICE, region).add_auth(made)
    added = [(name.lower().encode(), made.headers.get(name)) for name in ADDED]
    return Signature([(name, value.encode("latin-1")) for name, value in added if value], keys.access_key)
