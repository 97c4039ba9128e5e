"""The MailFilter with the most keys: 100 domains with the longest names, RSA-4096 with Ed25519, all rotating."""

from __future__ import annotations

from dataclasses import replace

from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from tests.api import cases
from tests.unit import samples

from mailfilter_operator.dkim.keys import ACTIVE, ED25519, PENDING, RETIRING, RSA, DkimKey, write_pem
from mailfilter_operator.dkim.lines import SLOTS
from mailfilter_operator.dkim.published import Publication
from mailfilter_operator.domain_status import DomainReport

DOMAINS = 100
LONGEST_DOMAIN = 226
"""So long that there is room for a selector before it."""
SELECTOR = "mf20261123-4f2a"
LONGEST_ID = "/".join(("i" * 63, "i" * 63))
"""`rotationID` of all domains and that of one."""

LONGEST_OBSERVED = "x" * 1024
WIDEST_OBSERVED = "\ufffd" * 1024
"""What DNS may be reported to have in place of a record."""


def make_rotating_keys() -> tuple[DkimKey, ...]:
    """Of each line the key that signed, the one that signs and the one that waits; their contents are real ones.

    One key of each algorithm stands for all: what is looked at is how long they are.
    """
    pems = {
        RSA: write_pem(rsa.generate_private_key(public_exponent=65537, key_size=4096)),
        ED25519: write_pem(ed25519.Ed25519PrivateKey.generate()),
    }
    return tuple(
        DkimKey(
            domain=domain,
            slot=slot,
            selector=SELECTOR,
            algorithm=algorithm,
            bits=4096 if algorithm == RSA else 256,
            state=state,
            created=samples.NOW,
            signing_since="" if state == PENDING else samples.NOW,
            private_pem=pem,
            rotation_id=LONGEST_ID,
            seen_again=samples.LATER if state == PENDING else "",
            left_since=samples.LATER if state == RETIRING else "",
        )
        for domain in (cases.domain_of(LONGEST_DOMAIN, index) for index in range(DOMAINS))
        for algorithm, pem in pems.items()
        for slot, state in zip(SLOTS[algorithm], (RETIRING, ACTIVE, PENDING), strict=True)
    )


def report_keys(keys: tuple[DkimKey, ...], observed: str | None) -> DomainReport:
    """Keys whose records are missing, or different everywhere: one wildcard answers to all their names."""
    publication = Publication("Different" if observed else "Missing", observed, (), 0)
    report = samples.domain_report(*keys)
    return replace(report, records=tuple(replace(entry, publication=publication) for entry in report.records))
