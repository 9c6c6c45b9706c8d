"""Kinds of value: what each reads, what it refuses, and that no refusal repeats the value."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.kinds import (
    ADDRESS,
    DATABASE_URL,
    DURATION,
    ENCRYPTION_KEYS,
    HEADER_NAME,
    HTTP_URL,
    MODEL,
    ONE_KEY,
    SECRET,
    SEVERAL_KEYS,
    SIZE,
    SWITCH,
    TEXT,
    TIMEOUT,
    Kind,
    Misfit,
    choice,
    routes,
    whole_number,
)
from providers.secret import Secret

NO_ENCRYPTION_KEY = (
    "must hold keys of 32 bytes in URL-safe base64; make one with `ai-gateway provider-keys "
    "generate-encryption-key`"
)
ROUTES = routes(("openai", "anthropic"))


@pytest.mark.parametrize(
    ("kind", "raw", "value"),
    [
        (TEXT, "  /var/log/gateway.log ", "/var/log/gateway.log"),
        (SWITCH, True, True),
        (SWITCH, "TRUE", True),
        (SWITCH, "1", True),
        (SWITCH, "off", False),
        (SWITCH, "f", False),
        (whole_number(0), "17", 17),
        (whole_number(0, 65535), 65535, 65535),
        (DURATION, "1d12h", 129_600.0),
        (DURATION, 0, 0.0),
        (TIMEOUT, "500ms", 0.5),
        (SIZE, "32MiB", 33_554_432),
        (SIZE, 1024, 1024),
        (choice("close", "drain"), "drain", "drain"),
        (HTTP_URL, "https://proxy.example/anthropic/", "https://proxy.example/anthropic/"),
        (HTTP_URL, "http://[::1]:8080", "http://[::1]:8080"),
        (HTTP_URL, "", ""),
        (HEADER_NAME, "X-Actor", "X-Actor"),
        (ADDRESS, " 127.0.0.1:9464 ", "127.0.0.1:9464"),
        (ADDRESS, "[::1]:0", "[::1]:0"),
        (ADDRESS, "metrics.internal:65535", "metrics.internal:65535"),
        (ADDRESS, "", ""),
        (MODEL, " anthropic/claude-sonnet-4-5 ", "anthropic/claude-sonnet-4-5"),
        (MODEL, "local/org/model:1", "local/org/model:1"),
        (MODEL, "", ""),
        (DATABASE_URL, "sqlite:///a@b%23c.db", Secret("sqlite:///a@b%23c.db")),
        (DATABASE_URL, "postgresql://u:p%40@a:1,b:2/db", Secret("postgresql://u:p%40@a:1,b:2/db")),
        (DATABASE_URL, "postgres://u@[::1]:5432/db", Secret("postgres://u@[::1]:5432/db")),
        (SECRET, "@format {env[HOME]}", Secret("@format {env[HOME]}")),
        (ONE_KEY, "a,b", (Secret("a,b"),)),
        (ONE_KEY, "0123", (Secret("0123"),)),
        (ONE_KEY, "", ()),
        (SEVERAL_KEYS, "a, b,\nc,", (Secret("a"), Secret("b"), Secret("c"))),
        (SEVERAL_KEYS, ["a", "b,c"], (Secret("a"), Secret("b,c"))),
        (ENCRYPTION_KEYS, f"{'a' * 43}=,{'_-' * 21}0=", (Secret("a" * 43 + "="), Secret("_-" * 21 + "0="))),
        (ENCRYPTION_KEYS, [], ()),
        (ROUTES, "openai=/files,openai=/files/*", {"openai": ("/files", "/files/*")}),
        (ROUTES, {"anthropic": ["/v1/files"]}, {"anthropic": ("/v1/files",)}),
        (ROUTES, "", {}),
    ],
)
def test_a_kind_reads_text_and_what_yaml_makes_of_it(kind: Kind, raw: object, value: Any) -> None:
    """Variables and flags are text, YAML has types; both mean the same."""
    assert kind.read(raw) == value


@pytest.mark.parametrize(
    ("kind", "raw", "problem"),
    [
        (TEXT, 4711, "must be text, in quotes if it looks like a number or a switch"),
        (TEXT, "4711\n4712", "must not contain line breaks or other control characters"),
        (SWITCH, "4711", "must be true or false"),
        (SWITCH, ["4711"], "must be true or false"),
        (whole_number(0), "-4711", "must be a whole number of at least 0"),
        (whole_number(1, 9), 4711, "must be a whole number from 1 to 9"),
        (whole_number(1), "4711.5", "must be a whole number of at least 1"),
        (whole_number(0), True, "must be a whole number of at least 0"),
        (whole_number(0), "9" * 5000, "must be a whole number of at least 0"),
        (DURATION, "4711", "must be a duration such as 90d, 12h, 1d12h, 30s, 500ms or 0"),
        (DURATION, 4711, "must be a duration such as 90d, 12h, 1d12h, 30s, 500ms or 0"),
        (TIMEOUT, "0", "must be longer than 0"),
        (SIZE, "4711MB", "must be a size above zero such as 33554432, 512KiB, 32MiB or 1GiB"),
        (SIZE, "0", "must be a size above zero such as 33554432, 512KiB, 32MiB or 1GiB"),
        (choice("close", "drain"), "4711", "must be one of close, drain"),
        (choice("close", "drain"), ["4711"], "must be one of close, drain"),
        (HTTP_URL, "ftp://4711.example", "must be a URL that begins with http:// or https:// and names a host"),
        (HTTP_URL, "4711", "must be a URL that begins with http:// or https:// and names a host"),
        (HTTP_URL, "https://", "must be a URL that begins with http:// or https:// and names a host"),
        (HTTP_URL, "https://a:4711x", "must be a URL that begins with http:// or https:// and names a host"),
        (HTTP_URL, "https://a b/4711", "must be a URL that begins with http:// or https:// and names a host"),
        (HTTP_URL, "https://[4711", "must be a URL that begins with http:// or https:// and names a host"),
        (HTTP_URL, "https://u:4711@a", "must not hold a user or a password; remove them and set a key instead"),
        (HTTP_URL, "https://a/?v=4711", "must not have a query or a fragment; remove what follows the path"),
        (HTTP_URL, "https://a/#4711", "must not have a query or a fragment; remove what follows the path"),
        (ADDRESS, "4711", "must be a host and a port, such as 127.0.0.1:9464 or [::1]:9464"),
        (ADDRESS, ":4711", "must be a host and a port, such as 127.0.0.1:9464 or [::1]:9464"),
        (ADDRESS, "::1:4711", "must be a host and a port, such as 127.0.0.1:9464 or [::1]:9464"),
        (ADDRESS, "localhost:74711", "must be a host and a port, such as 127.0.0.1:9464 or [::1]:9464"),
        (ADDRESS, "http://a:4711", "must be a host and a port, such as 127.0.0.1:9464 or [::1]:9464"),
        (HEADER_NAME, "a 4711", "must be a header name: an RFC 9110 token of at most 100 characters"),
        (HEADER_NAME, "x-coder-4711", "names a header that already has a meaning; choose another name"),
        (DATABASE_URL, "mysql://u:4711@a/db", "must be a URL that begins with sqlite:/// or postgresql://"),
        (DATABASE_URL, "host=a password=4711", "must be a URL that begins with sqlite:/// or postgresql://"),
        (DATABASE_URL, "postgresql://[4711", "must be a URL that begins with sqlite:/// or postgresql://"),
        (ONE_KEY, 4711, "must be text, in quotes if it looks like a number or a switch"),
        (ONE_KEY, "47 11", "must be printable ASCII without blanks"),
        (ONE_KEY, "4711é", "must be printable ASCII without blanks"),
        (SEVERAL_KEYS, {"a": "4711"}, "must be keys separated by commas, or a list of them"),
        (SEVERAL_KEYS, "4711,b,c,d,e,f,g", "holds 7 keys and at most 5 are allowed; remove 2"),
        (SEVERAL_KEYS, "4711,b,4711", "holds the same key more than once; remove the duplicate"),
        (ENCRYPTION_KEYS, "4711", NO_ENCRYPTION_KEY),
        (ENCRYPTION_KEYS, "4711" * 11, NO_ENCRYPTION_KEY),
        (ENCRYPTION_KEYS, ["a" * 43 + "=", "4711" * 10 + "+/a="], NO_ENCRYPTION_KEY),
        (MODEL, "4711", "must be of the form provider/model, such as anthropic/claude-sonnet-4-5"),
        (MODEL, "Open AI/4711", "must be of the form provider/model, such as anthropic/claude-sonnet-4-5"),
        (MODEL, "openai-4711/", "must be of the form provider/model, such as anthropic/claude-sonnet-4-5"),
        (ROUTES, "copilot=/4711", "may only name the provider types openai, anthropic"),
        (ROUTES, "/4711", "may only name the provider types openai, anthropic"),
        (ROUTES, "openai=4711", "must hold paths that begin with a slash and may end in /*"),
        (ROUTES, "openai=/a/../4711", "must hold paths that begin with a slash and may end in /*"),
        (ROUTES, "openai=/*", "must hold paths that begin with a slash and may end in /*"),
        (ROUTES, "openai=/a%2f4711", "must hold paths that begin with a slash and may end in /*"),
        (ROUTES, {"openai": "/4711"}, "must be a mapping of provider types to lists of paths, or text such as "
         "openai=/files"),
    ],
)  # fmt: skip
def test_what_is_not_of_a_kind_is_refused_without_being_repeated(
    kind: Kind, raw: object, problem: str
) -> None:
    """The message says what is wanted; the value, which may be a secret in the wrong place, isn't in it."""
    with pytest.raises(Misfit) as refused:
        kind.read(raw)
    assert str(refused.value) == problem
    assert "4711" not in repr(refused.value)


@pytest.mark.parametrize("kind", [SECRET, ONE_KEY, SEVERAL_KEYS])
def test_a_secret_is_shown_as_its_hint(kind: Kind) -> None:
    """Enough to tell two apart, and nothing for an empty one."""
    assert kind.secret
    assert kind.show(kind.read("example-secret-value-0001")) == "exam...0001"
    assert kind.show(kind.read("")) == ""
