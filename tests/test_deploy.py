"""The deployment files name what exists, and the pipeline in them is valid. No container engine is needed."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from rigatoni_core.api.exit_codes import ExitCode
from rigatoni_core.api.settings import Settings
from rigatoni_core.engine.pipeline import CLOSE_TIMEOUT
from rigatoni_core.plugins.catalog import Catalog

ROOT = Path(__file__).parent.parent
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]


def test_every_mounted_path_exists_and_every_named_volume_is_declared():
    for service in SERVICES.values():
        for source in (volume.partition(":")[0] for volume in service.get("volumes", ())):
            assert (ROOT / source).exists() if source.startswith(".") else source in COMPOSE["volumes"], source


def test_every_dependency_is_a_service_that_can_meet_its_condition():
    for name, service in SERVICES.items():
        for needed, demand in service.get("depends_on", {}).items():
            if demand["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[needed], (name, needed)
            else:
                assert demand["condition"] == "service_completed_successfully"


def test_only_the_loopback_interface_is_open():
    for service in SERVICES.values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


def test_the_containers_pipeline_is_valid_with_the_services_environment(monkeypatch):
    for name, value in SERVICES["rigatoni"]["environment"].items():
        monkeypatch.setenv(name, value)
    command = [sys.executable, "-m", "rigatoni_core.cli", "validate", "--offline", "deploy/compose/pipeline.toml"]
    answer = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert answer.returncode == 0, answer.stderr
    assert "is valid" in answer.stdout


def test_the_image_holds_every_plugin_of_the_pipeline():
    image = (ROOT / "deploy" / "Containerfile").read_text(encoding="utf-8")
    (extras,) = re.findall(r"^ARG EXTRAS=(.+)$", image, re.MULTILINE)
    installed = distributions_of(extras.split(","))
    pipeline = (ROOT / "deploy" / "compose" / "pipeline.toml").read_text(encoding="utf-8")
    names = set(re.findall(r'type = "(\w+)"', pipeline))
    for plugin, provided in Catalog.discover().provided():
        if provided.name in names:
            assert plugin.distribution in installed, provided
            names.discard(provided.name)
    assert not names, f"no component has these names: {names}"


def distributions_of(extras):
    """Our distributions that core's extras install."""
    core = tomllib.loads((ROOT / "rigatoni-core" / "pyproject.toml").read_text(encoding="utf-8"))
    optional = core["project"]["optional-dependencies"]
    requirements = [requirement for extra in extras for requirement in optional[extra]]
    return {re.match(r"[\w-]+", requirement)[0] for requirement in requirements}


def test_prometheus_takes_its_configuration(tmp_path):
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not on PATH (Debian package prometheus)")
    shutil.copy(ROOT / "deploy" / "compose" / "prometheus.yml", tmp_path / "prometheus.yml")
    alerts = ROOT / "rigatoni-prometheus" / "src" / "rigatoni_prometheus" / "alerts"
    shutil.copytree(alerts, tmp_path / "alerts")
    command = ["promtool", "check", "config", str(tmp_path / "prometheus.yml")]
    answer = subprocess.run(command, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_docker_takes_the_file():
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True).returncode:
        pytest.skip("docker compose is not installed")
    answer = subprocess.run([docker, "compose", "config", "--quiet"], capture_output=True, text=True, cwd=ROOT)
    assert answer.returncode == 0, answer.stderr


UNIT = ROOT / "deploy" / "systemd" / "rigatoni@.service"


def test_the_service_stops_gently_and_does_not_start_a_wrong_file_again():
    unit = dict(re.findall(r"^(\w+)=(.*)$", UNIT.read_text(encoding="utf-8"), re.MULTILINE))
    assert unit["KillSignal"] == "SIGTERM"
    assert float(unit["TimeoutStopSec"]) > Settings().shutdown_timeout
    assert unit["RestartPreventExitStatus"] == str(ExitCode.WRONG)
    arguments = unit["ExecStart"].split()[1:]
    answer = subprocess.run([sys.executable, "-m", "rigatoni_core.cli", *arguments], capture_output=True, text=True)
    assert (answer.returncode, "pipeline.toml" in answer.stderr) == (ExitCode.WRONG, True)  # only the file is missing


