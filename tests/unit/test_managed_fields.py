"""What other field managers set is found by the server's own account of it."""

from __future__ import annotations

import copy
from typing import Any

import jsonpatch
import pytest
from tests.unit import samples

from mailfilter_operator import names
from mailfilter_operator.build import build
from mailfilter_operator.drift import build_removals, is_current
from mailfilter_operator.managed_fields import find_foreign_fields

KEYS = (samples.dkim_key("example.com"),)
DESIRED = {manifest["kind"]: manifest for manifest in build(samples.valid(), samples.plan(samples.valid(), KEYS), KEYS)}
DEPLOYMENT, SERVICE = DESIRED["Deployment"], DESIRED["Service"]
CONTAINER = 'k:{"name":"rspamd"}'


def with_entry(desired: dict[str, Any], fields: dict[str, Any], **entry: str) -> dict[str, Any]:
    """A live copy of *desired* in which a manager owns *fields*."""
    live = copy.deepcopy(desired)
    live["metadata"]["managedFields"] = [
        {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": fields, **entry}
    ]
    return live


def pod_fields(fields: dict[str, Any]) -> dict[str, Any]:
    return {"f:spec": {"f:template": {"f:spec": fields}}}


def test_a_field_of_the_spec_that_another_manager_set_is_removed() -> None:
    live = with_entry(SERVICE, {"f:spec": {"f:externalIPs": {}}})
    live["spec"]["externalIPs"] = ["192.0.2.1"]

    assert find_foreign_fields(SERVICE, live) == [("spec", "externalIPs")]
    assert not is_current(SERVICE, live)
    assert is_current(SERVICE, jsonpatch.apply_patch(live, build_removals(SERVICE, live)))


def test_a_field_inside_a_container_is_found_by_the_containers_name() -> None:
    live = with_entry(DEPLOYMENT, pod_fields({"f:containers": {CONTAINER: {".": {}, "f:args": {}}}}))
    live["spec"]["template"]["spec"]["containers"].reverse()
    live["spec"]["template"]["spec"]["containers"][1]["args"] = ["--other"]

    assert find_foreign_fields(DEPLOYMENT, live) == [("spec", "template", "spec", "containers", "1", "args")]


def test_a_wanted_field_is_not_removed_whoever_set_it() -> None:
    fields: dict[str, Any] = {
        "f:spec": {"f:replicas": {}, "f:template": {"f:spec": {"f:containers": {CONTAINER: {"f:image": {}}}}}}
    }

    assert find_foreign_fields(DEPLOYMENT, with_entry(DEPLOYMENT, fields)) == []


@pytest.mark.parametrize(
    "entry",
    [{"manager": names.FIELD_MANAGER}, {"manager": "kube-controller-manager", "subresource": "status"}],
    ids=["ours", "status"],
)
def test_our_own_fields_and_the_status_are_left_alone(entry: dict[str, str]) -> None:
    live = with_entry(SERVICE, {"f:spec": {"f:externalIPs": {}}}, **entry)
    live["spec"]["externalIPs"] = ["192.0.2.1"]

    assert find_foreign_fields(SERVICE, live) == []


def test_a_rollout_that_somebody_restarted_is_left_alone() -> None:
    live = with_entry(DEPLOYMENT, {"f:spec": {"f:template": {"f:metadata": {"f:annotations": {"f:restartedAt": {}}}}}})
    live["spec"]["template"]["metadata"]["annotations"]["restartedAt"] = "now"

    assert is_current(DEPLOYMENT, live)


@pytest.mark.parametrize("fields", [None, {}, {"f:spec": None}, {"f:spec": {"f:gone": {}}}, {"f:spec": {"k:{}": {}}}])
def test_an_account_that_says_nothing_usable_finds_nothing(fields: Any) -> None:
    assert find_foreign_fields(SERVICE, with_entry(SERVICE, fields)) == []


@pytest.mark.parametrize("kind", ["ConfigMap", "ServiceAccount", "Secret"])
def test_metadata_of_other_kinds_is_theirs_to_extend(kind: str) -> None:
    live = with_entry(DESIRED[kind], {"f:metadata": {"f:annotations": {"f:note": {}}}})
    live["metadata"]["annotations"]["note"] = "x"

    assert is_current(DESIRED[kind], live)


@pytest.mark.parametrize("kind", ["ConfigMap", "Secret"])
def test_an_object_that_was_made_immutable_is_not_current(kind: str) -> None:
    assert not is_current(DESIRED[kind], {**DESIRED[kind], "immutable": True})
