"""What a pod says of a server that goes bad (tests/image/test_bad_servers.py) becomes condition and Event."""

from __future__ import annotations

from typing import Any

import pytest
from tests.shell.world import World

from mailfilter_operator.pod_reports import PodReport
from mailfilter_operator.signature_reports import parse_signature_report
from mailfilter_operator.times import add_seconds, parse_time

IP = "10.244.0.1"
DAY = 86400
REFUSED = "the server refused to answer: error code"


def report(world: World, name: str = "", **bad: Any) -> None:
    """The pod has two sources that were in order a minute ago; of one of them it says something else now."""
    now = int(parse_time(world.now).timestamp())
    source: dict[str, Any] = {
        "lastFailure": None,
        "error": None,
        "retryAfter": None,
        "refused": None,
        "lastSuccess": now - 60,
    }
    sources: list[dict[str, Any]] = [
        {**source, "name": "official", "databases": [f"daily.cvd:5:{now - DAY}"]},
        {**source, "name": "local.ndb", "databases": []},
    ]
    if "retryAfter" in bad:
        bad["retryAfter"] += now
    told = [{**entry, "lastFailure": now, **bad} if entry["name"] == name else entry for entry in sources]
    world.says[IP] = PodReport(world.ask([IP])[IP].active, signatures=parse_signature_report({"sources": told}))
    world.look()


@pytest.mark.parametrize(
    ("name", "bad", "expected", "event"),
    [
        ("local.ndb", {"error": f"{REFUSED} 403", "retryAfter": 7200}, ("True", "CoolDown"), "SignatureCheckFailing"),
        ("local.ndb", {"error": f"{REFUSED} 429", "retryAfter": DAY}, ("True", "CoolDown"), "SignatureCheckFailing"),
        (
            "official",
            {"error": f"{REFUSED} 403 or 429", "retryAfter": DAY},
            ("True", "CoolDown"),
            "SignatureCheckFailing",
        ),
        ("official", {"error": "Unexpected response (500) from x"}, ("True", "CheckFailing"), "SignatureCheckFailing"),
        ("local.ndb", {"error": "Transferred a partial file"}, ("True", "CheckFailing"), "SignatureCheckFailing"),
        ("official", {"error": "Can't verify database integrity"}, ("True", "CheckFailing"), "SignatureCheckFailing"),
        ("official", {"error": "the server sent version 3 of x"}, ("True", "CheckFailing"), "SignatureCheckFailing"),
        ("local.ndb", {"error": "Server returned nothing"}, ("True", "CheckFailing"), "SignatureCheckFailing"),
        ("local.ndb", {"refused": "clamd cannot load it: x"}, ("False", "DatabaseRefused"), "SignaturesStale"),
        ("local.ndb", {"lastSuccess": None, "error": "Timeout"}, ("False", "NotFetched"), "SignaturesStale"),
    ],
)
def test_condition_and_event_tell_of_the_source_that_went_bad(
    running: World, name: str, bad: dict[str, Any], expected: tuple[str, str], event: str
) -> None:
    report(running)
    assert running.condition("SignaturesFresh")[:2] == ("True", "Fresh")
    report(running, name, **bad)
    status, reason, message = running.condition("SignaturesFresh")
    assert (status, reason) == expected
    assert message.startswith(name)
    assert (bad.get("error") or bad["refused"]) in message
    assert ({"official", "local.ndb"} - {name}).isdisjoint(message.split())
    assert ("it is asked again at " in message) == (bad.get("retryAfter") == DAY)
    assert [posted for posted in running.events() if posted.startswith("Signature")] == [event]
    assert running.condition("Ready")[0] == "True"
    report(running)
    assert running.condition("SignaturesFresh")[:2] == ("True", "Fresh")


def test_databases_of_a_mirror_that_gives_only_older_ones_become_too_old(running: World) -> None:
    """No check fails then: to freshclam an older one is nothing new."""
    report(running)
    built = running.now
    running.pass_time(4 * DAY)
    now = int(parse_time(running.now).timestamp())
    old = f"daily.cvd:5:{int(parse_time(add_seconds(built, -DAY)).timestamp())}"
    report(running, "official", lastFailure=None, lastSuccess=now, databases=[old])
    assert running.condition("SignaturesFresh")[:2] == ("False", "TooOld")
    assert running.events()[-1] == "SignaturesStale"
