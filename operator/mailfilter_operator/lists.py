"""Lists of senders and networks: the entries of the spec and of the ConfigMaps that it names, as rules of rspamd.

An entry adds to a mail's score or takes from it, and does nothing else: viruses are refused and mail is signed all the
same. Sender addresses are those of the envelope and of the header From; both are easily forged.
"""

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from mailfilter_operator.api import SenderList, Spec
from mailfilter_operator.errors import InvalidReference, InvalidSpec
from mailfilter_operator.references import References

LIMIT = 512 * 1024
"""Bytes of all entries; a ConfigMap holds 1 MiB."""

SCORES = {"allow": -20, "deny": 20}
"""More than all that usually speaks against or for a mail, and beyond the default of spec.actions.reject. spec.metrics
can say otherwise."""

_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})+")
_LOCAL_PART = re.compile(r"[-a-z0-9!$%&'*+=?^_`{|}~.]{1,64}")


@dataclass(frozen=True, slots=True)
class SenderRule:
    """One rule of rspamd's module multimap; `path` is its map, which has the entries."""

    symbol: str
    type: str
    filter: str | None
    score: int
    path: str
    entries: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Kind:
    """What an entry of a field looks like, and how rspamd compares it."""

    symbol: str
    type: str
    filter: str | None
    remedy: str
    is_valid: Callable[[str], bool]


def _is_domain(text: str) -> bool:
    return _DOMAIN.fullmatch(text) is not None


def _is_address(text: str) -> bool:
    local, at, domain = text.rpartition("@")
    return bool(at) and _LOCAL_PART.fullmatch(local) is not None and _is_domain(domain)


def _is_network(text: str) -> bool:
    try:
        return ipaddress.ip_network(text, strict=True).prefixlen > 0
    except ValueError:
        return False


_KINDS: Mapping[str, _Kind] = {
    "from": _Kind("FROM", "from", "email:addr", "a mail address such as news@example.com", _is_address),
    "domains": _Kind("DOMAIN", "from", "email:domain", "a domain such as example.com", _is_domain),
    "networks": _Kind("NETWORK", "ip", None, "an IP address or a network such as 192.0.2.0/24", _is_network),
}


def read_lists(spec: Spec, references: References) -> tuple[SenderRule, ...]:
    """Rules for all lists that have entries. Raises InvalidSpec or InvalidReference for an entry that is none."""
    rules = []
    for name in ("allow", "deny"):
        senders: SenderList = getattr(spec.lists, name)
        for field, kind in _KINDS.items():
            entries = tuple(sorted(set(_read_entries(f"spec.lists.{name}", senders, field, kind, references))))
            if entries:
                symbol, path = f"MAILFILTER_{name.upper()}_{kind.symbol}", f"maps/mailfilter-{name}-{field}"
                rules.append(SenderRule(symbol, kind.type, kind.filter, SCORES[name], path, entries))
    size = sum(len(entry) + 1 for rule in rules for entry in rule.entries)
    if size > LIMIT:
        raise InvalidSpec(
            "spec.lists",
            f"the entries of all lists take {size} bytes, more than the {LIMIT} that fit; list networks and domains in "
            "place of single addresses, or leave some out",
        )
    return tuple(rules)


def _read_entries(where: str, senders: SenderList, field: str, kind: _Kind, references: References) -> Iterator[str]:
    own: tuple[str, ...] = getattr(senders, "from_" if field == "from" else field)
    for index, entry in enumerate(own):
        if not kind.is_valid(entry.lower()):
            raise InvalidSpec(f"{where}.{field}[{index}]", f"{entry!r} is none; write {kind.remedy}")
        yield entry.lower()
    if senders.config_map_ref is None:
        return
    path, name = f"{where}.configMapRef", senders.config_map_ref.name
    for number, line in enumerate(references.read_configmap(path, name).get(field, "").splitlines(), 1):
        entry = re.sub(r"(^|\s)#.*", "", line).strip().lower()
        if entry and not kind.is_valid(entry):
            raise InvalidReference(
                path, f"line {number} of {field} in the ConfigMap {name}, {entry[:100]!r}, is none; write {kind.remedy}"
            )
        if entry:
            yield entry
