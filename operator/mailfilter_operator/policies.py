"""Policies of `spec.antivirus` in rspamd's words.

Which of its symbols stands for what ClamAV may say of a mail, and which action for what the spec wants done then. The
image's own rule (image/filter/mailfilter_antivirus.lua) holds to the same policies whatever else decides.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from mailfilter_operator.api import Antivirus

ACTIONS = {
    "AddHeader": "add header",
    "Discard": "discard",
    "Quarantine": "quarantine",
    "Reject": "reject",
    "TempFail": "soft reject",
}
"""rspamd's action for each policy; `Accept` is none."""

TRY_AGAIN = "Virus scan failed, try again later"

UNOFFICIAL_NAMES = r"^(?!MailFilter\.Builtin\.).*\.UNOFFICIAL$"
"""Names of signatures that are not ClamAV's own, as clamd tells them; but for those that the image brings along."""

LIMITS_EXCEEDED = "^Limits Exceeded: "
"""How rspamd's module begins what it says of a mail that clamd could not unpack to its end."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What is done with a mail of which ClamAV says something; `name` as in the section `antivirus` of rspamd."""

    name: str
    rule: str
    symbol: str
    policy: str
    refusal: str
    """What the sender is told by Reject, before what ClamAV calls it."""

    @property
    def action(self) -> str | None:
        """The action of rspamd; None if nothing is to be done."""
        return ACTIONS.get(self.policy)

    @property
    def message(self) -> str | None:
        """What the sender is told, as a template of rspamd; None if he is told nothing."""
        if self.policy == "TempFail":
            return TRY_AGAIN
        return f"{self.refusal}: ${{symbol('{self.symbol}'):options}}" if self.policy == "Reject" else None

    @property
    def least(self) -> bool:
        """A worse action for another reason goes before."""
        return self.policy == "AddHeader"


def list_policies(antivirus: Antivirus) -> tuple[Policy, ...]:
    """One policy for each symbol that rspamd's antivirus module has."""
    return tuple(_list_policies(antivirus))


def _list_policies(antivirus: Antivirus) -> Iterator[Policy]:
    alerts = antivirus.alerts
    virus = "Virus found"
    yield Policy("virus", "VIRUS_FOUND", "CLAM_VIRUS", antivirus.on_virus, virus)
    yield Policy("unofficial", "UNOFFICIAL_FOUND", "CLAM_VIRUS_UNOFFICIAL", antivirus.on_unofficial, virus)
    yield Policy("failure", "VIRUS_SCAN_FAILED", "CLAM_VIRUS_FAIL", antivirus.on_failure, "")
    yield Policy("limits", "LIMITS_EXCEEDED", "CLAM_VIRUS_LIMITS", alerts.limits_exceeded, "Too much to scan")
    yield Policy("encrypted", "ENCRYPTED_FOUND", "CLAM_VIRUS_ENCRYPTED", alerts.encrypted, "Encrypted content")
    yield Policy("macros", "MACROS_FOUND", "CLAM_VIRUS_MACRO", alerts.macros, "Macros found")
