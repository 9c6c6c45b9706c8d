"""What becomes a label of its own, and what is `other`."""

from __future__ import annotations

import pytest

from gateway.metrics.labels import Models, Users, method_label


def test_a_model_has_a_label_once_its_provider_has_answered() -> None:
    """Of that instance, and of no other."""
    models = Models()
    assert models.label("one", "m") == "other"
    models.learn("one", "m")
    assert (models.label("one", "m"), models.label("another", "m")) == ("m", "other")


def test_those_that_were_learned_first_stay() -> None:
    """A series that changed its label would look like two."""
    models = Models(most=2)
    for name in ("a", "b", "c", "a"):
        models.learn("one", name)
    assert [models.label("one", name) for name in ("a", "b", "c")] == ["a", "b", "other"]


@pytest.mark.parametrize(
    "name",
    ["", "two words", "m" * 129, 'quo"te', "line\nbreak", "\ud800", "modèle", "sk-fake{}", "a,b"],
)
def test_what_does_not_look_like_a_model_never_has_one(name: str) -> None:
    """Whoever answers to it."""
    models = Models()
    models.learn("one", name)
    assert models.label("one", name) == "other"


@pytest.mark.parametrize(
    "name",
    [
        "gpt-5.1",
        "claude-sonnet-4-5-20250929",
        "eu.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "arn:aws:bedrock:eu-central-1:123456789012:inference-profile/eu.anthropic.claude",
        "org/model@2026+x",
    ],
)
def test_names_of_real_models_do(name: str) -> None:
    """Those of Bedrock's profiles and of resellers too."""
    models = Models()
    models.learn("one", name)
    assert models.label("one", name) == name


def test_users_have_labels_while_there_is_room() -> None:
    """Names are the authority's, and may hold blanks and any letters, but nothing that can't be shown."""
    users = Users(most=2)
    seen = [users.label(user) for user in ("\ud800", "ada lovelace", "josé", "eve", "ada lovelace")]
    assert seen == ["other", "ada lovelace", "josé", "other", "ada lovelace"]


@pytest.mark.parametrize(("method", "label"), [("GET", "GET"), ("get", "other"), ("BREW", "other")])
def test_a_method_is_one_that_routes_can_have(method: str, label: str) -> None:
    """Clients may send any word as one."""
    assert method_label(method) == label
