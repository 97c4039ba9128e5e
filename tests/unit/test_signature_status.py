"""`SignaturesFresh` says what the ready pods report, and nothing in it moves while nothing changes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.outcomes import pod

from mailfilter_operator.delivery import Pod
from mailfilter_operator.pod_reports import Reload
from mailfilter_operator.signature_reports import SignatureReport, SignatureSource
from mailfilter_operator.signature_status import SignatureVerdict, judge_signatures, seconds_to_next_change
from mailfilter_operator.times import add_seconds

NOW = "2026-11-23T09:00:00Z"
DAY = 86400
MAX_AGE = 4 * DAY


def ago(seconds: float) -> str:
    return add_seconds(NOW, -seconds)


OFFICIAL = SignatureSource("official", ago(60), built=ago(DAY))
LOCAL = SignatureSource("local.ndb", ago(60))


def telling(*sources: SignatureSource, name: str = "mx-1", ready: bool = True, **report: str) -> Pod:
    """A pod that tells of these sources."""
    return pod(name, ready=ready, signatures=SignatureReport(sources=sources, **report))


def judge(*pods: Pod, now: str = NOW) -> SignatureVerdict:
    verdict = judge_signatures(pods, MAX_AGE, now)
    assert verdict is not None
    return verdict


def brief(*pods: Pod, now: str = NOW) -> tuple[str, str]:
    condition = judge(*pods, now=now).condition
    return condition.status, condition.reason


def test_nothing_is_claimed_while_no_pod_is_ready() -> None:
    assert brief() == ("Unknown", "NotObserved")
    assert brief(telling(OFFICIAL, ready=False)) == ("Unknown", "NotObserved")
    assert judge().antivirus == {}
    assert judge().next_change is None


def test_pods_that_are_not_ready_for_want_of_signatures_say_why() -> None:
    failing = replace(LOCAL, last_success=None, error="Can't download local.ndb")
    verdict = judge(telling(failing, ready=False), telling(OFFICIAL, ready=False, name="mx-2"))
    assert (verdict.condition.status, verdict.condition.reason) == ("False", "NotFetched")
    assert "Can't download local.ndb" in verdict.condition.message
    assert "(in 1 of 2 pods)" in verdict.condition.message
    assert verdict.next_change == add_seconds(NOW, 30)


def test_young_signatures_are_fresh() -> None:
    assert brief(telling(OFFICIAL, LOCAL)) == ("True", "Fresh")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (replace(OFFICIAL, built=ago(MAX_AGE)), ("True", "Fresh")),
        (replace(OFFICIAL, built=ago(MAX_AGE + 1)), ("False", "TooOld")),
        (replace(OFFICIAL, last_success=ago(90 * DAY)), ("True", "Fresh")),
        (replace(LOCAL, last_success=ago(MAX_AGE + 1)), ("False", "TooOld")),
        (replace(LOCAL, error="no route"), ("True", "CheckFailing")),
        (replace(LOCAL, error="code 429", last_failure=NOW, retry_after=ago(-300)), ("True", "CoolDown")),
        (replace(LOCAL, refused="it finds something"), ("False", "DatabaseRefused")),
        (SignatureSource("local.ndb", error="not found", last_failure=NOW), ("False", "NotFetched")),
        (SignatureSource("local.ndb", refused="it is empty"), ("False", "DatabaseRefused")),
        (SignatureSource("local.ndb"), ("Unknown", "NotObserved")),
        (replace(OFFICIAL, built=None), ("Unknown", "NotObserved")),
    ],
)
def test_each_source_is_judged_by_what_is_known_of_it(source: SignatureSource, expected: tuple[str, str]) -> None:
    assert brief(telling(source)) == expected


def test_databases_that_clamd_did_not_load_are_not_fresh() -> None:
    condition = judge(telling(OFFICIAL, not_loaded="bad.ndb: Malformed database")).condition
    assert (condition.status, condition.reason) == ("False", "NotLoaded")
    assert "bad.ndb: Malformed database" in condition.message


def test_a_pod_that_is_not_ready_for_it_could_not_load_says_why_while_another_is_ready() -> None:
    broken = telling(OFFICIAL, ready=False, name="mx-2", not_loaded="bad.ndb: Malformed database", version="27800")
    verdict = judge(telling(OFFICIAL, version="27827"), broken)
    assert (verdict.condition.status, verdict.condition.reason) == ("False", "NotLoaded")
    assert "bad.ndb: Malformed database (in 1 of 2 pods)" in verdict.condition.message
    assert verdict.antivirus == {"signatureVersion": "27827"}
    unheard = replace(broken, report=None)
    assert judge_signatures((telling(OFFICIAL), unheard), MAX_AGE, NOW) is None
    assert brief(telling(OFFICIAL), replace(unheard, silent_looks=3)) == ("True", "Fresh")


def test_a_pod_that_is_not_ready_for_another_reason_says_nothing_of_signatures_while_another_is_ready() -> None:
    starting = telling(replace(LOCAL, last_success=None, error="no route"), ready=False, name="mx-2")
    assert brief(telling(LOCAL), starting) == ("True", "Fresh")
    failing = judge(telling(replace(LOCAL, error="no route")), starting).condition
    assert (failing.status, failing.reason) == ("True", "CheckFailing")
    assert "pods)" not in failing.message


def test_what_was_not_loaded_may_leave_clamd_with_what_it_had_or_with_nothing() -> None:
    """The pods do not tell which: the message is true of both."""
    message = judge(telling(OFFICIAL, not_loaded="bad.ndb: Malformed database")).condition.message
    assert "goes on with what it had" in message
    assert "scans nothing until others come" in message


def waiting(*sources: SignatureSource, name: str = "mx-1", ready: bool = True, number: int = 7) -> Pod:
    """A pod that has new signatures and waits for its turn to load them."""
    return pod(name, ready=ready, signatures=SignatureReport(sources=sources), reload=Reload(waiting=number))


def test_new_signatures_that_wait_to_be_loaded_are_told() -> None:
    condition = judge(waiting(OFFICIAL), telling(OFFICIAL, name="mx-2")).condition
    assert (condition.status, condition.reason) == ("True", "WaitingForTurn")
    assert "(in 1 of 2 pods)" in condition.message
    loading = pod("mx-2", signatures=SignatureReport(sources=(OFFICIAL,)), reload=Reload(loading=5))
    both = judge(waiting(OFFICIAL), loading).condition
    assert (both.status, both.reason) == ("True", "WaitingForTurn")
    assert "ready pod has signatures younger" not in both.message
    assert brief(replace(loading, ready=False), telling(OFFICIAL)) == ("True", "Fresh")


@given(st.integers(0, 10**10), st.integers(0, 10**10))
def test_since_when_a_pod_waits_is_not_told(one: int, other: int) -> None:
    first, second = (judge(waiting(OFFICIAL, number=number)).condition for number in (one, other))
    assert first == second


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (replace(LOCAL, refused="it finds something"), ("False", "DatabaseRefused")),
        (replace(OFFICIAL, built=ago(MAX_AGE + 1)), ("False", "TooOld")),
        (replace(LOCAL, error="code 429", last_failure=NOW, retry_after=ago(-300)), ("True", "CoolDown")),
        (replace(LOCAL, error="no route"), ("True", "CheckFailing")),
        (SignatureSource("local.ndb"), ("Unknown", "NotObserved")),
    ],
)
def test_that_a_pod_waits_hides_nothing_else(source: SignatureSource, expected: tuple[str, str]) -> None:
    assert brief(waiting(source)) == expected
    assert brief(waiting(OFFICIAL), pod("mx-2")) == ("Unknown", "NotObserved")


def test_message_names_source_error_and_the_end_of_a_long_cool_down() -> None:
    failing = replace(OFFICIAL, error="error code 403", last_failure=NOW, retry_after=ago(-DAY))
    message = judge(telling(failing)).condition.message
    assert "official" in message
    assert "error code 403; it is asked again at 2026-11-24T09:00:00Z" in message


def test_what_only_some_pods_have_is_said_so() -> None:
    good, bad = telling(LOCAL), telling(replace(LOCAL, refused="it is empty"), name="mx-2")
    condition = judge(good, bad).condition
    assert (condition.status, condition.reason) == ("False", "DatabaseRefused")
    assert "(in 1 of 2 pods)" in condition.message
    assert "ready pods" not in judge(bad, replace(bad, name="mx-3")).condition.message


def test_pods_that_were_not_asked_leave_it_open() -> None:
    silent = replace(pod(), report=None)
    assert judge_signatures((silent,), MAX_AGE, NOW) is None
    assert judge_signatures((telling(LOCAL), replace(silent, name="mx-2")), MAX_AGE, NOW) is None
    unready = replace(silent, name="mx-2", ready=False)
    assert judge_signatures((telling(LOCAL), unready), MAX_AGE, NOW) is None
    assert brief(telling(LOCAL), replace(unready, silent_looks=3)) == ("True", "Fresh")
    assert brief(telling(LOCAL), replace(unready, ip=None)) == ("True", "Fresh")


def test_an_image_that_does_not_tell_is_unknown_and_hides_no_fault_of_another_pod() -> None:
    old, bad = pod("mx-2"), telling(replace(LOCAL, refused="it is empty"))
    assert brief(old) == ("Unknown", "NotObserved")
    assert brief(telling(LOCAL), old) == ("Unknown", "NotObserved")
    assert brief(old, bad) == ("False", "DatabaseRefused")


def test_status_has_the_oldest_of_the_ready_pods_and_nothing_made_up() -> None:
    new = telling(engine="ClamAV 1.4.7", version="27827", time=ago(DAY))
    old = telling(name="mx-2", engine="ClamAV 1.4.6", version="27826", time=ago(2 * DAY))
    told = {"engine": "ClamAV 1.4.6", "signatureVersion": "27826", "signatureTime": ago(2 * DAY)}
    assert judge(new, old).antivirus == judge(old, new).antivirus == told
    assert judge(new, telling(name="mx-2", engine="ClamAV 1.4.6")).antivirus == {"engine": "ClamAV 1.4.6"}
    assert judge(pod()).antivirus == {}


def test_it_is_looked_at_again_when_age_alone_changes_it() -> None:
    verdict = judge(telling(OFFICIAL, LOCAL))
    wait = seconds_to_next_change(verdict, NOW)
    assert wait == MAX_AGE - DAY + 1
    assert brief(telling(OFFICIAL, LOCAL), now=add_seconds(NOW, wait - 1)) == ("True", "Fresh")
    assert brief(telling(OFFICIAL, LOCAL), now=add_seconds(NOW, wait)) == ("False", "TooOld")
    assert seconds_to_next_change(judge(telling()), NOW) is None
    assert seconds_to_next_change(None, NOW) is None


@pytest.mark.parametrize("rest", [None, 300, 7200])
@pytest.mark.parametrize("refused", [None, "it is empty"])
@pytest.mark.parametrize("error", [None, "Unexpected response (500)"])
@given(checks=st.tuples(st.integers(0, 3000), st.integers(0, 3000)))
def test_checks_that_come_to_the_same_say_the_same(
    error: str | None, refused: str | None, rest: int | None, checks: tuple[int, int]
) -> None:
    """A filter at rest is not written to: times of checks, of failures and of short rests are not in it."""

    def check(at: int) -> SignatureVerdict:
        retry = ago(at - rest) if rest and error else None
        local = SignatureSource("local.ndb", ago(at + 10), ago(at), error, retry, refused)
        official = replace(OFFICIAL, last_success=ago(at), last_failure=ago(at), error=error)
        return judge(telling(local, official))

    first, second = map(check, checks)
    assert (first.condition, first.antivirus) == (second.condition, second.antivirus)


def test_how_long_a_connection_was_tried_is_not_told() -> None:
    def message(milliseconds: int) -> str:
        failing = replace(LOCAL, error=f"Connection timed out after {milliseconds} milliseconds")
        return judge(telling(failing)).condition.message

    assert message(30001) == message(30002)
