"""Keys live a whole life: they wait for their record, sign, make way for the next, and go."""

from __future__ import annotations

import base64
import copy
from typing import Any

import pytest
from tests.shell.test_interruption import EndError, end_at
from tests.shell.world import World
from tests.unit import samples

from mailfilter_operator import names
from mailfilter_operator.dkim import key_secrets
from mailfilter_operator.dkim.slots import KeyPlan

DAY = 86_400
COM = [{"name": "example.com"}]
WAITING = {"activation": "WhenPublished", "rotation": {"overlap": "7d"}}


def states(world: World, domain: str = "example.com") -> list[tuple[str, str]]:
    """Slot and state of the keys of a domain, as status has them."""
    (found,) = [entry for entry in world.status()["domains"] if entry["name"] == domain]
    return [(key["secretName"][-2:], key["state"]) for key in found["keys"]]


def files(world: World) -> list[str]:
    return sorted(world.object("Secret", "mx-keyring")["data"])


def pass_days(world: World, days: float, step: float = 0.25) -> None:
    """Passes go on as they would: whenever something is due, and at least every quarter of a day."""
    end = days
    while end > 0:
        world.look()
        world.pass_time(step * DAY)
        end -= step
    world.look()


@pytest.fixture
def waiting(world: World) -> World:
    """Provide a filter whose first key waits for its record, which nobody publishes."""
    world.publishing = False
    world.apply(domains=COM, dkim=WAITING)
    world.look()
    world.roll_out()
    world.settle()
    return world


@pytest.fixture
def signing(waiting: World) -> World:
    """Provide a filter that signs with a key whose record was published."""
    waiting.publish()
    pass_days(waiting, 1)
    waiting.settle()
    assert states(waiting) == [("r0", "Active")]
    return waiting


def test_first_key_waits_for_its_record_and_status_says_so(waiting: World) -> None:
    assert states(waiting) == [("r0", "Pending")]
    assert files(waiting) == []
    assert waiting.condition("DNSPublished")[:2] == ("False", "Missing")
    assert waiting.condition("Signing")[:2] == ("False", "WaitingForRecord")
    assert waiting.condition("Ready")[0] == "True"
    assert waiting.status()["dnsSummary"] == "0/1 published"


def test_key_signs_once_its_record_was_seen_twice(waiting: World) -> None:
    waiting.publish()
    waiting.pass_time(10)
    waiting.look()
    waiting.look()
    assert states(waiting) == [("r0", "Pending")]
    assert waiting.condition("DNSPublished")[0] == "True"
    pass_days(waiting, 0.5)

    assert states(waiting) == [("r0", "Active")]
    assert len(files(waiting)) == 1
    waiting.settle()
    assert waiting.events()[-1] == "KeyActivated"
    assert waiting.condition("Signing")[0] == "True"


def test_record_that_comes_and_goes_counts_only_from_when_it_came_last(waiting: World) -> None:
    waiting.publish()
    waiting.pass_time(10)
    waiting.look()
    waiting.dns.records.clear()
    waiting.pass_time(70)
    waiting.look()
    waiting.look()
    waiting.publish()
    waiting.pass_time(20)
    waiting.look()
    waiting.look()

    assert states(waiting) == [("r0", "Pending")]


def test_restart_asks_for_nothing_that_is_settled(signing: World) -> None:
    signing.dns.asked.clear()
    signing.restart()
    assert signing.written() == []
    assert signing.written() == []

    assert signing.dns.asked == []
    assert signing.condition("DNSPublished")[0] == "True"


def test_rotation_that_is_asked_for_swaps_when_the_record_is_there(signing: World) -> None:
    before = files(signing)
    signing.apply(domains=COM, dkim={**WAITING, "rotationID": "1"})
    pass_days(signing, 3)
    assert states(signing) == [("r0", "Active"), ("r1", "Pending")]
    assert files(signing) == before
    assert signing.condition("DNSPublished")[:2] == ("False", "Missing")

    signing.publish()
    pass_days(signing, 1)
    assert states(signing) == [("r0", "Retiring"), ("r1", "Active")]
    assert len(files(signing)) == 1
    assert files(signing) != before
    states_of_records = [record["state"] for record in signing.status()["dnsRecords"]]
    assert states_of_records == ["Retiring", "Published"]

    pass_days(signing, 8)
    assert states(signing) == [("r0", "Retired"), ("r1", "Active")]
    assert [record["name"].split(".")[0] for record in signing.status()["dnsRecords"]] == [
        signing.status()["domains"][0]["keys"][1]["selector"]
    ]
    assert signing.events()[-1] == "KeyRetired"


