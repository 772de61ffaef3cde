"""Compose and image say what `schedulerx up` does; nothing listens beyond this machine without a word."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from scheduler.health import QUEUES
from stack.programs import default_programs, worker_shapes

ROOT = Path(__file__).parents[3]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
OURS = {name: one for name, one in SERVICES.items() if one.get("image") == "schedulerx:latest"}


def seconds(value: str) -> float:
    return float(value.removesuffix("s"))


def test_a_container_runs_what_up_runs() -> None:
    made = default_programs(
        beat_schedule="/data/beat-schedule", spool_id="compose", cores="2",
        publishers="${SCHEDULERX_PUBLISH_PROCESSES:-2}", flower_port="5555",
        flower_db="/data/flower.db", monitor_port="9808", python="python",
    )  # fmt: skip
    for program in made:
        words = [word for word in SERVICES[program.name]["command"] if word != "--host=0.0.0.0"]
        wanted = list(program.argv)
        if program.name == "flower":
            wanted = [word.replace("127.0.0.1", "0.0.0.0") for word in wanted]  # noqa: S104 - as the container has it
        assert words == wanted


@pytest.mark.parametrize("shape", worker_shapes("2", "compose", "2"), ids=lambda shape: shape.name)
def test_a_call_under_way_is_given_its_time(shape: Any) -> None:
    assert seconds(SERVICES[shape.name]["stop_grace_period"]) > shape.grace_s


def test_migrations_come_first_and_every_service_has_a_check() -> None:
    for name, one in OURS.items():
        if name != "migrate":
            assert one["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
            assert one["healthcheck"]["test"][0] == "CMD"
    for queue in ("beat", *QUEUES):
        assert SERVICES[queue]["healthcheck"]["test"] == ["CMD", "schedulerx", "health", "--worker", queue]
    assert SERVICES["monitor"]["healthcheck"]["test"] == ["CMD", "schedulerx", "health"]


def test_only_loopback_is_published_and_never_without_a_word() -> None:
    for one in SERVICES.values():
        for port in one.get("ports", []):
            assert port.startswith("127.0.0.1:")
    text = (ROOT / "docker-compose.yml").read_text()
    for name in ("POSTGRES_PASSWORD", "REDIS_PASSWORD", "FLOWER_BASIC_AUTH", "SCHEDULERX_MONITOR_TOKEN"):
        assert re.search(rf"\$\{{{name}:\?", text), f"compose must refuse to start without {name}"
    assert SERVICES["flower"]["environment"]["FLOWER_UNAUTHENTICATED_API"] == "false"


def test_every_variable_is_in_the_example() -> None:
    example = (ROOT / ".env.example").read_text()
    asked = set(re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.yml").read_text().replace("$${", "")))
    assert all(f"{name}=" in example for name in asked)
    assert not re.search(r"^\w*(PASSWORD|KEY|TOKEN|AUTH)=.+", example, re.MULTILINE), "no default secret"


def test_hints_survive_and_are_never_evicted() -> None:
    words = " ".join(SERVICES["redis"]["command"])
    assert "--appendonly yes" in words
    assert "--maxmemory-policy noeviction" in words


def test_containers_may_do_little() -> None:
    for one in OURS.values():
        assert (one["read_only"], one["cap_drop"]) == (True, ["ALL"])


# --- The image ----------------------------------------------------------------------------------------------


def instructions() -> list[tuple[str, str]]:
    """(instruction, rest), continued lines joined."""
    joined = DOCKERFILE.replace("\\\n", " ")
    lines = [line for line in joined.splitlines() if line.strip() and not line.startswith("#")]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


def test_the_image_copies_what_is_there_and_packed() -> None:
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    copied = [shlex.split(rest)[:-1] for word, rest in instructions() if word == "COPY" and "--from" not in rest]
    for source in (one for words in copied for one in words):
        assert (ROOT / source).exists()
        assert f"!{source}" in ignore
    packed = re.search(r"only-include = \[([^\]]*)\]", (ROOT / "pyproject.toml").read_text())
    assert packed is not None
    for name in re.findall(r'"([^"]+)"', packed[1]):
        assert f"!{name}" in ignore


def test_the_image_is_pinned_small_and_not_root() -> None:
    made = instructions()
    assert all(":" in rest for word, rest in made if word == "FROM")
    assert [rest for word, rest in made if word == "USER"] == ["10001:10001"]
    last = max(number for number, (word, _) in enumerate(made) if word == "FROM")
    assert not any("pip" in rest for word, rest in made[last:] if word == "RUN")
    assert any("--require-hashes" in rest for word, rest in made if word == "RUN")
    assert not any(re.search(r"(?i)password|secret|token", rest) for word, rest in made if word in {"ENV", "ARG"})
