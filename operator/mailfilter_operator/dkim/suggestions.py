"""SPF and DMARC records that fit a domain: what to publish, what is wrong with it, and whether it is there already.

They are suggestions: a record that has more in it is as good, and one that is stricter is `Different` and not wrong.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import takewhile
from urllib.parse import unquote

from mailfilter_operator.dkim.records import TTL_SECONDS, DnsRecord, build_txt_record

PUBLISHED, DIFFERENT, MISSING, DUPLICATE = "Published", "Different", "Missing", "Duplicate"

LOOKUP_LIMIT = 10
"""RFC 7208 section 4.6.4: with more look-ups the result is permerror, as if the record were broken."""

_LOOKUPS = frozenset({"a", "exists", "include", "mx", "ptr"})
_ALL = {"Fail": "-all", "SoftFail": "~all", "Neutral": "?all"}

_FLAGS = re.ASCII | re.IGNORECASE
# RFC 7208 section 12. The macro letters c, r and t belong to the text of an explanation only (section 7.2).
_MACRO = r"(?:%\{[dhilopsv](?:0*[1-9][0-9]*)?r?[-.+,/_=]*\}|%[%_-])"
_MACRO_STRING = rf"(?:{_MACRO}|[!-$&-~])*"
_TOP_LABEL = r"(?=[0-9]*[a-z-])[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_DOMAIN_SPEC = rf"(?P<target>{_MACRO_STRING}(?:\.{_TOP_LABEL}\.?|{_MACRO}))"
_FOUR, _SIX = r"(?:/(?P<four>0|[1-9][0-9]?))?", r"(?P<six>0|[1-9][0-9]{0,2})"
_OWN_OR_OTHER = rf"(?::{_DOMAIN_SPEC})?{_FOUR}(?://{_SIX})?"

_GRAMMAR = {
    "all": "",
    "include": f":{_DOMAIN_SPEC}",
    "a": _OWN_OR_OTHER,
    "mx": _OWN_OR_OTHER,
    "ptr": f"(?::{_DOMAIN_SPEC})?",
    "ip4": rf":(?P<target>[0-9.]+){_FOUR}",
    "ip6": rf":(?P<target>[0-9a-f:.]+)(?:/{_SIX})?",
    "exists": f":{_DOMAIN_SPEC}",
}
"""What follows the name of each mechanism."""

_EXAMPLES = {
    "include": "include:_spf.example.com",
    "a": "a, a:www.example.com or a:www.example.com/24//64",
    "mx": "mx, mx:example.com or mx:example.com/24//64",
    "ptr": "ptr or ptr:example.com",
    "ip4": "ip4:192.0.2.1 or ip4:192.0.2.0/24",
    "ip6": "ip6:2001:db8::1 or ip6:2001:db8::/32",
    "exists": "exists:%{ir}.sbl.example.com",
}

_MECHANISM = re.compile(r"([-+?~]?)([a-z0-9]+)(.*)", _FLAGS | re.DOTALL)
_MODIFIER = re.compile(r"([a-z][-a-z0-9_.]*)=(.*)", _FLAGS | re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Mechanism:
    """A mechanism in one form of the several that mean the same."""

    qualifier: str
    name: str
    target: str = ""
    """Domain or network; empty if it is the domain of the record."""
    prefixes: tuple[int, int] = (32, 128)


def build_spf_record(domain: str, mechanisms: tuple[str, ...], all_: str, ttl_seconds: int = TTL_SECONDS) -> DnsRecord:
    """The SPF record of *domain* (RFC 7208); *all_* is what of mail from elsewhere: Fail, SoftFail or Neutral.

    >>> build_spf_record("example.com", ("mx", "ip4:192.0.2.0/24"), "SoftFail").value
    'v=spf1 mx ip4:192.0.2.0/24 ~all'
    """
    return build_txt_record(domain, "SPF", domain, " ".join(("v=spf1", *mechanisms, _ALL[all_])), ttl_seconds)


def find_spf_faults(mechanisms: tuple[str, ...]) -> list[str]:
    """A sentence for each mechanism that receivers would not take, and one for look-ups above the limit.

    Counted are the look-ups of the mechanisms themselves, without those of the records that they include.
    """
    faults, lookups = [], []
    for text in mechanisms:
        mechanism = _parse_mechanism(text, "")
        if mechanism is None:
            faults.append(f"{text[:100]!r} {_explain_syntax(text)}")
        elif mechanism.name == "all":
            faults.append(f"{text!r} stands at the end by itself; leave it out and set the field `all` in its place")
        elif mechanism.name in _LOOKUPS:
            lookups.append(text)
    if len(lookups) > LOOKUP_LIMIT:
        above = ", ".join(repr(text[:100]) for text in lookups[LOOKUP_LIMIT:])
        faults.append(
            f"{above} would be looked up after {LOOKUP_LIMIT} others, where receivers give up with an error (RFC 7208 "
            "section 4.6.4); name addresses by ip4: and ip6: in place of some a, mx, ptr, exists: and include:"
        )
    return faults


def judge_spf(suggested: DnsRecord, texts: tuple[str, ...]) -> tuple[str, str | None]:
    """State of a suggested SPF record, and what is there where it differs; *texts* are all TXT records of the domain.

    Published: the mechanisms are among those of the one SPF record and its `all` is the same. Different is also a
    record that is stricter, or that receivers refuse. Duplicate: several, of which they take none (section 4.5).
    """
    wanted = _read_spf(suggested.value, suggested.domain)

    def is_published(text: str) -> bool:
        found = _read_spf(text, suggested.domain)
        return found is not None and wanted is not None and wanted[0] <= found[0] and wanted[1] == found[1]

    return _judge((text for text in texts if re.match(r"v=spf1(?: |\Z)", text, _FLAGS)), is_published)


def _parse_mechanism(text: str, domain: str) -> _Mechanism | None:
    """The mechanism as it stands in the record of *domain*; None if it is none."""
    parts = _MECHANISM.fullmatch(text)
    if parts is None or parts[2].lower() not in _GRAMMAR:
        return None
    qualifier, name = parts[1] or "+", parts[2].lower()
    rest = re.fullmatch(_GRAMMAR[name], parts[3], _FLAGS)
    if rest is None:
        return None
    found = rest.groupdict()
    target, four, six = found.get("target") or "", int(found.get("four") or 32), int(found.get("six") or 128)
    if four > 32 or six > 128:
        return None
    if name in ("ip4", "ip6"):
        network = _parse_network(name, target, four if name == "ip4" else six)
        return None if network is None else _Mechanism(qualifier, name, network)
    # A capital letter in a macro says that what it stands for is to be escaped.
    target = target if "%" in target else target.lower().removesuffix(".")
    if target == domain and name in ("a", "mx", "ptr"):
        target = ""
    return _Mechanism(qualifier, name, target, (four, six))


def _parse_network(name: str, address: str, prefix: int) -> str | None:
    network = ipaddress.IPv4Network if name == "ip4" else ipaddress.IPv6Network
    try:
        return str(network((address, prefix), strict=False))
    except ValueError:
        return None


def _explain_syntax(text: str) -> str:
    if re.search(r"\s", text):
        return "has a space in it; write each mechanism as an entry of its own, and neither v=spf1 nor `all`"
    parts = _MECHANISM.fullmatch(text)
    if parts is not None and parts[2].lower() in _EXAMPLES:
        return f"is not how this mechanism is written (RFC 7208 section 5); write {_EXAMPLES[parts[2].lower()]}"
    if _MODIFIER.fullmatch(text):
        return "is a modifier and no mechanism; leave it out, and write include: in place of redirect="
    return "is no mechanism of SPF (RFC 7208 section 5); write one of include:, a, mx, ptr, ip4:, ip6: and exists:"


def _read_spf(text: str, domain: str) -> tuple[frozenset[_Mechanism], str] | None:
    """The mechanisms before `all`, and its qualifier; None if receivers refuse the record with permerror.

    Without `all` what counts is `redirect=`, else the rest is neutral (RFC 7208 section 4.7).
    """
    terms = [term for term in text.split(" ")[1:] if term]
    modifiers = [(found[1].lower(), found[2]) for term in terms if (found := _MODIFIER.fullmatch(term))]
    parsed = [_parse_mechanism(term, domain) for term in terms if not _MODIFIER.fullmatch(term)]
    mechanisms = [mechanism for mechanism in parsed if mechanism is not None]
    if len(mechanisms) < len(parsed) or not _are_valid(modifiers):
        return None
    counted = list(takewhile(lambda mechanism: mechanism.name != "all", mechanisms))
    if len(counted) < len(mechanisms):
        rest = mechanisms[len(counted)].qualifier
    else:
        rest = "redirect" if any(name == "redirect" for name, _ in modifiers) else "?"
    lookups = sum(mechanism.name in _LOOKUPS for mechanism in counted) + (rest == "redirect")
    return None if lookups > LOOKUP_LIMIT else (frozenset(counted), rest)


def _are_valid(modifiers: list[tuple[str, str]]) -> bool:
    """RFC 7208 section 6: `exp` and `redirect` at most once, with a domain; any other name with any text."""
    known = [name for name, _ in modifiers if name in ("exp", "redirect")]
    return len(known) == len(set(known)) and all(
        re.fullmatch(_DOMAIN_SPEC if name in known else _MACRO_STRING, value, _FLAGS) for name, value in modifiers
    )


# RFC 6068 section 2 and RFC 3986: what an address may hold as it is, and the rest as %XX.
_LOCAL_PART = r"(?:[-a-z0-9!$'*+_.~]|%[0-9a-f]{2})+"
_LABEL = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_REPORT_URI = re.compile(
    rf"mailto:{_LOCAL_PART}@(?P<host>(?:{_LABEL}\.)+{_LABEL})(?:\?(?:[-a-z0-9._~!$'()*+:@/?=&]|%[0-9a-f]{{2}})*)?"
    r"(?:![0-9]{1,19}[kmgt]?)?",
    _FLAGS,
)
_SIZE_LIMIT = re.compile(r"![0-9]+[kmgt]?\Z", _FLAGS)
_DMARC_VERSION = re.compile(r"v[ \t]*=[ \t]*DMARC1[ \t]*(?:;|\Z)")
_ESCAPES = str.maketrans({",": "%2C", "!": "%21", ";": "%3B"})


def build_dmarc_record(
    domain: str, policy: str, aggregate_reports: tuple[str, ...], ttl_seconds: int = TTL_SECONDS
) -> DnsRecord:
    """The DMARC record of *domain* (RFC 7489 section 6.3); *policy* is None, Quarantine or Reject.

    Reports go to URIs; each may end in a limit of size such as `!10m`. Other exclamation marks and commas are escaped
    by section 6.2, and semicolons as well, which would end the tag.

    >>> build_dmarc_record("example.com", "None", ("mailto:postmaster@example.com",)).value
    'v=DMARC1; p=none; rua=mailto:postmaster@example.com'
    """
    tags = ["v=DMARC1", f"p={policy.lower()}"]
    if aggregate_reports:
        tags.append("rua=" + ",".join(_escape(uri) for uri in aggregate_reports))
    return build_txt_record(domain, "DMARC", f"_dmarc.{domain}", "; ".join(tags), ttl_seconds)


def find_dmarc_faults(domain: str, aggregate_reports: tuple[str, ...]) -> list[str]:
    """A sentence for each entry to which no report would be sent."""
    faults = []
    for uri in aggregate_reports:
        if not uri.lower().startswith("mailto:"):
            faults.append(f"{uri[:100]!r} is no mailto: URI; write mailto:postmaster@{domain}")
        elif not _REPORT_URI.fullmatch(uri):
            faults.append(
                f"{uri[:100]!r} has not one mail address behind mailto:; write mailto:postmaster@{domain}, a second "
                "address as an entry of its own, and other characters than RFC 6068 allows as % and two digits"
            )
    return faults


def find_external_reports(domain: str, aggregate_reports: tuple[str, ...]) -> list[str]:
    """Names at which a TXT record `v=DMARC1` must allow reports on *domain*, since another organization gets them.

    RFC 7489 section 7.1. One organization are here a domain and those below it. Which siblings are one too only the
    list of public suffixes knows; for them a name is returned, and a permission too many does no harm.
    """
    hosts = [found["host"].lower() for uri in aggregate_reports if (found := _REPORT_URI.fullmatch(uri))]
    others = [host for host in dict.fromkeys(hosts) if not (_is_within(host, domain) or _is_within(domain, host))]
    return [f"{domain}._report._dmarc.{host}" for host in others]


def judge_dmarc(suggested: DnsRecord, texts: tuple[str, ...]) -> tuple[str, str | None]:
    """State of a suggested DMARC record, and what is there where it differs; *texts* are all TXT records of its name.

    Published: the policy is the same and the reports go to the suggested addresses too. Duplicate: several, of which
    receivers take none (RFC 7489 section 6.6.3).
    """
    wanted = _read_tags(suggested.value)

    def is_published(text: str) -> bool:
        found = _read_tags(text)
        return found.get("p", "").lower() == wanted.get("p") and _read_reports(wanted) <= _read_reports(found)

    return _judge((text for text in texts if _DMARC_VERSION.match(text)), is_published)


def _escape(uri: str) -> str:
    limit = _SIZE_LIMIT.search(uri)
    end = limit.start() if limit else len(uri)
    return uri[:end].translate(_ESCAPES) + uri[end:]


def _is_within(domain: str, parent: str) -> bool:
    return domain == parent or domain.endswith(f".{parent}")


def _read_tags(text: str) -> Mapping[str, str]:
    """Tags of a tag list (RFC 6376 section 3.2); none if one is there twice or has no value, as that makes it void."""
    pairs = [part.partition("=") for part in text.split(";") if part.strip()]
    tags = {name.strip(): value.strip() for name, _, value in pairs}
    return tags if len(tags) == len(pairs) and all(equals for _, equals, _ in pairs) else {}


def _read_reports(tags: Mapping[str, str]) -> set[str]:
    """Where reports go, without limits of size, escapes, and the capitals of scheme and host."""
    addresses = set()
    for uri in filter(None, map(str.strip, tags.get("rua", "").split(","))):
        local, at, host = unquote(_SIZE_LIMIT.sub("", uri)).rpartition("@")
        scheme, colon, mailbox = local.partition(":")
        addresses.add(scheme.lower() + colon + mailbox + at + host.lower())
    return addresses


def _judge(records: Iterable[str], is_published: Callable[[str], bool]) -> tuple[str, str | None]:
    """Sorted, because name servers answer in any order and a state that did not change must not look new."""
    match sorted(set(records)):
        case []:
            return MISSING, None
        case [record]:
            return (PUBLISHED, None) if is_published(record) else (DIFFERENT, record)
        case several:
            return DUPLICATE, " | ".join(several)
