"""The TXT record that publishes a DKIM key: the text as a resolver joins it, and the same as a zone-file line."""

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

TTL_SECONDS = 3600
STRING_LIMIT = 255
"""RFC 1035 section 3.3: a character-string holds at most 255 octets."""

_ED25519_BYTES = 32


class PublishedKey(Protocol):
    """What a record says of a key."""

    @property
    def domain(self) -> str: ...
    @property
    def selector(self) -> str: ...
    @property
    def algorithm(self) -> str:
        """RSA or Ed25519."""

    @property
    def public_der(self) -> bytes:
        """SubjectPublicKeyInfo."""


@dataclass(frozen=True, slots=True)
class DnsRecord:
    """A record to publish; `name` without the final dot, `value` unquoted, `zone_line` complete with TTL."""

    domain: str
    purpose: str
    type: str
    name: str
    value: str
    zone_line: str


def build_dkim_record(key: PublishedKey, ttl_seconds: int = TTL_SECONDS) -> DnsRecord:
    """Write the TXT record that publishes *key*, by RFC 6376 section 3.6.1 and RFC 8463 section 4.

    Of RSA, `p=` holds the SubjectPublicKeyInfo; of Ed25519 its last 32 bytes, the bare key. `h=` is left out (every
    hash is allowed) and `t=` too: `t=s` would forbid signing for sub-domains' users.
    """
    if key.algorithm == "Ed25519":
        kind, public = "ed25519", key.public_der[-_ED25519_BYTES:]
    else:
        kind, public = "rsa", key.public_der
    value = f"v=DKIM1; k={kind}; p={base64.b64encode(public).decode('ascii')}"
    return build_txt_record(key.domain, "DKIM", f"{key.selector}._domainkey.{key.domain}", value, ttl_seconds)


def build_record_values(keys: Iterable[PublishedKey]) -> dict[str, str]:
    """Text of the record of each key, by its name."""
    return {record.name: record.value for record in map(build_dkim_record, keys)}


def build_txt_record(domain: str, purpose: str, name: str, value: str, ttl_seconds: int = TTL_SECONDS) -> DnsRecord:
    """A TXT record at *name* with its zone line; *purpose* is DKIM, SPF or DMARC."""
    return DnsRecord(domain, purpose, "TXT", name, value, build_zone_line(name, value, ttl_seconds))


def build_zone_line(name: str, value: str, ttl_seconds: int = TTL_SECONDS) -> str:
    r"""A TXT record of printable ASCII as one line of a zone file, in quoted strings of at most 255 octets.

    Quotes and backslashes are escaped by RFC 1035 section 5.1; what a string holds counts, not how it is written.

    >>> build_zone_line("mf._domainkey.example.com", "v=DKIM1; p=")
    'mf._domainkey.example.com. 3600 IN TXT "v=DKIM1; p="'
    """
    pieces = [value[i : i + STRING_LIMIT] for i in range(0, len(value), STRING_LIMIT)]
    quoted = (piece.replace("\\", r"\\").replace('"', r"\"") for piece in pieces)
    return f"{name}. {ttl_seconds} IN TXT " + " ".join(f'"{piece}"' for piece in quoted)
