"""The URL of the database: whether it can be one, and how it is shown.

It is a secret of which operators need to see most: everything but the password. That is safe only when the password
stands where it belongs, so a URL whose delimiters leave a doubt is refused. Which database it leads to, and whether
it is there, the stores find out.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

_SCHEMES: Final = ("sqlite", "postgresql", "postgres")
_HOST: Final = re.compile(r"[^:@]*(:[0-9]+)?|\[[^]]*\](:[0-9]+)?", re.ASCII)
_MASK: Final = "***"


def problem_of(url: str) -> str | None:
    """What is wrong with `url`, as the end of a sentence that does not repeat it; None when it can be used."""
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    is_file = parts.scheme == "sqlite"
    if parts.scheme not in _SCHEMES or not url.startswith(
        f"{parts.scheme}:///" if is_file else f"{parts.scheme}://"
    ):
        return "must be a URL that begins with sqlite:/// or postgresql://"
    if is_file and (parts.query or parts.fragment):
        return "must not have a query or a fragment; percent-encode what belongs to the file's name"
    if not is_file and not _is_unambiguous(parts):
        return "must have the special characters of its user and password percent-encoded"
    return None


def without_password(url: str) -> str:
    """A usable URL with its password masked, in the authority and in the query."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    shown_user = f"{user.partition(':')[0]}:{_MASK}" if ":" in user else user
    query = urlencode(
        [(k, _MASK if "pass" in k.lower() else v) for k, v in parse_qsl(parts.query)], safe="*/"
    )
    return f"{parts.scheme}://{shown_user}{at}{host}{parts.path}{'?' if query else ''}{query}"


def _is_unambiguous(parts: SplitResult) -> bool:
    """Whether no part of a password can have slipped into another part of the URL, where it would be shown."""
    rest = parts.path + parts.query + parts.fragment
    hosts = parts.netloc.rpartition("@")[2].split(",")
    return "@" not in rest and not parts.fragment and all(_HOST.fullmatch(host) for host in hosts)
