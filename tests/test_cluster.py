"""cluster/aws.yaml: what Ray's own validator finds, and what it does not look for."""

from __future__ import annotations

import copy
import re
import shlex
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from pydantic import BaseModel
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.scripts.scripts import start as ray_start

from dabo_ray.config.schema import StudyConfig

ROOT = Path(__file__).resolve().parents[1]
Config = dict[str, Any]

# EC2 accepts far more; Ray passes whatever it finds, and a misspelt key shows only when a node is to be started.
NODE_CONFIG_KEYS = {
    "InstanceType",
    "ImageId",
    "SecurityGroupIds",
    "BlockDeviceMappings",
    "MetadataOptions",
    "InstanceMarketOptions",
}
PROVIDER_KEYS = {"type", "region", "availability_zone", "cache_stopped_nodes"}


def load() -> Config:
    config: Config = yaml.safe_load((ROOT / "cluster" / "aws.yaml").read_text())
    return config


def docker_python() -> str:
    found = re.search(r"^FROM python:(\d+\.\d+)", (ROOT / "docker" / "Dockerfile").read_text(), re.MULTILINE)
    assert found, "docker/Dockerfile should start from a python image"
    return found[1]


def image_problems(config: Config) -> list[str]:
    wanted = f"rayproject/ray:{version('ray')}-py{docker_python().replace('.', '')}-"
    problems = []
    for role, platform in {"head_image": r"cpu", "worker_image": r"cu\d{3}"}.items():
        image = config["docker"].get(role, "")
        if not re.fullmatch(re.escape(wanted) + platform, image):
            problems.append(f"{role} is {image!r}, not {wanted}{platform}")
    return problems


def node_problems(config: Config) -> list[str]:
    problems = []
    for name, node in config["available_node_types"].items():
        is_head = name == config["head_node_type"]
        settings, resources = node["node_config"], node["resources"]
        market = settings.get("InstanceMarketOptions", {}).get("MarketType", "on demand")
        if unknown := set(settings) - NODE_CONFIG_KEYS:
            problems.append(f"{name}: unknown node_config keys {sorted(unknown)}")
        if market != ("on demand" if is_head else "spot"):
            problems.append(f"{name}: market is {market}")
        if settings.get("MetadataOptions", {}).get("HttpTokens") != "required":
            problems.append(f"{name}: IMDSv2 is not required")
        if not settings.get("SecurityGroupIds"):
            problems.append(f"{name}: without SecurityGroupIds Ray opens SSH to the internet")
        if not all(mapping["Ebs"].get("Encrypted") for mapping in settings.get("BlockDeviceMappings", [])):
            problems.append(f"{name}: disk is not encrypted")
        if not all(type(amount) is int and amount >= 0 for amount in resources.values()):
            problems.append(f"{name}: resources are whole numbers, not {resources}")
        if is_head and (resources.get("CPU") != 0 or resources.get("TRIAL", 0) < 1 or "GPU" in resources):
            problems.append(f"{name}: the head has TRIAL and no CPU or GPU, not {resources}")
        if not is_head and ("TRIAL" in resources or resources.get("GPU", 0) < 1 or resources.get("CPU", 0) < 1):
            problems.append(f"{name}: a worker has CPU and GPU and no TRIAL, not {resources}")
        if not is_head and node.get("min_workers", 0) != 0:
            problems.append(f"{name}: GPU nodes run without a study")
    return problems


def access_problems(config: Config) -> list[str]:
    """Token authentication inside every container, the dashboard on loopback, nothing on all interfaces."""
    problems = []
    options = " ".join(config["docker"].get("run_options", []))
    if "--env RAY_AUTH_MODE=token" not in options:
        problems.append("containers run without RAY_AUTH_MODE=token")
    token = re.search(r"--env RAY_AUTH_TOKEN_PATH=(\S+)", options)
    if not token or str(Path(token[1]).parent) not in config["file_mounts"]:
        problems.append("RAY_AUTH_TOKEN_PATH is not below a folder in file_mounts")
    if "--dashboard-host=127.0.0.1" not in " ".join(config["head_start_ray_commands"]):
        problems.append("the dashboard is not on loopback")
    if "0.0.0.0" in yaml.safe_dump(config):
        problems.append("something listens on 0.0.0.0")
    return problems


def storage_problems(config: Config) -> list[str]:
    problems = []
    mounts = [command for command in config["initialization_commands"] if "mount -t nfs4" in command]
    if not mounts or not mounts[0].endswith(" /mnt/shared"):
        problems.append("/mnt/shared is not mounted before the container starts")
    elif f".efs.{config['provider']['region']}." not in mounts[0]:
        problems.append("the file system is in another region than the nodes")
    if "--volume /mnt/shared:/mnt/shared" not in config["docker"]["run_options"]:
        problems.append("/mnt/shared is not the same path in the container")
    if config["provider"].get("cache_stopped_nodes") is not False:
        problems.append("stopped nodes are kept")
    if unknown := set(config["provider"]) - PROVIDER_KEYS:
        problems.append(f"unknown provider keys {sorted(unknown)}")
    return problems


def command_problems(config: Config) -> list[str]:
    known = {option for parameter in ray_start.params for option in parameter.opts}
    problems = []
    for command in config["head_start_ray_commands"] + config["worker_start_ray_commands"]:
        words = shlex.split(command)
        if words[:2] == ["ray", "start"]:
            options = {word.split("=")[0] for word in words if word.startswith("--")}
            problems += [f"`ray start` has no {option}" for option in sorted(options - known)]
    return problems


