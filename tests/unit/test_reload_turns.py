"""Of the pods that scan nothing while they load signatures one does so at a time, and never the last that scans."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailfilter_operator import names
from mailfilter_operator.delivery import Pod
from mailfilter_operator.pod_reports import PodReport, Reload
from mailfilter_operator.reload_turns import ANY_TIME, WAIT, Reloads, find_reloads, plan_turns, seconds_to_next_turn

TURN = names.ANNOTATION_RELOAD


def pod(
    name: str, waiting: int | None = None, *, loading: int | None = None, turn: str | None = None, ready: bool = True
) -> Pod:
    """A pod that reports what it does."""
    annotations = {} if turn is None else {TURN: turn}
    return Pod(name, "10.244.0.2", ready, annotations, {}, PodReport(None, reload=Reload(waiting, loading)))


def silent(name: str, *, turn: str | None = None, ready: bool = True) -> Pod:
    """A pod that does not answer."""
    return Pod(name, "10.244.0.2", ready, {} if turn is None else {TURN: turn}, {})


def turns(*pods: Pod, reloads: Reloads = Reloads.IN_TURN) -> dict[str, str | None]:
    """New turns by pod."""
    return {name: telling[TURN] for name, telling in plan_turns(pods, reloads).items()}


@pytest.mark.parametrize(
    ("replicas", "concurrent", "reloads"),
    [
        (1, True, Reloads.CONCURRENT),
        (3, True, Reloads.CONCURRENT),
        (0, False, Reloads.ALONE),
        (1, False, Reloads.ALONE),
        (2, False, Reloads.IN_TURN),
    ],
)
def test_who_has_to_wait(replicas: int, concurrent: bool, reloads: Reloads) -> None:
    assert find_reloads(replicas, concurrent=concurrent) is reloads


def test_of_two_that_wait_the_one_that_waits_longer_has_the_turn() -> None:
    assert turns(pod("a", 20), pod("b", 10)) == {"a": WAIT, "b": "10"}
    assert turns(pod("a", 10), pod("b", 10)) == {"a": "10", "b": WAIT}


@pytest.mark.parametrize(
    "busy",
    [
        pytest.param(pod("b", 10, turn="10"), id="was given it and has not seen it"),
        pytest.param(pod("b", loading=10, turn="10", ready=False), id="loads"),
        pytest.param(pod("b", loading=10), id="loads by itself"),
        pytest.param(pod("b", turn="10", ready=False), id="has loaded and is not ready again"),
        pytest.param(silent("b", turn="10", ready=False), id="does not answer while it loads"),
        pytest.param(silent("b", turn="10"), id="did not answer once"),
    ],
)
def test_nobody_else_has_a_turn_meanwhile_and_who_waits_is_told_so_once(busy: Pod) -> None:
    assert turns(pod("a", 5), busy, pod("c")) == {"a": WAIT}
    assert turns(pod("a", 5, turn=WAIT), busy, pod("c")) == {}
    assert turns(pod("a", 5, turn="4"), busy, pod("c")) == {"a": WAIT}


def test_a_turn_ends_when_the_pod_is_ready_again_and_the_next_has_it() -> None:
    assert turns(pod("a", 20), pod("b", turn="10")) == {"a": "20", "b": None}
    assert turns(pod("a", 20, turn=WAIT), pod("b", turn="10"), pod("c", 30, turn=WAIT)) == {"a": "20", "b": None}


def test_a_turn_of_before_is_none_for_what_a_pod_waits_for_now() -> None:
    assert turns(pod("a", 20, turn="10"), pod("b")) == {"a": "20"}


def test_a_pod_that_is_gone_blocks_nobody() -> None:
    assert turns(pod("a", 20), pod("b", loading=10, turn="10", ready=False), pod("c")) == {"a": WAIT}
    assert turns(pod("a", 20, turn=WAIT), pod("c")) == {"a": "20"}


@pytest.mark.parametrize(
    ("pods", "told"),
    [
        pytest.param((pod("a", 10),), {"a": WAIT}, id="alone"),
        pytest.param((pod("a", 10), pod("b", ready=False)), {"a": WAIT}, id="the other is not ready"),
        pytest.param((pod("a", 10), pod("b", 5, ready=False)), {"a": WAIT}, id="the other waits and is not ready"),
        pytest.param((pod("a", 10, ready=False), pod("b")), {}, id="it is not ready itself"),
        pytest.param((pod("a", 10, ready=False), pod("b", 5, ready=False)), {}, id="nobody is ready"),
        pytest.param((silent("a"), silent("b")), {}, id="nobody says anything"),
    ],
)
def test_a_turn_that_would_leave_nobody_to_scan_or_helps_nobody_is_not_given(
    pods: tuple[Pod, ...], told: dict[str, str | None]
) -> None:
    assert turns(*pods) == told


def test_who_was_told_to_wait_does_so_until_its_turn_or_until_it_waits_no_more() -> None:
    """Half an hour may be over: without the word it would load at once, as all the others would."""
    loading = pod("b", loading=10, ready=False)
    assert turns(pod("a", 20, turn=WAIT, ready=False), loading) == {}
    assert turns(silent("a", turn=WAIT), loading) == {}
    assert turns(silent("a", turn=WAIT, ready=False), pod("b"), pod("c")) == {}
    assert turns(pod("a", turn=WAIT), loading) == {"a": None}
    assert turns(pod("a", turn=WAIT, ready=False), loading) == {"a": None}
    assert turns(pod("a", loading=20, turn=WAIT), pod("b")) == {"a": None}


def test_who_was_told_to_wait_keeps_nobody_from_loading() -> None:
    assert turns(silent("a", turn=WAIT), pod("b", 20), pod("c")) == {"b": "20"}
    assert turns(pod("a", 30, turn=WAIT, ready=False), pod("b", 20), pod("c")) == {"b": "20"}
    assert turns(pod("a", 30, turn=WAIT), pod("b", 20, turn=WAIT)) == {"b": "20"}


def test_a_pod_that_serves_alone_may_at_any_time_and_only_then() -> None:
    alone = turns(pod("a", 10), reloads=Reloads.ALONE)
    assert alone == {"a": ANY_TIME}
    assert turns(pod("a", 10, turn=ANY_TIME), reloads=Reloads.ALONE) == {}
    assert turns(pod("a", turn=ANY_TIME), pod("b")) == {"a": None}
    assert turns(pod("a", turn=ANY_TIME), pod("b", turn="10"), reloads=Reloads.CONCURRENT) == {"a": None, "b": None}
    assert turns(pod("a", 10), reloads=Reloads.CONCURRENT) == {}
    assert turns(pod("a", 10, turn=WAIT), reloads=Reloads.ALONE) == {"a": ANY_TIME}
    assert turns(pod("a", 10, turn=WAIT), reloads=Reloads.CONCURRENT) == {"a": None}


SAYS = st.sampled_from([{}, {"waiting": 1}, {"waiting": 2}, {"loading": 1}, {"loading": 2}])
"""A pod waits, or loads, or neither."""

PODS = st.lists(
    st.tuples(SAYS, st.sampled_from([None, "1", "2", ANY_TIME, WAIT, "nonsense"]), st.booleans(), st.booleans()),
    max_size=5,
).map(
    lambda made: tuple(
        pod(f"p{i}", turn=turn, ready=ready, **says) if heard else silent(f"p{i}", turn=turn, ready=ready)
        for i, (says, turn, ready, heard) in enumerate(made)
    )
)


@given(PODS)
def test_there_is_never_more_than_one_new_turn_and_none_beside_a_pod_that_loads(pods: tuple[Pod, ...]) -> None:
    given_now = [name for name, turn in turns(*pods).items() if turn not in (None, WAIT)]
    loading = [pod.name for pod in pods if pod.report is not None and pod.report.reload.loading is not None]

    assert len(given_now) <= (0 if loading else 1)
    assert all(pod.ready for pod in pods if pod.name in given_now)
    assert not given_now or sum(pod.ready for pod in pods) >= 2


def tell(pods: tuple[Pod, ...], reloads: Reloads) -> tuple[Pod, ...]:
    """The pods with what they are told."""
    said = plan_turns(pods, reloads)
    return tuple(
        replace(
            made,
            annotations={k: v for k, v in {**made.annotations, **said.get(made.name, {})}.items() if v is not None},
        )
        for made in pods
    )


@given(PODS, st.sampled_from(Reloads))
def test_what_was_said_is_not_said_again(pods: tuple[Pod, ...], reloads: Reloads) -> None:
    assert plan_turns(tell(pods, reloads), reloads) == {}


@given(PODS)
def test_who_waits_and_serves_knows_that_there_is_somebody_who_gives_turns(pods: tuple[Pod, ...]) -> None:
    for made in tell(pods, Reloads.IN_TURN):
        if made.report is None:
            continue
        waits, turn = made.report.reload.waiting, made.annotations.get(TURN)
        assert turn != WAIT or waits is not None
        assert turn in (WAIT, str(waits)) or waits is None or not made.ready


@given(PODS)
def test_to_be_told_to_wait_changes_nothing_for_others(pods: tuple[Pod, ...]) -> None:
    untold = tuple(replace(made, annotations={}) if made.annotations.get(TURN) == WAIT else made for made in pods)

    def numbers(pods: tuple[Pod, ...]) -> list[tuple[str, str | None]]:
        found = [(made.name, made.annotations.get(TURN)) for made in tell(pods, Reloads.IN_TURN)]
        return [(name, turn) for name, turn in found if turn not in (None, WAIT)]

    assert numbers(pods) == numbers(untold)


def test_the_next_look_is_sooner_while_there_is_something_to_wait_for() -> None:
    """What ends a turn is an event of the pod; one that never becomes ready must not cause pass after pass."""

    def seconds(*pods: Pod) -> float | None:
        return seconds_to_next_turn(pods, Reloads.IN_TURN)

    assert seconds(pod("a"), pod("b")) == 120
    assert seconds(pod("a", 10), pod("b", ready=False)) == 30
    assert seconds(pod("a", 10, turn="10"), pod("b")) == 30
    assert seconds(pod("a", turn="10", ready=False), pod("b")) == 30
    assert seconds(pod("a", loading=10, ready=False), pod("b")) == 30
    assert seconds_to_next_turn((pod("a", 10),), Reloads.ALONE) is None
    assert seconds_to_next_turn((pod("a", 10),), Reloads.CONCURRENT) is None
