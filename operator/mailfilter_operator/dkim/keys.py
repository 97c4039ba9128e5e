"""A DKIM key: what is known of it, its public half, and the file that rspamd reads it from."""

import base64
import hashlib
from dataclasses import dataclass, field
from typing import Literal

from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from mailfilter_operator import names

State = Literal["Pending", "Active", "Retiring", "Retired"]
PENDING: State = "Pending"
"""Its record has not been seen; it does not sign."""
ACTIVE: State = "Active"
"""It signs."""
RETIRING: State = "Retiring"
"""It signs no more; mail that it signed is still being verified, so that its record must stay."""
RETIRED: State = "Retired"
"""Its record may go."""
STATES: tuple[State, ...] = (PENDING, ACTIVE, RETIRING, RETIRED)

RSA, ED25519 = "RSA", "Ed25519"
ALGORITHMS = (RSA, ED25519)

PrivateKey = rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class DkimKey:
    """One key of one signing domain (RFC 6376's words). Times are RFC 3339 in UTC, or empty."""

    domain: str
    slot: str
    selector: str
    algorithm: str
    bits: int
    state: State
    created: str
    signing_since: str
    """When it became Active; empty before."""
    private_pem: bytes = field(repr=False)
    """PKCS#8 PEM; kept out of repr so that no log line can hold it."""
    rotation_id: str = ""
    """The requests for rotation that it answers: `rotationID` of the spec as last seen for it (`lines.answer`)."""
    seen_again: str = ""
    """While Pending: its record was seen, and counts if it is seen again at this time or later."""
    left_since: str = ""
    """When the last pod had taken up a configuration without it."""
    revoked: bool = False
    """Known to be compromised: never signs again."""

    @property
    def public_der(self) -> bytes:
        """SubjectPublicKeyInfo, the form that RFC 6376 section 3.6.1 wants in `p=` for RSA."""
        return read_public_der(self.private_pem)

    @property
    def fingerprint(self) -> str:
        """Eight hexadecimal digits of the public key's SHA-256."""
        return hashlib.sha256(self.public_der).hexdigest()[:8]

    @property
    def file_name(self) -> str:
        """Name of the key's file in the keyring."""
        return names.key_file(self.domain, self.slot, self.fingerprint)

    @property
    def file_content(self) -> bytes:
        """What rspamd reads: the PEM of an RSA key; of Ed25519, of which it reads no PEM, the seed in base64."""
        key = load_private_key(self.private_pem)
        return self.private_pem if isinstance(key, rsa.RSAPrivateKey) else base64.b64encode(key.private_bytes_raw())


def load_private_key(private_pem: bytes) -> PrivateKey:
    """The key of a PKCS#8 PEM. Raises ValueError for anything but an RSA or Ed25519 private key."""
    # Proving the primes again takes 45 ms for 2048 bits and 410 ms for 4096; our own keys never change (immutable).
    try:
        key = serialization.load_pem_private_key(private_pem, password=None, unsafe_skip_rsa_key_validation=True)
    except (TypeError, UnsupportedAlgorithm, InternalError) as error:  # the last of an Ed25519 key of a wrong length
        raise ValueError("an encrypted key, or of an unknown kind") from error
    if not isinstance(key, PrivateKey):
        raise ValueError("not an RSA or Ed25519 key")  # noqa: TRY004 - one exception for every unusable key
    return key


def read_public_der(private_pem: bytes) -> bytes:
    """Public half of a private key, as SubjectPublicKeyInfo in DER. Raises ValueError for anything else."""
    public = load_private_key(private_pem).public_key()
    return public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def parse_key_file(algorithm: str, content: bytes) -> bytes:
    """PKCS#8 PEM of a key of which the keyring holds *content*. Raises ValueError."""
    if algorithm == RSA:
        read_public_der(content)
        return content
    seed = base64.b64decode(content, validate=True)
    return write_pem(ed25519.Ed25519PrivateKey.from_private_bytes(seed))


def write_pem(key: PrivateKey) -> bytes:
    """A private key as PKCS#8 PEM."""
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)


def build_selector(day: str, public_der: bytes, prefix: str = "mf") -> str:
    """Selector of a new key: its day and four digits of its hash, so that two keys of one day differ.

    >>> build_selector("2026-11-23", b"")
    'mf20261123-e3b0'
    """
    return f"{prefix}{day[:10].replace('-', '')}-{hashlib.sha256(public_der).hexdigest()[:4]}"
