"""SPF and DMARC: what to publish, what is wrong with it, and what is there already."""

from __future__ import annotations

import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.txtbase
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailfilter_operator.dkim.records import STRING_LIMIT, DnsRecord
from mailfilter_operator.dkim.suggestions import (
    LOOKUP_LIMIT,
    build_dmarc_record,
    build_spf_record,
    find_dmarc_faults,
    find_external_reports,
    find_spf_faults,
    judge_dmarc,
    judge_spf,
)

DOMAIN = "example.com"


def published(record: DnsRecord) -> str:
    """The text that a name server makes of the zone line, joined as a resolver does."""
    assert record.zone_line.startswith(f"{record.name}. 3600 IN TXT ")
    found = dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.TXT, record.zone_line.split(" TXT ", 1)[1])
    assert isinstance(found, dns.rdtypes.txtbase.TXTBase)
    assert max(map(len, found.strings)) <= STRING_LIMIT
    return b"".join(found.strings).decode()


HOSTS = st.sampled_from(
    ["example.com", "_spf.example.com", "a-b.example", "x.y.z.1-2", "example.org.", "%{d}.a.example"]
)
MACROS = st.sampled_from(["%{i}._ip.%{h}._h.example", "%{ir}.%{v}.%{d2}", "%{l1r-+}.example", '"%_%-%%\\.example.com'])
TARGETS = st.one_of(HOSTS, MACROS)
OPTIONAL_TARGETS = st.one_of(st.just(""), TARGETS.map(":{}".format))
FOUR, SIX = st.integers(0, 32).map("/{}".format), st.integers(0, 128).map("/{}".format)
DUAL = st.one_of(st.just(""), FOUR, SIX.map("/{}".format), st.builds("{}/{}".format, FOUR, SIX))
MECHANISMS = st.builds(
    "{}{}".format,
    st.sampled_from(["", "+", "-", "~", "?"]),
    st.one_of(
        st.builds("{}{}{}".format, st.sampled_from(["a", "mx", "MX"]), OPTIONAL_TARGETS, DUAL),
        st.builds("ptr{}".format, OPTIONAL_TARGETS),
        st.builds("{}:{}".format, st.sampled_from(["include", "exists", "Include"]), TARGETS),
        st.builds("ip4:{}{}".format, st.ip_addresses(v=4), st.one_of(st.just(""), FOUR)),
        st.builds("ip6:{}{}".format, st.ip_addresses(v=6), st.one_of(st.just(""), SIX)),
    ),
)
LISTS = st.lists(MECHANISMS, max_size=LOOKUP_LIMIT).map(tuple)
ALL = {"Fail": "-all", "SoftFail": "~all", "Neutral": "?all"}


@given(LISTS, st.sampled_from(sorted(ALL)))
def test_spf_record_holds_the_mechanisms_in_their_order_and_is_published_when_it_is_there(
    mechanisms: tuple[str, ...], all_: str
) -> None:
    record = build_spf_record(DOMAIN, mechanisms, all_)

    assert find_spf_faults(mechanisms) == []
    assert published(record) == record.value
    assert record.value.split(" ") == ["v=spf1", *mechanisms, ALL[all_]]
    assert judge_spf(record, ("something else", record.value)) == ("Published", None)


def test_spf_record_stands_at_the_domain() -> None:
    record = build_spf_record(DOMAIN, ("mx", "ip4:192.0.2.0/24"), "SoftFail", 300)

    assert (record.domain, record.purpose, record.type, record.name) == (DOMAIN, "SPF", "TXT", DOMAIN)
    assert record.value == "v=spf1 mx ip4:192.0.2.0/24 ~all"
    assert record.zone_line == 'example.com. 300 IN TXT "v=spf1 mx ip4:192.0.2.0/24 ~all"'


