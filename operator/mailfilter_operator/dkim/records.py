"""The TXT record that publishes a DKIM key: the text as a resolver joins it, and the same as a zone-file line."""

import base64
from dataclasses import dataclass

from mailfilter_operator.dkim.keys import DkimKey

TTL_SECONDS = 3600
STRING_LIMIT = 255
"""RFC 1035 section 3.3: a character-string holds at most 255 octets."""


@dataclass(frozen=True, slots=True)
class DnsRecord:
    """A record to publish; `name` without the final dot, `value` unquoted, `zone_line` complete with TTL."""

    domain: str
    purpose: str
    type: str
    name: str
    value: str
    zone_line: str


def build_dkim_record(key: DkimKey) -> DnsRecord:
    """Write the TXT record that publishes *key*, by RFC 6376 section 3.6.1.

    `h=` is left out (every hash is allowed) and `t=` too: `t=s` would forbid signing for sub-domains' users.
    """
    name = f"{key.selector}._domainkey.{key.domain}"
    value = f"v=DKIM1; k=rsa; p={base64.b64encode(key.public_der).decode('ascii')}"
    return DnsRecord(key.domain, "DKIM", "TXT", name, value, build_zone_line(name, value))


def build_zone_line(name: str, value: str) -> str:
    """A TXT record as one line of a zone file, in quoted strings of at most 255 octets.

    >>> build_zone_line("mf._domainkey.example.com", "v=DKIM1; p=")
    'mf._domainkey.example.com. 3600 IN TXT "v=DKIM1; p="'
    """
    pieces = [value[i : i + STRING_LIMIT] for i in range(0, len(value), STRING_LIMIT)]
    return f"{name}. {TTL_SECONDS} IN TXT " + " ".join(f'"{piece}"' for piece in pieces)
