"""The MailFilter with the most keys is stored: its spec and status, its keyring, the files of its pods."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.api import cases
from tests.api.server import NAMESPACE, ApiServer
from tests.cluster.connection import Connection
from tests.unit import largest, samples

from mailfilter_operator import api, names, status
from mailfilter_operator.build import build
from mailfilter_operator.dkim.keys import ACTIVE, DkimKey
from mailfilter_operator.validate import validate

NAME = "largest"
HERE = f"--namespace={NAMESPACE}"


@pytest.fixture(scope="module")
def rotating() -> tuple[DkimKey, ...]:
    """Provide the most keys that one MailFilter can have."""
    return largest.make_rotating_keys()


@pytest.fixture
def stored(api_tier: Connection, mailfilter_api: ApiServer) -> Iterator[dict[str, Any]]:
    """Store a MailFilter of the domains that all rotate, paused: nobody makes their keys; remove it after the test."""
    assert mailfilter_api.try_create(cases.base()).complaints == ()
    dkim = {"algorithms": ["RSA", "Ed25519"], "keyBits": 4096, "rotationID": "i" * 63}
    spec = {"paused": True, "dkim": dkim}
    body = cases.merge(cases.with_domains(largest.DOMAINS, largest.LONGEST_DOMAIN), {"spec": spec})
    body["spec"]["domains"] = [{**domain, "dkim": {"rotationID": "i" * 63}} for domain in body["spec"]["domains"]]
    body["metadata"] = {**body["metadata"], "name": NAME, "namespace": NAMESPACE}
    yield json.loads(api_tier.kubectl("create", "--filename=-", "--output=json", stdin=json.dumps(body)))
    api_tier.kubectl("delete", "mailfilter", NAME, HERE)


@pytest.mark.parametrize("observed", [None, largest.LONGEST_OBSERVED])
def test_status_is_stored(
    api_tier: Connection, stored: dict[str, Any], rotating: tuple[DkimKey, ...], observed: str | None
) -> None:
    outcome = status.Outcome(deployment=None, config_hash="", domains=largest.report_keys(rotating, observed))
    body: dict[str, Any] = {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "status": status.compute_status(stored, outcome, samples.NOW),
    }

    options = ("--server-side", "--subresource=status", "--validate=strict", "--force-conflicts")
    text = api_tier.kubectl("apply", *options, "--filename=-", "--output=json", stdin=json.dumps(body))
    answer = json.loads(text)

    assert answer["status"]["dnsRecords"] == body["status"]["dnsRecords"]
    assert len(answer["status"]["dnsRecords"]) == len(rotating)
    assert answer["status"]["domains"] == body["status"]["domains"]


def test_keyring_and_files_are_stored(
    api_tier: Connection, stored: dict[str, Any], rotating: tuple[DkimKey, ...]
) -> None:
    valid = validate(api.parse(stored), samples.IMAGE)
    signing = tuple(key for key in rotating if key.state == ACTIVE)
    objects = {
        f"{item['kind']}/{item['metadata']['name']}": _unowned(item)
        for item in build(valid, samples.plan(valid, signing), rotating)
        if item["kind"] in ("ConfigMap", "Secret")
    }
    assert f"Secret/{names.keyring(NAME)}" in objects
    try:
        for name, item in objects.items():
            answer = json.loads(api_tier.kubectl("create", "--filename=-", "--output=json", stdin=json.dumps(item)))
            assert answer.get("data") == (item.get("data") or None), name
    finally:
        for name in objects:
            api_tier.kubectl("delete", name, HERE, "--ignore-not-found")


def _unowned(item: dict[str, Any]) -> dict[str, Any]:
    """The object in the namespace of the tests; an owner that is not there would have it deleted."""
    kept = {key: value for key, value in item["metadata"].items() if key not in ("ownerReferences", "namespace")}
    return {**item, "metadata": {**kept, "namespace": NAMESPACE}}
