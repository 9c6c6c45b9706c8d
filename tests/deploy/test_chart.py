"""The Helm chart: what it renders is valid, closed, and says what the gateway understands.

The schemas of Kubernetes are those of the oldest version that the chart allows and of the newest that the validator
knows.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest
import yaml

from gateway.settings import load
from tests.deploy.conftest import Run
from tests.deploy.files import CHART

OLDEST: Final = "1.30.0"
NEWEST: Final = "1.37.0"
ALL_ON: Final = Path(__file__).with_name("values-all-on.yaml")

Objects: TypeAlias = dict[str, dict[str, Any]]
Render: TypeAlias = Callable[..., Objects]


@pytest.fixture
def render(run: Run) -> Render:
    """What `helm template` makes, by kind; of two services that of the replicas is `Replicas`."""

    def rendered(*arguments: str | Path) -> Objects:
        text = run("helm", "template", "gw", CHART, "--kube-version", OLDEST, *arguments)
        objects = [one for one in yaml.safe_load_all(text) if one]
        return {
            "Replicas" if one["metadata"]["name"].endswith("-replicas") else one["kind"]: one
            for one in objects
        }

    return rendered


@pytest.mark.parametrize("values", [(), ("--values", ALL_ON)], ids=["defaults", "all on"])
def test_helm_has_nothing_to_say(run: Run, values: tuple[str | Path, ...]) -> None:
    """`helm lint`, where a warning is an error."""
    said = run("helm", "lint", "--strict", "--quiet", "--kube-version", OLDEST, CHART, *values)
    assert "ERROR" not in said
    assert "WARNING" not in said


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("values", [(), ("--values", ALL_ON)], ids=["defaults", "all on"])
def test_kubernetes_would_take_every_object(
    run: Run, tmp_path: Path, values: tuple[str | Path, ...], version: str
) -> None:
    """Strictly: a field that the schema doesn't know is an error. Only the Prometheus operator's have none."""
    manifest = tmp_path / "manifest.yaml"
    manifest.write_text(run("helm", "template", "gw", CHART, "--kube-version", version, *values))
    said = run("kubernetes-validate", "--strict", "--kubernetes-version", version, manifest)
    unknown = [line for line in said.splitlines() if line.startswith("WARN")]
    assert [line for line in unknown if "monitoring.coreos.com" not in line] == []
    assert "passed for resource statefulset/gw-ai-gateway" in said


def test_the_settings_of_the_chart_are_the_gateways(render: Render, tmp_path: Path) -> None:
    """The ConfigMap and the variables, read as the container reads them."""
    objects = render()
    config = tmp_path / "settings.yaml"
    config.write_text(objects["ConfigMap"]["data"]["settings.yaml"])
    (tmp_path / "database-url").write_text("postgresql://gateway:fake@postgres/gateway")
    variables = {one["name"]: one["value"] for one in container(objects)["env"]}
    variables["AI_GATEWAY_DATABASE_URL_FILE"] = str(tmp_path / "database-url")

    settings = load({}, config=config, environ=variables)

    used = {name.removeprefix("AI_GATEWAY_").removesuffix("_FILE").lower() for name in variables}
    assert {settings.origin(name).partition(" ")[0] for name in used} == set(variables)
    assert settings.host == "0.0.0.0"
    assert settings.metrics_address == "0.0.0.0:9464"


def container(objects: Objects) -> dict[str, Any]:
    found: dict[str, Any] = objects["StatefulSet"]["spec"]["template"]["spec"]["containers"][0]
    return found


def test_a_pod_has_time_to_end_its_streams_and_to_store_its_records(render: Render) -> None:
    """Kubernetes kills what is left after the grace; the pause before the signal counts too."""
    objects = render("--set", "shutdownGraceSeconds=300,preStopSeconds=7,drainSeconds=20")
    pod = objects["StatefulSet"]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == 327
    assert {"name": "AI_GATEWAY_SHUTDOWN_GRACE", "value": "300s"} in container(objects)["env"]


def test_probes_ask_what_they_are_for(render: Render) -> None:
    """A gateway that isn't ready must not be restarted for it."""
    probed = container(render())
    paths = {kind: probed[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness", "liveness")}
    assert paths == {"startup": "/healthz", "readiness": "/readyz", "liveness": "/healthz"}


def test_a_pod_can_do_nothing_that_it_need_not(render: Render) -> None:
    """What the restricted profile of Kubernetes asks for, and a file system that can't be written."""
    objects = render("--values", ALL_ON)
    pod = objects["StatefulSet"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert container(objects)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_no_secret_is_in_what_is_rendered(render: Render) -> None:
    """The chart makes no Secret and puts none into a variable: files of existing ones are mounted."""
    objects = render("--values", ALL_ON)
    assert "Secret" not in objects
    sources = next(
        volume["projected"]["sources"]
        for volume in objects["StatefulSet"]["spec"]["template"]["spec"]["volumes"]
        if volume["name"] == "secrets"
    )
    assert [source["secret"]["name"] for source in sources] == ["gateway-secrets", "provider-keys"]


@pytest.mark.parametrize(
    "refused",
    [
        "settings.ai_gateway.database_url=sqlite:///x.db",
        "settings.ai_gateway.providers[0].type=openai,settings.ai_gateway.providers[0].key=sk-fake",
        "replica=3",
        "image.digest=latest",
        "metrics.port=0",
    ],
)
def test_values_that_can_not_be_meant_are_refused(run: Run, refused: str) -> None:
    """Secrets inline, misspelt names, what is out of range: by the schema, before anything is installed."""
    said = run("helm", "template", "gw", CHART, "--kube-version", OLDEST, "--set", refused, status=1)
    assert "values don't meet the specifications of the schema" in said


def test_autoscaling_and_a_number_of_replicas_do_not_fight(render: Render) -> None:
    """A number in the manifest would undo the autoscaler's at each upgrade."""
    assert render()["StatefulSet"]["spec"]["replicas"] == 2
    objects = render("--values", ALL_ON)
    assert "replicas" not in objects["StatefulSet"]["spec"]
    scaled = objects["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert (scaled["kind"], scaled["name"]) == ("StatefulSet", objects["StatefulSet"]["metadata"]["name"])


def test_selectors_find_the_pods(render: Render) -> None:
    """Services, policy, budget and monitor choose by labels that the pods or their service have."""
    objects = render("--values", ALL_ON)
    pod = objects["StatefulSet"]["spec"]["template"]["metadata"]["labels"].items()
    for kind in ("Service", "Replicas"):
        assert objects[kind]["spec"]["selector"].items() <= pod
    assert objects["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"].items() <= pod
    assert objects["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"].items() <= pod
    monitored = objects["ServiceMonitor"]["spec"]["selector"]["matchLabels"].items()
    assert monitored <= objects["Replicas"]["metadata"]["labels"].items()
    assert not monitored <= objects["Service"]["metadata"]["labels"].items()


def test_metrics_can_be_left_out(render: Render) -> None:
    """Then nothing listens for Prometheus, and nobody is let in for it."""
    text = json.dumps(render("--set", "metrics.enabled=false"))
    assert "9464" not in text
    assert '"metrics"' not in text


def test_every_value_is_in_the_schema() -> None:
    """What is documented can be set, and what can be set is documented."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert set(schema["properties"]) - {"global"} == set(values)
