"""A pass takes over what pods say of their signatures, and a filter whose signatures are in order is left alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.shell.world import World

from mailfilter_operator.pod_reports import PodReport, Reload
from mailfilter_operator.signature_reports import SignatureReport, SignatureSource
from mailfilter_operator.times import add_seconds

DAY = 86400.0
IP = "10.244.0.1"


def say(world: World, *sources: SignatureSource, waiting: int | None = None, **report: str) -> None:
    """What the pod says from here on."""
    active = world.ask([IP])[IP].active
    signatures = SignatureReport(sources=sources, **report)
    world.says[IP] = PodReport(active, signatures=signatures, reload=Reload(waiting))


def official(world: World, **changes: Any) -> SignatureSource:
    """Databases that are a day old and were asked for just now."""
    return replace(SignatureSource("official", world.now, built=add_seconds(world.now, -DAY)), **changes)


def test_nothing_is_claimed_before_pods_have_told(running: World) -> None:
    assert running.condition("SignaturesFresh")[:2] == ("Unknown", "NotObserved")
    assert "antivirus" not in running.status()
    assert not [reason for reason in running.events() if reason.startswith("Signatures")]


def test_pods_tell_what_scans(running: World) -> None:
    say(running, official(running), engine="ClamAV 1.4.6", version="27826", time="2026-11-22T09:00:00Z")
    running.look()
    assert running.condition("SignaturesFresh")[:2] == ("True", "Fresh")
    assert running.status()["antivirus"] == {
        "engine": "ClamAV 1.4.6",
        "signatureVersion": "27826",
        "signatureTime": "2026-11-22T09:00:00Z",
    }
    assert running.condition("Ready")[0] == "True"


@pytest.mark.parametrize("error", [None, "Unexpected response (500)"])
def test_later_checks_that_come_to_the_same_write_nothing(running: World, error: str | None) -> None:
    built = add_seconds(running.now, -DAY)
    for number in range(5):
        failure = running.now if error else None
        say(running, official(running, built=built, error=error, last_failure=failure))
        written = running.written()
        assert (number == 0) or written == []
        running.pass_time(7200)


def test_a_check_that_fails_is_said_once_although_signatures_are_young_enough(running: World) -> None:
    say(running, official(running))
    running.look()
    for _ in range(3):
        failing = official(
            running, error="the server refused to answer: error code 429", retry_after="2027-01-01T00:00:00Z"
        )
        say(running, failing)
        running.look()
        running.pass_time(7200)
    assert running.condition("SignaturesFresh")[:2] == ("True", "CoolDown")
    assert [reason for reason in running.events() if reason.startswith("Signature")] == ["SignatureCheckFailing"]


@pytest.mark.parametrize("error", [None, "Unexpected response (500)"])
def test_a_pod_that_waits_for_its_turn_is_told_in_status_and_makes_no_event(running: World, error: str | None) -> None:
    built = add_seconds(running.now, -DAY)

    def look(waiting: int | None) -> tuple[str, str, str]:
        running.pass_time(60)
        say(running, official(running, built=built, error=error), waiting=waiting)
        running.look()
        return running.condition("SignaturesFresh")

    before = look(None)
    told = running.events()
    waits = look(100)
    assert waits[:2] == ("True", "CheckFailing" if error else "WaitingForTurn")
    assert waits[2] != before[2]
    assert look(100) == waits
    assert running.written() == []
    assert look(None) == before
    assert running.events() == told


def test_signatures_that_become_too_old_are_said_at_the_time_and_without_an_event_of_the_cluster(
    running: World,
) -> None:
    say(running, official(running))
    wait = running.look()
    assert wait is not None
    running.pass_time(3 * DAY - 60)
    wait = running.look()
    assert wait == pytest.approx(61, abs=1)
    assert running.condition("SignaturesFresh")[0] == "True"
    assert wait is not None
    running.pass_time(wait)
    running.look()
    assert running.condition("SignaturesFresh")[:2] == ("False", "TooOld")
    assert running.condition("Ready")[0] == "True"
    assert running.events()[-1] == "SignaturesStale"
    assert running.written() == []
    say(running, official(running))
    running.look()
    assert running.events()[-1] == "SignaturesFresh"


def test_maxage_of_the_spec_decides(running: World) -> None:
    say(running, official(running))
    running.look()
    running.apply(antivirus={"signatures": {"source": "Official", "maxAge": "12h"}})
    running.says.clear()
    running.settle()
    say(running, official(running))
    running.look()
    assert running.condition("SignaturesFresh")[:2] == ("False", "TooOld")


def test_what_was_seen_stays_until_pods_are_asked_again(running: World) -> None:
    refused = SignatureSource("local.ndb", running.now, refused="it is empty")
    say(running, official(running), refused, engine="ClamAV 1.4.6")
    running.look()
    seen = running.condition("SignaturesFresh")
    assert seen[:2] == ("False", "DatabaseRefused")
    running.restart()
    running.says[IP] = None
    running.look()
    assert running.condition("SignaturesFresh") == seen
    assert running.status()["antivirus"] == {"engine": "ClamAV 1.4.6"}
    assert running.events().count("SignaturesStale") == 1
