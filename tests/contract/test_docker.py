"""The container files name only what exists: files, modules, commands and settings."""

import importlib.util
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text()
ENTRYPOINT = (ROOT / "docker" / "entrypoint").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())
OURS = [name for name, service in COMPOSE["services"].items() if service["image"] == "catbird-mls"]
ORIGINAL_VARIABLES = {
    "DATABASE_URL",
    "REDIS_URL",
    "JWT_SECRET",
    "SERVER_PORT",
    "SERVICE_DID",
    "ENABLE_ACTOR_SYSTEM",
}


def settings_read() -> set[str]:
    source = (ROOT / "catbird_mls" / "settings.py").read_text()
    return set(re.findall(r'_(?:text|number|switch)\("([A-Z_]+)"', source))


def copied_from_the_repository() -> list[str]:
    lines = re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
    return [source for line in lines for source in line.split()[:-1]]


@pytest.mark.parametrize("source", copied_from_the_repository())
def test_what_the_image_copies_exists_and_is_not_ignored(source: str) -> None:
    assert (ROOT / source).exists()
    assert f"!{source}" in (ROOT / ".dockerignore").read_text().splitlines()


def test_every_part_of_the_server_is_in_the_image() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "bench"}
    read = {name for name in ("lexicons", "templates") if (ROOT / name).exists()}
    assert packages | read <= set(copied_from_the_repository())


@pytest.mark.parametrize("name", OURS)
def test_each_container_runs_a_command_of_the_entrypoint_and_starts_again(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["command"] == [name]
    assert re.search(rf"^{name}\)$", ENTRYPOINT, re.MULTILINE)
    assert service["restart"] in {"unless-stopped", "on-failure"}


def test_one_image_has_the_four_commands() -> None:
    assert sorted(OURS) == ["beat", "migrate", "web", "worker"]


@pytest.mark.parametrize("name", OURS)
def test_containers_are_configured_with_variables_the_server_reads(name: str) -> None:
    given = set(COMPOSE["services"][name]["environment"])
    assert given >= ORIGINAL_VARIABLES
    assert given - ORIGINAL_VARIABLES <= settings_read()


def test_variables_of_the_image_and_the_entrypoint_are_read_by_the_server() -> None:
    used = set(re.findall(r"\b((?:CATBIRD|SERVER)_[A-Z_]+)\b", DOCKERFILE + ENTRYPOINT))
    assert used <= settings_read()


def test_dependencies_between_containers_exist_and_have_a_health_check() -> None:
    services = COMPOSE["services"]
    for service in services.values():
        for needed, condition in service.get("depends_on", {}).items():
            healthy = condition["condition"] == "service_healthy"
            assert not healthy or "test" in services[needed]["healthcheck"]


def test_volumes_are_declared() -> None:
    used = {volume.split(":")[0] for service in COMPOSE["services"].values() for volume in service.get("volumes", [])}
    assert used == set(COMPOSE["volumes"])


def test_the_image_runs_as_nobody_special_and_asks_for_its_health() -> None:
    assert re.findall(r"^USER (.+)$", DOCKERFILE, re.MULTILINE) == ["catbird"]
    assert "HEALTHCHECK" in DOCKERFILE
    assert "/health/live" in ENTRYPOINT


def test_modules_the_entrypoint_starts_exist() -> None:
    assert "uvicorn catbird_mls.asgi:application" in ENTRYPOINT
    assert ENTRYPOINT.count("celery -A catbird_mls ") == 2
    assert all(importlib.util.find_spec(name) for name in ("catbird_mls.asgi", "catbird_mls.celery"))


def test_the_entrypoint_is_a_shell_program_anyone_may_run() -> None:
    path = ROOT / "docker" / "entrypoint"
    assert path.stat().st_mode & 0o555 == 0o555
    subprocess.run(["sh", "-n", str(path)], check=True)


def test_tools_have_the_versions_that_checks_run_with() -> None:
    pinned = (ROOT / "requirements-dev.txt").read_text()
    maturin = re.search(r"maturin==(\S+)", DOCKERFILE)
    assert maturin is not None
    assert f"maturin=={maturin[1]} " in pinned
    uv = re.search(r"uv==(\S+)", DOCKERFILE)
    assert uv is not None
    assert f"UV_VERSION := {uv[1]}\n" in (ROOT / "Makefile").read_text()
