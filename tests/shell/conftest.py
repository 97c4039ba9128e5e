"""A cluster in memory for every test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.shell.world import World, draw_keys


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Provide an empty cluster and an operator."""
    draw_keys(monkeypatch)
    made = World()
    yield made
    made.threads.shutdown()


@pytest.fixture
def running(world: World) -> World:
    """Provide a MailFilter that is Ready and at rest."""
    world.apply()
    world.look()
    world.roll_out()
    world.look()
    return world
