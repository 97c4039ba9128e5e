"""Of the pods that scan nothing while they load signatures one does so at a time, and never the last that scans."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailfilter_operator import names
from mailfilter_operator.delivery import Pod
from mailfilter_operator.pod_reports import PodReport, Reload
from mailfilter_operator.reload_turns import ANY_TIME, Reloads, find_reloads, plan_turns, seconds_to_next_turn

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
    assert turns(pod("a", 20), pod("b", 10)) == {"b": "10"}
    assert turns(pod("a", 10), pod("b", 10)) == {"a": "10"}


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
def test_nobody_else_has_a_turn_meanwhile(busy: Pod) -> None:
    assert turns(pod("a", 5), busy, pod("c")) == {}


def test_a_turn_ends_when_the_pod_is_ready_again_and_the_next_has_it() -> None:
    assert turns(pod("a", 20), pod("b", turn="10")) == {"a": "20", "b": None}


def test_a_turn_of_before_is_none_for_what_a_pod_waits_for_now() -> None:
    assert turns(pod("a", 20, turn="10"), pod("b")) == {"a": "20"}


def test_a_pod_that_is_gone_blocks_nobody() -> None:
    assert turns(pod("a", 20), pod("b", loading=10, turn="10", ready=False), pod("c")) == {}
    assert turns(pod("a", 20), pod("c")) == {"a": "20"}


@pytest.mark.parametrize(
    "pods",
    [
        pytest.param((pod("a", 10),), id="alone"),
        pytest.param((pod("a", 10), pod("b", ready=False)), id="the other is not ready"),
        pytest.param((pod("a", 10, ready=False), pod("b")), id="it is not ready itself"),
        pytest.param((silent("a"), silent("b")), id="nobody says anything"),
    ],
)
def test_a_turn_that_would_leave_nobody_to_scan_or_helps_nobody_is_not_given(pods: tuple[Pod, ...]) -> None:
    assert turns(*pods) == {}


def test_a_pod_that_serves_alone_may_at_any_time_and_only_then() -> None:
    alone = turns(pod("a", 10), reloads=Reloads.ALONE)
    assert alone == {"a": ANY_TIME}
    assert turns(pod("a", 10, turn=ANY_TIME), reloads=Reloads.ALONE) == {}
    assert turns(pod("a", turn=ANY_TIME), pod("b")) == {"a": None}
    assert turns(pod("a", turn=ANY_TIME), pod("b", turn="10"), reloads=Reloads.CONCURRENT) == {"a": None, "b": None}
    assert turns(pod("a", 10), reloads=Reloads.CONCURRENT) == {}


PODS = st.lists(
    st.builds(
        lambda waiting, loading, turn, ready, heard: (waiting, loading, turn, ready, heard),
        st.sampled_from([None, 1, 2]),
        st.sampled_from([None, 1, 2]),
        st.sampled_from([None, "1", "2", ANY_TIME, "nonsense"]),
        st.booleans(),
        st.booleans(),
    ),
    max_size=5,
).map(
    lambda made: tuple(
        pod(f"p{i}", waiting, loading=loading, turn=turn, ready=ready)
        if heard
        else silent(f"p{i}", turn=turn, ready=ready)
        for i, (waiting, loading, turn, ready, heard) in enumerate(made)
    )
)


@given(PODS)
def test_there_is_never_more_than_one_new_turn_and_none_beside_a_pod_that_loads(pods: tuple[Pod, ...]) -> None:
    given_now = [name for name, turn in turns(*pods).items() if turn is not None]
    loading = [pod.name for pod in pods if pod.report is not None and pod.report.reload.loading is not None]

    assert len(given_now) <= (0 if loading else 1)
    assert all(pod.ready for pod in pods if pod.name in given_now)
    assert not given_now or sum(pod.ready for pod in pods) >= 2


@given(PODS, st.sampled_from(Reloads))
def test_what_was_said_is_not_said_again(pods: tuple[Pod, ...], reloads: Reloads) -> None:
    said = plan_turns(pods, reloads)
    after = tuple(
        Pod(
            made.name,
            made.ip,
            made.ready,
            {k: v for k, v in {**made.annotations, **said.get(made.name, {})}.items() if v},
            {},
            made.report,
        )
        for made in pods
    )

    assert plan_turns(after, reloads) == {}


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