@pytest.mark.parametrize(
    ("mechanism", "remedy"),
    [
        ("ip4:192.0.2.0/33", "write ip4:192.0.2.1"),
        ("ip4:192.0.2.0/024", "write ip4:192.0.2.1"),
        ("ip4:192.0.2", "write ip4:192.0.2.1"),
        ("ip4:192.0.2.256", "write ip4:192.0.2.1"),
        ("ip4:192.0.02.1", "write ip4:192.0.2.1"),
        ("ip4:2001:db8::1", "write ip4:192.0.2.1"),
        ("ip4", "write ip4:192.0.2.1"),
        ("ip4:www.example.com", "write ip4:192.0.2.1"),
        ("ip6:2001:db8::/129", "write ip6:2001:db8::1"),
        ("ip6:fe80::1%eth0", "write ip6:2001:db8::1"),
        ("ip6:192.0.2.1", "write ip6:2001:db8::1"),
        ("ip6:2001:db8::1::", "write ip6:2001:db8::1"),
        ("mx/33", "write mx, mx:example.com"),
        ("mx//129", "write mx, mx:example.com"),
        ("mx/24/64", "write mx, mx:example.com"),
        ("mx:", "write mx, mx:example.com"),
        ("mx: mail.example.com", "as an entry of its own"),
        ("mx\n", "as an entry of its own"),
        ("v=spf1 mx ~all", "as an entry of its own, and neither v=spf1"),
        ("a:192.0.2.1", "write a, a:www.example.com"),
        ("a:localhost", "write a, a:www.example.com"),
        ("a:-.-", "write a, a:www.example.com"),
        ("a:b\u00fccher.example", "write a, a:www.example.com"),
        ("ptr:example.com/24", "write ptr or ptr:example.com"),
        ("include", "write include:_spf.example.com"),
        ("include:", "write include:_spf.example.com"),
        ("include:example.com/24", "write include:_spf.example.com"),
        ("include=example.com", "write include:_spf.example.com"),
        ("include:example.123", "write include:_spf.example.com"),
        ("exists:%{x}.example.com", "write exists:"),
        ("exists:%{c}.example.com", "write exists:"),
        ("exists:%{i0}.example.com", "write exists:"),
        ("exists:%{i.example.com", "write exists:"),
        ("exists:100%.example.com", "write exists:"),
        ("redirect=_spf.example.com", "write include: in place of redirect="),
        ("exp=why.example.com", "is a modifier"),
        ("192.0.2.1", "write one of include:"),
        ("ipv4:192.0.2.1", "write one of include:"),
        ("v=spf1", "is a modifier"),
        ("!mx", "write one of include:"),
        ("", "write one of include:"),
        ("all:example.com", "write one of include:"),
        ("\u017fmx", "write one of include:"),
        ("~all", "set the field `all`"),
        ("ALL", "set the field `all`"),
    ],
)
def test_what_receivers_would_not_take_is_named_with_the_remedy(mechanism: str, remedy: str) -> None:
    (fault,) = find_spf_faults(("mx", mechanism))

    assert fault.startswith(repr(mechanism))
    assert remedy in fault


def test_every_faulty_mechanism_is_named() -> None:
    assert [fault.split()[0] for fault in find_spf_faults(("ip4", "mx", "-all"))] == ["'ip4'", "'-all'"]


LOOKUPS = ("a", "mx", "ptr", "exists:a.example", "include:b.example")


def test_more_look_ups_than_receivers_make_are_named() -> None:
    ten = tuple(f"ip4:192.0.2.{i}" for i in range(20)) + LOOKUPS + tuple(f"a:{i}.example" for i in range(5))
    (fault,) = find_spf_faults((*ten, "mx:too.example", "ip6:::1", "a:many.example"))

    assert find_spf_faults(ten) == []
    assert fault.startswith("'mx:too.example', 'a:many.example' would be looked up after 10 others")


@given(st.text(max_size=30))
def test_whatever_is_written_is_a_mechanism_or_a_fault(text: str) -> None:
    faults = find_spf_faults((text,))
    terms = build_spf_record(DOMAIN, (text,), "Fail").value.split(" ")

    assert faults or (len(terms) == 3 and text.isascii() and text.isprintable())


@given(st.text(max_size=60).map("v=spf1 {}".format))
def test_whatever_is_published_is_judged(text: str) -> None:
    record = build_spf_record(DOMAIN, ("ip4:192.0.2.77",), "Fail")

    assert judge_spf(record, (text,)) == ("Different", text)


SPF = build_spf_record(DOMAIN, ("mx", "ip4:192.0.2.0/24", "ip6:2001:db8::/32"), "SoftFail")
TEN = " ".join(f"a:{i}.example" for i in range(LOOKUP_LIMIT))


