"""docs/monitoring against the metrics that the service really exposes. scripts/check asks promtool as well."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from metrics_example import families, make_full_metrics

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "monitoring"
README = (FOLDER / "README.md").read_text()
RULES = [r for g in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"] for r in g["rules"]]
ALERTS = [rule for rule in RULES if "alert" in rule]
DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text())
EXPOSED = families(make_full_metrics())

METRIC = r"\b(?:up|(?:transcriber|process)[_:][a-zA-Z0-9_:]+)\b"
#: Given by Prometheus itself to every series of a target.
TARGET_LABELS = {"job", "instance"}
DURATION = r"(?:\d+(?:ms|s|m|h|d|w|y))+"


def samples() -> dict[str, set[str]]:
    """Every name of a sample, with its labels."""
    found: dict[str, set[str]] = {}
    for family in EXPOSED.values():
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def label_values(label: str) -> set[str]:
    found = (s.labels.get(label) for family in EXPOSED.values() for s in family.samples)
    return {value for value in found if value is not None}


SAMPLES = samples()
RECORDED = {rule["record"]: TARGET_LABELS | {"device", "model"} for rule in RULES if "record" in rule}
KNOWN = SAMPLES | RECORDED | {"up": set()}


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


EXPRESSIONS = [
    *(rule["expr"] for rule in RULES),
    *(target["expr"] for panel in panels() for target in panel["targets"]),
    *(v["definition"] for v in DASHBOARD["templating"]["list"] if v["type"] == "query"),
]


def without_strings(expression: str) -> str:
    return re.sub(r'"[^"]*"', '""', expression)


def test_every_metric_has_its_line_with_its_type_and_labels() -> None:
    lines = {
        name: (kind, set(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels in re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]*) ?\|", README, re.MULTILINE)
    }
    exposed = {
        name: (family.type, {label for s in family.samples for label in s.labels} - {"le"})
        for name, family in EXPOSED.items()
    }

    assert lines == exposed


def test_example_leaves_no_metric_without_a_sample() -> None:
    assert [name for name, family in EXPOSED.items() if not family.samples] == []


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_expression_names_only_what_is_exposed(expression: str) -> None:
    named = re.findall(METRIC, without_strings(expression))

    assert named
    assert [name for name in named if name not in KNOWN] == []


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_selectors_ask_for_labels_that_the_metric_has(expression: str) -> None:
    for name, inside in re.findall(rf"({METRIC}){{([^}}]*)}}", expression):
        for label, operator, value in re.findall(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"', inside):
            assert label in KNOWN[name] | TARGET_LABELS, f"{name} has no label {label}"
            if operator == "=" and label not in TARGET_LABELS:
                assert value in label_values(label), f"{name} never has {label}={value!r}"


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_grouping_goes_by_labels_of_the_metrics_grouped(expression: str) -> None:
    plain = without_strings(expression)
    there = TARGET_LABELS | {"le"}.union(*(KNOWN[name] for name in re.findall(METRIC, plain)))

    for labels in re.findall(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)", plain):
        assert {label.strip() for label in labels.split(",")} <= there


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_brackets_close_and_ranges_are_durations(expression: str) -> None:
    plain = without_strings(expression)

    for opening, closing in ("()", "[]", "{}"):
        assert plain.count(opening) == plain.count(closing)
    for within in re.findall(r"\[([^\]]*)\]", plain):
        assert re.fullmatch(rf"{DURATION}|\$__rate_interval", within), within


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_counters_are_read_through_a_rate_save_the_one_that_must_stay_zero(expression: str) -> None:
    counters = {name for name, family in EXPOSED.items() if family.type == "counter"}
    for name in counters.intersection(re.findall(METRIC, expression)):
        rated = re.search(rf"(?:rate|increase)\({name}(?:{{[^}}]*}})?\[", expression)
        assert rated or 'reason="none_given"' in expression, name


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_alert_is_whole(alert: dict[str, Any]) -> None:
    assert set(alert) <= {"alert", "expr", "for", "labels", "annotations"}
    assert re.fullmatch(r"Transcriber[A-Z]\w+", alert["alert"])
    assert alert["labels"]["severity"] in ("critical", "warning")
    assert set(alert["annotations"]) == {"summary", "description"}
    assert re.fullmatch(DURATION, alert.get("for", "1m"))


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_alert_shows_only_labels_that_its_expression_has(alert: dict[str, Any]) -> None:
    named = re.findall(METRIC, without_strings(alert["expr"]))
    there = TARGET_LABELS.union(*(KNOWN[name] for name in named))

    for text in alert["annotations"].values():
        assert set(re.findall(r"\$labels\.(\w+)", text)) <= there


def test_every_alert_has_its_line_and_its_own_name() -> None:
    names = [alert["alert"] for alert in ALERTS]

    assert re.findall(r"^\| `(Transcriber\w+)`", README, re.MULTILINE) == names
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_every_alert_has_first_steps(alert: dict[str, Any]) -> None:
    row = next(line for line in README.splitlines() if line.startswith(f"| `{alert['alert']}` |"))

    cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]

    assert len(cells) == 3
    assert len(cells[2]) > 20


def test_every_alert_has_a_promtool_test() -> None:
    text = (ROOT / "tests" / "data" / "alerts_test.yml").read_text()

    assert [alert["alert"] for alert in ALERTS if alert["alert"] not in text] == []


def test_codes_and_addresses_that_alerts_speak_of_exist() -> None:
    text = (FOLDER / "alerts.yml").read_text() + README
    settings = (ROOT / "docs" / "settings.md").read_text()

    assert [name for name in set(re.findall(r"WHISPER_[A-Z_]+", text)) if name not in settings] == []
    for target in re.findall(r"\]\((\S+?)\)", README):
        assert (FOLDER / target).exists(), target


def test_dashboard_is_ready_for_import() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    source = {"type": "prometheus", "uid": "${datasource}"}

    assert DASHBOARD["title"] == "Transcriber"
    assert DASHBOARD["schemaVersion"] >= 36
    assert len(set(ids)) == len(ids)
    assert [v["name"] for v in DASHBOARD["templating"]["list"]] == ["datasource", "job", "instance"]
    for panel in panels():
        assert panel["datasource"] == source
        assert all(target["datasource"] == source for target in panel["targets"])
        refs = [target["refId"] for target in panel["targets"]]
        assert refs == sorted(set(refs))


def test_panels_of_the_dashboard_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + dx, at["y"] + dy) for dx in range(at["w"]) for dy in range(at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not taken & cells, panel["title"]
        taken |= cells


def test_every_metric_of_ours_is_on_the_dashboard_or_in_an_alert() -> None:
    used = " ".join(EXPRESSIONS)

    unused = [name for name in EXPOSED if name.startswith("transcriber_") and name not in used]
    assert unused == ["transcriber_gpu_memory_free_bytes", "transcriber_gpu_readings_age_seconds"]
