"""A cluster in memory for every test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.shell.raw_texts import raw
from tests.shell.world import World, draw_keys
from tests.unit import samples

from mailfilter_operator import passwords


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Provide an empty cluster and an operator."""
    draw_keys(monkeypatch)
    monkeypatch.setattr(passwords, "generate_salt", lambda: samples.SALT)
    monkeypatch.setattr(passwords, "generate_password", lambda: samples.PASSWORD)
    made = World()
    yield made
    made.threads.shutdown()


@pytest.fixture
def running(world: World) -> World:
    """Provide a MailFilter that is Ready and at rest."""
    world.apply()
    world.look()
    world.roll_out()
    world.settle()
    return world


@pytest.fixture
def proven(world: World) -> World:
    """Provide a filter that serves raw text which a pod has proven."""
    world.apply(**raw("good"))
    world.look()
    world.roll_out()
    world.look()
    world.look()
    assert world.written() == []
    return world
