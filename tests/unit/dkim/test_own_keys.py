"""A key that a person brings: every form of it, and everything that is none."""

from __future__ import annotations

import base64
import itertools
import textwrap
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st
from tests.unit import samples

from mailfilter_operator.dkim.keys import DkimKey
from mailfilter_operator.dkim.own_keys import SIZE_LIMIT, Fault, OwnKey, UnusableKey, parse_own_key

DER, PEM = serialization.Encoding.DER, serialization.Encoding.PEM
PKCS1, PKCS8 = serialization.PrivateFormat.TraditionalOpenSSL, serialization.PrivateFormat.PKCS8
PLAIN = serialization.NoEncryption()
SPKI = serialization.PublicFormat.SubjectPublicKeyInfo


def load_rsa(pem: bytes) -> rsa.RSAPrivateKey:
    key = serialization.load_pem_private_key(pem, password=None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


RSA = load_rsa(samples.private_pem("example.com"))
SEED = base64.b64decode("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
"""RFC 8463 appendix A.2 prints it, so that it is nobody's."""
ED25519 = ed25519.Ed25519PrivateKey.from_private_bytes(SEED)
ED25519_PUBLIC = ED25519.public_key().public_bytes_raw()

Forms = dict[str, bytes]


def joined(pem: bytes, by: bytes) -> bytes:
    return by.join(pem.splitlines())


def der_forms(der: bytes) -> Forms:
    digits = base64.b64encode(der)
    return {
        "raw": der,
        "base64": digits,
        "base64 and newline": digits + b"\n",
        "base64 without padding": digits.rstrip(b"="),
        "base64 wrapped": base64.encodebytes(der),
        "base64 wrapped by CRLF": base64.encodebytes(der).replace(b"\n", b"\r\n"),
        "base64 wrapped and indented": textwrap.indent(base64.encodebytes(der).decode(), "    ").encode(),
        "base64 joined by spaces": joined(base64.encodebytes(der), b" "),
        "base64 joined by backslash n": joined(base64.encodebytes(der), rb"\n"),
        "base64 below a comment": b"# of 2019\n" + digits,
        "base64 with a mark of byte order": b"\xef\xbb\xbf" + digits,
    }


def pem_forms(pem: bytes) -> Forms:
    return {
        "PEM": pem,
        "PEM without final newline": pem.rstrip(),
        "PEM by CRLF": pem.replace(b"\n", b"\r\n"),
        "PEM by CR": pem.replace(b"\n", b"\r"),
        "PEM indented": textwrap.indent(pem.decode(), "    ").encode(),
        "PEM with a mark of byte order": b"\xef\xbb\xbf" + pem,
        "PEM as Windows saves Unicode": b"\xff\xfe" + pem.decode().encode("utf-16-le"),
        "PEM in big-endian Unicode": b"\xfe\xff" + pem.decode().encode("utf-16-be"),
        "PEM below blank lines": b"\n \n\r\n" + pem,
        "PEM below attributes": b"Bag Attributes\n    friendlyName: Schl\xc3\xbcssel\nKey Attributes: <No>\n" + pem,
        "PEM above a record": pem + b'mail._domainkey IN TXT ( "v=DKIM1; k=rsa; p=MIGf" ) ;\n',
        "PEM beside its public key": pem + RSA.public_key().public_bytes(PEM, SPKI),
        "PEM joined by spaces": joined(pem, b" "),
        "PEM joined by backslash n": joined(pem, rb"\n") + rb"\n",
        "PEM joined by backslash r and n": joined(pem, rb"\r\n"),
        "PEM joined by two backslashes and n": joined(pem, rb"\\n"),
        "PEM joined by nothing": joined(pem, b""),
        "PEM in quotes": b'"' + joined(pem, rb"\n") + b'"',
        "PEM in base64": base64.encodebytes(pem),
    }


def prefixed(prefix: str, forms: Forms) -> Forms:
    return {f"{prefix} {name}": form for name, form in forms.items()}


RSA_FORMS = {
    **prefixed("PKCS#1", der_forms(RSA.private_bytes(DER, PKCS1, PLAIN))),
    **prefixed("PKCS#1", pem_forms(RSA.private_bytes(PEM, PKCS1, PLAIN))),
    **prefixed("PKCS#8", der_forms(RSA.private_bytes(DER, PKCS8, PLAIN))),
    **prefixed("PKCS#8", pem_forms(RSA.private_bytes(PEM, PKCS8, PLAIN))),
}


def version_2(public: bytes, tag: str) -> bytes:
    """OneAsymmetricKey of RFC 5958, as other libraries than OpenSSL write it."""
    body = bytes.fromhex("020101 300506032b6570 04220420") + SEED + bytes.fromhex(tag) + public
    return bytes([0x30, len(body)]) + body


ED25519_FORMS = {
    **prefixed("PKCS#8", der_forms(ED25519.private_bytes(DER, PKCS8, PLAIN))),
    **prefixed("PKCS#8", pem_forms(ED25519.private_bytes(PEM, PKCS8, PLAIN))),
    **prefixed("PKCS#8 with the public key", der_forms(version_2(ED25519_PUBLIC, "812100"))),
    **prefixed("PKCS#8 with the tagged public key", der_forms(version_2(ED25519_PUBLIC, "a123032100"))),
    **prefixed("seed", der_forms(SEED)),
    **prefixed("seed and public key", der_forms(SEED + ED25519_PUBLIC)),
    "seed and newline": SEED + b"\n",
    "seed, public key and newline": SEED + ED25519_PUBLIC + b"\n",
}


def public_of(own: OwnKey) -> bytes:
    key = serialization.load_pem_private_key(own.private_pem, password=None)
    return key.public_key().public_bytes(DER, SPKI)


@pytest.mark.parametrize("form", RSA_FORMS.values(), ids=RSA_FORMS)
def test_rsa_key_in_any_form_is_the_same_key(form: bytes) -> None:
    own = parse_own_key(form)

    assert (own.algorithm, own.bits) == ("RSA", 1024)
    assert own.private_pem == samples.private_pem("example.com")


@pytest.mark.parametrize("form", ED25519_FORMS.values(), ids=ED25519_FORMS)
def test_ed25519_key_in_any_form_is_the_same_key(form: bytes) -> None:
    own = parse_own_key(form)

    assert (own.algorithm, own.bits, own.note) == ("Ed25519", 256, None)
    assert own.private_pem == ED25519.private_bytes(PEM, PKCS8, PLAIN)
    assert public_of(own)[-32:] == ED25519_PUBLIC


@given(st.binary(min_size=32, max_size=32).filter(lambda seed: any(byte > 0x7E for byte in seed)))
def test_any_seed_is_read_raw_and_in_base64(seed: bytes) -> None:
    forms = {parse_own_key(form) for form in (seed, base64.b64encode(seed), base64.b64encode(seed) + b"\n")}

    ((own),) = forms
    assert public_of(own)[-32:] == ed25519.Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


LARGE_PRIME = 2**1024 - 105


def rsa_of(p: int, q: int) -> bytes:
    """PKCS#1 of these primes."""
    d = pow(65537, -1, (p - 1) * (q - 1))
    return nested(integers(0, p * q, 65537, d, p, q, d % (p - 1), d % (q - 1), pow(q, -1, p)), 0x30)


def test_key_of_1024_bits_is_taken_with_a_note_and_longer_ones_without() -> None:
    longest_with, shortest_without = rsa_of(LARGE_PRIME, 2**1023 - 361), rsa_of(LARGE_PRIME, 2**1024 - 179)

    assert "RFC 8301" in (parse_own_key(samples.private_pem("example.com")).note or "")
    assert [(own.bits, own.note is None) for own in map(parse_own_key, (longest_with, shortest_without))] == [
        (2047, False),
        (2048, True),
    ]


def test_key_that_was_read_can_sign_under_a_selector() -> None:
    own = parse_own_key(RSA_FORMS["PKCS#1 PEM joined by spaces"])
    key = DkimKey("example.com", "r0", "s", own.algorithm, own.bits, "Active", "", "", own.private_pem)

    assert key.public_der == RSA.public_key().public_bytes(DER, SPKI)


def test_repr_of_a_key_holds_no_private_byte() -> None:
    assert "PRIVATE" not in repr(parse_own_key(RSA_FORMS["PKCS#8 PEM"]))


def labelled(label: str, der: bytes) -> bytes:
    return f"-----BEGIN {label}-----\n{base64.encodebytes(der).decode()}-----END {label}-----\n".encode()


def nested(der: bytes, *tags: int) -> bytes:
    for tag in tags:
        length = len(der).to_bytes(2, "big").lstrip(b"\0") or b"\0"
        der = bytes([tag]) + (length if len(der) < 128 else bytes([0x80 + len(length)]) + length) + der
    return der


def integers(*numbers: int) -> bytes:
    return b"".join(nested(number.to_bytes(number.bit_length() // 8 + 1, "big"), 2) for number in numbers)


def unproven_rsa(bits: int) -> bytes:
    """PKCS#1 of this length whose numbers have nothing to do with each other."""
    return nested(integers(0, (1 << bits) - 1, 65537, 3, *[(1 << bits // 2) - 1] * 2, 3, 3, 3), 0x30)


def ed25519_pkcs8(seed: bytes) -> bytes:
    return nested(bytes.fromhex("020100 300506032b6570") + nested(seed, 4, 4), 0x30)


def inconsistent_rsa() -> bytes:
    """A key of which one number is another's: looks whole, and signs nothing that could be verified."""
    mine, other = RSA.private_numbers(), 2**1023 + 7
    numbers = (0, mine.public_numbers.n, 65537, other, mine.p, mine.q, mine.dmp1, mine.dmq1, mine.iqmp)
    return nested(integers(*numbers), 0x30)


LOCKED = serialization.BestAvailableEncryption(b"secret")
EC = ec.derive_private_key(7, ec.SECP256R1())
# A curve of 112 bits that cryptography does not know, as `openssl ecparam -name secp112r1 -genkey` makes it.
UNKNOWN_CURVE = nested(
    bytes.fromhex("020100 301006072a8648ce3d020106052b81040006 0417 30150201010410") + bytes(16), 0x30
)
DSA = nested(integers(0, 2**1024 - 105, 2**160 - 47, 2, 4, 5), 0x30)
OPENSSH = ED25519.private_bytes(PEM, serialization.PrivateFormat.OpenSSH, PLAIN)
SSH_PUBLIC = ED25519.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
CERTIFICATE_START = bytes.fromhex("30820100 3081c0 a003020102") + bytes(200)
PROC_TYPE = b"Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF\n\n"
LEGACY = RSA_FORMS["PKCS#1 PEM"].replace(b"KEY-----\n", b"KEY-----\n" + PROC_TYPE, 1)
RSA_PEM = RSA_FORMS["PKCS#8 PEM"]

REFUSED: dict[str, tuple[str, bytes]] = {
    "nothing": ("Empty", b""),
    "blank lines": ("Empty", b"\n \r\n\t"),
    "a mark of byte order": ("Empty", b"\xef\xbb\xbf\n"),
    "zeros": ("Empty", bytes(32)),
    "a large file": ("TooLarge", RSA_PEM + bytes(SIZE_LIMIT)),
    "PKCS#8 encrypted": ("Encrypted", RSA.private_bytes(PEM, PKCS8, LOCKED)),
    "PKCS#8 encrypted, by spaces": ("Encrypted", joined(RSA.private_bytes(PEM, PKCS8, LOCKED), b" ")),
    "PKCS#8 encrypted, DER": ("Encrypted", ED25519.private_bytes(DER, PKCS8, LOCKED)),
    "PKCS#8 encrypted, base64": ("Encrypted", base64.b64encode(ED25519.private_bytes(DER, PKCS8, LOCKED))),
    "legacy encryption": ("Encrypted", LEGACY),
    "legacy encryption, by spaces": ("Encrypted", joined(LEGACY, b" ")),
    "OpenSSH": ("OpenSSH", OPENSSH),
    "OpenSSH without armour": ("OpenSSH", b"".join(OPENSSH.splitlines()[1:-1])),
    "EC": ("EllipticCurve", EC.private_bytes(PEM, PKCS1, PLAIN)),
    "EC PKCS#8": ("EllipticCurve", EC.private_bytes(DER, PKCS8, PLAIN)),
    "EC with parameters": ("EllipticCurve", labelled("EC PARAMETERS", b"\6\0") + EC.private_bytes(PEM, PKCS1, PLAIN)),
    "EC of an unknown curve": ("OtherKind", UNKNOWN_CURVE),
    "DSA": ("DSA", labelled("DSA PRIVATE KEY", DSA)),
    "Ed448": ("OtherKind", ed448.Ed448PrivateKey.from_private_bytes(bytes(57)).private_bytes(PEM, PKCS8, PLAIN)),
    "unknown algorithm": ("OtherKind", labelled("PRIVATE KEY", base64.b64decode("MA4CAQAwBwYFKwYBAwUEAA=="))),
    "public PEM": ("Public", RSA.public_key().public_bytes(PEM, SPKI)),
    "public PKCS#1 PEM": ("Public", RSA.public_key().public_bytes(PEM, serialization.PublicFormat.PKCS1)),
    "public DER": ("Public", RSA.public_key().public_bytes(DER, SPKI)),
    "public base64": ("Public", base64.b64encode(RSA.public_key().public_bytes(DER, SPKI))),
    "public Ed25519": ("Public", base64.b64encode(ED25519.public_key().public_bytes(DER, SPKI))),
    "public OpenSSH": ("Public", SSH_PUBLIC),
    "DNS record": ("Public", b'mail._domainkey IN TXT "v=DKIM1; k=rsa; p=MIGf"'),
    "certificate PEM": ("Public", labelled("CERTIFICATE", CERTIFICATE_START)),
    "certificate DER": ("Public", CERTIFICATE_START),
    "RSA 512": ("TooShort", unproven_rsa(512)),
    "RSA 1016": ("TooShort", unproven_rsa(1016)),
    "RSA 4104": ("TooLong", unproven_rsa(4104)),
    "RSA 16384": ("TooLong", unproven_rsa(16384)),
    "RSA 1024 of wrong numbers": ("Inconsistent", unproven_rsa(1024)),
    "RSA 4096 of wrong numbers": ("Inconsistent", unproven_rsa(4096)),
    "RSA with another's number": ("Inconsistent", inconsistent_rsa()),
    "seed with another public key": ("OtherPublicHalf", SEED + bytes(32)),
    "seed with another public key in base64": ("OtherPublicHalf", base64.b64encode(SEED + SEED)),
    "PKCS#8 with another public key": ("OtherPublicHalf", version_2(SEED, "812100")),
    "two keys": ("Several", RSA_PEM + ED25519_FORMS["PKCS#8 PEM"]),
    "two keys in one line": ("Several", joined(RSA_PEM * 2, b" ")),
    "half a key and a whole one": ("Several", RSA_PEM[:200] + RSA_PEM),
    "text": ("Broken", b"nothing"),
    "text as long as a seed": ("Broken", b"change me: here comes your key!!"),
    "text of another alphabet": ("Broken", "Schlüssel".encode()),
    "half a PEM": ("Broken", RSA_PEM[: len(RSA_PEM) // 2]),
    "half a DER": ("Broken", RSA_FORMS["PKCS#8 raw"][:300]),
    "PEM without a line": ("Broken", b"\n".join(line for i, line in enumerate(RSA_PEM.splitlines()) if i != 3)),
    "PEM of nothing": ("Broken", labelled("PRIVATE KEY", b"")),
    "PEM of something else": ("Broken", labelled("PRIVATE KEY", b"nothing")),
    "PEM that is no base64": ("Broken", RSA_PEM.replace(b"MII", b"M!I")),
    "PEM whose ends differ": ("Broken", RSA_PEM.replace(b"END PRIVATE", b"END RSA PRIVATE")),
    "beginning alone": ("Broken", b"-----BEGIN PRIVATE KEY-----"),
    "parameters": ("Broken", labelled("DH PARAMETERS", b"\x30\0")),
    "seed that is too short": ("Broken", base64.b64encode(SEED[:-1])),
    "PKCS#8 seed that is too short": ("Broken", ed25519_pkcs8(SEED[:-1])),
    "PKCS#8 seed that is too long": ("Broken", ed25519_pkcs8(SEED + b"0")),
    "seed in hexadecimal": ("Broken", SEED.hex().encode()),
}


@pytest.mark.parametrize(("reason", "content"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_usable_private_key_is_refused_with_its_reason(reason: str, content: bytes) -> None:
    with pytest.raises(UnusableKey) as refused:
        parse_own_key(content)

    assert refused.value.reason == reason
    assert str(refused.value) == Fault[reason].value
    assert refused.value.__context__ is None, "what a decoder says can hold what it decoded"


def test_every_reason_is_tried_and_every_sentence_names_a_remedy() -> None:
    assert {reason for reason, _ in REFUSED.values()} == set(Fault.__members__)
    assert all(any(verb in fault.value for verb in ("store", "bring")) for fault in Fault)


def test_remedies_name_programs_that_do_it() -> None:
    """What they do was tried with OpenSSL 3.0 and OpenSSH 9.2; that they are named is what is told."""
    assert "`openssl pkey -in encrypted.key -out plain.key`" in Fault.Encrypted.value
    assert "`ssh-keygen -p -N '' -m PEM -f copy.key`" in Fault.OpenSSH.value


def refusal_of(content: bytes) -> UnusableKey | None:
    try:
        own = parse_own_key(content)
    except UnusableKey as refused:
        return refused
    assert parse_own_key(own.private_pem) == own
    return None


def is_read_or_refused(content: bytes) -> None:
    """Any other exception is a failure; so is a sentence, or a cause, that could hold a part of the file."""
    refused = refusal_of(content)
    assert refused is None or (str(refused), refused.__context__) == (Fault[refused.reason].value, None)


ALL_FORMS = tuple(itertools.chain(RSA_FORMS.values(), ED25519_FORMS.values()))


@given(st.sampled_from(ALL_FORMS), st.data())
def test_truncated_key_is_read_or_refused(form: bytes, data: Any) -> None:
    is_read_or_refused(form[: data.draw(st.integers(0, len(form)))])


@given(st.sampled_from(ALL_FORMS), st.data(), st.binary(max_size=3))
def test_key_with_changed_bytes_is_read_or_refused(form: bytes, data: Any, change: bytes) -> None:
    at = data.draw(st.integers(0, len(form)))
    is_read_or_refused(form[:at] + change + form[at + data.draw(st.integers(0, 3)) :])


@given(
    st.one_of(
        st.binary(max_size=100),
        st.text(max_size=100).map(str.encode),
        st.binary(max_size=100).map(base64.b64encode),
        st.binary(max_size=100).map(lambda der: labelled("PRIVATE KEY", der)),
        st.binary(max_size=100).map(lambda content: nested(content, 0x30)),
    )
)
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    is_read_or_refused(content)


@pytest.mark.parametrize("text", [b"-----BEGIN PRIVATE KEY-----", b"-----", b"\\\\", b"v ", b" \n", b"-----END A-----"])
def test_time_grows_with_the_length_of_a_hostile_file(text: bytes) -> None:
    """A quadratic search would take minutes for this."""
    with pytest.raises(UnusableKey):
        parse_own_key((text * SIZE_LIMIT)[:SIZE_LIMIT])


@pytest.mark.parametrize("usable", [True, False])
def test_primes_of_a_key_are_proven_once_and_not_in_every_pass(
    monkeypatch: pytest.MonkeyPatch, *, usable: bool
) -> None:
    """It takes 260 ms for 4096 bits, in which nothing else of the operator runs."""
    numbers = load_rsa(samples.private_pem(f"proven once, {usable}")).private_numbers()
    wrong = rsa.RSAPrivateNumbers(
        numbers.p, numbers.q, numbers.d + 2, numbers.dmp1, numbers.dmq1, numbers.iqmp, numbers.public_numbers
    )
    key = (numbers if usable else wrong).private_key(unsafe_skip_rsa_key_validation=True)
    data, proofs = key.private_bytes(PEM, PKCS8, PLAIN), []
    load = serialization.load_der_private_key

    def count(*arguments: Any, **named: Any) -> Any:
        proofs.append(not named["unsafe_skip_rsa_key_validation"])
        return load(*arguments, **named)

    monkeypatch.setattr(serialization, "load_der_private_key", count)
    found = []
    for _ in range(3):
        try:
            found.append(parse_own_key(data).private_pem)
        except UnusableKey as error:
            found.append(error.reason.encode())

    assert found == [data if usable else b"Inconsistent"] * 3
    assert proofs.count(True) == 1
