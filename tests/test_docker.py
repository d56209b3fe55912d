"""docker/: what can be checked of the image and the compose file without building them."""

from __future__ import annotations

import importlib.util
import json
import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow.cli import cli as mlflow_cli
from packaging.specifiers import SpecifierSet
from ray.scripts.scripts import cli as ray_cli

ROOT = Path(__file__).resolve().parents[1]
DOCKER = ROOT / "docker"
CLIS = {"ray": ray_cli, "mlflow": mlflow_cli}
VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?P<rule>:[-?])?(?P<text>[^}]*)\}")
Service = dict[str, Any]


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile: (name, arguments), continued lines joined."""
    lines = [line for line in dockerfile.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\s*\\\n\s*", " ", "\n".join(lines))
    return [(name.upper(), rest.strip()) for name, _, rest in (line.partition(" ") for line in joined.splitlines())]


def is_ignored(path: str, patterns: str) -> bool:
    """Docker's rule: the last pattern that matches the path or a folder above it decides."""
    ignored = False
    parts = Path(path).parts
    candidates = ["/".join(parts[: depth + 1]) for depth in range(len(parts))]
    for line in patterns.splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        negated, pattern = pattern.startswith("!"), pattern.lstrip("!").strip("/")
        regex = re.escape(pattern).replace(r"\*\*/", "(.*/)?").replace(r"\*\*", ".*")
        regex = regex.replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
        if any(re.fullmatch(regex, candidate) for candidate in candidates):
            ignored = not negated
    return ignored


def dockerfile_problems(dockerfile: str, ignore: str) -> list[str]:
    problems = []
    steps = instructions(dockerfile)
    for name, arguments in steps:
        if name == "ADD":
            problems.append(f"ADD {arguments}: COPY does all that is needed, and fetches nothing")
        if name == "COPY" and "--from" not in arguments:
            for source in arguments.split()[:-1]:
                if not (ROOT / source).exists():
                    problems.append(f"COPY {source}: not in the repository")
                elif is_ignored(source, ignore):
                    problems.append(f"COPY {source}: excluded by Dockerfile.dockerignore")
        if name in {"ARG", "ENV"} and re.search(r"(TOKEN|SECRET|PASSWORD|KEY)\w*=", arguments):
            problems.append(f"{name} {arguments}: a secret would stay in the image")
    users = [arguments for name, arguments in steps if name == "USER"]
    if not users or not re.fullmatch(r"[1-9]\d*(:[1-9]\d*)?", users[-1]):
        problems.append(f"ends as user {users[-1] if users else 'root'}, not as a fixed uid")
    names = [name for name, _ in steps]
    installs = next(number for number, (name, rest) in enumerate(steps) if name == "RUN" and "-r /app/req" in rest)
    if ("COPY", "dabo_ray dabo_ray") not in steps[installs:]:
        problems.append("the code is not copied, or before the requirements are installed")
    if names.count("FROM") != 1 or not re.fullmatch(r"python:\d\.\d+-slim\S*", steps[0][1]):
        problems.append(f"starts from {steps[0][1]}")
    return problems


def resolve(text: str) -> str:
    """Compose's variables with their defaults, or their own name where one has to be set."""
    return VARIABLE.sub(lambda found: found["text"] if found["rule"] == ":-" else found["name"], text)


def command_problems(words: list[str]) -> list[str]:
    """Names a program, a module or an option that does not exist."""
    if words[:2] == ["python", "-m"]:
        return [] if importlib.util.find_spec(words[2]) else [f"no module {words[2]}"]
    if words[0] not in CLIS or not entry_points(group="console_scripts", name=words[0]):
        return [f"unknown program {words[0]}"]
    command = CLIS[words[0]].commands.get(words[1])
    if command is None:
        return [f"no command {' '.join(words[:2])}"]
    known = {option for parameter in command.params for option in parameter.opts}
    used = [word.split("=")[0] for word in words[2:]]
    return [f"{' '.join(words[:2])} has no {option}" for option in used if option not in known]


def service_problems(name: str, service: Service, volumes: set[str]) -> Iterator[str]:
    yield from (f"{name}: {problem}" for problem in command_problems([resolve(word) for word in service["command"]]))
    for port in service.get("ports", []):
        if not re.fullmatch(r"127\.0\.0\.1:\d+:\d+", str(port)):
            yield f"{name}: port {port} is published beyond this machine"
    for volume in service.get("volumes", []):
        if volume.split(":")[0] not in volumes:
            yield f"{name}: volume {volume} is not declared"
    build = service["build"]
    if not (DOCKER / build["context"] / build["dockerfile"]).is_file():
        yield f"{name}: no {build['dockerfile']} in {build['context']}"
    if "healthcheck" not in service:
        yield f"{name}: nothing says when it is healthy"
    if service["cap_drop"] != ["ALL"] or "no-new-privileges:true" not in service["security_opt"]:
        yield f"{name}: has more rights than it needs"


def ray_problems(name: str, service: Service) -> Iterator[str]:
    environment = service.get("environment", {})
    token = VARIABLE.fullmatch(environment.get("RAY_AUTH_TOKEN", ""))
    if environment.get("RAY_AUTH_MODE") != "token" or not token or token["rule"] != ":?":
        yield f"{name}: starts without a token of the user's"
    if "shared:/mnt/shared" not in service["volumes"]:
        yield f"{name}: does not see the shared storage"
    if "shm_size" not in service:
        yield f"{name}: Ray's object store does not fit into 64 MB"