@pytest.mark.parametrize(
    "text",
    [
        "v=spf1 ip6:2001:db8::/32 ip4:192.0.2.0/24 mx ~all",
        "V=SPF1 MX  IP4:192.0.2.0/24 ip6:2001:DB8::/32 ~ALL ",
        "v=spf1 +mx:example.com/32//128 +ip4:192.0.2.7/24 ip6:2001:db8:0::/32 ~all",
        "v=spf1 mx:Example.com. ip4:192.0.2.0/24 ip6:2001:db8::/32 include:other.example ~all exp=why.%{d}",
        "v=spf1 mx ip4:192.0.2.0/24 ip6:2001:db8::/32 ~all redirect=ignored.example mx:ignored.example x-1=%{s}",
        f"v=spf1 mx ip4:192.0.2.0/24 ip6:2001:db8::/32 ~all {TEN}",
    ],
)
def test_spf_record_that_means_the_same_is_published(text: str) -> None:
    assert judge_spf(SPF, (text,)) == ("Published", None)


@pytest.mark.parametrize(
    "text",
    [
        "v=spf1",
        "v=spf1 ~all",
        "v=spf1 mx ip4:192.0.2.0/24 ip6:2001:db8::/32 -all",
        "v=spf1 mx ip4:192.0.2.0/24 ip6:2001:db8::/32 ?all",
        "v=spf1 mx ip4:192.0.2.0/24 ip6:2001:db8::/32 +all",
        "v=spf1 mx ip4:192.0.2.0/24 ip6:2001:db8::/32",
        "v=spf1 mx ip4:192.0.2.0/24 ip6:2001:db8::/32 redirect=other.example",
        "v=spf1 mx ip4:192.0.2.0/24 ~all ip6:2001:db8::/32",
        "v=spf1 mx ip4:192.0.2.0/25 ip6:2001:db8::/32 ~all",
        "v=spf1 -mx ip4:192.0.2.0/24 ip6:2001:db8::/32 ~all",
        "v=spf1 mx:example.org ip4:192.0.2.0/24 ip6:2001:db8::/32 ~all",
        "v=spf1 mx ip4:192.0.2.0/24 ip6:2001:db8::/32 ipv4:192.0.2.1 ~all",
        "v=spf1 mx ip4:192.0.2.0/24 ip6:2001:db8::/32 ~all exp=a.example exp=b.example",
        "v=spf1 mx ip4:192.0.2.0/24 ip6:2001:db8::/32 ~all redirect=",
        f"v=spf1 mx ip4:192.0.2.0/24 ip6:2001:db8::/32 {TEN} ~all",
    ],
)
def test_spf_record_that_says_something_else_or_is_refused_is_different(text: str) -> None:
    assert judge_spf(SPF, (text, "v=DKIM1; p=")) == ("Different", text)


def test_neutral_is_what_a_record_without_all_says() -> None:
    suggested = build_spf_record(DOMAIN, ("mx",), "Neutral")

    assert judge_spf(suggested, ("v=spf1 mx",)) == ("Published", None)
    assert judge_spf(suggested, ("v=spf1 mx redirect=example.org",))[0] == "Different"
    assert judge_spf(suggested, (f"v=spf1 mx {TEN[10:]} redirect=example.org",))[0] == "Different"


@pytest.mark.parametrize(
    "texts", [(), ("v=spf10 mx ~all",), ("spf2.0/pra mx ~all", "google-site-verification=v=spf1 ")]
)
def test_without_an_spf_record_it_is_missing(texts: tuple[str, ...]) -> None:
    assert judge_spf(SPF, texts) == ("Missing", None)


def test_several_spf_records_are_duplicate_in_whatever_order_they_are_answered() -> None:
    other = "v=spf1 a -all"

    assert judge_spf(SPF, (SPF.value, other)) == ("Duplicate", f"{other} | {SPF.value}")
    assert judge_spf(SPF, (SPF.value, other)) == judge_spf(SPF, (other, "x", SPF.value))


