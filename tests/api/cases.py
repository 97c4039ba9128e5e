"""The MailFilters of tests/api/corpus/: small changes of one base object that the API server accepts or refuses.

A file holds several YAML documents. `case` says what is tried, `patch` is a JSON merge patch (RFC 7386) of base.yaml,
`refused` maps each field that is complained about to a part of the message: the part that names the remedy.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CORPUS = Path(__file__).parent / "corpus"


@dataclass(frozen=True, slots=True)
class Case:
    """One object to send; `refused` is empty if it is accepted."""

    title: str
    body: dict[str, Any]
    refused: Mapping[str, str]


def load_accepted() -> list[Case]:
    """Cases that the API server must accept."""
    return [*_load("accepted"), *_many_domains(), *_long_texts()]


def load_refused() -> list[Case]:
    """Cases that the API server must refuse, each with at least one expected message."""
    too_many = Case("101 domains", with_domains(101), {"spec.domains": "must have at most 100 items"})
    too_long = merge(base(), {"spec": {"config": {"files": {"maps/own": "192.0.2.1\n" * 92_000}}}})
    return [
        *_load("refused"),
        too_many,
        Case("a file of 900 KiB", too_long, {"spec.config.files": "shorten the files"}),
    ]


def base() -> dict[str, Any]:
    """The object that the cases change, a fresh copy."""
    body: dict[str, Any] = yaml.safe_load((CORPUS / "base.yaml").read_text())
    return body


def with_domains(count: int, length: int = 20, selector: str = "") -> dict[str, Any]:
    """The base object with *count* domains of *length* characters each."""
    domains: list[dict[str, Any]] = [{"name": domain_of(length, index)} for index in range(count)]
    if selector:
        domains = [{**domain, "dkim": {"selector": selector}} for domain in domains]
    body: dict[str, Any] = merge(base(), {"spec": {"domains": domains}})
    return body


def domain_of(length: int, index: int) -> str:
    """A domain of *length* characters, labels as long as they may be, another one for each *index*.

    >>> domain_of(20, 7)
    'd0007.xxxxxxxxxxxxxx'
    """
    domain = f"d{index:04}."
    while length - len(domain) > 64:
        domain += "x" * 62 + "."
    return domain + "x" * (length - len(domain))


def merge(target: Any, patch: Any) -> Any:
    """Apply a JSON merge patch (RFC 7386); null removes a member.

    >>> merge({"a": {"b": 1, "c": 2}}, {"a": {"b": None, "d": [3]}})
    {'a': {'c': 2, 'd': [3]}}
    """
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged


def _many_domains() -> Iterator[Case]:
    """As many domains as allowed, as long as the name of the TXT record (at most 253 characters) allows."""
    beside_own_selector = len("mf20261123-4f2a._domainkey.")
    beside_long_selector = 63 + len("._domainkey.")
    yield Case("100 domains of 226 characters", with_domains(100, 253 - beside_own_selector), {})
    yield Case("100 domains of 178, long selectors", with_domains(100, 253 - beside_long_selector, "s" * 63), {})
    yield Case("100 domains of 226 characters, short selectors", with_domains(100, 253 - beside_own_selector, "s"), {})
    prefix = merge(with_domains(100, 253 - 25 - 40), {"spec": {"dkim": {"selectors": {"prefix": "p" * 40}}}})
    yield Case("100 domains of 188 characters, a long prefix", prefix, {})


def _long_texts() -> Iterator[Case]:
    """As much text and as many entries as allowed."""
    files = {f"local.d/{index:02}{'x' * 98}": "# a\n" * 1228 for index in range(100)}
    yield Case("480 KiB in 100 files", merge(base(), {"spec": {"config": {"files": files}}}), {})
    senders = {
        "from": [f"{index:03}{'a' * 61}@{domain_of(100, index)}" for index in range(200)],
        "domains": [domain_of(253, index) for index in range(200)],
        "networks": [f"2001:db8:0:{index:x}::/64" for index in range(200)],
    }
    yield Case("1200 entries in lists", merge(base(), {"spec": {"lists": {"allow": senders, "deny": senders}}}), {})
    options = {f"a{index}_{'b' * 56}": "c" * 1024 for index in range(32)}
    workers = {worker: {"options": options} for worker in ("proxy", "controller", "normal")}
    yield Case("32 options of 1 KiB for each worker", merge(base(), {"spec": {"workers": workers}}), {})


def _load(directory: str) -> Iterator[Case]:
    for path in sorted((CORPUS / directory).glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            title = f"{path.stem}: {document['case']}"
            yield Case(title, merge(base(), document["patch"]), document.get("refused") or {})
