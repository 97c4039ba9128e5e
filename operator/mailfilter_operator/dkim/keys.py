"""A DKIM key and its Secret, in both directions.

The Secret is the only place where a private key is at home (the keyring is made from it). Everything else that is
known of a key stands on the same Secret, because a restored backup brings it back and drops status: what never changes
(domain, selector, creation) in its immutable data, state and times as annotations.
"""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from mailfilter_operator import names
from mailfilter_operator.api import Manifest
from mailfilter_operator.errors import Conflict

ACTIVE = "Active"
STATES = (ACTIVE,)
"""Every new key signs at once in this release."""

_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z"
_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_FACTS = {
    "algorithm": r"RSA",
    "bits": r"[0-9]{4}",
    "created": _TIME,
    "domain": rf"{_LABEL}(\.{_LABEL})+",
    "selector": _LABEL,
}
"""What never changes of a key, each with its grammar."""


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


def build_key_secret(instance: str, namespace: str, key: DkimKey) -> dict[str, Any]:
    """Secret of *key*: immutable, without owner so that it outlives the MailFilter (`retention: Retain`).

    What never changes of a key is data, which the API server protects; the annotations say it again for people.
    """
    facts = {name: getattr(key, name) for name in _FACTS}
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
        "data": {
            names.PRIVATE_KEY: _encode(key.private_pem),
            names.KEY_FACTS: _encode(json.dumps(facts, sort_keys=True).encode()),
        },
    }


def parse_key_secret(instance: str, slot: str, secret: Manifest, witness: DkimKey | None = None) -> DkimKey:
    """Read a key back from its Secret; *witness* is the key that the keyring has for the same domain and slot.

    The witness makes up for labels and annotations that somebody changed. Raises Conflict if the Secret is not one of
    this MailFilter's key Secrets or holds no usable key: a key is never overwritten, so a person has to look.
    """
    meta, data = secret["metadata"], secret.get("data") or {}
    name, annotations = meta["name"], meta.get("annotations") or {}
    try:
        pem = base64.b64decode(data[names.PRIVATE_KEY], validate=True)
        read_public_der(pem)
        facts = _parse_facts(base64.b64decode(data[names.KEY_FACTS], validate=True))
    except KeyError as missing:
        raise Conflict("Secret", name, f"lacks {missing.args[0]}") from None
    except (TypeError, ValueError, binascii.Error):
        raise Conflict("Secret", name, "holds no usable RSA private key, or not what belongs to one") from None
    seen = witness if witness is not None and witness.private_pem == pem else None
    if seen is None and not is_our_key_secret(instance, meta):
        raise Conflict("Secret", name, f"is not a key Secret of the MailFilter {instance}")
    if names.dkim_secret(instance, facts["domain"], slot) != name:
        raise Conflict("Secret", name, f"says that it belongs to the domain {facts['domain']}, which has another name")
    state, since = annotations.get(names.ANNOTATION_STATE), annotations.get(names.ANNOTATION_SIGNING_SINCE)
    if state not in STATES:
        state = seen.state if seen else ACTIVE
    if since is None or not re.fullmatch(_TIME, since):
        since = seen.signing_since if seen else facts["created"]
    return DkimKey(slot=slot, state=state, signing_since=since, private_pem=pem, **facts)


def build_key_repairs(desired: Manifest, live: Manifest) -> list[dict[str, Any]]:
    """JSON patch (RFC 6902) of labels, annotations and owners that somebody changed on a key Secret.

    An owner would make the garbage collector delete the key one day.
    """
    operations: list[dict[str, Any]] = []
    meta = live["metadata"]
    for part in ("labels", "annotations"):
        found, wanted = meta.get(part) or {}, desired["metadata"][part]
        changed = {name: value for name, value in wanted.items() if found.get(name) != value}
        if changed:
            operations.append({"op": "add", "path": f"/metadata/{part}", "value": {**found, **changed}})
    if meta.get("ownerReferences"):
        operations.append({"op": "remove", "path": "/metadata/ownerReferences"})
    return operations


def is_our_key_secret(instance: str, metadata: Mapping[str, Any]) -> bool:
    """Tell whether a Secret carries our labels for *instance* and no controller."""
    found = metadata.get("labels") or {}
    ours = all(found.get(label) == value for label, value in names.labels(instance, "dkim").items())
    return ours and not any(owner.get("controller") for owner in metadata.get("ownerReferences") or ())


def _parse_facts(text: bytes) -> dict[str, Any]:
    facts = json.loads(text)
    if not isinstance(facts, dict) or set(facts) != set(_FACTS):
        raise ValueError("other facts than a key has")
    if not all(re.fullmatch(grammar, str(facts[name])) for name, grammar in _FACTS.items()):
        raise ValueError("a fact that no key has")
    return {**facts, "bits": int(facts["bits"])}


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
