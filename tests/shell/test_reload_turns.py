"""A pass lets one pod at a time load signatures where that stops its scanning."""

from __future__ import annotations

from typing import Any

import pytest
from tests.shell.raw_texts import told
from tests.shell.test_reconcile import REFUSED
from tests.shell.world import RESYNC_SECONDS, World

from mailfilter_operator import names
from mailfilter_operator.pod_reports import PodReport, Reload

SMALL: dict[str, Any] = {"pod": {"resources": {"clamd": {"limits": {"memory": "512Mi"}}}}}
IPS = {f"mx-{number}": f"10.244.0.{number}" for number in (1, 2, 3)}


def turn(world: World, pod: str) -> str | None:
    """What the pod's annotation says."""
    return told(world, pod).get(names.ANNOTATION_RELOAD)


def say(world: World, pod: str, waiting: int | None = None, loading: int | None = None) -> None:
    """What a pod says from here on."""
    world.says[IPS[pod]] = PodReport(told(world, pod)[names.ANNOTATION_CONFIG], reload=Reload(waiting, loading))


def annotated(world: World) -> list[str]:
    """The pods whose annotations a pass writes."""
    return [subject for verb, subject in world.written() if verb == "annotate"]


@pytest.fixture
def pair(world: World) -> World:
    """Provide a filter of two pods that have memory for one engine each, at rest."""
    world.apply(replicas=2, **SMALL)
    world.look()
    world.roll_out()
    world.put_pod(number=2)
    world.settle()
    return world


def test_pods_at_rest_are_asked_whether_they_wait_and_nothing_is_written(pair: World) -> None:
    assert pair.look() == 120.0
    assert pair.written() == []
    assert turn(pair, "mx-1") is turn(pair, "mx-2") is None
    assert pair.condition("ConfigValid")[:2] == ("True", "ReloadsBlock")


def test_of_two_that_wait_one_has_the_turn_and_the_other_when_the_first_has_loaded(pair: World) -> None:
    say(pair, "mx-1", waiting=200)
    say(pair, "mx-2", waiting=100)
    assert annotated(pair) == ["Pod/mx-1", "Pod/mx-2"]
    assert (turn(pair, "mx-1"), turn(pair, "mx-2")) == ("wait", "100")
    assert pair.written() == []
    say(pair, "mx-2", loading=100)
    pair.put_pod(number=2, ready=False)
    assert pair.look() == 30.0
    pair.says[IPS["mx-2"]] = None  # busy with its files
    pair.look()
    say(pair, "mx-2")
    pair.look()
    assert turn(pair, "mx-1") == "wait", "nobody would scan"
    pair.put_pod(number=2)
    assert annotated(pair) == ["Pod/mx-1", "Pod/mx-2"]
    assert (turn(pair, "mx-1"), turn(pair, "mx-2")) == ("200", None)
    say(pair, "mx-1")
    pair.settle()
    assert (turn(pair, "mx-1"), turn(pair, "mx-2")) == (None, None)


def test_a_pod_that_does_not_come_back_from_its_load_keeps_the_others_waiting_and_causes_no_writes(pair: World) -> None:
    say(pair, "mx-1", waiting=200)
    say(pair, "mx-2", waiting=100)
    pair.look()
    say(pair, "mx-2")
    pair.put_pod(number=2, ready=False)
    pair.settle()
    for _ in range(3):
        pair.pass_time(3600)
        say(pair, "mx-1", waiting=200)
        assert annotated(pair) == []
        pair.says[IPS["mx-1"]] = None
        assert annotated(pair) == []
    assert (turn(pair, "mx-1"), turn(pair, "mx-2")) == ("wait", "100")
    say(pair, "mx-1")  # the databases that it waited to load are those that it has, again
    assert annotated(pair) == ["Pod/mx-1"]
    assert (turn(pair, "mx-1"), turn(pair, "mx-2")) == (None, "100")


@pytest.mark.parametrize("spec", [{"paused": True}, REFUSED], ids=["paused", "invalid"])
def test_while_the_operator_may_not_write_nobody_has_a_turn(pair: World, spec: dict[str, Any]) -> None:
    """Pods are not even asked; each loads when its patience ends."""
    pair.apply(**{"replicas": 2, **SMALL, **spec})
    pair.look()
    assert pair.condition("Stalled")[0] == "True"
    say(pair, "mx-1", waiting=200)
    say(pair, "mx-2", waiting=100)
    assert pair.written() == []
    assert turn(pair, "mx-1") is turn(pair, "mx-2") is None


def test_a_pod_that_vanishes_with_the_turn_does_not_block_the_others(pair: World) -> None:
    pair.put_pod(number=3)
    pair.settle()
    say(pair, "mx-1", waiting=100)
    say(pair, "mx-2", waiting=200)
    pair.look()
    assert (turn(pair, "mx-1"), turn(pair, "mx-2")) == ("100", "wait")
    pair.cluster.remove("Pod", "mail", "mx-1")
    pair.look()
    assert turn(pair, "mx-2") == "200"


def test_another_operator_goes_on_with_the_turn_that_there_is(pair: World) -> None:
    say(pair, "mx-1", waiting=200)
    say(pair, "mx-2", waiting=100)
    pair.look()
    pair.restart()
    assert ("annotate", "Pod/mx-1") not in pair.written()
    assert (turn(pair, "mx-1"), turn(pair, "mx-2")) == ("wait", "100")


def test_a_pod_alone_waits_for_nobody_and_two_do(world: World) -> None:
    world.apply(**SMALL)
    world.look()
    world.roll_out()
    world.settle()
    assert turn(world, "mx-1") == "any-time"
    assert world.written() == []
    assert (world.look() or 0) > 120
    world.apply(replicas=2, **SMALL)
    world.look()
    assert turn(world, "mx-1") is None


def test_with_memory_for_two_engines_nobody_is_given_anything(running: World) -> None:
    running.apply(replicas=2)
    running.put_pod(number=2)
    running.settle()
    say(running, "mx-1", waiting=100)
    assert running.written() == []
    assert (running.look() or 0) > RESYNC_SECONDS / 2
    assert turn(running, "mx-1") is None
