"""The pass: everything is brought about, nothing is written twice, and status says how it ended."""

from __future__ import annotations

from typing import Any

import pytest
from tests.shell.world import RESYNC_SECONDS, World
from tests.unit import samples

from mailfilter_operator import names
from mailfilter_operator.errors import ClusterError

REFUSED: dict[str, Any] = {
    "metrics": {"groups": [{"name": group, "symbols": [{"name": "X", "score": 1}]} for group in "ab"]}
}
OBJECTS = ["ServiceAccount/mx", "ConfigMap/mx-metrics", "ConfigMap/mx-workers", "ConfigMap/mx-modules"]
OBJECTS += [
    "ConfigMap/mx-clamav",
    "ConfigMap/mx-files",
    "ConfigMap/mx-candidate",
    "Secret/mx-credentials",
    "Secret/mx-freshclam",
    "Secret/mx-keyring",
]
OBJECTS += ["Service/mx", "Service/mx-controller", "PodDisruptionBudget/mx", "Deployment/mx"]
GENERATED = "Secret/mx-controller"
KEY = "Secret/mx-dkim-a379a6f6ee-r0"


def test_first_pass_makes_keys_then_objects_in_order_then_status(world: World) -> None:
    world.apply()

    written = world.written()

    assert written[:-2] == [("create", KEY), ("create", GENERATED), *(("apply", name) for name in OBJECTS)]
    assert written[-2] == ("apply_status", "MailFilter/mx")
    assert world.condition("ConfigApplied")[:2] == ("False", "RollingOut")
    assert world.events() == ["KeyCreated"]


def test_filter_becomes_ready_when_its_pod_is(running: World) -> None:
    assert running.condition("Ready")[:2] == ("True", "Ready")
    assert running.events() == ["KeyCreated", "Ready"]
    assert (running.status()["replicas"], running.status()["domainCount"]) == (1, 1)


@pytest.mark.parametrize("domains", [0, 1, 3])
def test_pass_after_the_answers_of_name_servers_writes_status_and_the_next_nothing(world: World, domains: int) -> None:
    world.apply(domains=[{"name": f"d{number}.test"} for number in range(domains)])
    world.look()
    start = len(world.cluster.writes)
    world.settle()

    assert set(world.cluster.writes[start:]) <= {("apply_status", "MailFilter/mx")}
    assert world.written() == []


def test_pass_of_a_converged_filter_writes_nothing_at_any_later_time(running: World) -> None:
    running.now = samples.LATER

    assert running.written() == []


def test_filter_is_looked_at_again_within_the_resync_time(running: World) -> None:
    wait = running.look()

    assert wait is not None
    assert 0.75 * RESYNC_SECONDS <= wait <= RESYNC_SECONDS


def test_changed_score_writes_what_holds_it_and_no_more(running: World) -> None:
    running.apply(actions={"reject": 12})

    assert running.written() == [
        ("apply", "ConfigMap/mx-metrics"),
        ("apply", "ConfigMap/mx-modules"),
        ("annotate", "Pod/mx-1"),
        ("apply_status", "MailFilter/mx"),
    ]


def test_field_that_is_no_longer_wanted_goes(running: World) -> None:
    pod = ("spec", "template", "spec")
    running.apply(image={"pullSecrets": ["login"]}, pod={"resources": {"rspamd": {"limits": {"cpu": "2"}}}})
    running.look()
    running.apply()
    running.look()

    live: Any = running.object("Deployment", "mx")
    for step in pod:
        live = live[step]
    assert live["imagePullSecrets"] == []
    assert "cpu" not in live["containers"][0]["resources"]["limits"]
    assert running.written() == []


def test_two_mailfilters_whose_names_are_prefixes_do_not_touch_each_other(running: World) -> None:
    before = running.content()
    running.apply("mx-2", domains=[{"name": "example.com"}])
    running.look("mx-2")
    running.apply("mx-2", domains=[])
    running.look("mx-2")

    after = running.content()
    assert {name: after[name] for name in before} == before
    assert running.written() == []


@pytest.mark.parametrize("paused", [False, True])
def test_invalid_spec_leaves_objects_alone_and_names_the_field(running: World, paused: bool) -> None:
    before, status = running.content("ConfigMap", "Deployment", "Secret", "Service"), running.status()
    running.apply(paused=paused, **REFUSED)

    assert [verb for verb, _ in running.written()] == ["apply_status", "create"]

    assert running.content("ConfigMap", "Deployment", "Secret", "Service") == before
    for condition in ("ConfigValid", "ConfigApplied", "Ready"):
        assert running.condition(condition)[:2] == ("False", "InvalidSpec")
    assert running.condition("ConfigValid")[2].startswith("spec.metrics.groups[b].symbols[X]: ")
    assert running.condition("Available")[0] == "True"
    assert running.status()["dnsRecords"] == status["dnsRecords"]
    assert running.status()["observedGeneration"] == running.object("MailFilter", "mx")["metadata"]["generation"]
    assert running.events()[-1] == "InvalidSpec"
    assert running.written() == []


def test_mended_spec_is_applied(running: World) -> None:
    running.apply(**REFUSED)
    running.look()
    running.apply()
    running.look()

    assert running.condition("ConfigValid")[0] == "True"
    assert running.condition("Ready")[0] == "True"


