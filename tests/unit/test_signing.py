"""Which mails are probes, and what their results say of a filter."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailfilter_operator.api import Sign
from mailfilter_operator.signing import (
    ProbeMail,
    ProbeResult,
    SignedProbe,
    build_probe_mails,
    build_signed_probes,
    summarise,
)

NOBODY = Sign(authenticated=False, local=False)


@dataclass(frozen=True)
class Key:
    """A key that signs, without what it signs with."""

    domain: str
    selector: str

    @property
    def name(self) -> str:
        return f"{self.selector}._domainkey.{self.domain}"


KEYS = (Key("example.com", "rsa"), Key("example.com", "ed"), Key("example.org", "rsa"))
RECORDS = {key.name: f"v=DKIM1; p={key.name}" for key in (*KEYS, Key("example.com", "pending"))}
MAILS = build_probe_mails(Sign(), KEYS, RECORDS)


def good(mail: ProbeMail) -> ProbeResult:
    return ProbeResult(mail.sender, "accept", tuple(mail.records), {})


def bad(mail: ProbeMail, *names: str, reply: str = "accept", reason: str = "because") -> ProbeResult:
    verified = tuple(name for name in mail.records if name not in names)
    return ProbeResult(mail.sender, reply, verified, dict.fromkeys(names, reason))


def unsigned(mail: ProbeMail) -> ProbeResult:
    return bad(mail, *mail.records)


def silent(mail: ProbeMail, reason: str = "no answer in time") -> ProbeResult:
    return bad(mail, *mail.records, reply="", reason=reason)


@pytest.mark.parametrize(
    ("sign", "user", "client"),
    [
        (Sign(networks=("198.51.100.0/24",)), "probe@example.com", "192.0.2.1"),
        (Sign(authenticated=False, networks=("198.51.100.9/24", "203.0.113.0/24")), None, "198.51.100.0"),
        (Sign(authenticated=False, networks=("2001:db8::/32",)), None, "2001:db8::"),
        (Sign(authenticated=False), None, "127.0.0.1"),
    ],
    ids=["authenticated", "first-network", "six", "local"],
)
def test_a_probe_is_of_the_first_kind_that_is_signed(sign: Sign, user: str | None, client: str) -> None:
    assert build_signed_probes(sign, ["example.com"]) == (SignedProbe("probe@example.com", user, client),)


def test_nothing_is_probed_where_nothing_is_signed() -> None:
    assert build_signed_probes(NOBODY, ["example.com"]) == ()
    assert build_probe_mails(NOBODY, KEYS, RECORDS) == ()
    assert build_probe_mails(Sign(), (), RECORDS) == ()


def test_a_domain_has_one_mail_with_the_records_of_its_active_keys_alone() -> None:
    assert [mail.domain for mail in MAILS] == ["example.com", "example.org"]
    assert [list(mail.records) for mail in MAILS] == [[KEYS[0].name, KEYS[1].name], [KEYS[2].name]]
    assert all(mail.records[name] == RECORDS[name] for mail in MAILS for name in mail.records)


@given(st.lists(st.sampled_from(["a.example", "b.example", "c.example"])), st.ip_addresses(v=4), st.booleans())
def test_every_domain_has_one_probe_from_an_address_that_is_signed(
    domains: list[str], address: object, local: bool
) -> None:
    network = ip_network(f"{address}/20", strict=False)
    probes = build_signed_probes(Sign(authenticated=False, networks=(str(network),), local=local), domains)
    assert [probe.domain for probe in probes] == sorted(set(domains), key=domains.index)
    assert all(ip_address(probe.client) in network for probe in probes)


def test_all_is_well_when_every_pod_verified() -> None:
    results = [good(mail) for mail in MAILS]
    assert summarise({"mx-1": results, "mx-2": results}, MAILS).message == "2 domains: each pod's signatures verified"
    verdict = summarise({"mx-1": results}, MAILS[:1])
    assert (verdict.ok, verdict.message) == (True, "1 domain: each pod's signatures verified")


def test_one_missing_signature_is_named_with_domain_selector_pod_and_reason() -> None:
    verdict = summarise(
        {"mx-1": [good(mail) for mail in MAILS], "mx-2": [bad(MAILS[0], KEYS[1].name), good(MAILS[1])]}, MAILS
    )
    assert verdict.ok is False
    assert verdict.message == "example.com: no good signature with selector ed from pod mx-2: because"


def test_of_many_missing_signatures_the_first_is_named_and_the_others_counted() -> None:
    results = [bad(mail, *mail.records) for mail in MAILS]
    verdict = summarise({"mx-2": results, "mx-1": results}, MAILS)
    assert verdict.ok is False
    assert verdict.message == "example.com: no good signature with selector rsa from pod mx-1: because; and 5 more"


def test_mail_that_was_not_accepted_was_not_signed() -> None:
    results = [bad(MAILS[1], KEYS[2].name, reply="451 4.7.1 Later", reason="the mail was answered 451 4.7.1 Later")]
    verdict = summarise({"mx-1": results}, MAILS[1:])
    assert verdict.ok is False
    assert verdict.message.endswith("from pod mx-1: the mail was answered 451 4.7.1 Later")


def test_a_record_that_the_result_does_not_speak_of_is_missing() -> None:
    verdict = summarise({"mx-1": [ProbeResult(MAILS[1].sender, "accept", (), {})]}, MAILS[1:])
    assert verdict.ok is False
    assert verdict.message.endswith("there is no signature")


def test_nothing_probed_says_nothing() -> None:
    assert summarise({"mx-1": []}, ()).ok is None
    assert summarise({}, MAILS).ok is None


def test_a_pod_that_gives_no_answer_leaves_it_unknown() -> None:
    fine = [good(mail) for mail in MAILS]
    verdict = summarise({"mx-1": fine, "mx-2": [silent(mail) for mail in MAILS]}, MAILS)
    assert verdict.ok is None
    assert verdict.message == "example.com: pod mx-2 could not be probed: no answer in time; and 1 more"


def test_a_mail_without_a_result_leaves_it_unknown() -> None:
    verdict = summarise({"mx-1": [good(MAILS[0])]}, MAILS)
    assert (verdict.ok, verdict.message) == (None, "example.org: pod mx-1 was not probed")


def test_a_missing_signature_outweighs_a_pod_without_an_answer() -> None:
    silence = [silent(mail) for mail in MAILS]
    verdict = summarise({"mx-1": silence, "mx-2": [good(MAILS[0]), bad(MAILS[1], KEYS[2].name)]}, MAILS)
    assert verdict.ok is False
    assert verdict.message.startswith("example.org: ")


@given(st.dictionaries(st.sampled_from(["mx-1", "mx-2", "mx-3"]), st.tuples(*[st.sampled_from("gbsn")] * 2)))
def test_true_only_if_every_pod_verified_every_mail(pods: dict[str, tuple[str, ...]]) -> None:
    made: dict[str, Callable[[ProbeMail], ProbeResult]] = {"g": good, "b": unsigned, "s": silent}
    results = {
        pod: [made[kind](mail) for mail, kind in zip(MAILS, kinds, strict=True) if kind in made]
        for pod, kinds in pods.items()
    }
    kinds = {kind for both in pods.values() for kind in both}
    verdict = summarise(results, MAILS)
    assert (verdict.ok is True) == (kinds == {"g"})
    assert (verdict.ok is False) == ("b" in kinds)
    assert re.search("[^.]$", verdict.message)
