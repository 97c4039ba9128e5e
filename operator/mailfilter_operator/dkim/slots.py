"""Which keys are to be made and deleted, and in which slots. Decides; making, storing and deleting are the shell's."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mailfilter_operator import names
from mailfilter_operator.dkim.keys import ACTIVE, ED25519, PENDING, RETIRED, DkimKey, read_public_der
from mailfilter_operator.dkim.lines import SLOTS, Rules, Wish
from mailfilter_operator.dkim.own_keys import OwnKey
from mailfilter_operator.dkim.states import Line, Place, Sighting, advance, fits, is_expired
from mailfilter_operator.errors import InvalidReference


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """A key to make; `selector` is None where day and hash name it, differently from those that are `taken`."""

    domain: str
    slot: str
    algorithm: str
    bits: int
    at_once: bool
    selector: str | None = None
    prefix: str = "mf"
    taken: frozenset[str] = frozenset()
    rotation_id: str = ""
    own: OwnKey | None = field(default=None, repr=False)
    """The key itself, where the domain brought one."""


@dataclass(frozen=True, slots=True)
class KeyPlan:
    """All keys that stay, as they shall be; what is to be made, and deleted before; what waits, and for what."""

    keys: tuple[DkimKey, ...]
    requests: tuple[KeyRequest, ...] = ()
    deletions: tuple[DkimKey, ...] = ()
    waiting: tuple[str, ...] = ()

    @property
    def in_storing_order(self) -> tuple[DkimKey, ...]:
        """What signs comes first: whoever ends in between leaves two keys that sign, and never none."""
        return tuple(sorted(self.keys, key=lambda key: key.state != ACTIVE))

    @property
    def signing(self) -> tuple[DkimKey, ...]:
        """Keys of the keyring."""
        return tuple(key for key in self.keys if key.state == ACTIVE)


def plan_keys(
    wishes: Iterable[Wish],
    keys: Iterable[DkimKey],
    sightings: Mapping[Place, Sighting],
    rules: Rules,
    now: str,
    instance: str,
) -> KeyPlan:
    """Compare what the spec asks for with the keys that exist, and let happen to them what is due.

    Keys come in the order of the spec, those of removed domains after them. Raises nothing: a line that cannot go on
    is in `waiting`.
    """
    wanted = {(wish.domain, wish.algorithm): wish for wish in wishes}
    existing = tuple(keys)
    order = [*wanted, *sorted({(key.domain, key.algorithm) for key in existing} - set(wanted))]
    needed = _find_needed_names(existing, wanted.values())
    kept: list[DkimKey] = []
    requests: list[KeyRequest] = []
    deletions: list[DkimKey] = []
    waiting: list[str] = []
    for place in order:
        wish = wanted.get(place)
        needed_here = needed.setdefault(place[0], set())
        elsewhere = frozenset(selector for algorithm, selector in needed_here if algorithm != place[1])
        line = advance(
            wish,
            [key for key in existing if (key.domain, key.algorithm) == place],
            sightings,
            rules,
            now,
            instance,
            elsewhere,
        )
        expired = [key for key in line.keys if is_expired(key, rules, now)]
        if wish is not None and line.needs_key:
            ever = frozenset(key.selector for key in existing if key.domain == wish.domain)
            found = _find_place(wish, line, rules, instance, ever, elsewhere)
            if isinstance(found, str):
                waiting.append(found)
            else:
                request, in_the_way = found
                requests.append(request)
                needed_here |= {(request.algorithm, request.selector)} if request.selector else set()
                expired += [key for key in in_the_way if key not in expired]
        deletions += expired
        kept += [key for key in line.keys if key not in expired]
        needed_here |= {(key.algorithm, key.selector) for key in line.keys if key.state != RETIRED}
    return KeyPlan(tuple(kept), tuple(requests), tuple(deletions), tuple(waiting))


def _find_needed_names(keys: Iterable[DkimKey], wishes: Iterable[Wish]) -> dict[str, set[tuple[str, str]]]:
    """Algorithm and selector of all keys that are not retired and of those that domains bring, by domain.

    Two keys of one name would have their records in one place, where a verifier takes either.
    """
    needed: dict[str, set[tuple[str, str]]] = {}
    for key in keys:
        if key.state != RETIRED:
            needed.setdefault(key.domain, set()).add((key.algorithm, key.selector))
    for wish in wishes:
        if wish.own is not None and wish.selector is not None:
            needed.setdefault(wish.domain, set()).add((wish.algorithm, wish.selector))
    return needed


def _find_place(
    wish: Wish, line: Line, rules: Rules, instance: str, ever: frozenset[str], elsewhere: frozenset[str]
) -> tuple[KeyRequest, tuple[DkimKey, ...]] | str:
    """The request for a new key, and the retired key that makes room for it; or why there is no place.

    *ever* are the selectors of all keys that the domain has, *elsewhere* those that its other lines need.
    """
    if wish.own is not None and any(key.revoked and fits(wish, key) for key in line.keys):
        return f"{wish.domain}: the key of privateKeySecretRef is revoked; set another one, with another selector"
    blocked = {
        slot for slot in SLOTS[wish.algorithm] if names.dkim_secret(instance, wish.domain, slot) in rules.revoked
    }
    free = [
        slot for slot in SLOTS[wish.algorithm] if slot not in blocked and all(key.slot != slot for key in line.keys)
    ]
    retired = sorted(
        (key for key in line.keys if key.state == RETIRED and key.slot not in blocked),
        key=lambda key: (key.left_since, key.created),
    )
    selector = _choose_selector(wish, line, ever | elsewhere, elsewhere)
    if selector == "":
        return f"{wish.domain}: both selectors are in use until the record of a key that has one of them may go"
    if not free and not retired:
        return f"{wish.domain}: no slot for another {wish.algorithm} key until one of the others is retired" + (
            "; leave names without @ out of spec.dkim.revoked once they have been dealt with" if blocked else ""
        )
    request = KeyRequest(
        domain=wish.domain,
        slot=free[0] if free else retired[0].slot,
        algorithm=wish.algorithm,
        bits=wish.own.bits if wish.own else wish.bits,
        at_once=wish.at_once,
        selector=selector,
        prefix=wish.prefix,
        taken=ever | elsewhere,
        rotation_id=wish.rotation_id,
        own=wish.own,
    )
    return request, () if free else (retired[0],)


def _choose_selector(wish: Wish, line: Line, taken: frozenset[str], elsewhere: frozenset[str]) -> str | None:
    """Selector of the next key; None if it is made of day and key, "" if none of two is free.

    A name of the spec must be new (not in *taken*); one of two comes again once its key is retired.
    """
    if wish.own is not None:
        return wish.selector
    if wish.selector is not None and wish.selector not in taken and not line.keys:
        return wish.selector
    if not wish.alternating:
        return None
    suffix = "e" if wish.algorithm == ED25519 else ""
    in_use = elsewhere | {key.selector for key in line.keys if key.state != RETIRED}
    return next((f"{wish.prefix}{n}{suffix}" for n in (1, 2) if f"{wish.prefix}{n}{suffix}" not in in_use), "")


def require_new_selectors(wishes: Iterable[Wish], keys: Iterable[DkimKey]) -> None:
    """Raise InvalidReference if an own key has the selector of another key that needs its record, or will.

    A key of its own line that still waits makes way for it; one of the other algorithm stays beside it.
    """
    existing = tuple(keys)
    for wish in wishes:
        if wish.own is None:
            continue
        public = read_public_der(wish.own.private_pem)
        for key in existing:
            same_name = (key.domain, key.selector) == (wish.domain, wish.selector)
            makes_way = key.state == RETIRED or (key.state == PENDING and key.algorithm == wish.algorithm)
            if same_name and not makes_way and key.public_der != public:
                whose = f"the {key.algorithm} key that " + (
                    "waits for its record" if key.state == PENDING else "signs now or did so lately"
                )
                raise InvalidReference(
                    f"spec.domains[{wish.domain}].dkim.selector",
                    f"{wish.selector} names {whose}, not that of privateKeySecretRef; give the new key a new selector",
                )
