"""Zone files of the test domains, made of the lines of a MailFilter's status, and questions to the server.

The lines are put in as they are: what is tested is that an administrator can do just that.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence

import dns.exception
import dns.resolver
from tests.mail.kubectl import Kubectl
from tests.mail.polling import eventually

NAMESERVER = "10.96.0.53"
ZONES = ("example.com", "example.org", "example.net", "test")

_HEAD = """\
$TTL 5
@ IN SOA ns hostmaster {serial} 3600 600 86400 5
@ IN NS ns
ns IN A 10.96.0.53
"""


def compose_zone(lines: Iterable[str], serial: int) -> str:
    """Write a zone file that holds *lines* and what every zone must have."""
    return _HEAD.format(serial=serial) + "".join(f"{line}\n" for line in lines)


def group_lines(records: Sequence[Mapping[str, str]]) -> dict[str, list[str]]:
    """Sort the zone lines of a MailFilter's ``status.dnsRecords`` by the test zone they belong to."""
    grouped: dict[str, list[str]] = {zone: [] for zone in ZONES}
    for record in records:
        zone = next(zone for zone in ZONES if f".{record['domain']}".endswith(f".{zone}"))
        grouped[zone].append(record["zoneLine"])
    return grouped


def load_zones(kubectl: Kubectl, lines: Mapping[str, Sequence[str]]) -> None:
    """Make the server answer from zone files that hold *lines* (by zone); return when it does.

    Raises TimeoutError with the server's log if it refuses a zone.
    """
    serial = max(int(time.time()), *(_serial(zone) + 1 for zone in ZONES))
    for zone, zone_lines in lines.items():
        path = f"/var/cache/bind/{zone}.zone"
        content = compose_zone(zone_lines, serial).encode()
        kubectl.execute("mail-test", "deployment/bind", "sh", "-c", f"cat > {path}", stdin=content)
    kubectl.execute("mail-test", "deployment/bind", "sh", "-c", "kill -HUP 1")
    try:
        for zone in lines:
            eventually(
                lambda zone=zone: _serial(zone) >= serial,  # type: ignore[misc]
                within_seconds=10,
                what=f"the server's answer for zone {zone} with serial {serial}",
            )
    except TimeoutError as error:
        log = kubectl.run("logs", "--namespace=mail-test", "deployment/bind", "--tail=20")
        raise TimeoutError(f"{error}\n{log}") from error


def resolver(nameserver: str = NAMESERVER) -> dns.resolver.Resolver:
    """Return a resolver that asks the test server only and keeps no answers."""
    asking = dns.resolver.Resolver(configure=False)
    asking.nameservers = [nameserver]
    asking.lifetime = 5
    return asking


def look_up_txt(name: str) -> list[str]:
    """Return the TXT records of *name*, each with its strings joined as a verifier joins them."""
    try:
        answer = resolver().resolve(name, "TXT")
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return []
    return [b"".join(record.strings).decode() for record in answer]


def _serial(zone: str) -> int:
    """Return the serial the server gives for *zone*; 0 if it does not answer (yet)."""
    try:
        return int(resolver().resolve(zone, "SOA")[0].serial)
    except dns.exception.DNSException:
        return 0
