"""Prometheus' configuration and its alerts, by Prometheus' own tool."""

from __future__ import annotations

import re

import yaml

from tests.deploy.conftest import Run
from tests.deploy.files import ALERTS, CHART, JOB, PROMETHEUS, alerts


def test_every_alert_says_how_bad_it_is_and_what_to_do() -> None:
    """It is read by somebody who was asleep a minute ago."""
    for rule in alerts():
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert set(rule["annotations"]) == {"summary", "description"}


def test_every_alert_is_shown_to_fire() -> None:
    """The rules' own tests name each of them."""
    tests = (ALERTS.parent / "alerts_test.yml").read_text()
    fired = set(re.findall(r'alertname="(\w+)"', tests))
    assert fired == {rule["alert"] for rule in alerts()}


def test_the_chart_carries_the_same_alerts() -> None:
    """A chart can read nothing outside of its folder, so it has a copy."""
    assert (CHART / "alerts.yml").read_text() == ALERTS.read_text()


def test_the_configuration_scrapes_the_job_that_is_asked_for() -> None:
    """Dashboard and alerts name the job."""
    jobs = [job["job_name"] for job in yaml.safe_load(PROMETHEUS.read_text())["scrape_configs"]]
    assert JOB in jobs


def test_promtool_takes_the_configuration_and_the_rules(run: Run) -> None:
    """With the rules that the configuration names."""
    said = run("promtool", "check", "config", "--lint=all", PROMETHEUS.name, cwd=PROMETHEUS.parent)
    assert "SUCCESS" in said


def test_alerts_fire_on_what_they_are_for_and_on_nothing_else(run: Run) -> None:
    """Unit tests of the rules, with series made up for them."""
    run("promtool", "test", "rules", "alerts_test.yml", cwd=ALERTS.parent)
