"""The states of a DKIM key, and how the keys of one line (domain and algorithm) go from one to the next.

A key that signs stops only when another takes over, when nobody wants it to sign any more, or when it is revoked; and
without `activation: AtOnce` no key signs whose record was not seen. Everything depends on the keys (their Secrets hold
state and times), on what DNS says and on the time: nothing is remembered elsewhere.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from mailfilter_operator import names
from mailfilter_operator.dkim.keys import ACTIVE, PENDING, RETIRED, RETIRING, DkimKey, State, read_public_der
from mailfilter_operator.dkim.lines import Rules, Wish, answer, is_asked_anew
from mailfilter_operator.times import add_seconds

Happening = Literal["wanted", "published", "replaced", "unwanted", "wanted again", "revoked", "overlap over", "expired"]

TRANSITIONS: Mapping[tuple[State | None, Happening], State | None] = {
    (None, "wanted"): PENDING,
    (PENDING, "published"): ACTIVE,
    (PENDING, "unwanted"): RETIRED,
    (PENDING, "revoked"): RETIRED,
    (ACTIVE, "replaced"): RETIRING,
    (ACTIVE, "unwanted"): RETIRING,
    (ACTIVE, "revoked"): RETIRED,
    (RETIRING, "overlap over"): RETIRED,
    (RETIRING, "wanted again"): PENDING,
    (RETIRING, "revoked"): RETIRED,
    (RETIRED, "wanted again"): PENDING,
    (RETIRED, "expired"): None,
}
"""State before, what happens, state afterwards; None is a key that is not there."""

HAPPENINGS: Mapping[Happening, str] = {
    "wanted": "a domain or algorithm is added, or a rotation begins",
    "published": "the record was seen twice, or activation is AtOnce",
    "replaced": "another key signs",
    "unwanted": "the domain or algorithm is removed, or another key was asked for meanwhile",
    "wanted again": "the domain or algorithm is added again",
    "revoked": "spec.dkim.revoked names it",
    "overlap over": "rotation.overlap has passed since the last pod stopped to sign with it",
    "expired": "rotation.removeAfter has passed, or its slot is needed",
}
"""What each happening means."""

Place = tuple[str, str]
"""Domain and slot of a key."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """What DNS says of the record of a key: published, not published, or None where not enough servers answered."""

    published: bool | None
    at: str
    """RFC 3339 time of the answer."""
    wait: int = 0
    """Seconds for which caches may have something else: the record counts when it is seen again after that."""


@dataclass(frozen=True, slots=True)
class Line:
    """The keys of a line after what has happened; `needs_key`: a new one is to be made for it."""

    keys: tuple[DkimKey, ...]
    needs_key: bool = False

    @property
    def active(self) -> DkimKey | None:
        """The key that signs."""
        return next((key for key in self.keys if key.state == ACTIVE), None)


def advance(
    wish: Wish | None,
    keys: Iterable[DkimKey],
    sightings: Mapping[Place, Sighting],
    rules: Rules,
    now: str,
    instance: str,
    names_elsewhere: frozenset[str] = frozenset(),
) -> Line:
    """Let happen to the *keys* of a line what is due; *wish* is None if nobody wants it to sign.

    *sightings* are of the records of these keys, *now* is an RFC 3339 time, *instance* the name of the MailFilter,
    *names_elsewhere* the selectors that the domain's other lines need.
    """
    line = [_age(key, rules, now) for key in keys]
    line = [_move(key, "revoked", now) if is_revoked(key, rules, instance) else key for key in line]
    line = _leave_one(line, ACTIVE, "replaced", now)
    if wish is None:
        return Line(tuple(_move(key, "unwanted", now) if key.state in (PENDING, ACTIVE) else key for key in line))
    active = next((key for key in line if key.state == ACTIVE), None)
    wants_new = active is None or is_rotation_due(wish, active, now)
    line = [_keep_or_drop(wish, key, now, wanted=wants_new) if key.state == PENDING else key for key in line]
    line = _leave_one(line, PENDING, "unwanted", now)
    if wants_new and all(key.state != PENDING for key in line):
        line = _take_back(wish, line, now, names_elsewhere, replacing=active is not None)
    line = [
        _look(wish, key, sightings.get((key.domain, key.slot)), now) if key.state == PENDING else key for key in line
    ]
    line = _leave_one(line, ACTIVE, "replaced", now)
    waits = any(key.state == PENDING for key in line)
    changed = any(key.state == ACTIVE and (active is None or key.slot != active.slot) for key in line)
    return Line(tuple(line), wants_new and not waits and not changed)


def record_name(key: DkimKey) -> str:
    """Name of the TXT record that publishes *key* (RFC 6376 section 3.6.2.1), without the final dot."""
    return f"{key.selector}._domainkey.{key.domain}"


def is_rotation_due(wish: Wish, active: DkimKey, now: str) -> bool:
    """Tell whether another key than the one that signs is asked for."""
    if wish.own is not None:
        return not fits(wish, active)
    asked = is_asked_anew(wish.rotation_id, active.rotation_id)
    old = wish.interval is not None and now >= add_seconds(active.signing_since or active.created, wish.interval)
    return asked or old or not fits(wish, active)


def fits(wish: Wish, key: DkimKey) -> bool:
    """Tell whether *key* is of the kind that is asked for: the own one, or one of that size."""
    if wish.own is not None:
        return key.public_der == read_public_der(wish.own.private_pem) and key.selector == wish.selector
    return key.bits == wish.bits


def is_revoked(key: DkimKey, rules: Rules, instance: str) -> bool:
    """Tell whether *rules* name *key*, and it has not been dealt with."""
    secret = names.dkim_secret(instance, key.domain, key.slot)
    return not key.revoked and not rules.revoked.isdisjoint({secret, f"{secret}@{key.created}"})


def find_next_change(keys: Iterable[DkimKey], wishes: Iterable[Wish], rules: Rules, now: str) -> str | None:
    """When something is due next though nothing happens meanwhile; None if nothing is."""
    intervals = {(wish.domain, wish.algorithm): wish.interval for wish in wishes}
    times = []
    for key in keys:
        interval = intervals.get((key.domain, key.algorithm))
        if key.state == ACTIVE and interval is not None:
            times.append(add_seconds(key.signing_since or key.created, interval))
        if key.state == RETIRING and key.left_since:
            times.append(add_seconds(key.left_since, rules.overlap))
        if key.state == RETIRED and rules.remove_after is not None and key.left_since:
            times.append(add_seconds(key.left_since, rules.overlap + rules.remove_after))
    return min((time for time in times if time > now), default=None)


def is_expired(key: DkimKey, rules: Rules, now: str) -> bool:
    """Tell whether a retired key is to be deleted without need."""
    if key.state != RETIRED or rules.remove_after is None:
        return False
    return now >= add_seconds(key.left_since or now, rules.overlap + rules.remove_after)


def confirm_left(key: DkimKey, now: str) -> DkimKey:
    """The key once every pod has taken up a configuration without it: from now on its overlap is counted."""
    return replace(key, left_since=now) if key.state == RETIRING and not key.left_since else key


def _move(key: DkimKey, happening: Happening, now: str) -> DkimKey:
    after = TRANSITIONS.get((key.state, happening))
    if after is None:
        return replace(key, revoked=key.revoked or happening == "revoked")
    moved = replace(key, state=after, seen_again="", revoked=key.revoked or happening == "revoked")
    if after == ACTIVE:
        return replace(moved, signing_since=now, left_since="")
    if after == PENDING:
        return replace(moved, signing_since="", left_since="")
    return replace(moved, left_since=moved.left_since or (now if after == RETIRED else ""))


def _age(key: DkimKey, rules: Rules, now: str) -> DkimKey:
    over = key.state == RETIRING and key.left_since and now >= add_seconds(key.left_since, rules.overlap)
    return _move(key, "overlap over", now) if over else key


def _leave_one(line: list[DkimKey], state: State, happening: Happening, now: str) -> list[DkimKey]:
    """Of several keys in one state the newest stays in it: the operator ended between two writes."""
    newest = max((key for key in line if key.state == state), key=_age_order, default=None)
    return [_move(key, happening, now) if key.state == state and key is not newest else key for key in line]


def _keep_or_drop(wish: Wish, key: DkimKey, now: str, *, wanted: bool) -> DkimKey:
    if not wanted or not fits(wish, key):
        return _move(key, "unwanted", now)
    return replace(key, rotation_id=answer(wish.rotation_id, key.rotation_id))


def _take_back(
    wish: Wish, line: list[DkimKey], now: str, names_elsewhere: frozenset[str], *, replacing: bool
) -> list[DkimKey]:
    """An earlier key in place of a new one: of a domain that comes back, or an own key that was set before."""
    if replacing and wish.own is None:
        return line
    in_use = names_elsewhere | {key.selector for key in line if key.state in (PENDING, ACTIVE)}
    newest = max(line, key=_age_order, default=None)
    earlier = [
        key
        for key in line
        # The record of one that has just stopped is still published; that of an older one is gone.
        if (key.state == RETIRING or (key.state == RETIRED and (key is newest or wish.own is not None)))
        and not key.revoked
        and fits(wish, key)
        and not is_asked_anew(wish.rotation_id, key.rotation_id)
        and key.selector not in in_use
    ]
    best = max(earlier, key=lambda key: (key.state == RETIRING, *_age_order(key)), default=None)
    return [_move(key, "wanted again", now) if key is best else key for key in line]


def _age_order(key: DkimKey) -> tuple[str, str, str]:
    return key.signing_since, key.created, key.slot


def _look(wish: Wish, key: DkimKey, sighting: Sighting | None, now: str) -> DkimKey:
    if wish.at_once:
        return _move(key, "published", now)
    if sighting is None or sighting.published is None:
        return key
    if not sighting.published:
        return replace(key, seen_again="")
    if not key.seen_again:
        return replace(key, seen_again=add_seconds(sighting.at, max(sighting.wait, 1)))
    return _move(key, "published", now) if sighting.at >= key.seen_again else key
