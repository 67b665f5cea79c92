"""docker-compose.yaml and the Dockerfile, as far as they can be checked without an engine."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from check_jsonschema.builtin_schemas import get_builtin_schema

REPOSITORY = Path(__file__).parents[1]
COMPOSE = REPOSITORY / "docker-compose.yaml"
TEXT = COMPOSE.read_text(encoding="utf-8")
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
DOCUMENT: dict[str, Any] = yaml.safe_load(TEXT)

SECRET = re.compile(r"PASSWORD|SECRET|FERNET|TOKEN|_AUTH$|KEY$")
SECRET_VALUES = re.compile(r"\$\{(\w+):\?([^}]+)\}")
INTERPOLATION = re.compile(r"(?<!\$)\$\{(\w+)(?:(:?[-?])([^}]*))?\}")


def environment(service: str) -> dict[str, str]:
    return {name: str(value) for name, value in SERVICES[service].get("environment", {}).items()}


def test_it_follows_the_compose_specification() -> None:
    schema = get_builtin_schema("vendor.compose-spec")
    validator = jsonschema.validators.validator_for(schema)(schema)
    assert [error.message for error in validator.iter_errors(DOCUMENT)] == []


def test_the_schema_can_refuse() -> None:
    schema = get_builtin_schema("vendor.compose-spec")
    wrong = {"services": {"web": {"image": "x:1", "depend_on": ["y"]}}}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, schema)


def test_it_has_the_production_shape() -> None:
    by_default = {name for name, service in SERVICES.items() if not service.get("profiles")}
    assert by_default == {
        "postgres",
        "redis",
        "airflow-init",
        "airflow-apiserver",
        "airflow-scheduler",
        "airflow-dag-processor",
        "airflow-worker",
        "airflow-triggerer",
    }
    assert environment("airflow-worker")["AIRFLOW__CORE__EXECUTOR"] == "CeleryExecutor"


def test_what_its_commands_import_is_there() -> None:
    imports = [
        line.strip()
        for service in SERVICES.values()
        for part in service.get("command", [])
        for program in re.findall(r"python -c '([^']+)'", str(part))
        for line in program.splitlines()
        if line.strip().startswith("from retract")
    ]
    assert imports
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(imports)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_local_tenant_runs_only_when_asked_for() -> None:
    in_demo = {name for name, service in SERVICES.items() if service.get("profiles") == ["demo"]}
    assert in_demo == {"local-tenant", "local-tenant-connections"}


def test_ports_are_published_on_loopback_only() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published
    assert [port for port in published if not port.startswith("127.0.0.1:")] == []
    modes = {service.get("network_mode", "service:") for service in SERVICES.values()}
    assert all(mode.startswith("service:") for mode in modes), "the host's network is off limits"


def test_every_secret_is_required_and_none_is_written_down() -> None:
    for service in SERVICES:
        for name, value in environment(service).items():
            if SECRET.search(name):
                found = SECRET_VALUES.fullmatch(value)
                assert found, f"{service}: {name} is not of the form ${{NAME:?what it is}}"
            for credentials in re.findall(r"://[^/@:]*:(.*)@", value):
                assert SECRET_VALUES.fullmatch(credentials), f"{service}: {name}"


def test_secrets_are_nowhere_given_a_default() -> None:
    for name, operator, _ in INTERPOLATION.findall(TEXT):
        assert operator, f"${{{name}}} is empty when it is forgotten"
        if SECRET.search(name):
            assert operator == ":?", f"{name} has a default"


def test_the_example_names_every_variable_and_holds_no_secret() -> None:
    example = (REPOSITORY / ".env.example").read_text(encoding="utf-8")
    given = dict(re.findall(r"^([A-Z_]+)=(.*)$", example, re.MULTILINE))
    mentioned = dict(re.findall(r"^#?([A-Z_]+)=(.*)$", example, re.MULTILINE))
    used = {name: (operator, rest) for name, operator, rest in INTERPOLATION.findall(TEXT)}
    assert set(mentioned) == set(used)
    assert given == {name: "" for name, (operator, _) in used.items() if operator == ":?"}
    defaults = {name: rest for name, (operator, rest) in used.items() if operator == ":-"}
    assert {name: mentioned[name] for name in defaults} == defaults


def test_the_demo_changes_only_what_exists() -> None:
    demo = (REPOSITORY / "docker" / "demo.env").read_text(encoding="utf-8")
    changed = set(re.findall(r"^([A-Z_]+)=", demo, re.MULTILINE))
    assert changed
    assert changed <= {name for name, _, _ in INTERPOLATION.findall(TEXT)}


def test_dependencies_exist_and_conditions_can_come_true() -> None:
    for name, service in SERVICES.items():
        for other, condition in service.get("depends_on", {}).items():
            assert other in SERVICES, f"{name} waits for {other}"
            if condition["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[other], f"{name} waits for {other}'s health"
            if condition["condition"] == "service_completed_successfully":
                assert SERVICES[other]["restart"] == "no", f"{other} never completes"


def test_whatever_goes_on_running_tells_its_health() -> None:
    lasting = {n: s for n, s in SERVICES.items() if s.get("restart") != "no"}
    assert [name for name, service in lasting.items() if "healthcheck" not in service] == []


def test_volumes_are_declared_and_files_exist() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert (REPOSITORY / source).exists(), source
            else:
                assert source in DOCUMENT["volumes"], source


def test_the_run_folders_lie_on_a_volume_shared_with_the_pages() -> None:
    home = environment("airflow-worker")["RETRACT_HOME"]
    assert environment("airflow-apiserver")["RETRACT_HOME"] == home
    for service in ("airflow-worker", "airflow-apiserver"):
        assert any(volume.split(":")[1] == home for volume in SERVICES[service]["volumes"])


def test_only_what_needs_it_holds_the_ledgers_password() -> None:
    holders = {name for name in SERVICES if "RETRACT_LEDGER" in str(environment(name))}
    assert holders == {"postgres", "airflow-init", "airflow-worker"}


def test_airflow_knows_every_airflow_setting() -> None:
    from airflow.configuration import conf

    known = conf.configuration_description
    # Documented by the Celery provider, which only the image has; it has no default, so that
    # Airflow's own list of the provider's defaults leaves it out.
    without_default = {("celery", "result_backend")}
    for service in SERVICES:
        for name in environment(service):
            if name.startswith("AIRFLOW__"):
                _, section, option = name.lower().split("__")
                assert (section, option) in without_default or option in known.get(
                    section, {"options": {}}
                )["options"], f"{service}: {name}"


def test_retract_knows_every_retract_setting() -> None:
    from retract.installation import Settings

    for service in SERVICES:
        for name in environment(service):
            if name.startswith("RETRACT_") and service != "postgres":
                assert name.removeprefix("RETRACT_").lower() in Settings.model_fields


def scripts() -> list[tuple[str, str]]:
    """Each service's inline shell script, as the container will see it."""
    return [
        (name, service["command"][2].replace("$$", "$"))
        for name, service in SERVICES.items()
        if isinstance(service.get("command"), list) and service["command"][1] == "-c"
    ]


