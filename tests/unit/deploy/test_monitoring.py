"""Dashboard and alert rules speak of figures that exist, in PromQL that parses."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from scheduler.figures import GAUGES, SLOW
from scheduler.metrics import COUNTERS, names

ROOT = Path(__file__).parents[3]
RULES = ROOT / "deploy" / "prometheus"
BOARD = json.loads((ROOT / "deploy" / "grafana" / "schedulerx.json").read_text())
NAME = re.compile(r"\bschedulerx_[a-z0-9_]+")
LABELS: dict[str, set[str]] = {
    **{one.name: set(one.labels) for one in (*GAUGES, *SLOW)},
    **{f"{name}_total": set(labels) for _, name, _, labels in COUNTERS},
    "schedulerx_lateness_seconds_bucket": {"platform", "le"},
    "schedulerx_health_level": {"check"},
    "schedulerx_queue_depth": {"queue"},
}


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((RULES / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def queries() -> list[tuple[str, str]]:
    """(where, PromQL) of every panel and every rule."""
    found = [(rule["alert"], rule["expr"]) for rule in rules()]
    for panel in BOARD["panels"]:
        found += [(panel["title"], target["expr"]) for target in panel.get("targets", [])]
    return found


@pytest.mark.parametrize(("where", "query"), queries())
def test_a_query_speaks_of_figures_and_labels_that_exist(where: str, query: str) -> None:
    assert set(NAME.findall(query)) <= names()
    for name, matchers in re.findall(r"(schedulerx_[a-z0-9_]+)\{([^}]*)\}", query):
        used = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
        assert used <= LABELS[name], f"{where}: {name} has no {used - LABELS[name]}"
    assert query.count("(") == query.count(")")
    grouped = {label.strip() for labels in re.findall(r"\bby \(([^)]*)\)", query) for label in labels.split(",")}
    known = {label for one in NAME.findall(query) for label in LABELS.get(one, set())}
    assert grouped <= known, f"{where}: nothing has {grouped - known}"


def test_every_figure_is_shown_or_watched() -> None:
    shown = {name for _, query in queries() for name in NAME.findall(query)}
    quiet = {"schedulerx_lateness_seconds_sum", "schedulerx_lateness_seconds_count", "schedulerx_database_up"}
    quiet |= {"schedulerx_broker_up", "schedulerx_account_limited_seconds", "schedulerx_paused"}
    assert names() - shown - quiet == set()


def test_each_alert_is_explained_in_the_operating_guide() -> None:
    guide = (ROOT / "docs" / "operating.md").read_text()
    for rule in rules():
        assert rule["alert"] in guide, rule["alert"]
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert {"summary", "description"} <= set(rule["annotations"])


def test_the_dashboards_panels_neither_overlap_nor_share_an_id() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in BOARD["panels"]:
        at = panel["gridPos"]
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                assert 0 <= x < 24, panel["title"]
                assert (x, y) not in taken, f"{panel['title']} over {taken.get((x, y))}"
                taken[x, y] = panel["title"]
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("words", [("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")])
def test_promtool_likes_the_rules(words: tuple[str, ...]) -> None:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not here (it comes with the package prometheus)")
    done = subprocess.run([found, *words], cwd=RULES, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_parses_every_query_of_the_dashboard(tmp_path: Path) -> None:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not here (it comes with the package prometheus)")
    plain = [query.replace("$__rate_interval", "5m").replace("$platform", ".*") for _, query in queries()]
    made = {"groups": [{"name": "panels", "rules": [
        {"record": f"panel:{number}", "expr": query} for number, query in enumerate(plain)]}]}  # fmt: skip
    (tmp_path / "panels.yml").write_text(yaml.safe_dump(made))
    done = subprocess.run(
        [found, "check", "rules", "panels.yml"], cwd=tmp_path, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
