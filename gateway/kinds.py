"""What kinds of value an option can have: how each is read from text or from YAML, and how it is shown.

Environment and flags give text; YAML gives text, numbers, switches, lists and mappings. A kind reads both. What does
not fit raises `Misfit`, whose message goes on a sentence that began with the name of the setting, and never repeats
the value. Nothing here knows which options exist or where a value came from.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from gateway.database_url import problem_of, without_password
from gateway.durations import format_duration, parse_duration
from gateway.header_names import is_taken, is_token
from gateway.sizes import format_size, parse_size
from providers.options import INSTANCE_NAME, MAX_KEYS
from providers.secret import Secret


class Misfit(ValueError):
    """A value is not of its kind. The message completes `<setting> ...`."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How values of one kind are read (raising `Misfit`) and shown (never showing a secret)."""

    name: str
    read: Callable[[object], Any]
    show: Callable[[Any], str] = str
    secret: bool = False


def _text(raw: object) -> str:
    if not isinstance(raw, str):
        raise Misfit("must be text, in quotes if it looks like a number or a switch")
    text = raw.strip()
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise Misfit("must not contain line breaks or other control characters")
    return text


_SWITCHES: Final = {
    **dict.fromkeys(("true", "t", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "f", "0", "no", "off"), False),
}


def _switch(raw: object) -> bool:
    value = raw if isinstance(raw, bool) else _SWITCHES.get(str(raw).strip().lower())
    if value is None:
        raise Misfit("must be true or false")
    return value


def whole_number(least: int, most: int | None = None) -> Kind:
    """A whole number within bounds, both included."""
    wanted = f"of at least {least}" if most is None else f"from {least} to {most}"

    def read(raw: object) -> int:
        text = str(raw).strip()
        if isinstance(raw, bool) or not re.fullmatch(r"-?[0-9]{1,18}", text, re.ASCII):
            raise Misfit(f"must be a whole number {wanted}")
        number = int(text)
        if number < least or (most is not None and number > most):
            raise Misfit(f"must be a whole number {wanted}")
        return number

    return Kind("number", read)


def _duration(raw: object) -> float:
    try:
        return parse_duration(str(raw).strip())
    except ValueError:
        raise Misfit("must be a duration such as 90d, 12h, 1d12h, 30s, 500ms or 0") from None


def _timeout(raw: object) -> float:
    seconds = _duration(raw)
    if seconds == 0:
        raise Misfit("must be longer than 0")
    return seconds


def _size(raw: object) -> int:
    try:
        size = parse_size(str(raw).strip())
    except ValueError:
        size = 0
    if isinstance(raw, bool) or size < 1:
        raise Misfit("must be a size above zero such as 33554432, 512KiB, 32MiB or 1GiB")
    return size


def choice(*values: str) -> Kind:
    """One of a few words."""

    def read(raw: object) -> str:
        if raw not in values:
            raise Misfit(f"must be one of {', '.join(values)}")
        return str(raw)

    return Kind("choice", read)


def _model(raw: object) -> str:
    text = _text(raw)
    provider, slash, model = text.partition("/")
    if text and not (INSTANCE_NAME.fullmatch(provider) and slash and model):
        raise Misfit("must be of the form provider/model, such as anthropic/claude-sonnet-4-5")
    return text


def _http_url(raw: object) -> str:
    text = _text(raw)
    if not text:
        return text
    parts = _split(text)
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname:
        raise Misfit("must be a URL that begins with http:// or https:// and names a host")
    if parts.username is not None or parts.password is not None:
        raise Misfit("must not hold a user or a password; remove them and set a key instead")
    if parts.query or parts.fragment:
        raise Misfit("must not have a query or a fragment; remove what follows the path")
    return text


def _address(raw: object) -> str:
    text = _text(raw)
    if text and not (_ADDRESS.fullmatch(text) and int(text.rpartition(":")[2]) <= 65535):
        raise Misfit("must be a host and a port, such as 127.0.0.1:9464 or [::1]:9464")
    return text


_ADDRESS: Final = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}", re.ASCII)


def _header_name(raw: object) -> str:
    name = _text(raw)
    if not is_token(name):
        raise Misfit("must be a header name: an RFC 9110 token of at most 100 characters")
    if is_taken(name):
        raise Misfit("names a header that already has a meaning; choose another name")
    return name