@pytest.mark.parametrize(("service", "script"), scripts())
def test_inline_scripts_are_shell(service: str, script: str) -> None:
    checked = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True)
    assert checked.returncode == 0, checked.stderr
    assert script.startswith("set -eu\n") or "\n" not in script, "a failed line must end it"
    for python in re.findall(r"python -c '([^']*)'", script):
        compile(python, service, "exec")


def test_images_are_pinned() -> None:
    images = {service["image"] for service in SERVICES.values()}
    images |= set(re.findall(r"^FROM (\S+)", (REPOSITORY / "Dockerfile").read_text(), re.MULTILINE))
    for image in images:
        tag = image.removesuffix("}").rpartition(":")[2]
        assert re.search(r"\d", tag), f"{image} may be anything tomorrow"


def test_the_image_has_the_airflow_and_the_python_of_the_pins() -> None:
    base = re.search(
        r"^FROM apache/airflow:slim-([\d.]+)-python([\d.]+)$",
        (REPOSITORY / "Dockerfile").read_text(),
        re.MULTILINE,
    )
    pins = (REPOSITORY / "requirements-production.txt").read_text()
    assert base
    assert f"\napache-airflow=={base[1]}\n" in pins
    assert base[2] == "3.11"


def test_production_runs_what_was_tested() -> None:
    def pins(name: str) -> dict[str, str]:
        text = (REPOSITORY / name).read_text()
        return dict(re.findall(r"^([a-z0-9.-]+)==(\S+)$", text, re.MULTILINE))

    runtime = pins("requirements.txt")
    assert runtime
    assert runtime.items() <= pins("requirements-production.txt").items()
    assert runtime.items() <= pins("requirements-dev.txt").items()


def test_nothing_in_the_image_runs_as_root() -> None:
    users = re.findall(r"^USER (\S+)", (REPOSITORY / "Dockerfile").read_text(), re.MULTILINE)
    assert users[-1] == "airflow"
    assert [name for name, service in SERVICES.items() if "user" in service] == []


def test_the_image_gets_only_what_it_is_made_of() -> None:
    ignore = (REPOSITORY / ".dockerignore").read_text().splitlines()
    allowed = {line.removeprefix("!") for line in ignore if line.startswith("!")}
    copied = re.findall(
        r"^COPY --chown=airflow:0 (\S+) ", (REPOSITORY / "Dockerfile").read_text(), re.MULTILINE
    )
    assert "*" in ignore
    assert set(copied) == allowed
