"""The operator may end anywhere: the next pass finds what was half done and brings about the same."""

from __future__ import annotations

import pytest
from tests.shell.world import World, draw_keys

DOMAINS = [{"name": "example.com"}, {"name": "example.org"}]
WRITES = 19
"""Writes of a first pass that are not Events: the password, two keys, thirteen objects, status; one more finds no place
to end."""


class EndError(BaseException):
    """The process is gone; nothing of it can be caught."""


def end_at(world: World, number: int, moment: str) -> None:
    """Make the operator end before or after its write of that number."""
    count = 0

    def on_write(now: str) -> None:
        nonlocal count
        count += now == moment
        if now == moment and count == number:
            raise EndError

    world.cluster.on_write = on_write


def bring_about(world: World) -> dict[str, dict[str, object]]:
    """Objects once nothing is left to do."""
    world.cluster.on_write = lambda _: None
    world.look()
    world.roll_out()
    world.settle()
    return world.content()


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("number", range(1, WRITES))
def test_pass_that_ends_at_any_write_is_made_good(
    world: World, monkeypatch: pytest.MonkeyPatch, number: int, moment: str
) -> None:
    world.apply(domains=DOMAINS)
    end_at(world, number, moment)
    with pytest.raises(EndError):
        world.look()
    stored = world.key_secrets()
    undisturbed = World()
    for name in stored:
        undisturbed.cluster.put(world.object("Secret", name))
    draw_keys(monkeypatch, len(DOMAINS))  # one or two were drawn before the operator ended
    after = bring_about(world)

    draw_keys(monkeypatch, len(DOMAINS))
    undisturbed.apply(domains=DOMAINS)
    expected = bring_about(undisturbed)
    undisturbed.threads.shutdown()
    assert stored.items() <= world.key_secrets().items()
    assert after == expected


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("number", range(1, 5))
def test_change_that_ends_at_any_write_is_made_good(running: World, number: int, moment: str) -> None:
    keys = running.key_secrets()
    running.apply(actions={"reject": 12})
    end_at(running, number, moment)
    with pytest.raises(EndError):
        running.look()
    after = bring_about(running)

    assert running.key_secrets() == keys
    assert "reject = 12;" in str(after["ConfigMap/mx-metrics"])
    assert running.condition("Ready")[0] == "True"


def test_there_is_no_other_write_to_end_at(world: World) -> None:
    world.apply(domains=DOMAINS)
    world.look()

    assert len([name for _, name in world.cluster.writes if not name.startswith("Event/")]) == WRITES - 1