def _split(url: str) -> SplitResult | None:
    """The parts of a URL, or None when it has a bad port, bad brackets, or blanks."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return None if " " in url else parts


def _database_url(raw: object) -> Secret:
    text = _text(raw)
    if problem := problem_of(text):
        raise Misfit(problem)
    return Secret(text)


def _show_database_url(url: Secret) -> str:
    return without_password(url.reveal_secret_value())


def _secret(raw: object) -> Secret:
    return Secret(_text(raw))


def _show_secret(secret: Secret) -> str:
    return secret.hint if secret else ""


def _one_key(raw: object) -> tuple[Secret, ...]:
    text = _text(raw)
    return (_as_key(text),) if text else ()


def _several_keys(raw: object) -> tuple[Secret, ...]:
    if isinstance(raw, str):
        raw = [piece for piece in re.split(r"[,\n]", raw) if piece.strip()]
    if not isinstance(raw, list):
        raise Misfit("must be keys separated by commas, or a list of them")
    keys = tuple(_as_key(_text(piece)) for piece in raw)
    if len(keys) > MAX_KEYS:
        raise Misfit(
            f"holds {len(keys)} keys and at most {MAX_KEYS} are allowed; remove {len(keys) - MAX_KEYS}"
        )
    if len(set(keys)) < len(keys):
        raise Misfit("holds the same key more than once; remove the duplicate")
    return keys


def _as_key(text: str) -> Secret:
    if not text or not text.isascii() or " " in text:
        raise Misfit("must be printable ASCII without blanks")
    return Secret(text)


_FERNET_KEY: Final = re.compile(r"[A-Za-z0-9_-]{43}=", re.ASCII)


def _encryption_keys(raw: object) -> tuple[Secret, ...]:
    keys = _several_keys(raw)
    if not all(_FERNET_KEY.fullmatch(key.reveal_secret_value()) for key in keys):
        raise Misfit(
            "must hold keys of 32 bytes in URL-safe base64; make one with `ai-gateway provider-keys "
            "generate-encryption-key`"
        )
    return keys


def _show_keys(keys: tuple[Secret, ...]) -> str:
    return ", ".join(key.hint for key in keys)


def routes(types: tuple[str, ...]) -> Kind:
    """Paths by provider type: a YAML mapping of lists, or text such as `openai=/v1/files,openai=/v1/files/*`."""

    def read(raw: object) -> dict[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        for kind, path in _pairs(raw):
            if kind not in types:
                raise Misfit(f"may only name the provider types {', '.join(types)}")
            if not _PATH.fullmatch(path) or ".." in path or "//" in path:
                raise Misfit("must hold paths that begin with a slash and may end in /*")
            found[kind] = (*found.get(kind, ()), path)
        return found

    return Kind("routes", read, _show_routes)


_PATH: Final = re.compile(r"/[A-Za-z0-9._~:@!$&'()+,=-][A-Za-z0-9._~:@!$&'()+,=/-]*(/\*)?", re.ASCII)


def _pairs(raw: object) -> list[tuple[str, str]]:
    if isinstance(raw, str):
        pieces = [piece.partition("=") for piece in raw.split(",") if piece.strip()]
        return [(kind.strip(), path.strip()) for kind, _, path in pieces]
    if isinstance(raw, Mapping) and all(isinstance(paths, list) for paths in raw.values()):
        return [(str(kind), str(path)) for kind, paths in raw.items() for path in paths]
    raise Misfit("must be a mapping of provider types to lists of paths, or text such as openai=/files")


def _show_routes(routes: Mapping[str, tuple[str, ...]]) -> str:
    return ",".join(f"{kind}={path}" for kind, paths in routes.items() for path in paths)


TEXT: Final = Kind("text", _text)
SWITCH: Final = Kind("switch", _switch, lambda value: "true" if value else "false")
DURATION: Final = Kind("duration", _duration, format_duration)
TIMEOUT: Final = Kind("duration", _timeout, format_duration)
SIZE: Final = Kind("size", _size, format_size)
MODEL: Final = Kind("model", _model)
HTTP_URL: Final = Kind("url", _http_url)
ADDRESS: Final = Kind("address", _address)
HEADER_NAME: Final = Kind("header name", _header_name)
DATABASE_URL: Final = Kind("database url", _database_url, _show_database_url, secret=True)
SECRET: Final = Kind("secret", _secret, _show_secret, secret=True)
ONE_KEY: Final = Kind("key", _one_key, _show_keys, secret=True)
SEVERAL_KEYS: Final = Kind("keys", _several_keys, _show_keys, secret=True)
ENCRYPTION_KEYS: Final = Kind("keys", _encryption_keys, _show_keys, secret=True)