def compose_problems(compose: dict[str, Any]) -> list[str]:
    services = compose["services"]
    problems: list[str] = []
    for name, service in services.items():
        problems += service_problems(name, service, set(compose["volumes"]))
        problems += [
            f"{name}: waits for unknown {other}" for other in service.get("depends_on", {}) if other not in services
        ]
    for name in ("head", "worker"):
        problems += ray_problems(name, services[name])
    head, worker = services["head"]["command"], services["worker"]["command"]
    resources = [json.loads(word.partition("=")[2]) for word in head if word.startswith("--resources=")]
    if "--num-cpus=0" not in head or not resources or resources[0].get("TRIAL", 0) < 1:
        problems.append("head: has TRIAL and no CPU")
    port = next(word.partition("=")[2] for word in head if word.startswith("--port="))
    if f"--address=head:{port}" not in worker:
        problems.append("worker: does not join the head")
    hosts = next((word.partition("=")[2] for word in services["mlflow"]["command"] if "--allowed-hosts" in word), "")
    if "mlflow:5000" not in hosts.split(",") or "*" in hosts:
        problems.append("mlflow: does not answer to its name alone")
    return problems


def read(name: str) -> str:
    return (DOCKER / name).read_text()


def test_dockerfile_has_no_problems() -> None:
    assert dockerfile_problems(read("Dockerfile"), read("Dockerfile.dockerignore")) == []


def test_image_has_a_python_that_the_package_supports() -> None:
    tag = dict(instructions(read("Dockerfile")))["FROM"].split(":")[1]
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert SpecifierSet(wanted).contains(tag.split("-")[0])


def test_default_command_exists() -> None:
    command = json.loads(dict(instructions(read("Dockerfile")))["CMD"])
    assert command_problems(command) == []
    assert (ROOT / command[-1]).is_file()


def test_compose_file_has_no_problems() -> None:
    assert compose_problems(yaml.safe_load(read("compose.yaml"))) == []


@pytest.mark.parametrize(
    ("path", "ignored"),
    [
        ("requirements.txt", False),
        ("dabo_ray/data/splits.py", False),
        ("studies/digits.yaml", False),
        ("dabo_ray/data/__pycache__/splits.cpython-311.pyc", True),
        (".git/config", True),
        ("data/cifar-100", True),
        ("runs/digits/plan.db", True),
        ("docker/.env", True),
    ],
)
def test_build_context(path: str, ignored: bool) -> None:
    assert is_ignored(path, read("Dockerfile.dockerignore")) == ignored


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("USER 1000:1000\n", "", "root"),
        ("USER 1000:1000\n", "USER root\n", "root"),
        ("USER 1000:1000\n", "USER 0\n", "user 0"),
        ("COPY studies studies", "COPY study study", "not in the repository"),
        ("COPY studies studies", "COPY cluster cluster", "excluded"),
        ("COPY studies studies", "ADD https://example.com/data.tar /data", "ADD"),
        ('ARG PIP_ARGS=""', 'ARG RAY_AUTH_TOKEN="abc"', "secret"),
        ("COPY requirements.txt /app/requirements.txt", "COPY requirements.txt .env /app/", ".env"),
        ("FROM python:3.11-slim", "FROM python:latest", "starts from"),
        ("COPY dabo_ray dabo_ray\n", "", "the code is not copied"),
    ],
)
def test_dockerfile_checks_notice(old: str, new: str, message: str) -> None:
    changed = read("Dockerfile").replace(old, new)
    assert changed != read("Dockerfile")
    assert any(message in problem for problem in dockerfile_problems(changed, read("Dockerfile.dockerignore")))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("127.0.0.1:8265:8265", "8265:8265", "published beyond"),
        ("127.0.0.1:5000:5000", "0.0.0.0:5000:5000", "published beyond"),
        ("mlflow:/mnt/mlflow", "mlfow:/mnt/mlflow", "not declared"),
        ("--dashboard-host", "--dashbord-host", "ray start has no --dashbord-host"),
        ("--artifacts-destination", "--artifact-destination", "mlflow server has no"),
        ("      - mlflow\n      - server", "      - mlflow\n      - serve", "no command mlflow serve"),
        (":?set it", ":-set it", "without a token"),
        ("RAY_AUTH_MODE: token", "RAY_AUTH_MODE: disabled", "without a token"),
        ("--num-cpus=0", "--num-cpus=4", "has TRIAL and no CPU"),
        ('{"TRIAL": 64}', '{"TRAIL": 64}', "has TRIAL and no CPU"),
        ("--address=head:6379", "--address=head:6380", "does not join"),
        ("mlflow:5000,", "", "answer to its name"),
        ("=mlflow:5000,localhost:5000", "=*", "answer to its name"),
        ("shm_size: 2gb", "stop_grace_period: 1m", "object store"),
        ("cap_drop: [ALL]", "cap_drop: []", "more rights"),
        ("docker/Dockerfile", "docker/Dockerfle", "no docker/Dockerfle"),
        ("mlflow: {condition", "mlfow: {condition", "waits for unknown"),
        ("healthcheck:", "x-healthcheck:", "healthy"),
    ],
)
def test_compose_checks_notice(old: str, new: str, message: str) -> None:
    changed = read("compose.yaml").replace(old, new)
    assert changed != read("compose.yaml")
    assert any(message in problem for problem in compose_problems(yaml.safe_load(changed)))
