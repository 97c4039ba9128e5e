"""Name servers are asked soon for what is waited for, once a day for what is settled, and never for nothing."""

from __future__ import annotations

import dataclasses

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
