"""What somebody edits or deletes is back as it was: watched kinds at once, Secrets with the next pass."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.api.conftest import own_namespace
from tests.api.filters import Filters
from tests.api.operator_process import OperatorProcess
from tests.cluster.connection import Connection
from tests.mail.polling import eventually

from mailfilter_operator import credentials

DOMAINS = [{"name": "example.com"}]
LABEL = "/metadata/labels/app.kubernetes.io~1"

EDITS: dict[str, tuple[str, str, dict[str, Any] | list[dict[str, Any]]]] = {
    "a file is changed": ("configmap", "mx-metrics", {"data": {"override.d_actions.conf": "reject = 9999;\n"}}),
    "a file is added": ("configmap", "mx-modules", {"data": {"local.d_antivirus.conf": "enabled = false;\n"}}),
    "binary data is added": ("configmap", "mx-modules", {"binaryData": {"local.d_antivirus.conf": "AAAA"}}),
    "a file is removed": ("configmap", "mx-workers", {"data": {"override.d_worker-proxy.inc": None}}),
    "a label is removed": ("configmap", "mx-workers", [{"op": "remove", "path": f"{LABEL}instance"}]),
    "the managed-by label is removed": ("configmap", "mx-clamav", [{"op": "remove", "path": f"{LABEL}managed-by"}]),
    "the owner is removed": ("configmap", "mx-clamav", [{"op": "remove", "path": "/metadata/ownerReferences"}]),
    "the Deployment is scaled": ("deployment", "mx", {"spec": {"replicas": 0}}),
    "the image is changed": (
        "deployment",
        "mx",
        [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "example.test/other:1"}],
    ),
    "a container is added": (
        "deployment",
        "mx",
        [{"op": "add", "path": "/spec/template/spec/containers/-", "value": {"name": "x", "image": "example.test/x"}}],
    ),
    "the Deployment's owner is removed": ("deployment", "mx", [{"op": "remove", "path": "/metadata/ownerReferences"}]),
    "the Service selects other pods": (
        "service",
        "mx",
        {"spec": {"selector": {"app.kubernetes.io/instance": "other"}}},
    ),
    "the Service selects no pods": ("service", "mx", {"spec": {"selector": {"added": "label"}}}),
    "a port is added": (
        "service",
        "mx",
        [
            {"op": "add", "path": "/spec/ports/-", "value": {"name": "x", "port": 11334, "protocol": "TCP"}},
        ],
    ),
    "the host's network is used": ("deployment", "mx", {"spec": {"template": {"spec": {"hostNetwork": True}}}}),
    "the rollout is paused": ("deployment", "mx", {"spec": {"paused": True}}),
    "arguments and variables are added": (
        "deployment",
        "mx",
        [
            {"op": "add", "path": "/spec/template/spec/containers/0/args", "value": ["--other"]},
            {"op": "add", "path": "/spec/template/spec/containers/1/env", "value": [{"name": "A", "value": "B"}]},
        ],
    ),
    "the Service gets an address of the outside": ("service", "mx", {"spec": {"externalIPs": ["192.0.2.1"]}}),
    "a ConfigMap is made immutable": ("configmap", "mx-metrics", {"immutable": True}),
    "raw text is planted": ("configmap", "mx-files", {"data": {"local.d_multimap.conf": "own {}\n"}}),
    "something is planted to be tried": ("configmap", "mx-candidate", {"data": {"candidate.manifest": "x\n"}}),
    "the manifest is changed": ("configmap", "mx-modules", {"data": {"manifest": "x\n"}}),
    "more pods may go at once": ("poddisruptionbudget", "mx", {"spec": {"maxUnavailable": 2}}),
    "the budget is for other pods": (
        "poddisruptionbudget",
        "mx",
        {"spec": {"selector": {"matchLabels": {"added": "label"}}}},
    ),
    "the budget's owner is removed": (
        "poddisruptionbudget",
        "mx",
        [{"op": "remove", "path": "/metadata/ownerReferences"}],
    ),
    "the web interface gets another port": (
        "service",
        "mx-controller",
        [{"op": "replace", "path": "/spec/ports/0/targetPort", "value": 11332}],
    ),
    "the account mounts a token": ("serviceaccount", "mx", {"automountServiceAccountToken": True}),
}

CHILDREN = (
    "configmap/mx-metrics",
    "configmap/mx-workers",
    "configmap/mx-modules",
    "configmap/mx-clamav",
    "configmap/mx-files",
    "configmap/mx-candidate",
    "deployment/mx",
    "poddisruptionbudget/mx",
    "service/mx",
    "service/mx-controller",
    "serviceaccount/mx",
)


@pytest.fixture(scope="module")
def filters(api_tier: Connection, operator_process: OperatorProcess) -> Iterator[Filters]:
    """Return a namespace with one MailFilter: each test leaves it as it was."""
    with own_namespace(api_tier, operator_process) as made:
        yield made


def expect_as_before(filters: Filters, before: dict[str, dict[str, Any]]) -> None:
    """Wait until all children of mx are what they were; the last difference is in the failure."""

    def same() -> bool:
        now = filters.children("mx")
        assert now == before
        return True

    eventually(same, within_seconds=30, what="the objects as they were")


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_an_edited_child_is_repaired(
    filters: Filters, edit: tuple[str, str, dict[str, Any] | list[dict[str, Any]]]
) -> None:
    kind, name, patch = edit
    filters.apply("mx", domains=DOMAINS)
    before = filters.wait_built("mx")
    version = filters.get(kind, name)["metadata"]["resourceVersion"]
    style = "json" if isinstance(patch, list) else "merge"
    filters.kubectl("patch", kind, name, f"--type={style}", f"--patch={json.dumps(patch)}")
    assert filters.get(kind, name)["metadata"]["resourceVersion"] != version
    expect_as_before(filters, before)


@pytest.mark.parametrize("child", CHILDREN)
def test_a_deleted_child_is_made_again(filters: Filters, child: str) -> None:
    filters.apply("mx", domains=DOMAINS)
    before = filters.wait_built("mx")
    filters.kubectl("delete", child)
    expect_as_before(filters, before)


def key_secret(children: dict[str, dict[str, Any]]) -> str:
    """Return the name of the one key Secret."""
    (name,) = (name for name in children if name.startswith("Secret/mx-dkim-"))
    return name.removeprefix("Secret/")


@pytest.mark.parametrize(
    "patch",
    [{"data": {"added.key": "QUJD"}}, {"metadata": {"ownerReferences": None}}, {"metadata": {"labels": None}}],
    ids=["a key is added", "the owner is removed", "labels are removed"],
)
def test_an_edited_keyring_is_repaired_with_the_next_pass(filters: Filters, patch: dict[str, Any]) -> None:
    filters.apply("mx", domains=DOMAINS)
    before = filters.wait_built("mx")
    filters.kubectl("patch", "secret", "mx-keyring", "--type=merge", f"--patch={json.dumps(patch)}")
    filters.look_again("mx")
    expect_as_before(filters, before)


@pytest.mark.parametrize(
    "patch",
    [
        {"data": {"override.d_worker-controller.inc": "QUJD"}},
        {"data": {"override.d_worker-controller.inc": None}},
        {"data": {"added": "QUJD"}},
        {"metadata": {"ownerReferences": None}},
        {"metadata": {"labels": None}},
        {"metadata": {"annotations": None}},
    ],
    ids=["a file is changed", "a file is removed", "a file is added", "no owner", "no labels", "no annotations"],
)
def test_edited_credentials_are_repaired_with_the_next_pass(filters: Filters, patch: dict[str, Any]) -> None:
    filters.apply("mx", domains=DOMAINS)
    before = filters.wait_built("mx")
    filters.kubectl("patch", "secret", "mx-credentials", "--type=merge", f"--patch={json.dumps(patch)}")
    filters.look_again("mx")
    expect_as_before(filters, before)


def test_deleted_credentials_come_back_with_another_salt_and_a_manifest_that_fits(filters: Filters) -> None:
    filters.apply("mx", domains=DOMAINS)
    before = filters.wait_built("mx")
    filters.kubectl("delete", "secret", "mx-credentials")
    filters.look_again("mx")
    wait_child(filters, "Secret/mx-credentials")
    after = filters.children("mx")
    differing = {name for name in before if after[name] != before[name]}
    salted = {"Secret/mx-credentials", "Secret/mx-freshclam"}
    assert differing == {*salted, "ConfigMap/mx-files", "ConfigMap/mx-modules"}
    assert after["Secret/mx-credentials"]["data"].keys() == before["Secret/mx-credentials"]["data"].keys()
    filters.wait_condition("mx", "ConfigValid", "True")


def test_a_deleted_password_is_drawn_anew_and_an_edited_one_stays(filters: Filters) -> None:
    filters.apply("mx", domains=DOMAINS)
    before = filters.wait_built("mx")["Secret/mx-controller"]["data"]
    filters.kubectl("delete", "secret", "mx-controller")
    filters.look_again("mx")
    drawn = wait_child(filters, "Secret/mx-controller")["data"]
    assert drawn.keys() == before.keys()
    assert drawn != before
    filters.kubectl("patch", "secret", "mx-controller", "--type=merge", '--patch={"data":{"password":"b3du"}}')
    filters.look_again("mx")
    salt = base64.b64decode(filters.children("mx")["Secret/mx-credentials"]["data"]["salt"]).decode()
    wanted = credentials.compute_password_hash("test", "own", salt).replace("$", "\\u0024")

    def counts() -> bool:
        data = filters.children("mx")["Secret/mx-credentials"]["data"]
        return wanted in base64.b64decode(data["override.d_worker-controller.inc"]).decode()

    eventually(counts, within_seconds=30, what="the hash of the edited password")
    assert filters.children("mx")["Secret/mx-controller"]["data"] == {"password": "b3du"}


def wait_child(filters: Filters, name: str) -> dict[str, Any]:
    """Return an object of mx when it is there."""
    return eventually(lambda: filters.children("mx").get(name), within_seconds=30, what=name)


def test_a_private_key_replaced_in_the_keyring_is_put_back(filters: Filters) -> None:
    filters.apply("mx", domains=DOMAINS)
    before = filters.wait_built("mx")
    (file,) = before["Secret/mx-keyring"]["data"]
    filters.kubectl("patch", "secret", "mx-keyring", "--type=merge", f"--patch={json.dumps({'data': {file: 'QUJD'}})}")
    filters.look_again("mx")
    expect_as_before(filters, before)


def test_a_deleted_keyring_comes_back_with_the_same_key(filters: Filters) -> None:
    filters.apply("mx", domains=DOMAINS)
    before = filters.wait_built("mx")
    filters.kubectl("delete", "secret", "mx-keyring")
    filters.look_again("mx")
    expect_as_before(filters, before)


def test_a_deleted_key_secret_is_restored_from_the_keyring(filters: Filters) -> None:
    filters.apply("mx", domains=DOMAINS)
    before = filters.wait_built("mx")
    filters.kubectl("delete", "secret", key_secret(before))
    filters.look_again("mx")
    expect_as_before(filters, before)
    assert [event for event in filters.events() if event["reason"] == "KeyRestored"]


@pytest.mark.parametrize(
    "patch",
    [
        {"metadata": {"annotations": {"mailfilter.dev/selector": "evil"}}},
        {"metadata": {"annotations": {"mailfilter.dev/state": "Retired", "mailfilter.dev/signing-since": "yesterday"}}},
        {"metadata": {"annotations": None}},
        {"metadata": {"labels": None}},
        {"metadata": {"labels": {"app.kubernetes.io/instance": "other"}}},
    ],
    ids=["selector", "state", "no annotations", "no labels", "labels of another"],
)
def test_what_is_changed_around_a_key_is_repaired_with_the_next_pass(filters: Filters, patch: dict[str, Any]) -> None:
    filters.apply("mx", domains=DOMAINS)
    before, records = filters.wait_built("mx"), filters.status("mx")["dnsRecords"]
    filters.kubectl("patch", "secret", key_secret(before), "--type=merge", f"--patch={json.dumps(patch)}")
    filters.look_again("mx")
    expect_as_before(filters, before)
    assert filters.status("mx")["dnsRecords"] == records


def test_a_keyring_that_was_made_immutable_is_said(filters: Filters) -> None:
    filters.apply("mx", domains=DOMAINS)
    filters.wait_built("mx")
    filters.kubectl("patch", "secret", "mx-keyring", "--type=merge", '--patch={"immutable":true}')
    filters.look_again("mx")
    condition = filters.wait_condition("mx", "Stalled", "True", "Conflict")
    assert "Secret mx-keyring exists and was made immutable" in condition["message"]
    filters.kubectl("delete", "secret", "mx-keyring")
    filters.wait_condition("mx", "Stalled", "False")


def test_a_key_secret_cannot_be_changed_by_accident(filters: Filters) -> None:
    filters.apply("mx", domains=DOMAINS)
    before = filters.wait_built("mx")
    with pytest.raises(Exception, match="immutable"):
        filters.kubectl(
            "patch", "secret", key_secret(before), "--type=merge", '--patch={"data":{"private.key":"QUJD"}}'
        )