LOCAL_PARTS = st.text("abcXYZ019-!$'*+_.~", min_size=1, max_size=20) | st.sampled_from(["a%2Cb", "%3d"])
URIS = st.builds(
    "{}:{}@{}{}{}".format,
    st.sampled_from(["mailto", "MAILTO"]),
    LOCAL_PARTS,
    st.sampled_from(["example.com", "reports.example.org", "Example.NET", "xn--bcher-kva.example"]),
    st.sampled_from(["", "?subject=a,b!"]),
    st.sampled_from(["", "!10m", "!5000"]),
)
URI_LISTS = st.lists(URIS.filter(lambda uri: "," not in uri), max_size=8).map(tuple)
POLICIES = ("None", "Quarantine", "Reject")


@given(URI_LISTS, st.sampled_from(POLICIES))
def test_dmarc_record_holds_policy_and_reports_and_is_published_when_it_is_there(
    uris: tuple[str, ...], policy: str
) -> None:
    record = build_dmarc_record(DOMAIN, policy, uris)
    tags = dict(tag.split("=", 1) for tag in record.value.split("; "))
    found = tags.pop("rua", "").split(",")

    assert find_dmarc_faults(DOMAIN, uris) == []
    assert published(record) == record.value
    assert tags == {"v": "DMARC1", "p": policy.lower()}
    assert [uri.replace("%21", "!") for uri in found] == (list(uris) or [""])
    assert judge_dmarc(record, ("something else", record.value)) == ("Published", None)


def test_dmarc_record_stands_below_the_domain() -> None:
    record = build_dmarc_record(DOMAIN, "None", ("mailto:a@example.com", "mailto:b@example.com"), 300)

    assert (record.domain, record.purpose, record.type, record.name) == (DOMAIN, "DMARC", "TXT", "_dmarc.example.com")
    assert record.value == "v=DMARC1; p=none; rua=mailto:a@example.com,mailto:b@example.com"
    assert record.zone_line == f'_dmarc.example.com. 300 IN TXT "{record.value}"'


@pytest.mark.parametrize(
    ("uri", "escaped"),
    [
        ("mailto:a!b@example.com", "mailto:a%21b@example.com"),
        ("mailto:a,b@example.com", "mailto:a%2Cb@example.com"),
        ("mailto:a@example.com?subject=a;b", "mailto:a@example.com?subject=a%3Bb"),
        ("mailto:a!1@example.com!10m", "mailto:a%211@example.com!10m"),
        ("mailto:a%21b@example.com", "mailto:a%21b@example.com"),
    ],
)
def test_what_would_end_an_address_is_escaped(uri: str, escaped: str) -> None:
    assert build_dmarc_record(DOMAIN, "Reject", (uri,)).value == f"v=DMARC1; p=reject; rua={escaped}"


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("postmaster@example.com", "is no mailto: URI; write mailto:postmaster@example.com"),
        ("https://example.com/dmarc", "is no mailto: URI"),
        ("", "is no mailto: URI"),
        ("mailto:", "has not one mail address"),
        ("mailto:postmaster", "has not one mail address"),
        ("mailto:@example.com", "has not one mail address"),
        ("mailto:a@localhost", "has not one mail address"),
        ("mailto:a@example.com,b@example.com", "has not one mail address"),
        ("mailto:a@example.com,mailto:b@example.com", "has not one mail address"),
        ("mailto: a@example.com", "has not one mail address"),
        ("mailto:<a@example.com>", "has not one mail address"),
        ("mailto:a@example.com!10x", "has not one mail address"),
        ("mailto:a@b\u00fccher.example", "has not one mail address"),
        ("mailto:a@example.com\n", "has not one mail address"),
        ("mailto:a;b@example.com", "has not one mail address"),
        ("mailto:a%@example.com", "has not one mail address"),
    ],
)
def test_where_no_report_would_go_is_named(uri: str, why: str) -> None:
    (fault,) = find_dmarc_faults(DOMAIN, ("mailto:good@example.com", uri))

    assert fault.startswith(f"{uri!r} {why}")
    assert "mailto:postmaster@example.com" in fault