def test_systemd_takes_the_service(tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not on PATH (Debian package systemd)")
    text = UNIT.read_text(encoding="utf-8").replace("/opt/rigatoni/bin/rigatoni", sys.executable)
    (tmp_path / "rigatoni@orders.service").write_text(text, encoding="utf-8")
    command = ["systemd-analyze", "verify", "--man=no", str(tmp_path / "rigatoni@orders.service")]
    answer = subprocess.run(command, capture_output=True, text=True)
    assert "rigatoni@orders" not in answer.stderr, answer.stderr
    assert answer.returncode == 0, answer.stderr


KUBERNETES = ROOT / "deploy" / "kubernetes"
DEPLOYMENT, BUDGET = yaml.safe_load_all((KUBERNETES / "deployment.yaml").read_text(encoding="utf-8"))
POD = DEPLOYMENT["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
MOUNTS = {mount["mountPath"]: mount["name"] for mount in CONTAINER["volumeMounts"]}


def test_the_pods_pipeline_is_valid_and_its_secrets_are_mounted_files(tmp_path):
    text = (KUBERNETES / "pipeline.toml").read_text(encoding="utf-8")
    assert "env =" not in text
    secrets = re.findall(r'file = "(.+)/([\w-]+)"', text)
    command = re.search(r"create secret generic (\w+)((?: --from-literal=\S+)+)", text_of("docs/deploying.md"))
    assert [name for _, name in secrets] == re.findall(r"--from-literal=([\w-]+)=", command[2])
    (volume,) = [volume for volume in POD["volumes"] if volume["name"] == MOUNTS["/etc/rigatoni/secrets"]]
    assert volume["secret"]["secretName"] == command[1]
    for folder, name in secrets:
        assert folder in MOUNTS
        uri = "redis://localhost/0" if name == "redis-url" else "mongodb://localhost/"
        (tmp_path / name).write_text(uri, encoding="utf-8")
    (tmp_path / "pipeline.toml").write_text(text.replace(secrets[0][0], str(tmp_path)), encoding="utf-8")
    validate = [sys.executable, "-m", "rigatoni_core.cli", "validate", "--offline", str(tmp_path / "pipeline.toml")]
    answer = subprocess.run(validate, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr


def text_of(path):
    return " ".join((ROOT / path).read_text(encoding="utf-8").replace("\\\n", " ").split())


def test_the_pod_is_what_the_image_and_the_pipeline_expect():
    image = (ROOT / "deploy" / "Containerfile").read_text(encoding="utf-8")
    file = re.search(r'CMD \["run", "([^"]+)"', image)[1]
    assert MOUNTS[file] == "pipeline"
    (port,) = CONTAINER["ports"]
    assert f"EXPOSE {port['containerPort']}\n" in image
    for probe, path in (("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        assert CONTAINER[probe]["httpGet"] == {"path": path, "port": port["name"]}
        assert f"| `{path}` |" in text_of("rigatoni-prometheus/README.md")
        assert CONTAINER[probe]["timeoutSeconds"] > 5  # what /healthz waits for the event loop
    assert f"--uid {POD['securityContext']['runAsUser']} " in image
    assert {mount["name"] for mount in CONTAINER["volumeMounts"]} == {volume["name"] for volume in POD["volumes"]}


def test_the_pod_may_do_nothing_that_it_does_not_need():
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert POD["automountServiceAccountToken"] is False
    rights = CONTAINER["securityContext"]
    assert (rights["allowPrivilegeEscalation"], rights["readOnlyRootFilesystem"]) == (False, True)
    assert rights["capabilities"] == {"drop": ["ALL"]}
    assert CONTAINER["resources"]["limits"]["memory"]
    assert {name for path, name in MOUNTS.items() if name not in ("pipeline", "secrets")} == {"tmp"}


def test_two_pods_stand_by_for_each_other_and_end_gracefully():
    spec = DEPLOYMENT["spec"]
    assert spec["replicas"] == 2
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert POD["terminationGracePeriodSeconds"] > Settings().shutdown_timeout + CLOSE_TIMEOUT
    labels = spec["template"]["metadata"]["labels"]
    assert spec["selector"]["matchLabels"] == labels == BUDGET["spec"]["selector"]["matchLabels"]
    assert BUDGET["spec"]["minAvailable"] < spec["replicas"]


def test_kustomize_takes_the_folder():
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not on PATH")
    answer = subprocess.run(["kubectl", "kustomize", str(KUBERNETES)], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    kinds = {each["kind"]: each for each in yaml.safe_load_all(answer.stdout)}
    assert set(kinds) == {"ConfigMap", "Deployment", "PodDisruptionBudget"}
    (volume, *_) = kinds["Deployment"]["spec"]["template"]["spec"]["volumes"]
    assert volume["configMap"]["name"] == kinds["ConfigMap"]["metadata"]["name"]
    assert kinds["ConfigMap"]["data"]["pipeline.toml"] == (KUBERNETES / "pipeline.toml").read_text(encoding="utf-8")
