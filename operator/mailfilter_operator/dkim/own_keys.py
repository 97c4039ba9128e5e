"""A DKIM key that a person brings, in any form that other programs write, and why one cannot be used.

What is wrong with a key is one of a few fixed sentences, so that no message can hold a part of it. Errors are raised
outside of `except`: those of the decoders, which hold what they decoded, are not chained to ours.
"""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache

from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from mailfilter_operator.dkim.keys import write_pem

SIZE_LIMIT = 64 * 1024
"""Bytes; the largest key that is accepted has 3.3 KB in PEM, and room is left for certificates beside it."""

FEWEST_BITS, RECOMMENDED_BITS, MOST_BITS = 1024, 2048, 4096

_SHORT = (
    "RSA keys below 2048 bits are weak: RFC 8301 section 3.2 recommends at least 2048, and some receivers take a "
    "shorter signature for none; bring a longer key under a new selector"
)


class Fault(Enum):
    """Why a key cannot be used, and what to do; the name is the reason."""

    Empty = "there is no key in it; store the private key there"
    TooLarge = f"it has more than {SIZE_LIMIT} bytes, which no key has; store the private key alone"
    Encrypted = (
        "the key is encrypted; decrypt it with `openssl pkey -in encrypted.key -out plain.key`, which asks for the "
        "pass phrase, and store plain.key"
    )
    OpenSSH = (
        "the key is in OpenSSH's own format; if it is an RSA key, let `ssh-keygen -p -N '' -m PEM -f copy.key` rewrite "
        "a copy of it and store that; ssh-keygen cannot rewrite Ed25519 keys, so make one with "
        "`openssl genpkey -algorithm ed25519`"
    )
    EllipticCurve = "it is an ECDSA key, which DKIM does not know; bring an RSA or Ed25519 key"
    DSA = "it is a DSA key, which DKIM does not know; bring an RSA or Ed25519 key"
    OtherKind = "it is a private key of a kind that DKIM does not know; bring an RSA or Ed25519 key"
    Public = "it is a public key, a certificate or a DNS record; store the private key that belongs to it"
    TooShort = "the RSA key has less than 1024 bits, and receivers do not trust it (RFC 8301); bring one of 2048 bits"
    TooLong = (
        "the RSA key has more than 4096 bits, and receivers need not verify that (RFC 8301 section 3.2); bring one of "
        "2048 bits"
    )
    Inconsistent = (
        "the numbers of the RSA key do not fit together; store the key again from its source or make a new one"
    )
    OtherPublicHalf = (
        "the public half of the Ed25519 key does not belong to its seed; store the key again from its source, or the "
        "first 32 bytes alone"
    )
    Several = "there are several private keys in it; store one of them alone"
    Broken = (
        "no private key can be read from it, perhaps because a part is missing; store a whole RSA or Ed25519 key as "
        "PEM, DER or base64"
    )


class UnusableKey(ValueError):
    """The key cannot be used; `reason` is the name of the `Fault`, the message its sentence."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.value)
        self.reason = fault.name


@dataclass(frozen=True, slots=True)
class OwnKey:
    """A private key that signs mail. `algorithm` is RSA or Ed25519; `bits` of Ed25519 are 256."""

    algorithm: str
    bits: int
    private_pem: bytes = field(repr=False)
    """PKCS#8 PEM, whatever the form in which it came."""
    note: str | None = None
    """A sentence for the person who brought it, if the key works but another would be better."""


def parse_own_key(data: bytes) -> OwnKey:
    """Read a private key from a file of any common form. Raises UnusableKey.

    RSA: PKCS#1 and PKCS#8 in PEM, DER, or the DER in base64. Ed25519: PKCS#8 in the same forms (RFC 8410), its 32-byte
    seed, or seed and public key (64 bytes, as rspamd and NaCl write it), both also in base64. What stands around the
    armour of a PEM does not count, nor how its lines are broken. Proves the primes of a key that it sees first.
    """
    if len(data) > SIZE_LIMIT:
        raise UnusableKey(Fault.TooLarge)
    text = _decode_text(data)
    if not text.strip("\0 \t\r\n\v\f"):
        raise UnusableKey(Fault.Empty)
    if "-----BEGIN" in text:
        return _read_key(_read_armour(text))
    if re.fullmatch(r"[\t\r\n\v\f -~]*", text):
        return _read_key(_read_base64_key(text))
    return _read_key(data)


