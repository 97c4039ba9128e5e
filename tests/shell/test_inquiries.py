"""What is asked on threads of their own: neither too often nor kept for ever."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.shell.test_rotation import COM, WAITING, pass_days
from tests.shell.world import World


def failing(asked: list[str]) -> Callable[..., Any]:
    """A question that ends as nobody expected."""

    def ask(*_: object) -> Any:
        asked.append("again")
        raise ZeroDivisionError

    return ask


def count_by_back_off(world: World, asked: list[str]) -> list[int]:
    """How often was asked in each of some spans, with a pass every second as wakes would make them."""
    counts = []
    for seconds in (1, 4, 10, 20):
        before = len(asked)
        for _ in range(seconds):
            world.look()
            world.look()
            world.pass_time(1)
        counts.append(len(asked) - before)
    return counts


def test_question_to_name_servers_that_fails_unexpectedly_is_asked_again_with_back_off(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(world, "ask_dns", failing(asked))
    world.apply(domains=COM, dkim=WAITING)

    assert count_by_back_off(world, asked) == [1, 0, 1, 1]
    assert world.condition("DNSPublished")[:2] == ("Unknown", "NotObserved")
    assert "log of the operator" in world.condition("DNSPublished")[2]
    monkeypatch.undo()
    pass_days(world, 1)
    assert world.condition("DNSPublished")[0] == "True"


def test_probe_that_fails_unexpectedly_is_made_again_with_back_off(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(world, "probe", failing(asked))
    world.apply()
    world.look()
    world.roll_out()

    assert count_by_back_off(world, asked) == [1, 0, 1, 1]
    assert world.condition("Signing")[:2] == ("Unknown", "NotObserved")
    assert "log of the operator" in world.condition("Signing")[2]
    monkeypatch.undo()
    world.pass_time(600)
    world.look()
    world.look()
    assert world.condition("Signing")[0] == "True"


def test_what_is_known_of_pods_and_records_goes_with_them(running: World) -> None:
    uid = running.object("MailFilter", "mx")["metadata"]["uid"]
    for number in (2, 3, 4):
        running.cluster.remove("Pod", "mail", f"mx-{number - 1}")
        running.put_pod(number=number)
        running.apply(domains=[{"name": f"{number}.example"}])
        running.settle()
    known = running.inquiries.recall(("mail", "mx"), uid)

    assert list(known.probes) == [running.object("Pod", "mx-4")["metadata"]["uid"]]
    keys = running.keys()
    assert set(known.records) == {f"{key.selector}._domainkey.{key.domain}" for key in keys if key.state != "Retired"}
