"""What people apply: valid, restricted, no more rights than explained, and the examples show every field."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from tests.contract.test_crd import ROOT as SCHEMA
from tests.contract.test_crd import walk
from tests.unit import samples

from mailfilter_operator import names
from mailfilter_operator.build.filter_pod import build_deployment

CHECKOUT = Path(__file__).parents[2]
MANIFESTS = CHECKOUT / "manifests"
INSTALL = MANIFESTS / "install.yaml"
RBAC = MANIFESTS / "rbac.yaml"
EXAMPLES = sorted((MANIFESTS / "examples").glob("*.yaml"))
KUBERNETES = ["1.33", "1.37"]
"""The oldest supported and the newest."""

OPERATOR_ROLES = ("ClusterRole/mailfilter-operator", "Role/mailfilter-operator")


def load(path: Path) -> dict[str, dict[str, Any]]:
    """Read the objects of a file by kind and name."""
    objects = yaml.safe_load_all(path.read_text())
    return {f"{item['kind']}/{item['metadata']['name']}": item for item in objects}


def assemble(registry: str | None = None) -> str:
    """Run manifests/assemble.py."""
    environment = {name: value for name, value in os.environ.items() if name != "REGISTRY"}
    extra = {} if registry is None else {"REGISTRY": registry}
    return subprocess.run(
        [sys.executable, MANIFESTS / "assemble.py", "-"],
        env={**environment, **extra},
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def test_install_file_is_up_to_date() -> None:
    assert INSTALL.read_text() == assemble(), "run `make manifests`"


def test_install_file_with_another_registry() -> None:
    images = re.findall(r"^ *(?:image|value): (.*/mailfilter.*)$", assemble("registry.example.com/mail"), re.MULTILINE)

    assert images == [
        "registry.example.com/mail/mailfilter-operator:0.1.0",
        "registry.example.com/mail/mailfilter:0.1.0",
        "http://mailfilter-signatures.mailfilter-system.svc:8080",
        "registry.example.com/mail/mailfilter:0.1.0",
        "registry.example.com/mail/mailfilter:0.1.0",
    ]


def test_install_file_holds_what_it_should() -> None:
    assert list(load(INSTALL)) == [
        "Namespace/mailfilter-system",
        "CustomResourceDefinition/mailfilters.mailfilter.dev",
        "ServiceAccount/mailfilter-operator",
        "ClusterRole/mailfilter-operator",
        "ClusterRoleBinding/mailfilter-operator",
        "Role/mailfilter-operator",
        "RoleBinding/mailfilter-operator",
        "ClusterRole/mailfilter-edit",
        "ClusterRole/mailfilter-view",
        "Deployment/mailfilter-operator",
        "ServiceAccount/mailfilter-signatures",
        "Deployment/mailfilter-signatures",
        "Service/mailfilter-signatures",
        "NetworkPolicy/mailfilter-signatures",
    ]


@pytest.mark.parametrize("version", KUBERNETES)
def test_every_object_is_valid(version: str) -> None:
    for item in load(INSTALL).values():
        kubernetes_validate.validate(item, version, strict=True)


def test_versions_are_those_of_the_package() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]

    assert set(re.findall(r"(?:mailfilter[a-z-]*:|/version: )([0-9.]+)$", INSTALL.read_text(), re.MULTILINE)) == {
        project["version"]
    }


def operator_pod() -> dict[str, Any]:
    """Return the pod template's spec of the operator."""
    pod: dict[str, Any] = load(INSTALL)["Deployment/mailfilter-operator"]["spec"]["template"]["spec"]
    return pod


def test_operator_pod_is_restricted() -> None:
    """Pod Security *restricted*, a numeric user, nothing writable; the API server's own verdict is in tests/api."""
    pod = operator_pod()
    (container,) = pod["containers"]

    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["enableServiceLinks"] is False
    assert {"hostNetwork", "hostPID", "hostIPC", "volumes"} & set(pod) == set()
    assert set(container["resources"]["requests"]) == {"cpu", "memory"}
    assert "memory" in container["resources"]["limits"]


def test_operator_pod_is_told_what_it_reads() -> None:
    (container,) = operator_pod()["containers"]

    assert {variable["name"] for variable in container["env"]} == {
        "MAILFILTER_IMAGE",
        "MAILFILTER_SIGNATURES_URL",
        "POD_NAMESPACE",
        "POD_NAME",
    }
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "health"}
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "health"}


def signatures_pod() -> dict[str, Any]:
    """Return the pod template's spec of the shared signatures."""
    pod: dict[str, Any] = load(INSTALL)["Deployment/mailfilter-signatures"]["spec"]["template"]["spec"]
    return pod


def test_signatures_pod_is_as_restricted_as_those_of_filters() -> None:
    pod, of_filters = signatures_pod(), build_deployment(samples.valid(), "")["spec"]["template"]["spec"]

    assert pod["securityContext"] == of_filters["securityContext"]
    assert pod["automountServiceAccountToken"] is pod["enableServiceLinks"] is False
    for container in pod["containers"]:
        assert container["securityContext"] == of_filters["containers"][0]["securityContext"]
        assert set(container["resources"]["requests"]) == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]
    assert {"hostNetwork", "hostPID", "hostIPC"} & set(pod) == set()


