"""What a receiver says of a mail with several signatures."""

from __future__ import annotations

from dataclasses import replace

import dkim
from dkim.util import parse_tag_value
from tests.mail import zones
from tests.mail.verification import Verdict

from mailfilter_operator.probe_signing import verify_signatures


def verify_each(message: bytes) -> tuple[Verdict, ...]:
    """Verify every DKIM signature of *message*, also those by Ed25519, with the records that there are right now.

    Safe from any thread. dkimpy verifies, with the operator's supplement for Ed25519.
    """
    found = []
    for name, value in dkim.DKIM(message).headers:
        if name.lower() == b"dkim-signature":
            tags = parse_tag_value(value)
            signature = Verdict(valid=True, domain=tags[b"d"].decode(), selector=tags[b"s"].decode())
            texts = zones.look_up_txt(signature.record)
            reason = f"there are {len(texts)} records"
            if len(texts) == 1:
                reason = verify_signatures(message, {signature.record: texts[0]}).get(signature.record, "")
            found.append(replace(signature, valid=not reason, reason=reason))
    return tuple(found)
