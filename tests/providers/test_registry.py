"""Which instance a path names; a path with two readings names none."""

from __future__ import annotations

import json

import pytest

from providers.anthropic.provider import ANTHROPIC
from providers.base import Provider
from providers.openai.provider import OPENAI
from providers.registry import PREFIXES, PROVIDER_TYPES, Registry
from tests.asgi import http_scope

OPENAI_INSTANCE = Provider(OPENAI, "corp-openai", "https://o.test/v1")
ANTHROPIC_INSTANCE = Provider(ANTHROPIC, "anthropic", "https://a.test")
REGISTRY = Registry([OPENAI_INSTANCE, ANTHROPIC_INSTANCE])


def located(target: str | bytes, root_path: str = "") -> tuple[str, str] | None:
    found = REGISTRY.locate(http_scope("POST", target, root_path=root_path))
    return None if found is None else (found[0].name, found[1])


@pytest.mark.parametrize("prefix", ["", *PREFIXES])
@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/corp-openai/v1/responses", ("corp-openai", "/v1/responses")),
        ("/anthropic", ("anthropic", "")),
        ("/anthropic/", ("anthropic", "/")),
        ("/anthropic/v1/models/claude%20x", ("anthropic", "/v1/models/claude x")),
        ("/anthropic/a.b/...c/.well-known", ("anthropic", "/a.b/...c/.well-known")),
        ("/Anthropic/v1", None),
        ("/anthropi/v1", None),
        ("/nobody/v1", None),
        ("/", None),
    ],
)
def test_the_first_segment_below_the_prefix_is_the_name(
    prefix: str, path: str, found: tuple[str, str] | None
) -> None:
    """The canonical prefix, the legacy one and none are served alike."""
    assert located(prefix + path) == found


@pytest.mark.parametrize(
    ("root_path", "target", "found"),
    [
        ("/ai", "/ai/anthropic/v1", ("anthropic", "/v1")),
        ("/ai", "/ai/api/v2/ai-gateway/anthropic/v1", ("anthropic", "/v1")),
        ("/api/v2/ai-gateway", "/api/v2/ai-gateway/anthropic/v1", ("anthropic", "/v1")),
        ("/ai", "/anthropic/v1", ("anthropic", "/v1")),
        ("/ai", "/aianthropic/v1", None),
        ("/anthropic", "/anthropic/anthropic/v1", ("anthropic", "/v1")),
        ("/ai", "/ai", None),
    ],
)
def test_the_path_of_a_host_application_comes_first(
    root_path: str, target: str, found: tuple[str, str] | None
) -> None:
    """Whatever path the host chose is the prefix; a server that doesn't repeat it in `path` is understood."""
    assert located(target, root_path) == found


@pytest.mark.parametrize(
    "target",
    [
        "/api/v2/ai-gateway/api/v2/aibridge/anthropic/v1",
        "/api/v2/ai-gateway/api/v2/ai-gateway/anthropic/v1",
        "/api/v2/ai-gatewayanthropic/v1",
        "/api/v2/anthropic/v1",
    ],
)
def test_one_prefix_is_enough(target: str) -> None:
    """A route has one name under each prefix, and no more."""
    assert located(target) is None


@pytest.mark.parametrize(
    "rest",
    [
        "v1/../secret",
        "v1/./messages",
        "..",
        ".",
        "v1/..",
        "v1//messages",
        "/v1",
        "v1/%2e%2e/secret",
        "v1/%2E/messages",
        "v1/.%2e/secret",
        "v1/a%2fb",
        "v1/a%2Fb",
        "v1/a%5cb",
        "v1/a\\b",
        "v1/a;b",
        "v1/a%3bb",
        "v1/%252e%252e/secret",
        "v1/a%252fb",
        "v1/a%25",
        "v1/a%00b",
        "v1/a%0d%0ab",
        "v1/a%7f",
    ],
)
def test_a_path_with_two_readings_names_nothing(rest: str) -> None:
    """Dot segments, empty ones, encoded slashes, backslashes, `;` and control characters, encoded once or twice."""
    assert located(f"/anthropic/{rest}") is None


def test_a_query_may_hold_anything() -> None:
    """It isn't part of the path, and goes on unchanged."""
    assert located("/anthropic/v1/models?after=a%2Fb//..;c") == ("anthropic", "/v1/models")


def test_a_scope_without_a_raw_path_is_judged_by_its_path() -> None:
    """The raw path is optional in ASGI."""
    scope = http_scope("POST", "/anthropic/v1/messages")
    del scope["raw_path"]
    found = REGISTRY.locate(scope)
    assert found is not None
    assert REGISTRY.locate({**scope, "path": "/anthropic/v1/../x"}) is None


@pytest.mark.parametrize(
    ("method", "path", "probe"),
    [
        ("GET", "/anthropic", True),
        ("HEAD", "/anthropic/", True),
        ("HEAD", "/corp-openai", True),
        ("GET", "/corp-openai/v1", True),
        ("GET", "/corp-openai/v1/", True),
        ("POST", "/anthropic", False),
        ("OPTIONS", "/anthropic", False),
        ("GET", "/anthropic/v1", False),
        ("GET", "/anthropic/v1/models", False),
        ("GET", "/nobody", False),
        ("GET", "/", False),
        ("GET", "//anthropic", False),
    ],
)
def test_a_probe_asks_for_the_base_url_alone(method: str, path: str, probe: bool) -> None:
    """It passes without a token, so nothing else may look like one."""
    assert REGISTRY.is_probe(http_scope(method, path)) is probe


def test_errors_are_worded_as_the_instance_of_the_path_would() -> None:
    """OpenAI has a place for a code, Anthropic has not; a path of no instance has no shape."""
    words = (403, "unauthorized", "some_code")
    openai = REGISTRY.error_body(http_scope("POST", "/corp-openai/v1/responses"), *words)
    anthropic = REGISTRY.error_body(http_scope("POST", "/anthropic/v1/nothing"), *words)
    assert openai is not None
    assert json.loads(openai)["error"]["code"] == "some_code"
    assert anthropic is not None
    assert json.loads(anthropic)["type"] == "error"
    assert REGISTRY.error_body(http_scope("POST", "/nobody"), *words) is None


@pytest.mark.parametrize("name", ["", "Upper", "a_b", "-a", "a-", "a--b", "a/b", "a.b", "ä", "a\n"])
def test_a_name_that_is_no_segment_is_refused(name: str) -> None:
    """The message shows the name and the form it should have."""
    with pytest.raises(ValueError, match="is not of the form"):
        Registry([Provider(OPENAI, name, "https://o.test")])


def test_a_name_is_given_once() -> None:
    """Two instances of a type need two names."""
    with pytest.raises(ValueError, match="'corp-openai' is given twice"):
        Registry([OPENAI_INSTANCE, OPENAI_INSTANCE])


def test_it_lists_its_instances_in_order() -> None:
    """As they were configured."""
    assert [provider.name for provider in REGISTRY] == ["corp-openai", "anthropic"]
    assert len(REGISTRY) == 2


def test_the_types_are_known_by_name() -> None:
    """The names that the configuration uses."""
    assert list(PROVIDER_TYPES) == ["openai", "anthropic", "copilot"]