def test_paused_filter_gets_status_and_nothing_else(running: World) -> None:
    running.apply(paused=True, actions={"reject": 12}, domains=[{"name": "example.net"}])
    running.cluster.remove("Service", "mail", "mx")

    assert running.written() == [("apply_status", "MailFilter/mx")]
    assert running.condition("Stalled")[:2] == ("True", "Paused")
    assert running.condition("Ready")[:2] == ("False", "Paused")
    assert running.status()["domains"][0]["name"] == "example.com"
    assert running.written() == []


def test_filter_goes_on_when_it_is_no_longer_paused(running: World) -> None:
    running.apply(paused=True)
    running.look()
    running.apply()
    running.look()

    assert running.condition("Stalled")[0] == "False"
    assert running.condition("Ready")[0] == "True"


FOREIGN = [
    ("ServiceAccount", "mx"),
    ("ConfigMap", "mx-clamav"),
    ("Secret", "mx-keyring"),
    ("Secret", "mx-credentials"),
    ("Secret", "mx-controller"),
    ("Service", "mx-controller"),
    ("Deployment", "mx"),
    ("Secret", KEY.partition("/")[2]),
]


@pytest.mark.parametrize(("kind", "name"), FOREIGN)
def test_conflict_writes_nothing_and_is_said_in_status(world: World, kind: str, name: str) -> None:
    """Not even a key: it would outlive the MailFilter that could not be brought about."""
    foreign = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "mail"}}
    world.cluster.put(foreign)
    world.apply()

    assert [verb for verb, _ in world.written()] == ["apply_status", "create"]

    assert {name for name in world.content() if not name.startswith("MailFilter")} == {f"{kind}/{name}"}
    assert world.condition("Stalled")[:2] == ("True", "Conflict")
    assert f"{kind} {name} exists" in world.condition("Stalled")[2]
    assert world.condition("ConfigApplied")[0] == world.condition("Ready")[0] == "False"
    assert world.condition("ConfigValid")[0] == "True"
    assert world.events() == ["Conflict"]
    assert world.written() == []


def test_conflict_is_looked_at_again_soon_and_gone_with_its_cause(world: World) -> None:
    """Whoever removes the other object causes no event."""
    world.cluster.put({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "mx", "namespace": "mail"}})
    world.apply()

    assert world.look() == 15
    world.cluster.remove("Service", "mail", "mx")
    world.look()
    assert world.condition("Stalled")[0] == "False"


@pytest.mark.parametrize("deleted", ["at once", "in the background"])
def test_nothing_is_written_for_a_deleted_mailfilter(running: World, deleted: str) -> None:
    if deleted == "at once":
        running.cluster.remove("MailFilter", "mail", "mx")
    else:
        running.object("MailFilter", "mx")["metadata"]["deletionTimestamp"] = samples.NOW
    running.cluster.remove("ConfigMap", "mail", "mx-clamav")

    assert running.written() == []
    assert running.look() is None


def test_mailfilter_that_was_deleted_and_made_anew_keeps_its_keys_and_records(running: World) -> None:
    """Its key Secrets have no owner; what it owned may still be there."""
    keys, records = running.key_secrets(), running.status()["dnsRecords"]
    running.cluster.remove("MailFilter", "mail", "mx")
    running.cluster.put(samples.body("mx", "uid-of-another"))
    running.look()

    assert running.key_secrets() == keys
    running.settle()
    assert running.status()["dnsRecords"] == records
    owners = [found["metadata"]["ownerReferences"] for found in running.content("ConfigMap", "Service").values()]
    assert {owner["uid"] for owned in owners for owner in owned} == {"uid-of-another"}
    assert running.written() == []


def test_owned_object_that_nothing_wants_is_deleted(running: World) -> None:
    extra = dict(running.object("ConfigMap", "mx-metrics"))
    running.cluster.put({**extra, "metadata": {**extra["metadata"], "name": "mx-old", "uid": "other"}})
    unowned = {**extra["metadata"], "name": "mx-kept", "uid": "another", "ownerReferences": []}
    running.cluster.put({**extra, "metadata": unowned})

    assert running.written() == [("delete", "ConfigMap/mx-old")]
    assert running.object("ConfigMap", "mx-kept")


def test_failure_of_the_api_server_is_said_in_status_and_raised_for_back_off(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.apply()

    def refuse(_: Any) -> Any:
        raise ClusterError("PATCH", "ServiceAccount", "mail/mx", 503, "overloaded")

    monkeypatch.setattr(world.cluster, "apply", refuse)
    with pytest.raises(ClusterError, match="answered 503: overloaded"):
        world.look()

    assert world.condition("Stalled")[:2] == ("False", "Progressing")
    assert world.condition("Reconciling")[:2] == ("True", "ClusterError")
    assert "answered 503" in world.condition("Reconciling")[2]
    with pytest.raises(ClusterError):
        world.written()
    assert world.events() == ["KeyCreated"]


def test_event_names_the_mailfilter_and_what_to_do(world: World) -> None:
    world.apply()
    world.look()

    (event,) = [found for (kind, *_), found in world.cluster.objects.items() if kind == "Event"]
    assert event["involvedObject"]["name"] == "mx"
    assert event["involvedObject"]["uid"] == "uid-of-mx"
    assert "publish its record" in event["message"]
    assert (event["reportingComponent"], event["type"]) == (names.FIELD_MANAGER, "Normal")
