"""The MailFilter as an object of the API server: columns, selectable fields, status, the largest that fits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.api import cases
from tests.api.server import NAMESPACE, ApiServer
from tests.cluster.connection import Connection
from tests.unit import samples

from mailfilter_operator import api, names, status
from mailfilter_operator.dkim import keys

_NAME = "stored"
_LONGEST_DOMAIN = 226
_NOW = "2026-11-23T09:00:00Z"


@pytest.fixture
def stored(api_tier: Connection, mailfilter_api: ApiServer) -> Iterator[dict[str, Any]]:
    """Store a MailFilter, remove it after the test."""
    assert mailfilter_api.try_create(cases.base()).complaints == ()
    body = cases.merge(cases.base(), {"metadata": {"name": _NAME, "namespace": NAMESPACE}})
    text = api_tier.kubectl("create", "--filename=-", "--output=json", stdin=json.dumps(body))
    yield json.loads(text)
    api_tier.kubectl("delete", "mailfilter", _NAME, f"--namespace={NAMESPACE}", "--ignore-not-found")


@pytest.mark.usefixtures("stored")
def test_short_name_and_category(api_tier: Connection) -> None:
    for name in ("mf", "mailfilter"):
        printed = api_tier.kubectl("get", name, f"--namespace={NAMESPACE}", "--output=name")
        assert printed.split() == [f"mailfilter.mailfilter.dev/{_NAME}"]


@pytest.mark.usefixtures("stored")
def test_printed_columns(api_tier: Connection) -> None:
    wide = api_tier.kubectl("get", "mf", f"--namespace={NAMESPACE}", "--output=wide")

    assert wide.splitlines()[0].split() == ["NAME", "READY", "DOMAINS", "DNS", "SIGNATURES", "AGE", "REASON", "IMAGE"]


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ("spec.paused=false", True),
        ("spec.paused=true", False),
        ("spec.antivirus.onFailure=TempFail", True),
        ("spec.image.tag=", True),
        ("spec.image.tag=0.0.1", False),
    ],
)
@pytest.mark.usefixtures("stored")
def test_selectable_fields(api_tier: Connection, selector: str, found: bool) -> None:
    where = (f"--namespace={NAMESPACE}", f"--field-selector={selector}", "--output=name")

    assert bool(api_tier.kubectl("get", "mf", *where).strip()) is found


@pytest.mark.usefixtures("mailfilter_api")
def test_explain_knows_every_level(api_tier: Connection) -> None:
    printed = api_tier.kubectl("explain", "mailfilter.spec.antivirus.signatures.source")

    assert printed.split("ENUM:")[1].split()[:4] == ["Shared", "Mirror", "Official", "CustomOnly"]
    assert "CustomOnly: only the databases" in " ".join(printed.split())


def test_status_of_the_operator_fits_the_schema(
    api_tier: Connection, stored: dict[str, Any], rsa_4096: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With as many domains, of as long names, with as long keys as can be; no field is unknown or out of bounds."""
    public = keys.read_public_der(rsa_4096)
    monkeypatch.setattr(keys, "read_public_der", lambda _: public)  # reading takes 0.3 s, and one key stands for 100
    domains = [cases.domain_of(_LONGEST_DOMAIN, index) for index in range(100)]
    made = tuple(
        keys.DkimKey(domain, "r0", "mf20261123-4f2a", "RSA", 4096, "Active", _NOW, _NOW, rsa_4096) for domain in domains
    )
    outcome = status.Outcome(deployment=None, config_hash="", domains=samples.domain_report(*made))
    spec = {**stored["spec"], "domains": [{"name": domain} for domain in domains]}
    body = {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"name": _NAME, "namespace": NAMESPACE},
        "status": status.compute_status({**stored, "spec": spec}, outcome, _NOW),
    }

    options = ("--server-side", "--subresource=status", "--validate=strict", "--dry-run=server", "--force-conflicts")
    text = api_tier.kubectl("apply", *options, "--filename=-", "--output=json", stdin=json.dumps(body))
    answer = json.loads(text)

    assert answer["status"] == body["status"]
    assert answer["spec"] == stored["spec"]
    assert answer["metadata"]["generation"] == 1


def test_the_largest_lists_fit_the_cost_of_the_rules(mailfilter_api: ApiServer) -> None:
    """As many symbols as one request takes: 3500 of 5000 with descriptions of 256 characters make 1.4 MB."""
    groups = [
        {
            "name": f"{'g' * 120}_{group:03}",
            "maxScore": "9999.99",
            "symbols": [
                {"name": f"{'S' * 110}_{group:03}_{symbol:03}", "score": "-1234.56", "description": "d" * 256}
                for symbol in range(70)
            ],
        }
        for group in range(50)
    ]
    body = cases.merge(cases.with_domains(100, _LONGEST_DOMAIN), {"spec": {"metrics": {"groups": groups}}})

    answer = mailfilter_api.try_create(body)

    assert answer.complaints == ()
    assert len(api.parse(answer.stored).spec.metrics.groups) == 50
