"""MailFilters and DKIM keys to test with.

The RSA keys follow from their names, so that expected files can hold what is made of a public key. They are computed
when they are asked for: no private key is stored.
"""

from __future__ import annotations

import functools
import hashlib
import math
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from mailfilter_operator import names
from mailfilter_operator.api import MailFilter, parse
from mailfilter_operator.credentials import Secrets, compute_password_hash
from mailfilter_operator.dkim.keys import DkimKey
from mailfilter_operator.dkim.record_schedule import UNKNOWN
from mailfilter_operator.dkim.records import build_dkim_record
from mailfilter_operator.domain_status import DomainReport, RecordReport
from mailfilter_operator.plan import Plan
from mailfilter_operator.raw_text import read_raw_text
from mailfilter_operator.references import References
from mailfilter_operator.render import Configuration
from mailfilter_operator.render import render as render_all
from mailfilter_operator.validate import ValidMailFilter, compute_limits, validate

NOW = "2026-11-23T09:00:00Z"
LATER = "2026-11-23T09:30:00Z"
IMAGE = "localhost/mailfilter:0.1.0"
UID = "8f1a4f0e-6c1b-4c55-9d0a-2f0c7f6f1a10"
SALT = "5a" * 32
PASSWORD = "correct horse"  # noqa: S105 - of tests
SECRETS = Secrets(SALT, compute_password_hash("the samples", PASSWORD, SALT))
REPLICA_SET = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "mx-5d9", "uid": "uid-of-rs", "controller": True}
"""Owner of a filter pod."""

_EXPONENT = 65537
_SMALL_PRIMES = math.prod(n for n in range(3, 1000, 2) if all(n % d for d in range(3, math.isqrt(n) + 1, 2)))


def body(name: str = "mx", uid: str = UID, **spec: Any) -> dict[str, Any]:
    """A MailFilter as the API server returns it; *spec* replaces whole fields of the smallest one."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"name": name, "namespace": "mail", "uid": uid, "generation": 1},
        "spec": {
            "domains": [{"name": "example.com"}],
            "dkim": {"activation": "AtOnce"},
            "antivirus": {
                "onUnofficial": "Reject",
                "signatures": {"source": "CustomOnly", "customURLs": ["http://sigs.test/own.ndb"]},
            },
            **spec,
        },
    }


def mailfilter(**spec: Any) -> MailFilter:
    """`body` as it is parsed."""
    return parse(body(**spec))


def valid(**spec: Any) -> ValidMailFilter:
    """`body` as it is built from."""
    return validate(mailfilter(**spec), IMAGE)


def render(valid: ValidMailFilter, keys: tuple[DkimKey, ...], references: References | None = None) -> Configuration:
    """All files, with the raw text of the spec and the password of the samples."""
    return render_all(valid, keys, SECRETS, read_raw_text(valid.spec, references or References()))


def plan(valid: ValidMailFilter, keys: tuple[DkimKey, ...]) -> Plan:
    """All files, as they are to serve."""
    return Plan(render(valid, keys))


def scanning(mebibytes: int) -> dict[str, Any]:
    """Part of a spec: messages of this size, and the shortest time-out that fits."""
    limits = compute_limits(f"{mebibytes}Mi")
    return {
        "antivirus": {"signatures": {"source": "Official"}, "maxMessageSize": f"{mebibytes}Mi"},
        "workers": {"proxy": {"timeoutSeconds": limits.task_timeout}},
    }


@functools.cache
def private_pem(seed: str, bits: int = 1024) -> bytes:
    """RSA private key that follows from *seed*, as PKCS#8 PEM."""
    p, q = (_find_prime(f"{seed}/{factor}", bits // 2) for factor in "pq")
    d = pow(_EXPONENT, -1, (p - 1) * (q - 1))
    public = rsa.RSAPublicNumbers(_EXPONENT, p * q)
    crt = (rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q))
    return pem_of(rsa.RSAPrivateNumbers(p, q, d, *crt, public).private_key())


def pem_of(key: rsa.RSAPrivateKey) -> bytes:
    """A private key as PKCS#8 PEM."""
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)


def dkim_key(domain: str = "example.com", *, seed: str = "", bits: int = 1024, selector: str = "mf1") -> DkimKey:
    """An Active key of *domain*."""
    pem = private_pem(seed or domain, bits)
    return DkimKey(domain, "r0", selector, "RSA", bits, "Active", NOW, NOW, pem)


def domain_report(*keys: DkimKey) -> DomainReport:
    """Keys with their records, of which DNS has not been asked."""
    records = (RecordReport(build_dkim_record(key), key.state, UNKNOWN) for key in keys)
    return DomainReport(keys, tuple(records))


def _find_prime(seed: str, bits: int) -> int:
    """The first fitting prime at or above a number made of *seed*."""
    start = int.from_bytes(hashlib.shake_256(seed.encode()).digest(bits // 8), "big")
    candidate = start | 3 << (bits - 2) | 1
    while not (math.gcd(candidate, _SMALL_PRIMES) == 1 and _is_prime(candidate) and (candidate - 1) % _EXPONENT):
        candidate += 2
    return candidate


def _is_prime(number: int) -> bool:
    """Fermat's test to a few bases, which does for numbers that nobody chose."""
    return all(pow(base, number - 1, number) == 1 for base in (2, 3, 5))
