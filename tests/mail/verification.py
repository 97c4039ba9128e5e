"""Verifying DKIM signatures as a receiver does: dkimpy with the key it looks up itself."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import dkim
import dns.resolver
from tests.mail import zones


@dataclass(frozen=True)
class Verdict:
    """What a verifier found: whose signature, by which selector, and whether it holds."""

    valid: bool
    domain: str
    selector: str
    reason: str = ""

    @property
    def record(self) -> str:
        """Name of the record that holds the key."""
        return f"{self.selector}._domainkey.{self.domain}"


def verify(message: bytes) -> Verdict:
    """Verify the topmost DKIM signature of *message*; a missing or broken one gives the reason."""
    verifier = dkim.DKIM(message)
    try:
        with _resolver_of_test_zones():
            valid = verifier.verify()
    except dkim.DKIMException as error:
        return Verdict(valid=False, domain="", selector="", reason=str(error))
    domain, selector = (verifier.domain or b"").decode(), (verifier.selector or b"").decode()
    reason = "" if valid else "no signature, or it does not fit the mail"
    return Verdict(valid, domain, selector, reason)


@contextlib.contextmanager
def _resolver_of_test_zones() -> Iterator[None]:
    """Let dnspython's default resolver, which dkimpy uses, ask the server of the test zones."""
    before = dns.resolver.default_resolver
    dns.resolver.default_resolver = zones.resolver()
    try:
        yield
    finally:
        dns.resolver.default_resolver = before