def test_names_of_permissions_are_told_for_other_organizations_only() -> None:
    uris = (
        "mailto:a@example.com",
        "mailto:a@reports.example.com!1g",
        "mailto:a@dmarc.example.net",
        "mailto:b@Dmarc.Example.NET",
        "mailto:a@notexample.com?subject=x",
        "mailto:broken",
    )

    assert find_external_reports(DOMAIN, uris) == [
        "example.com._report._dmarc.dmarc.example.net",
        "example.com._report._dmarc.notexample.com",
    ]
    assert find_external_reports("mail.example.com", uris[:1]) == []


@given(URI_LISTS)
def test_names_of_permissions_are_told_once_each(uris: tuple[str, ...]) -> None:
    names = find_external_reports(DOMAIN, uris)

    assert len(names) == len(set(names)) <= 3


DMARC = build_dmarc_record(DOMAIN, "Quarantine", ("mailto:a@example.com", "mailto:b!c@example.com!10m"))


@pytest.mark.parametrize(
    "text",
    [
        "v=DMARC1;p=quarantine;rua=mailto:b%21c@example.com!10m,mailto:a@example.com",
        "v = DMARC1 ; p = Quarantine ; rua = mailto:a@example.com , MAILTO:b%21c@EXAMPLE.com , mailto:c@example.org ;",
        "v=DMARC1; p=quarantine; sp=reject; rua=mailto:%61@example.com!5k,mailto:b%21c@example.com; pct=100",
    ],
)
def test_dmarc_record_that_means_the_same_is_published(text: str) -> None:
    assert judge_dmarc(DMARC, (text,)) == ("Published", None)


@pytest.mark.parametrize(
    "text",
    [
        "v=DMARC1",
        "v=DMARC1; p=quarantine",
        "v=DMARC1; p=quarantine; rua=mailto:a@example.com",
        "v=DMARC1; p=none; rua=mailto:a@example.com,mailto:b%21c@example.com",
        "v=DMARC1; p=reject; rua=mailto:a@example.com,mailto:b%21c@example.com",
        "v=DMARC1; P=quarantine; rua=mailto:a@example.com,mailto:b%21c@example.com",
        "v=DMARC1; p=quarantine; p=quarantine; rua=mailto:a@example.com,mailto:b%21c@example.com",
        "v=DMARC1; p=quarantine; nonsense; rua=mailto:a@example.com,mailto:b%21c@example.com",
        "v=DMARC1; p=quarantine; ruf=mailto:a@example.com,mailto:b%21c@example.com",
        "v=DMARC1; p=quarantine; rua=mailto:A@example.com,mailto:b%21c@example.com",
    ],
)
def test_dmarc_record_that_says_something_else_is_different(text: str) -> None:
    assert judge_dmarc(DMARC, (text, "v=spf1 -all")) == ("Different", text)


@pytest.mark.parametrize("texts", [(), ("v=dmarc1; p=none",), ("v=DMARC10; p=none", "p=none; v=DMARC1", "x")])
def test_without_a_dmarc_record_it_is_missing(texts: tuple[str, ...]) -> None:
    assert judge_dmarc(DMARC, texts) == ("Missing", None)


def test_several_dmarc_records_are_duplicate_in_whatever_order_they_are_answered() -> None:
    other = "v=DMARC1; p=none"

    assert judge_dmarc(DMARC, (DMARC.value, other)) == ("Duplicate", f"{other} | {DMARC.value}")
    assert judge_dmarc(DMARC, (other, "x", DMARC.value)) == judge_dmarc(DMARC, (DMARC.value, other))


@given(st.text(max_size=60).map("v=DMARC1;{}".format))
def test_whatever_is_published_for_dmarc_is_judged(text: str) -> None:
    assert judge_dmarc(DMARC, (text,)) == ("Different", text)


@pytest.mark.parametrize("text", [".a", ".1", "-", "%{d", "a/1", " a:b.c", "!1", ",", "%61@"])
def test_time_grows_with_the_length_of_a_hostile_record(text: str) -> None:
    """Strangers publish what they like, up to 64 KiB of it; a quadratic search would take minutes."""
    long = (text * 2**16)[: 2**16 - 20]

    assert judge_spf(SPF, (f"v=spf1 exists:{long}\n",))[0] == "Different"
    assert judge_spf(SPF, (f"v=spf1 a:{long}!",))[0] == "Different"
    assert judge_dmarc(DMARC, (f"v=DMARC1;rua=mailto:{long}\n",))[0] == "Different"
