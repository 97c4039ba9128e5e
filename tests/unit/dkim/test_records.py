"""The record to publish, read back by programs of others."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import dkim
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.txtbase
import dns.zone
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st
from tests.unit import samples

from mailfilter_operator.dkim.records import STRING_LIMIT, build_dkim_record, build_zone_line

PRINTABLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1)


@dataclass(frozen=True)
class Published:
    """The least that a record is made of."""

    algorithm: str
    public_der: bytes
    selector: str = "brisbane"
    domain: str = "football.example.com"


def ed25519_der(public: bytes) -> bytes:
    key = ed25519.Ed25519PublicKey.from_public_bytes(public)
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def strings_of(zone_line: str) -> tuple[bytes, ...]:
    """Character-strings of the one TXT record of a zone file, as a name server reads it."""
    zone = dns.zone.from_text(f"@ 3600 IN SOA ns. admin. 1 1 1 1 1\n{zone_line}\n", origin=".", check_origin=False)
    ((_, _, record),) = zone.iterate_rdatas("TXT")
    assert isinstance(record, dns.rdtypes.txtbase.TXTBase)
    return record.strings


@given(
    st.one_of(PRINTABLE, st.builds(str.__mul__, st.sampled_from('x"\\'), st.integers(1, 1200))), st.integers(1, 86400)
)
def test_strings_of_the_zone_line_are_short_and_join_to_the_value(value: str, ttl_seconds: int) -> None:
    strings = strings_of(build_zone_line("mf._domainkey.example.com", value, ttl_seconds))

    assert b"".join(strings).decode() == value
    assert max(map(len, strings)) <= STRING_LIMIT


@pytest.mark.parametrize("bits", [1024, 2048, 3072, 4096])
def test_record_of_a_key_of_any_length_is_read_back_whole(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A public key needs no primes, so that none has to be looked for."""
    public = rsa.RSAPublicNumbers(65537, (1 << bits) - 1).public_key()
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    monkeypatch.setattr("mailfilter_operator.dkim.keys.read_public_der", lambda _: der)
    record = build_dkim_record(samples.dkim_key())
    strings = strings_of(record.zone_line)

    assert b"".join(strings).decode() == record.value
    assert max(map(len, strings)) <= STRING_LIMIT
    found, size, algorithm, _ = dkim.load_pk_from_dns(b"x", dnsfunc=lambda *_, **__: record.value.encode())
    assert (found["modulus"], found["publicExponent"], size, algorithm) == ((1 << bits) - 1, 65537, bits, b"rsa")


def test_record_as_rfc_6376_writes_it() -> None:
    key = samples.dkim_key("example.com", selector="brisbane")
    record = build_dkim_record(key)

    assert (record.domain, record.purpose, record.type) == ("example.com", "DKIM", "TXT")
    assert record.name == "brisbane._domainkey.example.com"
    assert record.value == f"v=DKIM1; k=rsa; p={base64.b64encode(key.public_der).decode()}"
    assert record.zone_line == f'brisbane._domainkey.example.com. 3600 IN TXT "{record.value}"'


def test_ed25519_record_as_rfc_8463_writes_it() -> None:
    """Appendix A.2, with the public key of appendix A.1."""
    public = base64.b64decode("11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=")
    record = build_dkim_record(Published("Ed25519", ed25519_der(public)))

    assert record.name == "brisbane._domainkey.football.example.com"
    assert record.value == "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
    assert record.zone_line == f'{record.name}. 3600 IN TXT "{record.value}"'


@given(st.binary(min_size=32, max_size=32))
def test_ed25519_record_holds_the_bare_key_in_44_characters(seed: bytes) -> None:
    public = ed25519.Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    *tags, published = build_dkim_record(Published("Ed25519", ed25519_der(public))).value.split("; ")

    assert (tags, len(published)) == (["v=DKIM1", "k=ed25519"], len("p=") + 44)
    assert base64.b64decode(published.removeprefix("p=")) == public


def test_time_to_live_is_what_is_asked_for() -> None:
    assert build_dkim_record(samples.dkim_key(), 300).zone_line.startswith("mf1._domainkey.example.com. 300 IN TXT ")


def test_record_of_a_fixed_key_does_not_change_between_releases() -> None:
    """Or DNS would have to be changed with them."""
    assert build_dkim_record(samples.dkim_key()).value == (
        "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQC5rEjfOYNacTcIYcyfUUbnY9tnKHtD0KborqtTgU2ihUaU6WMRSAWW"
        "s8d8sMlQuy7IwXTOengO43UsbRDM+1eBF418Qki1eGvkY/YCAf9rj9Hf09sY6+MomQ20Khh1LnuQ88eFFKNyRWPj05LAB5gziWiMKK0KL5zQ"
        "9Q7dM7a8CwIDAQAB"
    )


def test_longest_record_fits_an_answer_by_udp_with_edns() -> None:
    """1232 octets, the size that resolvers ask for since 2020."""
    value = "v=DKIM1; k=rsa; p=" + "x" * 736
    wire = dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.TXT, build_zone_line("x", value).split("TXT ")[1])

    assert len(wire.to_wire() or b"") < 1232 - 300
