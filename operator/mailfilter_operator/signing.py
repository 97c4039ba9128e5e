"""Which mails have to come back signed, and what their coming back says of a filter.

rspamd sends out unsigned what it cannot sign, and its configuration test does not look at keys: only a signed mail
shows that a key is loaded.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Protocol

from mailfilter_operator.api import Sign

RECIPIENT = "probe@probe.invalid"
"""Of every probe; RFC 2606 section 2 keeps the domain for what is never delivered."""
_SUBDOMAIN = "._domainkey."
"""RFC 6376 section 3.6.2.1: between selector and signing domain in a record's name."""


class ActiveKey(Protocol):
    """A key that signs."""

    @property
    def domain(self) -> str: ...

    @property
    def selector(self) -> str: ...


@dataclass(frozen=True, slots=True)
class SignedProbe:
    """A mail that has to be signed: its sender, the login if there is one, and the client's address."""

    sender: str
    user: str | None
    client: str

    @property
    def domain(self) -> str:
        """The domain that signs it."""
        return self.sender.partition("@")[2]


@dataclass(frozen=True, slots=True)
class ProbeMail(SignedProbe):
    """One with the records that its signatures must verify with: name without the final dot -> TXT value."""

    records: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What became of one probe in one pod."""

    sender: str
    reply: str
    """`accept`, another decision, or a line of SMTP; empty if the pod gave no answer."""
    verified: tuple[str, ...]
    """Names of the records that a signature verified with."""
    failed: Mapping[str, str]
    """The other records that were expected: name -> why there is no good signature."""


@dataclass(frozen=True, slots=True)
class SigningVerdict:
    """The condition `Signing`: None is unknown."""

    ok: bool | None
    message: str


def build_signed_probes(sign: Sign, domains: Iterable[str]) -> tuple[SignedProbe, ...]:
    """One mail for each domain that signs, of a kind that *sign* has signed; none if nothing is signed.

    >>> build_signed_probes(Sign(), ["example.com"])
    (SignedProbe(sender='probe@example.com', user='probe@example.com', client='192.0.2.1'),)
    """
    senders = [f"probe@{domain}" for domain in dict.fromkeys(domains)]
    if sign.authenticated:
        return tuple(SignedProbe(sender, sender, "192.0.2.1") for sender in senders)
    networks = [ip_network(network, strict=False) for network in sign.networks]
    clients = [str(network.network_address) for network in networks] + (["127.0.0.1"] if sign.local else [])
    return tuple(SignedProbe(sender, None, client) for sender in senders for client in clients[:1])


def build_probe_mails(
    sign: Sign, active_keys: Iterable[ActiveKey], records: Mapping[str, str]
) -> tuple[ProbeMail, ...]:
    """The same mails, each with the records of all *active_keys* of its domain; *records* holds at least these."""
    names: dict[str, list[str]] = {}
    for key in active_keys:
        names.setdefault(key.domain, []).append(f"{key.selector}{_SUBDOMAIN}{key.domain}")
    return tuple(
        ProbeMail(probe.sender, probe.user, probe.client, {name: records[name] for name in names[probe.domain]})
        for probe in build_signed_probes(sign, names)
    )


def summarise(results_by_pod: Mapping[str, Sequence[ProbeResult]], expected: Sequence[ProbeMail]) -> SigningVerdict:
    """Say whether every pod signed every *expected* mail with every key.

    A missing or bad signature outweighs a pod that gave no answer, which leaves it unknown.
    """
    if not expected:
        return SigningVerdict(None, "No mail is signed, so there is nothing to probe")
    if not results_by_pod:
        return SigningVerdict(None, "No pod was probed")
    found = [
        (mail, pod, {result.sender: result for result in results_by_pod[pod]}.get(mail.sender))
        for mail in expected
        for pod in sorted(results_by_pod)
    ]
    if unsigned := [text for mail, pod, result in found for text in _find_unsigned(mail, pod, result)]:
        return SigningVerdict(False, _shorten(unsigned))
    if unknown := [text for mail, pod, result in found for text in _find_unknown(mail, pod, result)]:
        return SigningVerdict(None, _shorten(unknown))
    domains = "1 domain" if len(expected) == 1 else f"{len(expected)} domains"
    return SigningVerdict(True, f"{domains}: each pod's signatures verified")


def _find_unsigned(mail: ProbeMail, pod: str, result: ProbeResult | None) -> Iterator[str]:
    if result is None or not result.reply:
        return
    for name in mail.records:
        if name not in result.verified:
            selector, _, domain = name.partition(_SUBDOMAIN)
            reason = result.failed.get(name, "there is no signature")
            yield f"{domain}: no good signature with selector {selector} from pod {pod}: {reason}"


def _find_unknown(mail: ProbeMail, pod: str, result: ProbeResult | None) -> Iterator[str]:
    if result is None:
        yield f"{mail.domain}: pod {pod} was not probed"
    elif not result.reply:
        reason = next(iter(result.failed.values()), "it gave no answer")
        yield f"{mail.domain}: pod {pod} could not be probed: {reason}"


def _shorten(texts: list[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{texts[0]}; and {len(texts) - 1} more"
