"""`rotationID` of all domains and that of one are two fields: a new text in either rotates, and nothing else does."""

from __future__ import annotations

from typing import Any

import pytest
from tests.shell.test_rotation import WAITING, pass_days, states
from tests.shell.world import World

from mailfilter_operator import names

SECRET = names.dkim_secret("mx", "example.com", "r0")


def ask(world: World, of_all: str, of_one: str) -> None:
    own: dict[str, Any] = {"dkim": {"rotationID": of_one}} if of_one else {}
    world.apply(
        domains=[{"name": "example.com", **own}], dkim={**WAITING, **({"rotationID": of_all} if of_all else {})}
    )


@pytest.fixture
def start(world: World, request: pytest.FixtureRequest) -> World:
    """Provide a filter whose key signs and answers the texts that the test names."""
    ask(world, *request.param)
    world.look()
    world.roll_out()
    pass_days(world, 1)
    assert states(world) == [("r0", "Active")]
    return world


def rotates(world: World, of_all: str, of_one: str) -> bool:
    ask(world, of_all, of_one)
    world.look()
    return len(states(world)) > 1


@pytest.mark.parametrize(
    ("start", "then", "expected"),
    [
        (("2026-11", "x"), ("", "x"), False),
        (("2026-11", "x"), ("2026-11", ""), False),
        (("2026-11", "x"), ("", ""), False),
        (("2026-11", "x"), ("2026-12", "x"), True),
        (("2026-11", "x"), ("2026-11", "y"), True),
        (("2026-11", "x"), ("x", "2026-11"), True),
        (("x", ""), ("", "x"), True),
        (("", "x"), ("x", ""), True),
        (("x", ""), ("x", "x"), True),
        (("", ""), ("", "x"), True),
    ],
    indirect=["start"],
)
def test_new_text_in_either_field_rotates(start: World, then: tuple[str, str], *, expected: bool) -> None:
    assert rotates(start, *then) is expected


@pytest.mark.parametrize(
    ("start", "stored", "then", "expected"),
    [
        (("x", ""), "x", ("x", ""), False),
        (("", "x"), "x", ("", "x"), False),
        (("2026-11", "x"), "2026-11/x", ("2026-11", "x"), False),
        (("2026-11", "x"), "2026-11/x", ("", "x"), False),
        (("", "x"), "x", ("y", "x"), True),
        (("", "x"), "x", ("", "y"), True),
        (("", "x"), "x", ("", ""), False),
    ],
    indirect=["start"],
)
def test_what_an_earlier_release_stored_still_counts(
    start: World, stored: str, then: tuple[str, str], *, expected: bool
) -> None:
    """It wrote one text without saying of which field that was."""
    start.edit("Secret", SECRET, "metadata", "annotations", names.ANNOTATION_ROTATION_ID, value=stored)

    assert rotates(start, *then) is expected


@pytest.mark.parametrize("start", [("1", "")], indirect=True)
def test_text_that_was_cleared_and_comes_again_is_not_new(start: World) -> None:
    for of_all in ("2", "", "2"):
        ask(start, of_all, "")
        pass_days(start, 2)

    assert states(start) == [("r0", "Retiring"), ("r1", "Active")]