def test_web_server_of_the_signatures_can_write_nothing_and_sees_no_secret() -> None:
    (_, httpd) = signatures_pod()["containers"]

    assert httpd["volumeMounts"] == [{"name": "signatures", "mountPath": names.SIGNATURE_DIRECTORY, "readOnly": True}]
    (policy,) = load(INSTALL)["NetworkPolicy/mailfilter-signatures"]["spec"]["ingress"]
    assert policy["ports"] == [{"port": "http", "protocol": "TCP"}]
    assert policy["from"] == [
        {"namespaceSelector": {}, "podSelector": {"matchLabels": {names.LABEL_PART_OF: "mailfilter"}}},
    ]


def test_operator_sends_filters_to_the_service_that_is_installed() -> None:
    objects = load(INSTALL)
    (container,) = operator_pod()["containers"]
    environment = {variable["name"]: variable.get("value") for variable in container["env"]}
    namespace = objects["Namespace/mailfilter-system"]["metadata"]["name"]
    (port,) = objects["Service/mailfilter-signatures"]["spec"]["ports"]

    assert environment["MAILFILTER_SIGNATURES_URL"] == names.signatures_url(namespace)
    assert port["port"] == names.SIGNATURES_PORT


def operator_rights() -> Iterator[tuple[str, str, str]]:
    """Yield (role, resource, verb) of everything that the operator may do."""
    objects = load(INSTALL)
    for role in OPERATOR_ROLES:
        for rule in objects[role]["rules"]:
            yield from ((role, resource, verb) for resource in rule["resources"] for verb in rule["verbs"])


def test_operator_has_no_wildcard_and_cannot_look_around_in_secrets() -> None:
    rights = list(operator_rights())

    assert not [right for right in rights if "*" in right]
    assert {verb for _, resource, verb in rights if resource == "secrets"} == {"get", "create", "patch", "delete"}
    assert {resource for role, resource, _ in rights if role.startswith("Role/")} == {"leases"}


def test_operator_can_make_no_pods_and_has_no_right_on_roles_and_namespaces() -> None:
    resources = {resource for _, resource, _ in operator_rights()}

    assert {verb for _, resource, verb in operator_rights() if resource == "pods"} == {"list", "watch", "patch"}
    assert resources.isdisjoint({"roles", "rolebindings", "clusterroles", "clusterrolebindings", "namespaces"})
    assert not [verb for _, _, verb in operator_rights() if verb in ("bind", "escalate", "impersonate")]


def test_only_its_own_lease_is_renewed() -> None:
    rules = load(INSTALL)["Role/mailfilter-operator"]["rules"]

    assert [rule.get("resourceNames") for rule in rules if "update" in rule["verbs"]] == [[names.LEASE]]


def test_every_rule_has_its_reason() -> None:
    """A comment stands before each rule."""
    lines = RBAC.read_text().splitlines()
    rules = [index for index, line in enumerate(lines) if line.startswith("  - apiGroups")]

    assert len(rules) == sum(len(item.get("rules", ())) for item in load(RBAC).values())
    assert [lines[index] for index in rules if not lines[index - 1].startswith("  # ")] == []


def given(spec: Any, path: str = "spec") -> Iterator[str]:
    """Yield the paths of all fields in an object as the schema's walk spells them."""
    if isinstance(spec, dict):
        for name, value in spec.items():
            yield f"{path}.{name}"
            yield from given(value, f"{path}.{name}")
    elif isinstance(spec, list):
        for item in spec:
            yield f"{path}[]"
            yield from given(item, f"{path}[]")


def test_full_example_shows_every_field() -> None:
    """Digest and mirrorURL stand there as comments: they exclude others. So do references: to what nobody has yet."""
    example = MANIFESTS / "examples" / "full.yaml"
    spec = load(example)["MailFilter/mx"]["spec"]
    fields = {path for path, _ in walk(SCHEMA["properties"]["spec"], "spec") if not path.endswith("[]")}
    absent = {path for path in fields - set(given(spec)) if path.rpartition(".")[0].removesuffix("[]") in given(spec)}

    assert [
        path for path in absent if not re.search(rf"^ +# {path.rpartition('.')[2]}:", example.read_text(), re.MULTILINE)
    ] == []
    assert absent == {
        "spec.domains[].dkim.privateKeySecretRef",
        "spec.image.digest",
        "spec.lists.allow.configMapRef",
        "spec.lists.deny.configMapRef",
        "spec.workers.controller.passwordSecretRef",
        "spec.config.secretRefs",
        "spec.antivirus.signatures.mirrorURL",
        "spec.antivirus.signatures.proxySecretRef",
        "spec.antivirus.signatures.caBundleRef",
    }


def test_full_example_explains_every_field() -> None:
    """A line without a comment continues one that has it: an item of a list, or the second list of resources."""
    lines = (MANIFESTS / "examples" / "full.yaml").read_text().partition("\nspec:\n")[2].splitlines()
    bare = [line.strip() for line in lines if "#" not in line]

    assert bare == [
        "dkim:",
        "- name: example.org",
        "dkim:",
        "- 192.0.2.0/24",
        "- 2001:db8::25",
        "- AuthenticationResults",
        "metrics:",
        "symbols:",
        "workers:",
        "proxy:",
        "normal:",
        "antivirus:",
        "signatures:",
        "- http://signatures.mail.svc:8080/local.ndb",
        "logging:",
        "pod:",
        "rspamd:",
        "clamd:",
        "freshclam:",
        "requests: {cpu: 50m, memory: 64Mi}",
        'limits: {cpu: "0.5", memory: 256Mi}',
    ]


def test_examples_are_there() -> None:
    assert [path.name for path in EXAMPLES] == ["full.yaml", "minimal.yaml", "signing.yaml"]
    for path in EXAMPLES:
        assert path.read_text().startswith("# "), "says what it is for"
        assert list(load(path)) == ["MailFilter/mx"]
