"""The lines of a domain share its names: no two keys that need their record have the same one."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from tests.shell.test_rotation import COM, WAITING, files, pass_days, states
from tests.shell.world import World
from tests.unit import samples

from mailfilter_operator.dkim.keys import DkimKey
from mailfilter_operator.dkim.published import Answer, Look
from mailfilter_operator.dkim.record_schedule import Seen, find_sightings
from mailfilter_operator.dkim.records import build_dkim_record

BOTH = {**WAITING, "algorithms": ["RSA", "Ed25519"]}
ALTERNATING: dict[str, Any] = {**BOTH, "selectors": {"scheme": "Alternating", "prefix": "mf"}}


def ed25519_key(world: World, selector: str) -> list[dict[str, Any]]:
    """Domains with an Ed25519 key of their own."""
    data = {"seed": base64.b64encode(bytes(range(32))).decode()}
    world.cluster.put(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "own", "namespace": "mail"}, "data": data}
    )
    reference = {"name": "own", "key": "seed"}
    return [{"name": "example.com", "dkim": {"privateKeySecretRef": reference, "selector": selector}}]


def com_keys(world: World) -> list[DkimKey]:
    found = world.keys()
    return [key for key in found if key.domain == "example.com"]


def selectors(world: World) -> dict[str, str]:
    """By slot, of the keys that are not retired."""
    return {key.slot: key.selector for key in com_keys(world) if key.state != "Retired"}


def start(world: World, domains: list[dict[str, Any]], dkim: dict[str, Any]) -> None:
    world.publishing = False
    world.apply(domains=domains, dkim=dkim)
    world.look()
    world.roll_out()
    world.settle()


def test_record_of_one_key_does_not_count_for_another_of_the_same_name() -> None:
    """P4: a key goes Active by its own record."""
    other = samples.dkim_key(seed="other")
    keys = [
        samples.dkim_key(),
        DkimKey("example.com", "e0", "mf1", "Ed25519", 256, "Pending", "", "", other.private_pem),
    ]
    record = build_dkim_record(keys[1])
    answers = tuple(Answer(f"ns{n}.", (record.value,), 60) for n in (1, 2))
    seen = {record.name: Seen(Look(record.name, samples.NOW, answers, 60), samples.NOW)}

    found = find_sightings(keys, seen)

    assert {place: sighting.published for place, sighting in found.items()} == {
        ("example.com", "r0"): False,
        ("example.com", "e0"): True,
    }


@pytest.mark.parametrize("published", [False, True])
def test_own_key_is_refused_the_selector_of_the_key_beside_it(world: World, *, published: bool) -> None:
    start(world, [{"name": "example.com", "dkim": {"selector": "mail"}}], WAITING)
    if published:
        world.publish()
        pass_days(world, 1)
    before = files(world)
    world.apply(domains=ed25519_key(world, "mail"), dkim=WAITING)
    world.look()

    status, reason, message = world.condition("ConfigValid")
    assert (status, reason) == ("False", "InvalidReference")
    assert "spec.domains[example.com].dkim.selector" in message
    assert "give the new key a new selector" in message
    assert files(world) == before

    world.publishing = True
    world.apply(domains=ed25519_key(world, "mail2"), dkim=WAITING)
    pass_days(world, 1)
    assert states(world) == [("r0", "Active"), ("e0", "Active")]
    assert selectors(world) == {"r0": "mail", "e0": "mail2"}


def test_alternating_selector_passes_over_the_name_of_the_key_beside_it(world: World) -> None:
    start(world, [{"name": "example.com", "dkim": {"selector": "mf1e"}}], ALTERNATING)
    assert selectors(world) == {"r0": "mf1e", "e0": "mf2e"}
    world.publish()
    pass_days(world, 1)

    assert states(world) == [("r0", "Active"), ("e0", "Active")]


def test_alternating_selector_passes_over_the_name_of_an_own_key(world: World) -> None:
    start(world, ed25519_key(world, "mf1"), ALTERNATING)

    assert selectors(world) == {"r0": "mf2", "e0": "mf1"}


def test_key_does_not_come_back_under_a_name_that_another_has_meanwhile(world: World) -> None:
    """The RSA key of a domain that was taken out, whose selector the Ed25519 key has got."""
    start(world, [{"name": "example.com", "dkim": {"selector": "mail"}}], WAITING)
    world.publish()
    pass_days(world, 1)
    world.apply(domains=[{"name": "example.org"}], dkim=WAITING)
    pass_days(world, 9)
    assert [key.state for key in com_keys(world)] == ["Retired"]
    world.publishing = True
    world.apply(domains=ed25519_key(world, "mail"), dkim=WAITING)
    pass_days(world, 1)

    of_com = {key.selector: key.state for key in com_keys(world) if key.state != "Retired"}
    assert world.condition("ConfigValid")[0] == "True"
    assert of_com["mail"] == "Active"
    assert sorted(of_com.values()) == ["Active", "Active"]


def test_place_that_is_used_again_is_not_taken_for_published(world: World) -> None:
    """P4: a new key in the slot of one that retires in the same pass waits for its own record."""
    start(world, COM, WAITING)
    world.publish()
    pass_days(world, 1)
    for rotation in ("1", "2"):
        world.apply(domains=COM, dkim={**WAITING, "rotationID": rotation})
        pass_days(world, 1)
        world.publish()
        pass_days(world, 1)
    assert states(world) == [("r0", "Retiring"), ("r1", "Retiring"), ("r2", "Active")]
    first = selectors(world)["r0"]
    world.apply(domains=COM, dkim={**WAITING, "rotationID": "3"})
    for _ in range(24):
        world.look()
        if pending := [key for key in com_keys(world) if key.state == "Pending"]:
            break
        world.pass_time(0.25 * 86_400)

    (made,) = pending
    assert (made.slot, made.selector != first, made.seen_again) == ("r0", True, "")