_BYTE_ORDER_MARKS = ((b"\xef\xbb\xbf", "latin-1"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))


def _decode_text(data: bytes) -> str:
    """The text of a file that may be none: a character for each byte, but for what Windows saves as Unicode."""
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            text = data.removeprefix(mark).decode(encoding, errors="replace")
            if text.isascii() or "-----BEGIN" in text:
                return text
    return data.decode("latin-1")


def _break_lines(text: str) -> str:
    r"""Turn the two characters `\n`, which stand for a line's end where YAML was quoted wrongly, into one."""
    # Four, for what was quoted twice; without a limit the time grew with the square of a row of backslashes.
    return re.sub(r"\\{1,4}[nr]", "\n", text)


def _read_base64_key(text: str) -> bytes:
    """What base64 without armour holds: a DER or a seed, or a PEM that was encoded once more than needed."""
    if re.search(r"v\s*=\s*DKIM1|^\s*(ssh-|ecdsa-|sk-)", text):
        raise UnusableKey(Fault.Public)
    lines = (line for line in _break_lines(text).splitlines() if not line.lstrip().startswith("#"))
    content = _decode_base64("".join(lines))
    inner = content.decode("latin-1")
    return _read_armour(inner) if "-----BEGIN" in inner else content


def _decode_base64(text: str) -> bytes:
    digits = re.sub(r"\s+", "", text).rstrip("=")
    try:
        return base64.b64decode(digits + "=" * (-len(digits) % 4), validate=True)
    except (binascii.Error, ValueError):
        pass
    raise UnusableKey(Fault.Broken)


# What follows five hyphens ends a body, so that the time for a file full of beginnings grows with its length only.
_ARMOUR = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----((?:(?!-----).)*)-----END ([A-Z0-9 ]+)-----", re.DOTALL)


def _read_armour(text: str) -> bytes:
    """DER of the one private key among the blocks of a PEM; certificates and public keys beside it are passed over."""
    text = _break_lines(text)
    blocks = [(begin, body) for begin, body, end in _ARMOUR.findall(text) if begin == end]
    private = [(label, body) for label, body in blocks if label.endswith("PRIVATE KEY")]
    if len(re.findall("-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----", text)) > 1:
        raise UnusableKey(Fault.Several)
    if not private:
        whole = text.count("-----BEGIN") == len(blocks) and "PRIVATE KEY" not in text
        is_public = any(label.endswith(("PUBLIC KEY", "CERTIFICATE", "REQUEST")) for label, _ in blocks)
        raise UnusableKey(Fault.Public if whole and is_public else Fault.Broken)
    ((label, body),) = private
    if label == "OPENSSH PRIVATE KEY":
        raise UnusableKey(Fault.OpenSSH)
    if label == "ENCRYPTED PRIVATE KEY" or re.search(r"Proc-Type:\s*4\s*,\s*ENCRYPTED", body):
        raise UnusableKey(Fault.Encrypted)
    return _decode_base64(body)


_SEED, _SEED_AND_PUBLIC = 32, 64
# RFC 5958 lets the public key follow (version 2), implicitly or explicitly tagged; cryptography reads version 1 only.
_ED25519_VERSION_2 = re.compile(
    rb"\x30.\x02\x01\x01\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20(.{32})(?:\x81\x21\x00|\xa1\x23\x03\x21\x00)(.{32})",
    re.DOTALL,
)