def all_problems(config: Config) -> list[str]:
    checks = [image_problems, node_problems, access_problems, storage_problems, command_problems]
    return [problem for check in checks for problem in check(config)]


def test_ray_accepts_the_cluster_file() -> None:
    prepared = prepare_config(load())
    validate_config(prepared)
    # Ray adds the defaults of keys that are missing; ours must come through.
    assert prepared["worker_start_ray_commands"] == load()["worker_start_ray_commands"]


def test_cluster_file_has_no_problems() -> None:
    assert all_problems(load()) == []


def test_images_hold_the_ray_that_requirements_ask_for() -> None:
    lines = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if line.startswith("ray")]
    assert len(lines) == 1
    tag = load()["docker"]["head_image"].split(":")[1]
    assert Requirement(lines[0]).specifier.contains(tag.split("-")[0])


def test_each_placeholder_is_marked() -> None:
    lines = (ROOT / "cluster" / "aws.yaml").read_text().splitlines()
    body = [line for line in lines if not line.startswith("#")]
    for number, line in enumerate(body):
        if re.search(r"\b(ami|sg|fs)-EDIT", line):
            above = "\n".join(body[max(0, number - 4) : number + 1])
            assert "# EDIT" in above, line


@pytest.mark.parametrize("name", ["cluster/aws.yaml", "docker/compose.yaml"])
def test_commands_in_comments_name_what_exists(name: str) -> None:
    text = (ROOT / name).read_text()
    keys = re.findall(r"--set ([\w.]+)=", text)
    assert "storage" in keys
    for key in keys:
        section: Any = StudyConfig
        for part in key.split("."):
            assert issubclass(section, BaseModel) and part in section.model_fields, key
            section = section.model_fields[part].annotation
    for study in re.findall(r"studies/\w+\.yaml", text):
        assert (ROOT / study).is_file(), study


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda config: config.update(head_typo=1), "head_typo"),
        (lambda config: config.pop("head_node_type"), "head_node_type"),
        (lambda config: config["available_node_types"]["gpu_worker"]["resources"].update(GPU=0.5), "0.5"),
        (lambda config: config["available_node_types"]["gpu_worker"].update(min_workers=9), "min_workers"),
    ],
)
def test_ray_rejects(change: Callable[[Config], Any], message: str) -> None:
    config = load()
    change(config)
    with pytest.raises(Exception, match=message):
        validate_config(prepare_config(config))


def edit(path: str, value: Any) -> Callable[[Config], None]:
    """A change of one value; None deletes it."""

    def change(config: Config) -> None:
        *parents, last = path.split("/")
        for key in parents:
            config = config[key]
        if value is None:
            del config[last]
        else:
            config[last] = value

    return change


HEAD, WORKER = "available_node_types/head", "available_node_types/gpu_worker"
SPOT = {"MarketType": "spot"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (edit("docker/head_image", "rayproject/ray:latest"), "head_image"),
        (edit("docker/head_image", "rayproject/ray:2.59.0-py311-cpu"), "head_image"),
        (edit("docker/worker_image", "rayproject/ray:2.60.0-py312-cu128"), "worker_image"),
        (edit("docker/worker_image", "rayproject/ray:2.60.0-py311-cpu"), "worker_image"),
        (edit(f"{HEAD}/node_config/InstanceMarketOptions", SPOT), "head: market is spot"),
        (edit(f"{WORKER}/node_config/InstanceMarketOptions", None), "gpu_worker: market is on demand"),
        (edit(f"{WORKER}/node_config/InstanceTyp", "g5.xlarge"), "InstanceTyp"),
        (edit(f"{HEAD}/node_config/MetadataOptions", {"HttpTokens": "optional"}), "IMDSv2"),
        (edit(f"{WORKER}/node_config/SecurityGroupIds", None), "SecurityGroupIds"),
        (edit(f"{HEAD}/node_config/BlockDeviceMappings", [{"Ebs": {"VolumeSize": 200}}]), "not encrypted"),
        (edit(f"{HEAD}/resources/CPU", 8), "head has TRIAL"),
        (edit(f"{HEAD}/resources/TRIAL", None), "head has TRIAL"),
        (edit(f"{WORKER}/resources/TRIAL", 1), "no TRIAL"),
        (edit(f"{WORKER}/resources/GPU", 0.5), "whole numbers"),
        (edit(f"{WORKER}/min_workers", 1), "run without a study"),
        (edit("docker/run_options", ["--volume /mnt/shared:/mnt/shared"]), "RAY_AUTH_MODE"),
        (edit("file_mounts", {"/home/ray/app": "."}), "RAY_AUTH_TOKEN_PATH"),
        (edit("head_start_ray_commands", ["ray start --head"]), "not on loopback"),
        (edit("head_start_ray_commands", ["ray start --dashboard-host=0.0.0.0"]), "0.0.0.0"),
        (edit("head_start_ray_commands", ["ray start --dashbord-host=127.0.0.1"]), "--dashbord-host"),
        (edit("initialization_commands", []), "not mounted"),
        (edit("provider/region", "eu-west-1"), "another region"),
        (edit("provider/cache_stopped_nodes", True), "stopped nodes"),
        (edit("provider/regoin", "us-west-2"), "regoin"),
    ],
)
def test_checks_notice(change: Callable[[Config], None], message: str) -> None:
    config = copy.deepcopy(load())
    change(config)
    assert any(message in problem for problem in all_problems(config))
