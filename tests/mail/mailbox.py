"""Reading delivered mail back from the Maildirs of the test Postfix."""

from __future__ import annotations

from collections import Counter

from tests.mail.kubectl import Kubectl, KubectlError
from tests.mail.polling import eventually

_FIND = 'file=$(grep -rlF -- "$1" "/var/mail/test/$2/new") && cat "$file"'
# Of each file the first one: a Message-ID may also be quoted in a text.
_LIST = 'find "/var/mail/test/$1/new" -type f -exec grep -hm1 "^Message-ID: " {} +'


def read_delivered(kubectl: Kubectl, message_id: str, recipient: str, *, within_seconds: float = 20) -> bytes:
    """Return the mail with *message_id* as it lies in the recipient's mailbox, filter's headers included.

    Raises TimeoutError if it does not arrive.
    """
    domain = recipient.partition("@")[2]

    def found() -> bytes | None:
        try:
            return kubectl.execute("mail-test", "deployment/postfix", "sh", "-c", _FIND, "sh", message_id, domain)
        except KubectlError:
            return None

    return eventually(found, within_seconds=within_seconds, what=f"delivery of {message_id} to {recipient}")


def list_delivered(kubectl: Kubectl, domain: str) -> Counter[str]:
    """Return the Message-IDs of all mail in the mailbox of *domain*, and how often each is there."""
    lines = kubectl.execute("mail-test", "deployment/postfix", "sh", "-c", _LIST, "sh", domain).decode().splitlines()
    return Counter(line.partition(": ")[2].strip() for line in lines)
