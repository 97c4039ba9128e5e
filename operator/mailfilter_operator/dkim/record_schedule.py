"""When name servers are asked for which record, and what their answers come to. Times are handed in.

A record that somebody waits for is asked for with back-off, one that is published once a day: at a time that follows
from the MailFilter's UID, so that a restart asks for nothing and a fleet does not ask all at once.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mailfilter_operator.dkim.keys import RETIRED, DkimKey
from mailfilter_operator.dkim.published import Answer, Look, Publication, explain, judge_dkim
from mailfilter_operator.dkim.records import DnsRecord, build_dkim_record
from mailfilter_operator.dkim.states import Place, Sighting
from mailfilter_operator.dkim.suggestions import judge_dmarc, judge_spf
from mailfilter_operator.times import add_seconds, seconds_between

DAY = 86_400
FIRST_WAIT = 5.0
LONGEST_WAIT = 3600.0
FAILURES = 3
"""Looks in a row that came to nothing before the last answer counts no more."""

UNKNOWN = Publication("Unknown", None, (), 0)

Said = Mapping[tuple[str, str], Answer]
"""Answers by server and the name that it was asked for."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The last look that came to something, or the first; `times` with the same result, `failures` since."""

    look: Look
    last: str
    """RFC 3339 time of the last look, whatever it came to."""
    times: int = 1
    failures: int = 0
    other_until: str = ""
    """Until when caches may have what was there before it."""
    said: Said = field(default_factory=dict)
    """What each server said when it last said something."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A record whose publication matters, and the state known before."""

    record: DnsRecord
    known: str = "Unknown"
    wanted_at: str = ""
    """When it is to be seen again, so that its key may sign."""

    @property
    def name(self) -> str:
        """Of the record."""
        return self.record.name


def note(before: Seen | None, look: Look) -> Seen:
    """What is known after *look*."""
    said = {(answer.server, answer.asked): answer for answer in look.answers if _says(answer)}
    if any(answer.texts is not None for answer in look.answers):
        if before is None:
            return Seen(look, look.at, said=said)
        asked = {(answer.server, answer.asked) for answer in look.answers}
        kept = {**{place: answer for place, answer in before.said.items() if place in asked}, **said}
        if not _is_other(before.said, said, asked):
            return Seen(look, look.at, before.times + 1 if not before.failures else 1, 0, before.other_until, kept)
        longest = max((answer.ttl for answer in before.said.values()), default=0)
        other_until = max(before.other_until, add_seconds(before.look.at, longest))
        return Seen(look, look.at, 1, 0, other_until, kept)
    if before is None:
        return Seen(look, look.at, 1, 1)
    failures = before.failures + 1
    known = look if failures >= FAILURES else before.look
    return Seen(known, look.at, before.times + 1, failures, before.other_until, before.said)


def _is_other(before: Said, now: Said, asked: Iterable[tuple[str, str]]) -> bool:
    """Tell whether servers say something else than *before*; one that keeps silent now and then says nothing else."""
    known, found = ({_read(answer) for answer in said.values()} for said in (before, now))
    changed = any(_read(now[place]) != _read(before[place]) for place in before.keys() & now.keys())
    came = any(_read(now[place]) not in known for place in now.keys() - before.keys()) and bool(known)
    went = any(_read(before[place]) not in found for place in before.keys() - set(asked))
    return changed or came or went


def _says(answer: Answer) -> bool:
    return answer.texts is not None or answer.alias is not None


def _read(answer: Answer) -> tuple[tuple[str, ...] | None, str | None]:
    return answer.texts, answer.alias


def judge(watched: Watched, seen: Mapping[str, Seen]) -> Publication:
    """What is known of the publication of a record; Unknown if it was not asked for."""
    known = seen.get(watched.name)
    if known is None:
        return UNKNOWN
    if watched.record.purpose == "DKIM":
        return judge_dkim(watched.record.value, known.look)
    answers = [answer.texts for answer in known.look.answers if answer.texts is not None]
    silent = tuple(answer.server for answer in known.look.answers if answer.texts is None)
    if not answers:
        return Publication("Unknown", None, silent, 0, explain(known.look))
    judge_suggestion = judge_spf if watched.record.purpose == "SPF" else judge_dmarc
    state, observed = judge_suggestion(watched.record, answers[0])
    return Publication(state, observed, silent, 0)


def find_sightings(keys: Iterable[DkimKey], seen: Mapping[str, Seen]) -> dict[Place, Sighting]:
    """What DNS says of the records of *keys*, as far as it was asked since the start; by key, as two can have one name.

    Not of retired ones: the name of an alternating selector is another key's now.
    """
    found = {}
    for key in keys:
        if key.state == RETIRED:
            continue
        record = build_dkim_record(key)
        if record.name in seen:
            look = seen[record.name].look
            publication = judge_dkim(record.value, look)
            published = None if publication.state == "Unknown" else publication.state == "Published"
            other_until = seen[record.name].other_until
            others = int(seconds_between(look.at, other_until)) if other_until else 0
            found[key.domain, key.slot] = Sighting(published, look.at, max(publication.wait, others))
    return found


def find_due(
    records: Iterable[Watched], seen: Mapping[str, Seen], uid: str, now: str
) -> tuple[tuple[str, ...], str | None]:
    """Names to ask for now, and the time at which the next of the others is due."""
    times = {record.name: _due(record, seen.get(record.name), uid, now) for record in records}
    due = tuple(name for name, time in times.items() if time <= now)
    return due, min((time for time in times.values() if time > now), default=None)


def _due(record: Watched, seen: Seen | None, uid: str, now: str) -> str:
    if seen is None:
        return _next_daily(uid, now) if record.known == "Published" and not record.wanted_at else now
    settled = judge(record, {record.name: seen}).state == "Published" and seen.failures == 0
    if settled and record.wanted_at:
        return max(record.wanted_at, add_seconds(seen.last, 1))
    if settled:
        return _next_daily(uid, seen.last)
    return add_seconds(seen.last, min(FIRST_WAIT * 2 ** min(seen.times - 1, 20), LONGEST_WAIT))


def _next_daily(uid: str, after: str) -> str:
    """The next time at which this MailFilter asks for what is settled."""
    second = int.from_bytes(hashlib.sha256(uid.encode()).digest()[4:8], "big") % DAY
    passed = seconds_between("1970-01-01T00:00:00Z", after) % DAY
    return add_seconds(after, (second - passed) % DAY or DAY)
