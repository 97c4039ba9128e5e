"""A restart forgets what DNS said, and neither says so nor asks for what is settled."""

from __future__ import annotations

import pytest
from tests.shell.test_rotation import COM, WAITING, pass_days, states
from tests.shell.world import World

from mailfilter_operator import names


@pytest.fixture
def retiring(world: World) -> World:
    """Provide a filter with a key that signs and one whose record must stay; both are published."""
    world.apply(domains=COM, dkim=WAITING)
    world.look()
    world.roll_out()
    pass_days(world, 1)
    world.apply(domains=COM, dkim={**WAITING, "rotationID": "1"})
    pass_days(world, 1)
    world.publishing = False
    world.settle()
    assert states(world) == [("r0", "Retiring"), ("r1", "Active")]
    return world


def test_restart_while_a_key_retires_says_and_asks_nothing_new(retiring: World) -> None:
    assert retiring.condition("DNSPublished") == ("True", "Published", "All 2 DKIM records are published.")
    before = retiring.status()
    retiring.dns.asked.clear()
    retiring.restart()

    assert retiring.written() == []
    assert retiring.written() == []
    assert retiring.status() == before
    assert retiring.dns.asked == []


@pytest.mark.parametrize("there", [None, "v=DKIM1; p="])
def test_record_that_should_have_stayed_and_is_gone_is_still_said_after_a_restart(
    retiring: World, there: str | None
) -> None:
    (name,) = [record["name"] for record in retiring.status()["dnsRecords"] if record["state"] == "Retiring"]
    retiring.dns.records.pop(name)
    if there:
        retiring.dns.records[name] = there
    pass_days(retiring, 2)
    before = retiring.status()
    assert retiring.condition("DNSPublished")[:2] == ("False", "Different" if there else "Missing")
    assert before["dnsSummary"] == "1/2 published"
    retiring.restart()
    retiring.dns.asked.clear()

    assert retiring.written() == []
    assert retiring.dns.asked == [name]
    assert retiring.status() == before
    retiring.dns.records[name] = next(
        record["value"] for record in before["dnsRecords"] if record["state"] == "Retiring"
    )
    pass_days(retiring, 1)
    assert retiring.condition("DNSPublished")[:2] == ("True", "Published")


def test_restart_between_two_looks_does_not_keep_a_key_waiting_for_a_day(world: World) -> None:
    world.publishing = False
    world.apply(domains=COM, dkim=WAITING)
    world.look()
    world.roll_out()
    world.settle()
    world.publish()
    world.pass_time(10)
    world.look()  # asks, and the answer is there after the pass
    world.look()
    (key,) = world.keys()
    assert (key.state, world.status()["dnsSummary"]) == ("Pending", "1/1 published")
    # The operator ended before it had noted on the key that its record was seen.
    secret = names.dkim_secret("mx", "example.com", "r0")
    world.edit("Secret", secret, "metadata", "annotations", names.ANNOTATION_SEEN_AGAIN, value=None)
    world.restart()
    world.dns.asked.clear()
    world.look()

    assert world.dns.asked == [f"{key.selector}._domainkey.example.com"]
    pass_days(world, 0.5)
    assert states(world) == [("r0", "Active")]