def test_overlap_is_counted_from_the_last_pod(signing: World) -> None:
    signing.apply(domains=COM, dkim={**WAITING, "rotationID": "1"})
    signing.look()
    signing.publish()
    pass_days(signing, 0.25)
    signing.says["10.244.0.1"] = None
    pass_days(signing, 9)
    assert states(signing) == [("r0", "Retiring"), ("r1", "Active")]
    del signing.says["10.244.0.1"]
    pass_days(signing, 6)
    assert states(signing) == [("r0", "Retiring"), ("r1", "Active")]
    pass_days(signing, 2)

    assert states(signing) == [("r0", "Retired"), ("r1", "Active")]


@pytest.mark.parametrize("change", [{"keyBits": 3072}, {"rotation": {"overlap": "7d", "interval": "30d"}}])
def test_other_sizes_and_age_rotate(signing: World, change: dict[str, Any]) -> None:
    signing.publishing = True
    signing.apply(domains=COM, dkim={**WAITING, **change})
    pass_days(signing, 32)

    assert ("r1", "Active") in states(signing)


def test_slots_are_used_again_and_only_retired_keys_are_deleted(signing: World) -> None:
    signing.publishing = True
    for rotation in range(5):
        signing.apply(domains=COM, dkim={**WAITING, "rotationID": f"n{rotation}"})
        pass_days(signing, 9)

    assert sorted(state for _, state in states(signing)) == ["Active", "Retired", "Retired"]
    assert signing.events().count("KeyDeleted") == 3


def test_rotation_without_a_free_slot_waits(signing: World) -> None:
    signing.publishing = True
    for rotation in ("a", "b", "c"):
        signing.apply(domains=COM, dkim={**WAITING, "rotationID": rotation})
        pass_days(signing, 1)

    assert sorted(states(signing)) == [("r0", "Retiring"), ("r1", "Retiring"), ("r2", "Active")]
    assert "no slot for another RSA key" in signing.condition("Signing")[2]


def test_removed_key_is_deleted_after_the_time_set_and_no_earlier(signing: World) -> None:
    dkim = {"activation": "WhenPublished", "rotation": {"overlap": "2d", "removeAfter": "3d"}, "rotationID": "1"}
    signing.publishing = True
    signing.apply(domains=COM, dkim=dkim)
    pass_days(signing, 4)
    assert len(states(signing)) == 2
    pass_days(signing, 3)

    assert states(signing) == [("r1", "Active")]


def test_revoked_key_stops_at_once_and_another_is_made(signing: World) -> None:
    revoked = names.dkim_secret("mx", "example.com", "r0")
    signing.apply(domains=COM, dkim={**WAITING, "revoked": [revoked]})
    signing.look()

    assert states(signing) == [("r0", "Retired"), ("r1", "Pending")]
    assert files(signing) == []
    assert "KeyRevoked" in signing.events()
    assert signing.condition("Signing")[:2] == ("False", "WaitingForRecord")
    signing.apply(domains=COM, dkim=WAITING)
    pass_days(signing, 1)
    assert states(signing)[0] == ("r0", "Retired")


def test_domain_that_is_taken_out_retires_its_key_and_waits_when_it_comes_back(signing: World) -> None:
    keys = signing.key_secrets()
    signing.apply(domains=[], dkim=WAITING)
    signing.settle()
    assert (states(signing), files(signing)) == ([("r0", "Retiring")], [])
    signing.apply(domains=COM, dkim=WAITING)
    signing.look()
    assert states(signing) == [("r0", "Pending")]
    pass_days(signing, 1)

    assert (states(signing), signing.key_secrets()) == ([("r0", "Active")], keys)


def test_ed25519_comes_and_goes_beside_rsa(signing: World) -> None:
    signing.publishing = True
    signing.apply(domains=COM, dkim={**WAITING, "algorithms": ["RSA", "Ed25519"]})
    pass_days(signing, 1)
    assert states(signing) == [("r0", "Active"), ("e0", "Active")]
    assert len(files(signing)) == 2
    signing.apply(domains=COM, dkim=WAITING)
    pass_days(signing, 8)

    assert states(signing) == [("r0", "Active"), ("e0", "Retired")]


def test_alternating_selectors_take_turns(signing: World) -> None:
    signing.publishing = True
    selectors = []
    for rotation in ("1", "2", "3"):
        dkim = {**WAITING, "rotationID": rotation, "selectors": {"scheme": "Alternating", "prefix": "mail"}}
        signing.apply(domains=COM, dkim=dkim)
        pass_days(signing, 9)
        keys = signing.status()["domains"][0]["keys"]
        selectors += [key["selector"] for key in keys if key["state"] == "Active"]

    assert selectors == ["mail1", "mail2", "mail1"]


