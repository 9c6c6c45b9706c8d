"""Provider instances: indexed, in YAML, legacy, and each way in which they can contradict each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.instances import INSTANCE_KINDS, LEGACY_SETTINGS, RESERVED_NAMES, LegacySetting
from gateway.settings import Settings, SettingsError, load
from gateway.sources import PREFIXES
from providers.options import ProviderOptions
from providers.secret import Secret

INDEXED = "CODER_AI_GATEWAY_PROVIDER_"


def providers(environ: dict[str, str], prefix: str = INDEXED) -> tuple[ProviderOptions, ...]:
    """The instances that variables below `prefix` make."""
    return load(environ={prefix + name: value for name, value in environ.items()}).gateway.providers


def refusal(environ: dict[str, str], config: Path | None = None) -> str:
    """The sentence with which `load` refuses; it never holds what stands for a secret."""
    with pytest.raises(SettingsError) as refused:
        load(environ=environ, config=config)
    assert "canary" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_an_instance_is_indexed_variables_under_any_prefix(prefix: str) -> None:
    """Every key of an instance, in the order of the indices, not of their text."""
    environ = {f"{index}_{key}": value for index in range(11) for key, value in
               (("TYPE", "openai"), ("NAME", f"openai-{index}"))}  # fmt: skip
    environ |= {"10_KEYS": "one, two", "10_BASE_URL": "https://proxy.example/v1", "10_ENABLED": "false"}
    found = providers(environ, f"{prefix}PROVIDER_")
    assert [provider.name for provider in found] == [f"openai-{index}" for index in range(11)]
    assert found[10] == ProviderOptions(
        type="openai",
        name="openai-10",
        base_url="https://proxy.example/v1",
        keys=(Secret("one"), Secret("two")),
        enabled=False,
    )


@pytest.mark.parametrize("type_name", ["openai", "anthropic", "copilot"])
def test_the_name_defaults_to_the_type(type_name: str) -> None:
    """An instance needs no more than its type."""
    (provider,) = providers({"0_TYPE": type_name})
    assert (provider.type, provider.name, provider.base_url, provider.keys) == (type_name, type_name, "", ())
    assert provider.enabled


def test_the_yaml_list_makes_the_same_instances(tmp_path: Path) -> None:
    """Every key of the list means what it means as a variable, and the origin is the file."""
    path = tmp_path / "settings.yaml"
    path.write_text(
        """
        ai_gateway:
          providers:
            - type: openai
              name: azure-openai
              base_url: https://example.openai.azure.com/openai/v1
              key: "0123"
            - {type: anthropic, keys: [one, two], enabled: false}
        """,
        "utf-8",
    )
    settings = load(config=path, environ={})
    assert settings.gateway.providers == (
        ProviderOptions(
            type="openai",
            name="azure-openai",
            base_url="https://example.openai.azure.com/openai/v1",
            keys=(Secret("0123"),),
        ),
        ProviderOptions(
            type="anthropic", name="anthropic", keys=(Secret("one"), Secret("two")), enabled=False
        ),
    )
    assert settings.origin("providers.0.keys") == str(path)


def test_variables_complete_and_override_the_yaml_list_by_index(tmp_path: Path) -> None:
    """The file can hold what is public, and the environment the keys; a further index adds an instance."""
    path = tmp_path / "settings.yaml"
    path.write_text("ai_gateway: {providers: [{type: openai, name: a, keys: [x, y]}]}", "utf-8")
    environ = {
        f"{INDEXED}0_KEY": "from-environment",
        f"{INDEXED}0_NAME": "b",
        f"{INDEXED}1_TYPE": "copilot",
    }
    settings = load(config=path, environ=environ)
    assert settings.gateway.providers == (
        ProviderOptions(type="openai", name="b", keys=(Secret("from-environment"),)),
        ProviderOptions(type="copilot", name="copilot"),
    )
    assert [settings.origin(f"providers.0.{field}") for field in ("type", "name", "keys")] == [
        str(path),
        f"{INDEXED}0_NAME",
        f"{INDEXED}0_KEY",
    ]


def test_bedrock_is_an_anthropic_instance_with_a_region_or_a_base_url() -> None:
    """Every Bedrock key; the pairs stay in their order."""
    (provider,) = providers(
        {
            "0_TYPE": "anthropic",
            "0_NAME": "bedrock",
            "0_BEDROCK_REGION": "eu-central-1",
            "0_BEDROCK_BASE_URL": "https://bedrock.example",
            "0_BEDROCK_ACCESS_KEYS": "id-1,id-2",
            "0_BEDROCK_ACCESS_KEY_SECRETS": "secret-1,secret-2",
            "0_BEDROCK_MODEL": "anthropic.claude-sonnet",
            "0_BEDROCK_SMALL_FAST_MODEL": "anthropic.claude-haiku",
        }
    )
    assert provider == ProviderOptions(
        type="anthropic",
        name="bedrock",
        bedrock_region="eu-central-1",
        bedrock_base_url="https://bedrock.example",
        bedrock_access_keys=(Secret("id-1"), Secret("id-2")),
        bedrock_access_key_secrets=(Secret("secret-1"), Secret("secret-2")),
        bedrock_model="anthropic.claude-sonnet",
        bedrock_small_fast_model="anthropic.claude-haiku",
    )
    assert provider.on_bedrock


@pytest.mark.parametrize(
    "way", [{"BEDROCK_REGION": "eu-central-1"}, {"BEDROCK_BASE_URL": "https://bedrock.example"}]
)
def test_bedrock_needs_no_static_credentials(way: dict[str, str]) -> None:
    """Without a pair the AWS environment gives them; a region or a base URL is enough."""
    (provider,) = providers({"0_TYPE": "anthropic", **{f"0_{name}": value for name, value in way.items()}})
    assert provider.on_bedrock
    assert provider.bedrock_access_keys == ()


@pytest.mark.parametrize("prefix", PREFIXES)
def test_legacy_settings_make_instances_after_the_indexed_ones(prefix: str) -> None:
    """Each legacy setting, beside an instance of another name."""
    environ = {
        f"{prefix}PROVIDER_0_TYPE": "openai",
        f"{prefix}PROVIDER_0_NAME": "openai-eu",
        f"{prefix}OPENAI_KEY": "example-openai",
        f"{prefix}OPENAI_BASE_URL": "https://proxy.example/v1",
        f"{prefix}ANTHROPIC_KEY": "example-anthropic",
        f"{prefix}ANTHROPIC_BASE_URL": "https://proxy.example",
        f"{prefix}BEDROCK_REGION": "us-east-2",
        f"{prefix}BEDROCK_BASE_URL": "https://bedrock.example",
        f"{prefix}BEDROCK_ACCESS_KEY": "id",
        f"{prefix}BEDROCK_ACCESS_KEY_SECRET": "secret",
        f"{prefix}BEDROCK_MODEL": "model",
        f"{prefix}BEDROCK_SMALL_FAST_MODEL": "small",
    }
    settings = load(environ=environ)
    assert settings.gateway.providers == (
        ProviderOptions(type="openai", name="openai-eu"),
        ProviderOptions(
            type="openai",
            name="openai",
            base_url="https://proxy.example/v1",
            keys=(Secret("example-openai"),),
        ),
        ProviderOptions(
            type="anthropic",
            name="anthropic",
            base_url="https://proxy.example",
            keys=(Secret("example-anthropic"),),
            bedrock_region="us-east-2",
            bedrock_base_url="https://bedrock.example",
            bedrock_access_keys=(Secret("id"),),
            bedrock_access_key_secrets=(Secret("secret"),),
            bedrock_model="model",
            bedrock_small_fast_model="small",
        ),
    )
    assert settings.origin("providers.1.keys") == f"{prefix}OPENAI_KEY"
    assert settings.origin("providers.2.bedrock_region") == f"{prefix}BEDROCK_REGION"


def test_legacy_settings_are_flags_and_yaml_too(tmp_path: Path) -> None:
    """`--ai-gateway-openai-key` and `ai_gateway.anthropic_key`."""
    path = tmp_path / "settings.yaml"
    path.write_text("ai_gateway: {anthropic_key: example-anthropic, openai_key: overridden}", "utf-8")
    settings = load({"--ai-gateway-openai-key": "example-openai"}, config=path, environ={})
    assert [provider.keys for provider in settings.gateway.providers] == [
        (Secret("example-openai"),),
        (Secret("example-anthropic"),),
    ]


def test_a_legacy_setting_left_empty_makes_no_instance(tmp_path: Path) -> None:
    """A template with empty values configures nothing."""
    path = tmp_path / "settings.yaml"
    path.write_text("ai_gateway: {openai_key: '', bedrock_region: ''}", "utf-8")
    assert load(config=path, environ={}).gateway == Settings().gateway


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        (
            {"1_TYPE": "openai"},
            f"{INDEXED}1_TYPE leaves a gap: there is no provider 0; rename PROVIDER_1 to PROVIDER_0, or add "
            f"{INDEXED}0_TYPE",
        ),
        (
            {"0_TYPE": "openai", "2_TYPE": "anthropic"},
            f"{INDEXED}2_TYPE leaves a gap: there is no provider 1; rename PROVIDER_2 to PROVIDER_1, or add "
            f"{INDEXED}1_TYPE",
        ),
        (
            {"0_KEY": "canary"},
            f"provider 0 has no type: set {INDEXED}0_TYPE to one of openai, anthropic, copilot, or remove "
            f"{INDEXED}0_KEY",
        ),
        ({"0_TYPE": "canary"}, f"{INDEXED}0_TYPE must be one of openai, anthropic, copilot"),
        (
            {"0_TYPE": "openai", "0_NAME": "Open_AI"},
            f"{INDEXED}0_NAME must be lower-case letters and digits in groups joined by single dashes, such as "
            "openai-eu; rename it",
        ),
        (
            {"0_TYPE": "openai", "0_NAME": "sessions"},
            f"{INDEXED}0_NAME is a name that the gateway's own routes use; rename it",
        ),
        (
            {"0_TYPE": "openai", "0_NAME": "a", "1_TYPE": "anthropic", "1_NAME": "a"},
            "provider 0 and provider 1 are both named a; rename one of them",
        ),
        (
            {"0_TYPE": "openai", "1_TYPE": "anthropic", "1_NAME": "openai"},
            "provider 0 and provider 1 are both named openai; rename one of them",
        ),
        (
            {"0_TYPE": "openai", "1_TYPE": "openai"},
            "provider 0 and provider 1 are both of type openai and both leave out NAME; give one of them a NAME",
        ),
        (
            {"0_TYPE": "openai", "0_BEDROCK_REGION": "eu-central-1"},
            f"{INDEXED}0_BEDROCK_REGION belongs to a provider of type anthropic, and provider 0 is of type openai; "
            "remove it or change the type",
        ),
        (
            {"0_TYPE": "copilot", "0_BEDROCK_ACCESS_KEY": "canary"},
            f"{INDEXED}0_BEDROCK_ACCESS_KEY belongs to a provider of type anthropic, and provider 0 is of type "
            "copilot; remove it or change the type",
        ),
        (
            {"0_TYPE": "anthropic", "0_BEDROCK_REGION": "eu-central-1", "0_BEDROCK_ACCESS_KEY": "canary"},
            f"{INDEXED}0_BEDROCK_ACCESS_KEY is one half of an access key pair (access keys: 1, secrets: 0); "
            "add the missing half or remove it",
        ),
        (
            {
                "0_TYPE": "anthropic",
                "0_BEDROCK_REGION": "eu-central-1",
                "0_BEDROCK_ACCESS_KEY": "canary",
                "0_BEDROCK_ACCESS_KEY_SECRETS": "canary-1,canary-2",
            },
            f"{INDEXED}0_BEDROCK_ACCESS_KEY_SECRETS is one half of an access key pair (access keys: 1, secrets: 2); "
            "add the missing half or remove it",
        ),
        (
            {"0_TYPE": "anthropic", "0_BEDROCK_MODEL": "canary"},
            f"{INDEXED}0_BEDROCK_MODEL needs a place to go: give provider 0 a BEDROCK_REGION or a BEDROCK_BASE_URL, or "
            "remove it",
        ),
        (
            {"0_TYPE": "openai", "0_BASE_URL": "canary.example/v1"},
            f"{INDEXED}0_BASE_URL must be a URL that begins with http:// or https:// and names a host",
        ),
        (
            {"0_TYPE": "anthropic", "0_BEDROCK_BASE_URL": "ftp://canary.example"},
            f"{INDEXED}0_BEDROCK_BASE_URL must be a URL that begins with http:// or https:// and names a host",
        ),
        (
            {"0_TYPE": "openai", "0_KEY": "canary", "0_KEYS": "canary"},
            f"{INDEXED}0_KEY and {INDEXED}0_KEYS set the same option; remove one of them",
        ),
        (
            {"0_TYPE": "openai", "0_KEYS": "canary-1,canary-2,canary-1"},
            f"{INDEXED}0_KEYS holds the same key more than once; remove the duplicate",
        ),
        (
            {"0_TYPE": "openai", "0_KEYS": "canary-1,canary-2,canary-3,canary-4,canary-5,canary-6"},
            f"{INDEXED}0_KEYS holds 6 keys and at most 5 are allowed; remove 1",
        ),
        ({"0_TYPE": "openai", "0_ENABLED": "canary"}, f"{INDEXED}0_ENABLED must be true or false"),
    ],
)
def test_each_contradiction_is_one_sentence_that_says_what_to_do(
    environ: dict[str, str], sentence: str
) -> None:
    """The variable at fault is named, the remedy said, and no value repeated."""
    assert refusal({INDEXED + name: value for name, value in environ.items()}) == sentence


@pytest.mark.parametrize("name", sorted(RESERVED_NAMES))
def test_no_instance_takes_the_place_of_a_route_of_ours(name: str) -> None:
    """Below the prefix stand the management routes too."""
    assert "the gateway's own routes" in refusal({f"{INDEXED}0_TYPE": "openai", f"{INDEXED}0_NAME": name})


@pytest.mark.parametrize("name", ["-a", "a-", "a--b", "a_b", "A", "a.b", "a/b", "ä", "a\nb", "٣"])
def test_a_name_must_be_a_plain_route_segment(name: str) -> None:
    """Nothing that a path could read in two ways."""
    assert refusal({f"{INDEXED}0_TYPE": "openai", f"{INDEXED}0_NAME": name}).startswith(
        f"{INDEXED}0_NAME must"
    )


@pytest.mark.parametrize("setting", LEGACY_SETTINGS, ids=lambda setting: setting.name)
def test_a_legacy_setting_beside_an_indexed_instance_of_its_name_is_refused(setting: LegacySetting) -> None:
    """Both would be the provider of that name; the sentence says which to remove or rename."""
    name, type_name = setting.name, setting.type
    variable = f"CODER_AI_GATEWAY_{name.upper()}"
    value = "https://canary.example" if name.endswith("url") else "canary"
    assert refusal({f"{INDEXED}0_TYPE": type_name, variable: value}) == (
        f"{variable} configures a provider named {type_name}, and so does provider 0; remove {variable}, or give "
        "provider 0 another NAME"
    )


def test_the_legacy_bedrock_settings_are_checked_like_any_other() -> None:
    """Half a pair, and a model without a place to go."""
    assert refusal({"AI_GATEWAY_BEDROCK_REGION": "r", "AI_GATEWAY_BEDROCK_ACCESS_KEY_SECRET": "canary"}) == (
        "AI_GATEWAY_BEDROCK_ACCESS_KEY_SECRET is one half of an access key pair (access keys: 0, secrets: 1); "
        "add the missing half or remove it"
    )
    assert refusal({"AI_GATEWAY_BEDROCK_MODEL": "canary"}) == (
        "AI_GATEWAY_BEDROCK_MODEL needs a place to go: give provider anthropic a BEDROCK_REGION or a "
        "BEDROCK_BASE_URL, or remove it"
    )


def test_every_option_of_an_instance_can_be_given() -> None:
    """No field of the struct is out of reach."""
    assert {field for _, field, _ in INSTANCE_KINDS} == set(ProviderOptions.__struct_fields__)
