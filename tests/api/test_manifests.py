"""The real API server on what people apply: no warning, pods that *restricted* lets in, the rights that are meant."""

from __future__ import annotations

import copy
import json
import subprocess
from collections.abc import Iterable
from typing import Any

import pytest
import yaml
from tests.api.operator_process import ACCOUNT, INSTALL, NAMESPACE
from tests.api.server import ROOT, ApiServer
from tests.cluster.connection import Connection
from tests.unit import samples

from mailfilter_operator import api, build, validate

EXAMPLES = sorted((ROOT / "manifests" / "examples").glob("*.yaml"))


@pytest.fixture(scope="module")
def installed(api_tier: Connection) -> Connection:
    """Return the API server with install.yaml applied, which must cause no warning."""
    options = ("--server-side", "--force-conflicts", "--warnings-as-errors", "--validate=strict")
    api_tier.kubectl("apply", *options, f"--filename={INSTALL}")
    return api_tier


def try_pod(server: Connection, spec: dict[str, Any]) -> str:
    """Try to create a pod in the operator's namespace, which enforces *restricted*; return the complaint if any."""
    metadata = {"name": "tried", "namespace": NAMESPACE}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    options = ("--dry-run=server", "--validate=strict", "--warnings-as-errors", "--filename=-")
    try:
        server.kubectl("create", *options, stdin=json.dumps(body))
    except subprocess.CalledProcessError as error:
        return str(error.stderr)
    return ""


def operator_pod() -> dict[str, Any]:
    """Return the spec of the operator's pod, with an account that every namespace has."""
    deployment = next(item for item in yaml.safe_load_all(INSTALL.read_text()) if item["kind"] == "Deployment")
    return {**deployment["spec"]["template"]["spec"], "serviceAccountName": "default"}


def test_operator_pod_is_restricted(installed: Connection) -> None:
    assert try_pod(installed, operator_pod()) == ""


def test_namespace_refuses_a_pod_that_is_not_restricted(installed: Connection) -> None:
    pod = copy.deepcopy(operator_pod())
    del pod["containers"][0]["securityContext"]

    assert 'violates PodSecurity "restricted' in try_pod(installed, pod)


def test_filter_pod_is_restricted(installed: Connection, mailfilter_api: ApiServer) -> None:
    full = yaml.safe_load((ROOT / "manifests" / "examples" / "full.yaml").read_text())
    valid = validate.validate(api.parse(mailfilter_api.try_create(full).stored), "localhost/mailfilter:0.1.0")
    objects = build.build(valid, samples.plan(valid, ()), ())
    pod = next(item for item in objects if item["kind"] == "Deployment")["spec"]["template"]["spec"]

    assert try_pod(installed, {**pod, "serviceAccountName": "default"}) == ""


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_accepted(mailfilter_api: ApiServer, path: Any) -> None:
    answer = mailfilter_api.try_create(yaml.safe_load(path.read_text()))

    assert answer.complaints == ()
    validate.validate(api.parse(answer.stored), "localhost/mailfilter:0.1.0")


Right = tuple[str, str, str, str]
"""Verb, resource.group, namespace (empty: everywhere), name (empty: any)."""


def ask(server: Connection, rights: Iterable[Right]) -> dict[Right, bool]:
    """Ask the API server which of *rights* the operator's account has."""
    asked = list(rights)
    text = "\n---\n".join(json.dumps(build_review(*right)) for right in asked)
    printed = server.kubectl("create", "--filename=-", '--output=jsonpath={.status.allowed}{"\\n"}', stdin=text)
    return {right: answer == "true" for right, answer in zip(asked, printed.split(), strict=True)}


def build_review(verb: str, resource: str, namespace: str, name: str) -> dict[str, Any]:
    """Write a SubjectAccessReview."""
    plural, _, group = resource.partition(".")
    plural, _, subresource = plural.partition("/")
    attributes = {"verb": verb, "group": group, "resource": plural, "subresource": subresource}
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": ACCOUNT, "resourceAttributes": {**attributes, "namespace": namespace, "name": name}},
    }


def test_operator_may_do_its_work(installed: Connection) -> None:
    children = ("configmaps", "services", "serviceaccounts", "deployments.apps", "poddisruptionbudgets.policy")
    verbs = ("get", "list", "watch", "create", "patch", "delete")
    wanted: list[Right] = [
        *((verb, resource, "", "") for resource in children for verb in verbs),
        *((verb, "secrets", "", "") for verb in ("get", "create", "patch", "delete")),
        *((verb, "pods", "", "") for verb in ("list", "watch", "patch")),
        *((verb, "mailfilters.mailfilter.dev", "", "") for verb in ("get", "list", "watch")),
        ("patch", "mailfilters/status.mailfilter.dev", "", ""),
        ("create", "events", "", ""),
        ("create", "leases.coordination.k8s.io", NAMESPACE, ""),
        *((verb, "leases.coordination.k8s.io", NAMESPACE, "mailfilter-operator") for verb in ("get", "update")),
    ]

    assert [right for right, allowed in ask(installed, wanted).items() if not allowed] == []


def test_operator_may_do_no_more(installed: Connection) -> None:
    unwanted: list[Right] = [
        *((verb, "secrets", "", "") for verb in ("list", "watch", "update", "deletecollection")),
        ("list", "secrets", NAMESPACE, ""),
        *((verb, "pods", "", "") for verb in ("get", "create", "update", "delete", "deletecollection")),
        *(("create", f"pods/{subresource}", "", "") for subresource in ("exec", "eviction", "portforward", "proxy")),
        *(("patch", f"pods/{subresource}", "", "") for subresource in ("status", "ephemeralcontainers", "resize")),
        *((verb, "mailfilters.mailfilter.dev", "", "") for verb in ("create", "update", "patch", "delete")),
        ("update", "leases.coordination.k8s.io", NAMESPACE, "another"),
        ("update", "leases.coordination.k8s.io", "default", "mailfilter-operator"),
        ("create", "clusterrolebindings.rbac.authorization.k8s.io", "", ""),
        ("impersonate", "serviceaccounts", "", ""),
        ("create", "serviceaccounts/token", "", ""),
    ]

    assert [right for right, allowed in ask(installed, unwanted).items() if allowed] == []


def read_objects(text: str) -> dict[str, Any]:
    """Return the objects of a YAML text by kind and name."""
    return {f"{item['kind']}/{item['metadata']['name']}": item for item in yaml.safe_load_all(text)}


def test_persistent_signatures_differ_by_a_claim_alone(installed: Connection) -> None:
    """In place of the directory that ends with the pod; built as the file says, and accepted."""
    variant = ROOT / "manifests" / "persistent-signatures"
    built = installed.kubectl("kustomize", "--load-restrictor=LoadRestrictionsNone", str(variant))
    objects, plain = read_objects(built), read_objects(INSTALL.read_text())
    claim = objects.pop("PersistentVolumeClaim/mailfilter-signatures")
    deployments = [item["Deployment/mailfilter-signatures"]["spec"]["template"]["spec"] for item in (objects, plain)]
    volumes, before = ({volume["name"]: volume for volume in pod.pop("volumes")} for pod in deployments)

    assert volumes == {
        **before,
        "signatures": {"name": "signatures", "persistentVolumeClaim": {"claimName": claim["metadata"]["name"]}},
    }
    assert objects == plain
    options = ("--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "--warnings-as-errors")
    installed.kubectl("apply", *options, "--filename=-", stdin=built)