def _read_key(content: bytes) -> OwnKey:
    """The key of a DER or of Ed25519's raw bytes, which no DER of a usable key is as short as."""
    if len(content) in (_SEED + 1, _SEED_AND_PUBLIC + 1) and content.endswith(b"\n"):
        content = content[:-1]
    if len(content) in (_SEED, _SEED_AND_PUBLIC):
        return _read_seed(content[:_SEED], content[_SEED:])
    if found := _ED25519_VERSION_2.fullmatch(content):
        return _read_seed(found[1], found[2])
    if content.startswith(b"openssh-key-v1\0"):
        raise UnusableKey(Fault.OpenSSH)
    key = _load(content, prove=False)
    match key:
        case rsa.RSAPrivateKey():
            return _read_rsa(content, key)
        case ed25519.Ed25519PrivateKey():
            return OwnKey("Ed25519", 256, write_pem(key))
        case ec.EllipticCurvePrivateKey():
            raise UnusableKey(Fault.EllipticCurve)
        case dsa.DSAPrivateKey():
            raise UnusableKey(Fault.DSA)
        case Fault():
            raise UnusableKey(key)
        case _:
            raise UnusableKey(Fault.OtherKind)


def _read_seed(seed: bytes, public: bytes) -> OwnKey:
    key = ed25519.Ed25519PrivateKey.from_private_bytes(seed)
    if public and public != key.public_key().public_bytes_raw():
        raise UnusableKey(Fault.OtherPublicHalf)
    return OwnKey("Ed25519", 256, write_pem(key))


def _read_rsa(content: bytes, key: rsa.RSAPrivateKey) -> OwnKey:
    bits = key.key_size
    if bits < FEWEST_BITS:
        raise UnusableKey(Fault.TooShort)
    if bits > MOST_BITS:
        raise UnusableKey(Fault.TooLong)
    # Last, because the time grows with the cube of the length and nobody bounds that before.
    if not _is_consistent(content):
        raise UnusableKey(Fault.Inconsistent)
    return OwnKey("RSA", bits, write_pem(key), _SHORT if bits < RECOMMENDED_BITS else None)


def _is_consistent(content: bytes) -> bool:
    """Tell whether the numbers of the RSA key in a DER belong together.

    It takes 40 ms for 2048 bits and 260 ms for 4096, holds the interpreter lock, and is asked for in every pass, hence
    the memory.
    """
    verdict = _recall_verdict(hashlib.sha256(content).digest())
    if not verdict:
        verdict.append(isinstance(_load(content, prove=True), rsa.RSAPrivateKey))
    return verdict[0]


@lru_cache(maxsize=2048)
def _recall_verdict(digest: bytes) -> list[bool]:  # noqa: ARG001 - what is remembered is by it
    """What was found out of the DER with this SHA-256, empty at first: nothing of a key stays in memory for it."""
    return []


def _load(content: bytes, *, prove: bool) -> PrivateKeyTypes | Fault:
    """The private key of a DER, of whatever kind; *prove* that the numbers of an RSA key belong together."""
    try:
        return serialization.load_der_private_key(content, password=None, unsafe_skip_rsa_key_validation=not prove)
    except TypeError:  # what cryptography says of a key that wants a password
        return Fault.Encrypted
    except UnsupportedAlgorithm:
        return Fault.OtherKind
    except (ValueError, InternalError):  # the latter for an Ed25519 key of another length
        return Fault.Public if _is_public(content) else Fault.Broken


# A certificate begins with a SEQUENCE in a SEQUENCE and the number of its version (RFC 5280 section 4.1).
_CERTIFICATE = re.compile(rb"\x30(?:.|\x81.|\x82..)\x30(?:.|\x81.|\x82..)\xa0\x03\x02\x01", re.DOTALL)


def _is_public(content: bytes) -> bool:
    if _CERTIFICATE.match(content):
        return True
    try:
        serialization.load_der_public_key(content)
    except (ValueError, InternalError, UnsupportedAlgorithm):
        return False
    return True