def own_key(world: World, seed: str, selector: str) -> list[dict[str, Any]]:
    """Domains with a key of their own."""
    data = {"private.pem": base64.b64encode(samples.private_pem(seed)).decode()}
    world.cluster.put(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "own", "namespace": "mail"}, "data": data}
    )
    reference = {"name": "own", "key": "private.pem"}
    return [{"name": "example.com", "dkim": {"privateKeySecretRef": reference, "selector": selector}}]


def test_own_key_takes_over_once_it_is_published_and_a_changed_one_needs_another_selector(signing: World) -> None:
    signing.publishing = True
    signing.apply(domains=own_key(signing, "mine", "mine1"), dkim=WAITING)
    pass_days(signing, 1)
    assert states(signing) == [("r0", "Retiring"), ("r1", "Active")]
    before = files(signing)

    signing.apply(domains=own_key(signing, "another", "mine1"), dkim=WAITING)
    signing.look()
    assert signing.condition("ConfigValid")[:2] == ("False", "InvalidReference")
    assert "give the new key a new selector" in signing.condition("ConfigValid")[2]
    assert files(signing) == before
    signing.apply(domains=own_key(signing, "another", "mine2"), dkim=WAITING)
    pass_days(signing, 1)
    assert states(signing)[-1] == ("r2", "Active")


def test_revoked_own_key_does_not_come_back(signing: World) -> None:
    signing.publishing = True
    domains = own_key(signing, "mine", "mine1")
    signing.apply(domains=domains, dkim=WAITING)
    pass_days(signing, 1)
    revoked = names.dkim_secret("mx", "example.com", "r1")
    signing.apply(domains=domains, dkim={**WAITING, "revoked": [revoked]})
    pass_days(signing, 1)

    assert ("r1", "Retired") in states(signing)
    assert files(signing) == []
    assert "is revoked; set another one" in signing.condition("Signing")[2]


def test_deleted_mailfilter_takes_its_keys_along_only_if_asked(signing: World) -> None:
    name = names.dkim_secret("mx", "example.com", "r0")
    assert "ownerReferences" not in signing.object("Secret", name)["metadata"]
    signing.apply(domains=COM, dkim={**WAITING, "retention": "Delete"})
    signing.look()
    (owner,) = signing.object("Secret", name)["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner.get("controller")) == ("MailFilter", "mx", None)
    signing.apply(domains=COM, dkim=WAITING)
    signing.look()

    assert not signing.object("Secret", name)["metadata"].get("ownerReferences")


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("number", range(1, 13))
def test_rotation_that_ends_at_any_write_is_made_good(signing: World, number: int, moment: str) -> None:
    first = signing.key_secrets()
    signing.publishing = True
    signing.apply(domains=COM, dkim={**WAITING, "rotationID": "1"})
    end_at(signing, number, moment)
    ended = False
    for _ in range(40):
        try:
            signing.look()
        except EndError:
            ended = True
            signing.restart()
        assert len(files(signing)) == 1, "the domain signs all the time"
        signing.pass_time(0.25 * DAY)

    signing.cluster.on_write = lambda _: None
    signing.settle()
    assert ended
    assert first.items() <= signing.key_secrets().items()
    assert states(signing) == [("r0", "Retired"), ("r1", "Active")]


def test_swap_that_is_stored_the_other_way_round_would_leave_a_domain_unsigned(
    signing: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the test above can fail; what the keyring says of a key that signs would make up for the order."""
    monkeypatch.setattr(key_secrets, "_has_left", lambda _: True)
    turned = property(lambda plan: tuple(sorted(plan.keys, key=lambda key: key.state == "Active")))
    monkeypatch.setattr(KeyPlan, "in_storing_order", turned)
    for number in range(1, 13):
        world = copy.deepcopy(signing.cluster)
        try:
            test_rotation_that_ends_at_any_write_is_made_good(signing, number, "after")
        except AssertionError:
            return
        signing.cluster = world
    pytest.fail("no write to end at leaves the domain unsigned")


def test_lost_status_changes_no_key(signing: World) -> None:
    signing.apply(domains=COM, dkim={**WAITING, "rotationID": "1"})
    signing.look()
    keys, before = signing.key_secrets(), states(signing)
    del signing.object("MailFilter", "mx")["status"]
    signing.restart()
    signing.settle()

    assert (signing.key_secrets(), states(signing)) == (keys, before)


def test_deleted_keyring_finds_keys_in_all_states_again(signing: World) -> None:
    signing.apply(domains=COM, dkim={**WAITING, "rotationID": "1"})
    signing.look()
    keys, before = signing.key_secrets(), states(signing)
    signing.cluster.remove("Secret", "mail", "mx-keyring")
    signing.settle()

    assert (signing.key_secrets(), states(signing)) == (keys, before)
    assert len(files(signing)) == 1
