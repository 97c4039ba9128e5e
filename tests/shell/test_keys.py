"""Keys are never overwritten and never lost while their Secret or the keyring is there."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.shell.world import World

from mailfilter_operator import names

COM, ORG = (names.dkim_secret("mx", domain, "r0") for domain in ("example.com", "example.org"))
BOTH = [{"name": "example.com"}, {"name": "example.org"}]
ONE = BOTH[:1]


def records(world: World) -> list[str]:
    return [record["zoneLine"] for record in world.status()["dnsRecords"]]


def files(world: World) -> list[str]:
    return sorted(world.object("Secret", "mx-keyring")["data"])


def signing_domains(world: World) -> list[str]:
    domains = world.status()["domains"]
    return [domain["name"] for domain in domains if any(key["state"] == "Active" for key in domain["keys"])]


def test_deleted_key_secret_is_restored_from_the_keyring(running: World) -> None:
    secret, before = running.content("Secret")[f"Secret/{COM}"], records(running)
    running.cluster.remove("Secret", "mail", COM)
    running.look()

    assert running.content("Secret")[f"Secret/{COM}"] == secret
    assert records(running) == before
    assert running.events()[-1] == "KeyRestored"
    assert running.written() == []


def test_deleted_keyring_is_made_again_from_the_key_secrets(running: World) -> None:
    keyring = running.content("Secret")["Secret/mx-keyring"]
    running.cluster.remove("Secret", "mail", "mx-keyring")

    assert running.written() == [("apply", "Secret/mx-keyring")]
    assert running.content("Secret")["Secret/mx-keyring"] == keyring


def test_key_that_is_gone_from_both_is_replaced_and_people_are_told(running: World) -> None:
    before, lost = running.key_secrets(), records(running)
    for name in (COM, "mx-keyring"):
        running.cluster.remove("Secret", "mail", name)
    running.look()

    assert running.key_secrets().keys() == before.keys()
    assert running.key_secrets() != before
    assert records(running) != lost
    assert running.events()[-1] == "KeyLost"
    (event,) = [found for found in running.cluster.objects.values() if found.get("reason") == "KeyLost"]
    old, new = lost[0].split(".")[0], records(running)[0].split(".")[0]
    assert event["type"] == "Warning"
    assert old in event["message"]
    assert new in event["message"]


@pytest.mark.parametrize("damage", ["", "{}", json.dumps({"example.com/r0": {}}), "["])
def test_damaged_keyring_is_made_again_and_costs_no_key(running: World, damage: str) -> None:
    before = running.content("Secret")
    running.edit("Secret", "mx-keyring", "metadata", "annotations", names.ANNOTATION_KEYS, value=damage)
    running.edit("Secret", "mx-keyring", "data", value={})
    running.look()

    assert running.content("Secret") == before


def test_removed_domain_keeps_its_secret_and_leaves_the_keyring(world: World) -> None:
    world.apply(domains=BOTH)
    world.look()
    keys, all_files = world.key_secrets(), files(world)
    world.apply(domains=ONE)
    world.look()

    assert world.key_secrets() == keys
    assert len(all_files) == 2
    assert len(files(world)) == 1
    assert signing_domains(world) == ["example.com"]
    index = json.loads(world.object("Secret", "mx-keyring")["metadata"]["annotations"][names.ANNOTATION_KEYS])
    assert sorted(index) == ["example.com/r0", "example.org/r0"]


def test_domain_that_comes_back_signs_with_the_key_it_had(world: World) -> None:
    world.apply(domains=BOTH)
    world.look()
    keyring, lines = world.content("Secret")["Secret/mx-keyring"], records(world)
    for domains in (ONE, BOTH):
        world.apply(domains=domains)
        world.look()

    assert world.content("Secret")["Secret/mx-keyring"]["data"] == keyring["data"]
    assert records(world) == lines
    assert world.events() == ["KeyCreated", "KeyCreated", "KeyActivated"]
    (event,) = [found for found in world.cluster.objects.values() if found.get("reason") == "KeyActivated"]
    assert "seen" not in event["message"], "with activation: AtOnce nobody looks for the record first"


def test_selector_of_the_spec_does_not_replace_a_key(running: World) -> None:
    keys, lines = running.key_secrets(), records(running)
    running.apply(domains=[{"name": "example.com", "dkim": {"selector": "other"}}])

    assert running.written() == [("apply_status", "MailFilter/mx")]
    assert (running.key_secrets(), records(running)) == (keys, lines)


def test_first_key_has_the_selector_of_the_spec(world: World) -> None:
    world.apply(domains=[{"name": "example.com", "dkim": {"selector": "mail"}}, {"name": "example.org"}])
    world.look()

    named, made = (line.split(".")[0] for line in records(world))
    assert named == "mail"
    assert made.startswith("mf20261123-")


def test_key_secret_that_was_damaged_is_left_alone_and_said(running: World) -> None:
    """A key is never overwritten, so a person has to look."""
    running.edit("Secret", COM, "data", names.PRIVATE_KEY, value="bm90aGluZw==")
    before = running.content("Secret", "ConfigMap", "Deployment")
    running.look()

    assert running.content("Secret", "ConfigMap", "Deployment") == before
    assert running.condition("Stalled")[:2] == ("True", "Conflict")
    assert f"Secret {COM} exists and holds no usable private key" in running.condition("Stalled")[2]


def test_data_of_a_key_secret_is_never_written_again(world: World) -> None:
    world.apply(domains=BOTH)
    changes: list[dict[str, Any]] = [{}, {"actions": {"reject": 12}}, {"domains": ONE}, {"domains": []}, {}]
    for change in changes:
        world.apply(**{"domains": BOTH, **change})
        world.look()

    of_keys = [write for write in world.cluster.writes if "-dkim-" in write[1] and write[0] != "patch"]
    assert of_keys == [("create", f"Secret/{COM}"), ("create", f"Secret/{ORG}")]


def test_private_keys_are_in_no_object_but_the_secrets(world: World) -> None:
    world.apply(domains=BOTH)
    world.look()
    secret_lines = [data[start : start + 24] for data in world.key_secrets().values() for start in range(40, 800, 24)]
    elsewhere: Any = [found for found in world.cluster.objects.values() if found["kind"] != "Secret"]

    assert len(secret_lines) > 50
    assert not any(line in json.dumps(elsewhere) for line in secret_lines)
    assert "PRIVATE" not in json.dumps(elsewhere)


@pytest.mark.parametrize("state", ["Pending", "Retiring", "Retired", "", None])
def test_key_that_signs_goes_on_whatever_somebody_writes_on_its_secret(world: World, state: str | None) -> None:
    """P4: it would wait for its record again, and the domain's mail go out unsigned meanwhile."""
    waiting = {"activation": "WhenPublished"}
    world.apply(domains=ONE, dkim=waiting)
    for _ in range(4):
        world.look()
        world.pass_time(3600)
    world.roll_out()
    world.settle()
    before = world.content("Secret")
    world.edit("Secret", COM, "metadata", "annotations", names.ANNOTATION_STATE, value=state)

    def keyring_is_kept(_: object) -> None:
        assert len(files(world)) == 1

    world.cluster.on_write = keyring_is_kept
    world.look()
    assert world.content("Secret") == before
    assert world.written() == []
