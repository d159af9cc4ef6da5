"""deploy/kubernetes, as far as it can be looked at where there is no cluster."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from sqlalchemy.engine import make_url

from api.app import ROUTES
from api.limits import Limits
from domain.errors import SettingsInvalid
from streams.cli.supervising import DRAIN_MARGIN
from streams.roles import Role
from streams.settings import Settings, check_broker, check_callers
from tests.acceptance.commands import asked

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
OLDEST = "1.30"
"""The first release that knows all that we use: a hook that only waits."""
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
POD_IP = "10.1.2.3"
ENGINE = "countermand_engine"
OWNERS = "countermand-database-owner"


def documents() -> list[dict[str, Any]]:
    return [
        document
        for file in sorted(FOLDER.rglob("*.yaml"))
        for document in yaml.safe_load_all(file.read_text())
    ]


def named(document: dict[str, Any]) -> str:
    return f"{document['kind']}/{document['metadata']['name']}"


ALL = {named(document): document for document in documents()}
PODS = {
    name: document["spec"]["template"]
    for name, document in ALL.items()
    if "template" in document.get("spec", {})
}
LASTING = [name for name in PODS if not name.startswith("Job/")]


def containers(pod: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from pod["spec"].get("initContainers", [])
    yield from pod["spec"]["containers"]


def labels(name: str) -> dict[str, str]:
    found: dict[str, str] = PODS[name]["metadata"]["labels"]
    return found


def fits(selector: dict[str, Any], carried: dict[str, str]) -> bool:
    """Whether a selector chooses what carries these labels."""
    plain = selector.get("matchLabels", {}).items() <= carried.items()
    listed = selector.get("matchExpressions", [])
    assert all(one["operator"] == "In" for one in listed)
    return plain and all(carried.get(one["key"]) in one["values"] for one in listed)


@pytest.mark.parametrize("version", [OLDEST, kubernetes_validate.latest_version()])
@pytest.mark.parametrize("name", ALL)
def test_the_published_schemas_have_nothing_to_say(name: str, version: str) -> None:
    kubernetes_validate.validate(ALL[name], version, strict=True)


def test_the_schemas_would_notice_a_slip() -> None:
    slip = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"prots": []}}

    with pytest.raises(kubernetes_validate.ValidationError, match="prots"):
        kubernetes_validate.validate(slip, OLDEST, strict=True)


def test_all_are_where_they_belong_and_none_is_there_twice() -> None:
    assert len(documents()) == len(ALL)
    for name, document in ALL.items():
        if name != "Namespace/countermand":
            assert document["metadata"]["namespace"] == "countermand"
            assert document["metadata"]["labels"]["app.kubernetes.io/part-of"] == "countermand"


def test_every_kind_of_process_is_there_twice() -> None:
    counts = {
        next(containers(PODS[name]))["args"][0]: ALL[name]["spec"]["replicas"] for name in LASTING
    }

    assert counts == {"api": 2, "coordinator": 2, "worker": 2}


@pytest.mark.parametrize("name", PODS)
def test_each_is_of_the_image_of_this_release(name: str) -> None:
    for container in containers(PODS[name]):
        assert container["image"] == f"countermand:{VERSION}"
        assert "command" not in container, "the image has it"


@pytest.mark.parametrize("name", PODS)
def test_each_starts_a_command_of_ours(name: str) -> None:
    for container in containers(PODS[name]):
        assert asked(*container["args"], "--help").returncode == 0


def test_the_migration_is_that_of_this_release() -> None:
    (job,) = [name for name in PODS if name.startswith("Job/")]

    assert job == f"Job/countermand-migration-{VERSION.replace('.', '-')}"
    assert [container["args"] for container in containers(PODS[job])] == [
        ["db", "upgrade"],
        ["db", "permit", ENGINE, "--password-file", "/run/secrets/countermand/password"],
        ["topics", "create"],
    ]


def test_only_the_migration_signs_in_as_the_owner_of_the_tables() -> None:
    config = ALL["ConfigMap/countermand"]["data"]
    (job,) = [name for name in PODS if name.startswith("Job/")]

    place = make_url(config["COUNTERMAND_DATABASE"])
    assert place.username == ENGINE
    for container in PODS[job]["spec"]["initContainers"]:
        given = {variable["name"]: variable["value"] for variable in container["env"]}
        owner = make_url(given["COUNTERMAND_DATABASE"])
        assert owner == place.set(username=owner.username)
        assert owner.username != ENGINE
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert given["COUNTERMAND_DATABASE_PASSWORD_FILE"] == f"{mounts['owner']}/password"
    for name in LASTING:
        volumes = PODS[name]["spec"]["volumes"]
        assert OWNERS not in [volume.get("secret", {}).get("secretName") for volume in volumes]
        (container,) = containers(PODS[name])
        assert "COUNTERMAND_DATABASE" not in {variable["name"] for variable in container["env"]}


@pytest.mark.parametrize("name", LASTING)
def test_each_is_given_settings_that_it_takes(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    password = tmp_path / "password"
    password.write_text("secret")
    (container,) = containers(PODS[name])
    given = dict(ALL["ConfigMap/countermand"]["data"])
    for variable in container["env"]:
        value = variable.get("value", f"the-{variable['name'].lower()}")
        given[variable["name"]] = value.replace("$(POD_IP)", POD_IP)
    del given["POD_IP"]
    given["COUNTERMAND_DATABASE_PASSWORD_FILE"] = str(password)
    if "COUNTERMAND_TOKEN_SECRET_FILE" in given:
        password.with_name("tokens").write_text("s" * 32)
        given["COUNTERMAND_TOKEN_SECRET_FILE"] = str(password.with_name("tokens"))
    host = container["args"][container["args"].index("--host") + 1]

    settings = Settings(
        host=host,
        **{name.removeprefix("COUNTERMAND_").lower(): value for name, value in given.items()},
    )

    check_callers(settings, Role(container["args"][0]))
    assert ":secret@" in settings.database_address
    assert POD_IP in settings.exposed_names, "the cluster asks for health by the pod's address"
    service = f"countermand-{container['name']}"
    if container["name"] == "api":
        assert {service, f"{service}.countermand.svc"} <= settings.exposed_names
    else:
        assert settings.exposed_names == {POD_IP}
        assert settings.instance == "the-countermand_instance"


def test_only_who_speaks_to_the_broker_is_given_its_files(tmp_path: Path) -> None:
    """What the comment says is in the configuration of all, and mounted where it is used."""
    (tmp_path / "password").write_text("secret")
    commented = r"# (COUNTERMAND_BROKER_\w+): (\S+)"
    shown = dict(re.findall(commented, (FOLDER / "config.yaml").read_text()))
    (job,) = [pod for name, pod in PODS.items() if name.startswith("Job/")]
    assert shown.keys() >= {"COUNTERMAND_BROKER_CA", "COUNTERMAND_BROKER_PASSWORD_FILE"}

    for container in job["spec"]["initContainers"]:
        given = {**ALL["ConfigMap/countermand"]["data"], **shown}
        given |= {variable["name"]: variable["value"] for variable in container["env"]}
        given["COUNTERMAND_BROKER"] = "kafka+ssl://kafka:9093"
        given["COUNTERMAND_DATABASE_PASSWORD_FILE"] = str(tmp_path / "password")
        said = {name.removeprefix("COUNTERMAND_").lower(): each for name, each in given.items()}

        settings = Settings(**said)

        assert ":secret@" in settings.database_address
        with pytest.raises(SettingsInvalid, match="COUNTERMAND_BROKER_PASSWORD_FILE: the file"):
            check_broker(settings, Role.WORKER)


@pytest.mark.parametrize("name", PODS)
def test_what_each_refers_to_is_there(name: str) -> None:
    spec = PODS[name]["spec"]
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    claims = ALL[name]["spec"].get("volumeClaimTemplates", [])

    assert f"ServiceAccount/{spec['serviceAccountName']}" in ALL
    assert f"Secret/{volumes['password']['secret']['secretName']}" in ALL
    for secret in ("countermand-database", OWNERS):
        assert "password" in ALL[f"Secret/{secret}"]["stringData"]
    if "tokens" in volumes:
        assert f"Secret/{volumes['tokens']['secret']['secretName']}" in ALL
        assert "secret" in ALL["Secret/countermand-tokens"]["stringData"]
    if name in LASTING:
        assert volumes["payloads"]["secret"]["secretName"] == "countermand-payloads"
        assert "key" in ALL["Secret/countermand-payloads"]["stringData"]
        (container,) = containers(PODS[name])
        given = {variable["name"]: variable.get("value") for variable in container["env"]}
        (mounted,) = [m for m in container["volumeMounts"] if m["name"] == "payloads"]
        assert given["COUNTERMAND_PAYLOAD_KEY_FILE"] == f"{mounted['mountPath']}/key"
    file = ALL["ConfigMap/countermand"]["data"]["COUNTERMAND_DATABASE_PASSWORD_FILE"]
    for container in containers(PODS[name]):
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        wanted = volumes.keys() | {claim["metadata"]["name"] for claim in claims}
        assert mounts.keys() == wanted - ({"owner"} if container["name"] == "topics" else set())
        assert file == f"{mounts['password']}/password"
        assert container["envFrom"] == [{"configMapRef": {"name": "countermand"}}]


def test_no_secret_stands_in_the_manifests() -> None:
    assert "Secret/" not in "".join(
        f"{document['kind']}/"
        for file in FOLDER.glob("*.yaml")
        for document in yaml.safe_load_all(file.read_text())
    ), "the example is not applied with the others"
    for value in ALL["ConfigMap/countermand"]["data"].values():
        assert not re.search(r"://\w+:\S+@", value)


@pytest.mark.parametrize("name", PODS)
def test_none_may_do_more_than_it_needs(name: str) -> None:
    spec = PODS[name]["spec"]

    context = spec["securityContext"]
    assert context["runAsNonRoot"] is True
    assert (context["runAsUser"], context["fsGroup"]) == (10001, 10001), "as the image has it"
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["enableServiceLinks"] is False, "COUNTERMAND_API_PORT would be a setting of ours"
    account = ALL[f"ServiceAccount/{spec['serviceAccountName']}"]
    assert account["automountServiceAccountToken"] is False
    for container in containers(PODS[name]):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        writable = {m["mountPath"] for m in container["volumeMounts"] if not m.get("readOnly")}
        assert writable == {"/tmp", "/data"}


@pytest.mark.parametrize("name", LASTING)
def test_each_is_asked_for_its_health_where_it_answers(name: str) -> None:
    (container,) = containers(PODS[name])
    paths = {route.path for route in ROUTES if route.method == "GET"}
    port = {"name": "http", "containerPort": 8080}

    assert container["ports"] == [port]
    assert container["args"][-2:] == ["--port", "8080"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        asked = container[probe]["httpGet"]
        assert asked["port"] == "http"
        assert asked["path"] in paths
    assert container["readinessProbe"]["httpGet"]["path"] == "/health/ready"
    # What is away must not end who waits for it.
    assert container["livenessProbe"]["httpGet"]["path"] == "/health/live"


@pytest.mark.parametrize("name", LASTING)
def test_each_has_the_time_to_end_its_work(name: str) -> None:
    (container,) = containers(PODS[name])
    hook = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    longest = hook + Settings.model_fields["drain"].default + DRAIN_MARGIN

    assert PODS[name]["spec"]["terminationGracePeriodSeconds"] > longest


@pytest.mark.parametrize("name", LASTING)
def test_each_has_the_memory_at_which_it_is_started_anew(name: str) -> None:
    (container,) = containers(PODS[name])
    resources = container["resources"]
    limit = int(resources["limits"]["memory"].removesuffix("Mi"))

    assert limit >= 1.25 * Settings.model_fields["worker_memory"].default
    assert resources["requests"].keys() == {"cpu", "memory"}
    assert "cpu" not in resources["limits"], "a throttled process misses its heartbeats"


def test_there_is_room_for_the_files_that_are_taken_in_at_once() -> None:
    (room,) = (
        volume["emptyDir"]
        for volume in PODS["Deployment/countermand-api"]["spec"]["volumes"]
        if volume["name"] == "tmp"
    )
    limits = Limits()

    # With what is rejected of each, which may be all of it.
    assert int(room["sizeLimit"].removesuffix("Gi")) << 30 > 2 * limits.uploads * limits.upload
    said = f"{limits.uploads} at once of {limits.upload // 10**9} GB each"
    assert said in (ROOT / "deploy" / "kubernetes" / "api.yaml").read_text()
    assert "medium" not in room, "that would be memory"


@pytest.mark.parametrize("name", LASTING)
def test_each_is_chosen_by_what_is_meant_for_it(name: str) -> None:
    own = labels(name)
    others = [labels(other) for other in PODS if other != name]
    spec = ALL[name]["spec"]
    label = name.partition("/")[2]
    selectors = [
        spec["selector"],
        {"matchLabels": ALL[f"Service/{label}"]["spec"]["selector"]},
        ALL[f"PodDisruptionBudget/{label}"]["spec"]["selector"],
        PODS[name]["spec"]["topologySpreadConstraints"][0]["labelSelector"],
    ]

    for selector in selectors:
        assert fits(selector, own)
        assert not any(fits(selector, other) for other in others)
    assert spec.get("serviceName", label) == label


def test_nobody_reaches_a_pod_who_was_not_named() -> None:
    policies = {name: d["spec"] for name, d in ALL.items() if d["kind"] == "NetworkPolicy"}

    reached = {
        (pod, policy.partition("/")[2])
        for pod in PODS
        for policy, spec in policies.items()
        if fits(spec["podSelector"], labels(pod)) and spec.get("ingress")
    }
    everything = policies["NetworkPolicy/countermand"]

    assert all(fits(everything["podSelector"], labels(pod)) for pod in PODS)
    assert everything["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in everything
    assert reached == {
        ("Deployment/countermand-api", "countermand-api"),
        ("StatefulSet/countermand-coordinator", "countermand-metrics"),
        ("StatefulSet/countermand-worker", "countermand-metrics"),
    }
    for spec in policies.values():
        for rule in spec.get("ingress", []):
            assert rule["from"], "an empty list would let in everybody"
