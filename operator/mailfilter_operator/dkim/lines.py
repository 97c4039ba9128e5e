"""What the spec asks of the keys: one line of keys for each signing domain and algorithm, and the rules for all.

A domain that signs with RSA and Ed25519 has two lines. Each has at most one key that signs, and each goes on by itself.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from mailfilter_operator.api import Dkim, Domain, Spec
from mailfilter_operator.dkim.keys import ED25519, RSA
from mailfilter_operator.dkim.own_keys import OwnKey
from mailfilter_operator.times import parse_span

SLOTS = {RSA: ("r0", "r1", "r2"), ED25519: ("e0", "e1", "e2")}
"""Three keys of a line can be there at a time: one that signs, one that waits, and one that has signed."""

ROTATION_SPREAD = 0.1
"""Share of the interval over which the first rotations of many domains are spread."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the key of a line shall be. `bits` is of RSA; `selector` names the first key, or an own one."""

    domain: str
    algorithm: str
    bits: int
    at_once: bool
    selector: str | None = None
    alternating: bool = False
    prefix: str = "mf"
    rotation_id: str = ""
    """`ALL/ONE`: the text of `spec.dkim` and that of the domain, each of which may be empty; empty if both are."""
    interval: float | None = None
    """Seconds for which a key signs before the next takes over."""
    own: OwnKey | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for the keys of all domains, those that were removed too. Spans in seconds."""

    overlap: int
    remove_after: int | None = None
    revoked: frozenset[str] = frozenset()
    """Names of key Secrets, `NAME` or `NAME@CREATION`."""


def read_rules(spec: Spec) -> Rules:
    """The rules of *spec*."""
    rotation = spec.dkim.rotation
    remove_after = parse_span(rotation.remove_after) if rotation.remove_after else None
    return Rules(parse_span(rotation.overlap), remove_after, frozenset(spec.dkim.revoked))


def read_wishes(spec: Spec, own_keys: Mapping[str, OwnKey]) -> tuple[Wish, ...]:
    """The lines of *spec*, in its order; *own_keys* are those that domains brought, by domain."""
    return tuple(
        _read_wish(spec.dkim, domain, algorithm, own_keys.get(domain.name))
        for domain in spec.domains
        for algorithm in _read_algorithms(spec.dkim, domain, own_keys.get(domain.name))
    )


def _read_algorithms(dkim: Dkim, domain: Domain, own: OwnKey | None) -> tuple[str, ...]:
    wanted = set(domain.dkim.algorithms or dkim.algorithms) | ({own.algorithm} if own else set())
    return tuple(algorithm for algorithm in (RSA, ED25519) if algorithm in wanted)


def _read_wish(dkim: Dkim, domain: Domain, algorithm: str, own: OwnKey | None) -> Wish:
    is_own = own is not None and own.algorithm == algorithm
    # The name is for one key: the own one, else that of RSA.
    is_named = is_own or (own is None and algorithm == RSA)
    ids = dkim.rotation_id, domain.dkim.rotation_id or ""
    return Wish(
        domain=domain.name,
        algorithm=algorithm,
        bits=(domain.dkim.key_bits or dkim.key_bits) if algorithm == RSA else 256,
        at_once=(domain.dkim.activation or dkim.activation) == "AtOnce",
        selector=domain.dkim.selector if is_named else None,
        alternating=dkim.selectors.scheme == "Alternating",
        prefix=dkim.selectors.prefix,
        rotation_id="/".join(ids) if any(ids) else "",
        interval=_spread(dkim.rotation.interval, domain.name),
        own=own if is_own else None,
    )


def is_asked_anew(asked: str, answered: str) -> bool:
    """Tell whether one of the two texts in *asked* is set, and not the one that a key has *answered*.

    >>> is_asked_anew("/x", "2026-11/x"), is_asked_anew("x/", "/x")
    (False, True)
    """
    of_all, _, of_one = asked.partition("/")
    if answered and "/" not in answered:
        # Of an earlier release, which did not say of which field it was when only one was set.
        return bool(of_all and of_one) or (of_all or of_one) not in ("", answered)
    all_before, _, one_before = answered.partition("/")
    return of_all not in ("", all_before) or of_one not in ("", one_before)


def answer(asked: str, answered: str) -> str:
    """What a key has answered that is to answer *asked* too; a text that was cleared since stays known.

    >>> answer("/y", "2026-11/x")
    '2026-11/y'
    """
    of_all, _, of_one = asked.partition("/")
    if not asked or (answered and "/" not in answered):
        return asked or answered
    all_before, _, one_before = answered.partition("/")
    return f"{of_all or all_before}/{of_one or one_before}"


def _spread(interval: str | None, domain: str) -> float | None:
    """A little less than the interval, by hash: the domains of a fleet do not all rotate in one night."""
    if interval is None:
        return None
    share = int.from_bytes(hashlib.sha256(domain.encode("ascii")).digest()[:4], "big") / 2**32
    return parse_span(interval) * (1 - ROTATION_SPREAD * share)
