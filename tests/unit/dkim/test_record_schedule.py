"""Name servers are asked soon for what is waited for, once a day for what is settled, and never for nothing."""

from __future__ import annotations

import dataclasses

import pytest
from tests.unit import samples

from mailfilter_operator.dkim.published import Answer, Look
from mailfilter_operator.dkim.record_schedule import (
    FAILURES,
    LONGEST_WAIT,
    Seen,
    Watched,
    find_due,
    find_sightings,
    judge,
    note,
)
from mailfilter_operator.dkim.records import build_dkim_record
from mailfilter_operator.times import add_seconds, seconds_between

KEY = samples.dkim_key()
RECORD = build_dkim_record(KEY)
WATCHED = Watched(RECORD)
UID = samples.UID


def look(*texts: str, at: str = samples.NOW, ttl: int = 60, silent: bool = False) -> Look:
    said = None if silent else texts
    return Look(RECORD.name, at, tuple(Answer(f"ns{n}", said, ttl) for n in (1, 2)), 60)


def seen(*looks: Look) -> Seen:
    known: Seen | None = None
    for found in looks:
        known = note(known, found)
    assert known is not None
    return known


def next_look(known: Seen, watched: Watched = WATCHED) -> float:
    """Seconds after the last look."""
    due, following = find_due([watched], {RECORD.name: known}, UID, known.last)
    assert due == ()
    assert following is not None
    return seconds_between(known.last, following)


def test_what_nobody_knows_is_asked_for_at_once() -> None:
    assert find_due([WATCHED], {}, UID, samples.NOW) == ((RECORD.name,), None)


def test_what_status_has_as_published_is_not_asked_for_after_a_restart() -> None:
    due, following = find_due([dataclasses.replace(WATCHED, known="Published")], {}, UID, samples.NOW)

    assert due == ()
    assert following is not None
    assert 0 < seconds_between(samples.NOW, following) <= 86_400


def test_what_is_missing_is_asked_for_ever_more_rarely() -> None:
    looks = [look(at=add_seconds(samples.NOW, 10 * n)) for n in range(20)]
    waits = [next_look(seen(*looks[: n + 1])) for n in range(20)]

    assert waits[:4] == [5, 10, 20, 40]
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_WAIT


def test_what_is_published_is_asked_for_once_a_day_at_the_same_time() -> None:
    known = seen(look(RECORD.value))
    first = add_seconds(known.last, next_look(known))
    again = seen(look(RECORD.value, at=first))

    assert next_look(again) == 86_400


def test_what_has_to_be_seen_again_is_asked_for_then() -> None:
    waiting = dataclasses.replace(WATCHED, wanted_at=add_seconds(samples.NOW, 300))

    assert next_look(seen(look(RECORD.value)), waiting) == 300


def test_failures_in_a_row_change_what_is_known_only_after_some() -> None:
    silent = [look(silent=True) for _ in range(FAILURES)]

    assert judge(WATCHED, {RECORD.name: seen(look(RECORD.value), *silent[1:])}).state == "Published"
    assert judge(WATCHED, {RECORD.name: seen(look(RECORD.value), *silent)}).state == "Unknown"


def test_record_counts_only_after_the_time_of_what_was_there_before() -> None:
    before = look("v=DKIM1; p=", ttl=7200)
    after = look(RECORD.value, at=add_seconds(samples.NOW, 600))
    found = find_sightings([KEY], {RECORD.name: seen(before, after)})

    assert found[KEY.domain, KEY.slot].published is True
    assert found[KEY.domain, KEY.slot].wait == 6600


def answers(at: float, **texts: tuple[str, ...] | None) -> Look:
    """What servers say after so many seconds, by name; None is silence. A text may be kept for two hours."""
    said = tuple(Answer(server, text, 7200 if text else 60) for server, text in texts.items())
    return Look(RECORD.name, add_seconds(samples.NOW, at), said, 60)


def test_server_that_answers_now_and_then_makes_nobody_ask_more_often() -> None:
    """5 s after each of its answers and silences, that were 720 looks in an hour."""
    looks = [answers(10 * n, ns1=(), ns2=None if n % 2 else ()) for n in range(20)]
    waits = [next_look(seen(*looks[: n + 1])) for n in range(20)]

    assert waits[:4] == [5, 10, 20, 40]
    assert waits[-1] == LONGEST_WAIT


def test_server_that_answers_now_and_then_does_not_put_off_a_key() -> None:
    looks = [answers(10 * n, ns1=(RECORD.value,), ns2=None if n % 2 else (RECORD.value,)) for n in range(5)]

    assert find_sightings([KEY], {RECORD.name: seen(*looks)})[KEY.domain, KEY.slot].wait == 60


OLD = ("v=DKIM1; p=",)
NEW = (RECORD.value,)


@pytest.mark.parametrize(
    "looks",
    [
        pytest.param([answers(0, ns1=OLD, ns2=()), answers(600, ns1=None, ns2=())], id="silent meanwhile"),
        pytest.param([answers(0, ns1=OLD, ns2=None), answers(600, ns1=None, ns2=NEW)], id="never both"),
        pytest.param([answers(0, ns3=OLD, ns4=OLD), answers(600, ns1=NEW, ns2=NEW)], id="other servers"),
        pytest.param(
            [answers(0, ns1=OLD, ns2=OLD), *(answers(600 + n, ns1=None, ns2=None) for n in range(FAILURES))],
            id="nobody answered for long",
        ),
    ],
)
def test_what_a_server_said_before_counts_until_caches_have_forgotten_it(looks: list[Look]) -> None:
    """P4: whoever asked it then may have the other record for two hours."""
    after = answers(1200, ns1=NEW, ns2=NEW)
    found = find_sightings([KEY], {RECORD.name: seen(*looks, after)})[KEY.domain, KEY.slot]

    assert found.published is True
    assert found.wait >= 7200 - 1200


def test_alias_that_leads_elsewhere_is_another_answer() -> None:
    def leading(at: float, target: str, text: str) -> Look:
        said = (Answer("ns1", None, 7200, alias=target), Answer("ns9", (text,), 60, asked=target))
        return Look(RECORD.name, add_seconds(samples.NOW, at), said, 60)

    found = seen(leading(0, "a.example.net", *OLD), leading(10, "b.example.net", *NEW))
    assert found.other_until == add_seconds(samples.NOW, 7200)
