"""Which key signs for which domain, and which key is missing. Decides; making and storing keys is the shell's."""

from collections.abc import Iterable
from dataclasses import dataclass

from mailfilter_operator import names
from mailfilter_operator.api import Spec
from mailfilter_operator.dkim.keys import DkimKey


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """A key to make: `selector` is None where the key's day and hash shall name it."""

    domain: str
    slot: str
    bits: int
    selector: str | None


@dataclass(frozen=True, slots=True)
class KeyPlan:
    """`signing`: keys of the keyring in the order of the spec; `missing`: to be made before they can sign."""

    signing: tuple[DkimKey, ...]
    missing: tuple[KeyRequest, ...]


def plan_keys(spec: Spec, keys: Iterable[DkimKey]) -> KeyPlan:
    """Compare the domains of the spec with the keys that exist.

    An existing key signs whatever its size or selector: those of the spec name the next key, and a key that signs is
    never replaced because a field changed (that would be an unpublished key).
    """
    by_domain = {key.domain: key for key in keys}
    signing, missing = [], []
    for domain in spec.domains:
        key = by_domain.get(domain.name)
        if key:
            signing.append(key)
        else:
            bits = domain.dkim.key_bits or spec.dkim.key_bits
            missing.append(KeyRequest(domain.name, names.FIRST_RSA_SLOT, bits, domain.dkim.selector))
    return KeyPlan(tuple(signing), tuple(missing))
