"""Whether a DKIM record is published: what name servers answered, compared with the record that should be there.

Records are compared by what they mean to a verifier: as tag lists of RFC 6376 sections 3.2 and 3.6.1. How long caches
may say something else follows RFC 2308 section 5. Nothing here asks anybody.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

PUBLISHED, MISSING, DIFFERENT, DUPLICATE, UNKNOWN = "Published", "Missing", "Different", "Duplicate", "Unknown"

ENOUGH = 2
"""Servers that have to answer, or all if there are fewer."""

_OBSERVED_LIMIT = 1024
_EXCERPT = 80
"""Characters of each text where servers disagree: enough to tell them apart."""

_TAG_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_TAG_LIST = re.compile(r"[\x21-\x7e \t\r\n]*")
"""Characters of a tag list (RFC 6376 section 3.2): printable ASCII and folding white space."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one address of one server said of TXT at a name."""

    server: str
    """For people, such as `ns1.example.com. (192.0.2.1)`; addresses of one server have what is before the bracket."""
    texts: tuple[str, ...] | None
    """Each record with its strings joined; none: there is no record. None: no usable answer, or an alias."""
    ttl: int
    """Seconds for which it may be kept; of "no record" the negative one (RFC 2308 section 5)."""
    failure: str | None = None
    """Why there is no usable answer."""
    asked: str = ""
    """The name that was asked for, if an alias led to it; else it is that of the look."""
    alias: str | None = None
    """The name that the one asked for stands for (CNAME); other answers of the same look say what is there."""


@dataclass(frozen=True, slots=True)
class Look:
    """What was found out about one name at one RFC 3339 time."""

    name: str
    at: str
    answers: tuple[Answer, ...]
    negative_ttl: int
    """Seconds for which caches may remember that there was no record; known also if there is one."""
    failure: str | None = None
    """Why nothing can be said, whatever the answers."""


@dataclass(frozen=True, slots=True)
class Publication:
    """What a look means for a record."""

    state: str
    """Published, Missing, Different, Duplicate or Unknown."""
    observed: str | None
    """What is there in its place, in at most 1024 printable characters, only for Different and Duplicate."""
    silent: tuple[str, ...]
    """Servers that gave no usable answer."""
    wait: int
    """Seconds after which no cache can have what was there before."""
    reason: str = ""
    """Why it is Unknown, where that can be said."""


def judge_dkim(value: str, look: Look) -> Publication:
    """Compare the record *value* with what every server said; several of a kind, of which one is ours, are Duplicate.

    Unknown unless for the name, and for each that it stands for, two servers answered or all that there are.
    """
    said = [(answer, _judge(value, answer.texts)) for answer in look.answers if answer.texts is not None]
    silent = tuple(dict.fromkeys(answer.server for answer in look.answers if not _is_usable(answer)))
    states = {state for _, state in said}
    # What leads to another record is remembered as that record is.
    aliases = [] if states == {PUBLISHED} else [answer.ttl for answer in look.answers if answer.alias is not None]
    wait = max([look.negative_ttl, *aliases, *(answer.ttl for answer, state in said if state != PUBLISHED)])
    if look.failure is not None or not said or not _is_enough(look.answers):
        return Publication(UNKNOWN, None, silent, wait, explain(look))
    if states == {PUBLISHED} or states == {MISSING}:
        return Publication(said[0][1], None, silent, wait)
    state = DUPLICATE if states == {DUPLICATE} else DIFFERENT
    return Publication(state, _describe(said), silent, wait)


def explain(look: Look) -> str:
    """Why *look* came to nothing; empty if it did not, or only because servers kept silent."""
    return look.failure or next((answer.failure for answer in look.answers if answer.failure), "")


def is_equal(value: str, text: str) -> bool:
    """Tell whether the record *text* lets verifiers do all that *value* does, whatever its order and white space.

    >>> is_equal("v=DKIM1; k=rsa; p=MIGf", "p = MI Gf; t=;")
    True
    >>> is_equal("v=DKIM1; k=rsa; p=MIGf", "v=DKIM1; p=MIGf; t=y")
    False
    """
    wanted, found = parse_tags(value), parse_tags(text)
    if wanted is None or found is None:
        return False
    if "v" in found and (found["v"] != "DKIM1" or next(iter(found)) != "v"):
        return False
    hashes, services, flags = (_parts(found.get(tag)) for tag in ("h", "s", "t"))
    return (
        found.get("k", "rsa") == wanted.get("k", "rsa")
        # An empty key is a revoked one, and equal to none.
        and "".join(found.get("p", "").split()) == "".join(wanted.get("p", "").split()) != ""
        and (hashes is None or "sha256" in hashes)
        and (services is None or not services.isdisjoint({"*", "email"}))
        # `y` makes verifiers treat signed mail as unsigned; `s` forbids to sign for users of subdomains.
        and (flags is None or flags.isdisjoint({"y", "s"}))
    )


def parse_tags(text: str) -> Mapping[str, str] | None:
    """The tag list of RFC 6376 section 3.2, in its order; None if it is none, or names a tag twice."""
    if not _TAG_LIST.fullmatch(text):
        return None
    tags: dict[str, str] = {}
    parts = text.split(";")
    if not parts[-1].strip():
        parts.pop()
    for part in parts:
        name, equals, value = part.partition("=")
        name = name.strip()
        if not equals or not _TAG_NAME.fullmatch(name) or name in tags:
            return None
        tags[name] = value.strip()
    return tags or None


def _parts(value: str | None) -> set[str] | None:
    return None if value is None else {part.strip() for part in value.split(":")}


def _judge(value: str, texts: tuple[str, ...]) -> str:
    if not texts:
        return MISSING
    ours = any(is_equal(value, text) for text in texts)
    if len(texts) > 1:
        # Which of several a verifier takes is undefined (RFC 6376 section 3.6.2.2).
        return DUPLICATE if ours else DIFFERENT
    return PUBLISHED if ours else DIFFERENT


def _is_usable(answer: Answer) -> bool:
    return answer.texts is not None or answer.alias is not None


def _is_enough(answers: Iterable[Answer]) -> bool:
    """Tell whether enough servers answered for each name; a server answers if one of its addresses does."""
    names: dict[str, dict[str, bool]] = {}
    for answer in answers:
        servers = names.setdefault(answer.asked, {})
        host = answer.server.partition(" (")[0]
        servers[host] = servers.get(host, False) or _is_usable(answer)
    return all(sum(servers.values()) >= min(ENOUGH, len(servers)) for servers in names.values())


def _describe(said: list[tuple[Answer, str]]) -> str:
    """What is there; where servers disagree, which of them has what."""
    servers: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for answer, state in said:
        # That they write the right record differently is no difference.
        key = (state, () if state == PUBLISHED else tuple(sorted(answer.texts or ())))
        servers.setdefault(key, []).append(answer.server)
    if len(servers) == 1:
        ((_, texts),) = servers
        described = " | ".join(texts)
    else:
        described = "; ".join(f"{', '.join(names)}: {_shorten(*found)}" for found, names in servers.items())
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in described[:_OBSERVED_LIMIT])


def _shorten(state: str, texts: tuple[str, ...]) -> str:
    if state == PUBLISHED:
        return "the right record"
    if state == MISSING:
        return "no record"
    return " | ".join(text if len(text) <= _EXCERPT else text[: _EXCERPT - 1] + "…" for text in texts)
