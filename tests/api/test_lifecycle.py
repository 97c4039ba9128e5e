"""A MailFilter's life: kept keys, wrong specs, taken names, pause, neighbours, an operator that restarts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.api.filters import Filters
from tests.api.operator_process import OperatorProcess
from tests.cluster.connection import Connection
from tests.mail.polling import eventually

DOMAINS = [{"name": "example.com"}, {"name": "example.org", "dkim": {"selector": "s1", "keyBits": 3072}}]
RESYNC_SECONDS = 2


@pytest.fixture
def resyncing(operator_process: OperatorProcess, tmp_path: Path) -> Iterator[OperatorProcess]:
    """Provide, in the place of the usual operator, one that looks at everything again every two seconds."""
    assert operator_process.stop() == 0
    process = OperatorProcess(operator_process.api, tmp_path, RESYNC_SECONDS)
    try:
        process.start()
        yield process
    finally:
        assert process.stop() == 0
        operator_process.start()


def test_deletion_leaves_the_key_secrets_and_applying_again_brings_the_same_keys_and_records(filters: Filters) -> None:
    filters.apply("mx", domains=DOMAINS)
    before = filters.wait_built("mx")
    records = filters.status("mx")["dnsRecords"]
    keys = {name for name in before if name.startswith("Secret/mx-dkim-")}
    assert len(keys) == 2
    filters.kubectl("delete", "mailfilter", "mx")
    # On a fresh API server the garbage collector learns of a new kind up to half a minute later.
    eventually(lambda: set(filters.children("mx")) == keys, within_seconds=90, what="nothing but the key Secrets")
    filters.apply("mx", domains=DOMAINS)
    after = filters.wait_built("mx")
    assert {name: after[name] for name in keys} == {name: before[name] for name in keys}
    assert after["Secret/mx-keyring"]["data"] == before["Secret/mx-keyring"]["data"]
    assert filters.status("mx")["dnsRecords"] == records


def test_a_removed_domain_keeps_its_key_and_signs_with_it_when_it_returns(filters: Filters) -> None:
    filters.apply("mx", domains=DOMAINS)
    before = filters.wait_built("mx")
    filters.apply("mx", domains=DOMAINS[:1])
    without = filters.wait_built("mx")
    assert len(without["Secret/mx-keyring"]["data"]) == 1
    assert {name for name in without if name.startswith("Secret/mx-dkim")} == {
        name for name in before if name.startswith("Secret/mx-dkim")
    }
    filters.apply("mx", domains=DOMAINS)
    assert filters.wait_built("mx")["Secret/mx-keyring"]["data"] == before["Secret/mx-keyring"]["data"]


def test_what_the_schema_cannot_judge_is_said_with_its_field_and_the_running_filter_stays(filters: Filters) -> None:
    filters.apply("mx", domains=DOMAINS)
    before, records = filters.wait_built("mx"), filters.status("mx")["dnsRecords"]
    filters.apply("mx", domains=DOMAINS, pod={"resources": {"clamd": {"limits": {"memory": "100Mi"}}}})
    condition = filters.wait_condition("mx", "ConfigValid", "False", "InvalidSpec")
    assert "spec.pod.resources.clamd.limits.memory" in condition["message"]
    assert filters.condition("mx", "Ready")["status"] == "False"
    assert filters.children("mx") == before
    assert filters.status("mx")["dnsRecords"] == records
    filters.apply("mx", domains=DOMAINS)
    filters.wait_condition("mx", "ConfigValid", "True")


def test_an_object_of_somebody_else_is_never_taken_over(filters: Filters) -> None:
    filters.kubectl("create", "configmap", "mx-metrics", "--from-literal=mine=yes")
    filters.apply("mx", domains=DOMAINS)
    condition = filters.wait_condition("mx", "Stalled", "True", "Conflict")
    assert "ConfigMap mx-metrics" in condition["message"]
    assert filters.get("configmap", "mx-metrics")["data"] == {"mine": "yes"}
    assert not [name for name in filters.children("mx") if not name.startswith("Secret/mx-dkim-")]
    filters.kubectl("delete", "configmap", "mx-metrics")
    filters.wait_condition("mx", "Stalled", "False")
    filters.wait_built("mx")


def test_a_paused_mailfilter_gets_nothing_but_status(filters: Filters) -> None:
    filters.apply("mx", domains=DOMAINS)
    before = filters.wait_built("mx")
    filters.apply("mx", domains=DOMAINS, paused=True)
    filters.wait_condition("mx", "Stalled", "True", "Paused")
    filters.kubectl("scale", "deployment", "mx", "--replicas=0")
    filters.look_again("mx")
    filters.apply("other", domains=[])  # a pass that ends after that of mx began
    filters.wait_built("other")
    assert filters.get("deployment", "mx")["spec"]["replicas"] == 0
    filters.apply("mx", domains=DOMAINS)
    eventually(lambda: filters.children("mx") == before, within_seconds=30, what="the objects as they were")


def test_two_mailfilters_with_one_name_the_beginning_of_the_other_do_not_meet(filters: Filters) -> None:
    filters.apply("mx", domains=DOMAINS)
    filters.apply("mx-a", domains=DOMAINS)
    filters.wait_built("mx")
    longer = filters.wait_built("mx-a")
    filters.kubectl("delete", "mailfilter", "mx")
    eventually(
        lambda: all(name.startswith("Secret/mx-dkim-") for name in filters.children("mx")),
        within_seconds=30,
        what="the objects of mx gone",
    )
    assert filters.children("mx-a") == longer


def test_foreground_deletion_is_not_fought(filters: Filters) -> None:
    filters.apply("mx", domains=DOMAINS)
    filters.wait_built("mx")
    filters.kubectl("delete", "mailfilter", "mx", "--cascade=foreground", "--timeout=60s")
    assert all(name.startswith("Secret/mx-dkim-") for name in filters.children("mx"))


def test_a_second_apply_and_a_restart_change_nothing(
    filters: Filters, operator_process: OperatorProcess, api_tier: Connection
) -> None:
    filters.apply("mx", domains=DOMAINS)
    filters.apply("my", domains=DOMAINS[:1])
    before = {name: filters.wait_built(name) for name in ("mx", "my")}
    filters.look_again("mx")
    _wait_passes(filters, operator_process.log, seen=0, passes=2)
    since = len(api_tier.audit_events())
    filters.apply("mx", domains=DOMAINS)
    filters.apply("my", domains=DOMAINS[:1])
    seen = operator_process.log.stat().st_size
    assert operator_process.stop() == 0
    operator_process.start()
    _wait_passes(filters, operator_process.log, seen, passes=1)
    assert [request for request in operator_process.mutating_requests(since) if filters.namespace in request] == []
    assert {name: filters.children(name) for name in ("mx", "my")} == before


def test_resyncs_write_nothing_until_something_is_lost(
    filters: Filters, resyncing: OperatorProcess, api_tier: Connection
) -> None:
    """No event tells of a lost Secret, so that what brings it back is a resync, and its write is seen."""
    filters.apply("mx", domains=DOMAINS)
    filters.apply("my", domains=DOMAINS[:1])
    before = {name: filters.wait_built(name) for name in ("mx", "my")}
    _wait_passes(filters, resyncing.log, seen=resyncing.log.stat().st_size, passes=2)
    since = len(api_tier.audit_events())
    _wait_passes(filters, resyncing.log, seen=resyncing.log.stat().st_size, passes=5)
    assert _writes(resyncing, filters, since) == []
    since = len(api_tier.audit_events())
    filters.kubectl("delete", "secret", "mx-keyring")
    eventually(lambda: filters.children("mx") == before["mx"], within_seconds=30, what="the keyring again")
    _wait_passes(filters, resyncing.log, seen=resyncing.log.stat().st_size, passes=2)
    repaired = {request.partition(" ")[2] for request in _writes(resyncing, filters, since)}
    assert repaired == {f"secrets {filters.namespace}/mx-keyring"}
    assert {name: filters.children(name) for name in ("mx", "my")} == before


def test_what_happened_while_the_operator_was_away_is_repaired_when_it_is_back(
    filters: Filters, operator_process: OperatorProcess
) -> None:
    filters.apply("mx", domains=DOMAINS)
    before = filters.wait_built("mx")
    operator_process.kill()
    filters.kubectl("delete", "configmap", "mx-metrics")
    filters.kubectl("delete", "secret", "mx-keyring")
    filters.kubectl("patch", "service", "mx", "--type=merge", '--patch={"spec":{"selector":{"added":"label"}}}')
    operator_process.start()
    eventually(lambda: filters.children("mx") == before, within_seconds=60, what="the objects as they were")


def _writes(operator: OperatorProcess, filters: Filters, since: int) -> list[str]:
    """Return what *operator* asked to change, except in the namespaces of other tests, which may be about to go."""
    requests = operator.mutating_requests(since)
    return [request for request in requests if filters.namespace in request or " filters-" not in request]


def _wait_passes(filters: Filters, log: Path, seen: int, passes: int) -> None:
    """Return when so many passes of mx and of my have ended after the first *seen* bytes of the log."""

    def ended() -> bool:
        text = log.read_bytes()[seen:].decode()
        return all(text.count(f" {filters.namespace}/{name} generation=") >= passes for name in ("mx", "my"))

    eventually(ended, within_seconds=60, what="passes of mx and my")


@pytest.mark.parametrize("name", ["mx", "m" * 40])
def test_status_shows_byte_for_byte_what_to_publish(filters: Filters, name: str) -> None:
    filters.apply(name, domains=DOMAINS)
    filters.wait_built(name)
    status = filters.status(name)
    for record in status["dnsRecords"]:
        strings = json.loads("[" + record["zoneLine"].split(" IN TXT ", 1)[1].replace('" "', '","') + "]")
        assert "".join(strings) == record["value"]
        assert all(len(text) <= 255 for text in strings)
    assert {record["name"] for record in status["dnsRecords"]} == {
        f"{key['selector']}._domainkey.{domain['name']}" for domain in status["domains"] for key in domain["keys"]
    }
