"""A DKIM key and its Secret, in both directions.

The Secret is the only place where a private key is at home (the keyring is made from it). Everything else that is
known of a key (domain, selector, state, times) is an annotation on the same Secret, because a restored backup brings
annotations back and drops status.
"""

import base64
import binascii
import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from mailfilter_operator import names
from mailfilter_operator.api import Manifest
from mailfilter_operator.errors import Conflict


@dataclass(frozen=True, slots=True)
class DkimKey:
    """One key of one signing domain (RFC 6376's words: selector, signing domain)."""

    domain: str
    slot: str
    selector: str
    algorithm: str
    bits: int
    state: str
    created: str
    """RFC 3339 time in UTC."""
    signing_since: str
    private_pem: bytes = field(repr=False)
    """PKCS#8 PEM; kept out of repr so that no log line can hold it."""

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


def read_public_der(private_pem: bytes) -> bytes:
    """Public half of an RSA private key, as SubjectPublicKeyInfo in DER. Raises ValueError for anything else."""
    # Proving the primes again takes 45 ms for 2048 bits and 410 ms for 4096; our own keys never change (immutable).
    try:
        key = serialization.load_pem_private_key(private_pem, password=None, unsafe_skip_rsa_key_validation=True)
    except (TypeError, UnsupportedAlgorithm) as error:
        raise ValueError("an encrypted key, or of an unknown kind") from error
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("not an RSA key")  # noqa: TRY004 - one exception for every unusable key
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def build_selector(day: str, public_der: bytes, prefix: str = "mf") -> str:
    """Selector of a new key: its day and four digits of its hash, so that two keys of one day differ.

    >>> build_selector("2026-11-23", b"")
    'mf20261123-e3b0'
    """
    return f"{prefix}{day[:10].replace('-', '')}-{hashlib.sha256(public_der).hexdigest()[:4]}"


def build_key_secret(instance: str, namespace: str, key: DkimKey) -> dict[str, object]:
    """Secret of *key*: immutable, without owner so that it outlives the MailFilter (`retention: Retain`)."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": names.dkim_secret(instance, key.domain, key.slot),
            "namespace": namespace,
            "labels": names.labels(instance, "dkim"),
            "annotations": {
                names.ANNOTATION_DOMAIN: key.domain,
                names.ANNOTATION_SELECTOR: key.selector,
                names.ANNOTATION_ALGORITHM: key.algorithm,
                names.ANNOTATION_BITS: str(key.bits),
                names.ANNOTATION_STATE: key.state,
                names.ANNOTATION_CREATED: key.created,
                names.ANNOTATION_SIGNING_SINCE: key.signing_since,
            },
        },
        "immutable": True,
        "type": "Opaque",
        "data": {names.PRIVATE_KEY: base64.b64encode(key.private_pem).decode("ascii")},
    }


def parse_key_secret(instance: str, slot: str, secret: Manifest) -> DkimKey:
    """Read a key back from its Secret.

    Raises Conflict if the Secret is not one of this MailFilter's key Secrets or holds no usable key: a key is never
    overwritten, so a person has to look.
    """
    meta = secret["metadata"]
    name, annotations = meta["name"], meta.get("annotations") or {}
    if not is_our_key_secret(instance, meta):
        raise Conflict("Secret", name, f"is not a key Secret of the MailFilter {instance}")
    try:
        key = DkimKey(
            domain=annotations[names.ANNOTATION_DOMAIN],
            slot=slot,
            selector=annotations[names.ANNOTATION_SELECTOR],
            algorithm=annotations[names.ANNOTATION_ALGORITHM],
            bits=int(annotations[names.ANNOTATION_BITS]),
            state=annotations[names.ANNOTATION_STATE],
            created=annotations[names.ANNOTATION_CREATED],
            signing_since=annotations[names.ANNOTATION_SIGNING_SINCE],
            private_pem=base64.b64decode((secret.get("data") or {})[names.PRIVATE_KEY], validate=True),
        )
        read_public_der(key.private_pem)
    except KeyError as missing:
        raise Conflict("Secret", name, f"lacks {missing.args[0]}") from None
    except (ValueError, binascii.Error):
        raise Conflict("Secret", name, "holds no usable RSA private key or a wrong annotation") from None
    if names.dkim_secret(instance, key.domain, slot) != name:
        raise Conflict("Secret", name, f"says that it belongs to the domain {key.domain}, which has another name")
    return key


def is_our_key_secret(instance: str, metadata: Mapping[str, object]) -> bool:
    """Tell whether a Secret carries our labels for *instance* and no controller."""
    found = metadata.get("labels") or {}
    owners = metadata.get("ownerReferences") or []
    assert isinstance(found, Mapping)  # noqa: S101 - narrows what the API server's schema guarantees
    assert isinstance(owners, list)  # noqa: S101
    ours = all(found.get(label) == value for label, value in names.labels(instance, "dkim").items())
    return ours and not any(owner.get("controller") for owner in owners)


def with_state(key: DkimKey, state: str, signing_since: str) -> DkimKey:
    """The same key in another state."""
    return dataclasses.replace(key, state=state, signing_since=signing_since)
