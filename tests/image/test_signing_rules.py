"""Which mail is signed is what spec.dkim.sign says, and what is to be signed and cannot be is not accepted."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.image.conftest import serve_databases, wait_ready
from tests.image.messages import EICAR, message
from tests.image.milter import Verdict
from tests.image.pod import Pod, write_candidate
from tests.unit import samples

from mailfilter_operator.api import parse
from mailfilter_operator.dkim.keys import DkimKey
from mailfilter_operator.dkim.own_keys import parse_own_key
from mailfilter_operator.dkim.records import build_record_values
from mailfilter_operator.dkim.slots import KeyRequest
from mailfilter_operator.keygen import make_key as generate_key
from mailfilter_operator.probe_signing import verify_signatures
from mailfilter_operator.validate import validate

NOW = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
STRANGER = "198.51.100.7"
NETWORK = "192.0.2.9"
LOCAL = "127.0.0.1"
REFUSAL = "451 4.7.1 DKIM signing failed, try again later"
UNSCORED = {"greylist": "Disabled", "addHeader": "Disabled", "reject": "Disabled"}
"""Mail is accepted, however odd it is."""


@functools.cache
def make_key(domain: str, algorithm: str, bits: int) -> DkimKey:
    """A key of a domain, the same for all tests; one of 4096 bits is somebody's own."""
    slot = "r0" if algorithm == "RSA" else "e0"
    if bits != 4096:
        return generate_key(KeyRequest(domain, slot, algorithm, bits, at_once=True), NOW)
    own = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    pem = own.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    request = KeyRequest(domain, slot, algorithm, bits, at_once=True, selector="own", own=parse_own_key(pem))
    return generate_key(request, NOW)


KEYS = {
    "example.com": [("RSA", 2048)],
    "example.org": [("RSA", 4096)],
    "example.net": [("RSA", 2048), ("Ed25519", 256)],
    "shop.example.com": [("RSA", 2048)],
}
THREE = ("example.com", "example.org", "example.net")


def keys_of(*domains: str) -> tuple[DkimKey, ...]:
    """All keys of these domains, by default one of RSA with 2048 bits."""
    return tuple(make_key(domain, *kind) for domain in domains for kind in KEYS.get(domain, [("RSA", 2048)]))


def serve(
    pod: Pod,
    keys: tuple[DkimKey, ...],
    sign: dict[str, Any] | None = None,
    changes: dict[str, str | None] | None = None,
    **spec: Any,
) -> Pod:
    """Start a pod that signs with *keys*; *changes* are contents of key files, None for one that is not there."""
    metadata = {"name": "mx", "namespace": "mail", "uid": "1", "generation": 1}
    domains = dict.fromkeys(key.domain for key in keys)
    whole = {
        "domains": [{"name": domain} for domain in domains],
        "dkim": {"sign": sign or {}},
        "actions": UNSCORED,
        "antivirus": {
            "maxMessageSize": "1Mi",
            "signatures": {"source": "CustomOnly", "customURLs": ["http://127.0.0.1:8080/demo.ndb"]},
        },
        **spec,
    }
    made = samples.render(validate(parse({"metadata": metadata, "spec": whole}), samples.IMAGE), keys)
    key_files = {key.file_name: key.file_content.decode() for key in keys} | (changes or {})
    files = {**made.metrics, **made.workers, **made.modules, **made.clamav, **made.files}
    files |= {f"keys/{name}": content for name, content in key_files.items() if content is not None}
    write_candidate(pod.candidate, files, secret=made.credentials, salt=samples.SALT)
    serve_databases(pod)
    for name in ("rspamd", "freshclam", "clamd"):
        pod.start(name)
    wait_ready(pod, "rspamd", "clamd")
    return pod


def signers(verdict: Verdict, mail: bytes) -> dict[str, int]:
    """Signing domains of an accepted mail, each with the number of its signatures; all have to verify."""
    assert verdict.reply == "accept"
    added = [value.replace("\n", "\r\n") for name, value in verdict.headers if name == "DKIM-Signature"]
    signed = "".join(f"DKIM-Signature: {value}\r\n" for value in added).encode() + mail
    records = build_record_values(keys_of(*KEYS))
    good = [name for name in records if name not in verify_signatures(signed, {name: records[name]})]
    assert len(good) == len(added)
    names = [name.partition("._domainkey.")[2] for name in good]
    return {name: names.count(name) for name in names}


def signed_by(pod: Pod, author: str, client: str, user: str = "", envelope: str | None = None) -> str:
    """The one domain that signs a mail, with all of its keys; empty if none does."""
    mail = message(b"hello", sender=author)
    found = signers(pod.scan(mail, client, author if envelope is None else envelope, user), mail)
    assert all(count == len(KEYS[domain]) for domain, count in found.items())
    assert len(found) <= 1
    return "".join(found)


@pytest.fixture(scope="module")
def networks(make_pod: Callable[[], Pod]) -> Iterator[Pod]:
    """Provide a pod with the defaults, one network and three domains with different keys."""
    made = serve(make_pod(), keys_of(*THREE), {"networks": ["192.0.2.0/24"]})
    yield made
    made.remove()


@pytest.fixture(scope="module")
def never(make_pod: Callable[[], Pod]) -> Iterator[Pod]:
    """Provide a pod that signs for subdomains, and only where the envelope has the domain of From."""
    sign = {"networks": ["192.0.2.0/24"], "envelopeMismatch": "Never", "subdomains": True}
    made = serve(make_pod(), keys_of("example.com", "shop.example.com"), sign)
    yield made
    made.remove()


@pytest.fixture(scope="module")
def always(make_pod: Callable[[], Pod]) -> Iterator[Pod]:
    """Provide a pod that signs for every login with every envelope, and for nobody without."""
    made = serve(make_pod(), keys_of("example.com"), {"local": False, "usernames": "Any", "envelopeMismatch": "Always"})
    yield made
    made.remove()


def test_signed_mail_keeps_its_subject_and_is_marked_as_spam(make_pod: Callable[[], Pod]) -> None:
    """Another subject would break the signature; other mail gets it."""
    scored = {"groups": [{"name": "own", "symbols": [{"name": "MISSING_DATE", "score": "9.5"}]}]}
    actions = {**UNSCORED, "rewriteSubject": 7}
    pod = serve(make_pod(), keys_of("example.com"), actions=actions, metrics=scored)
    mail = b"".join(line for line in message(b"hello", sender="me@example.com").splitlines(keepends=True)
                    if not line.startswith(b"Date:"))  # fmt: skip

    verdict = pod.scan(mail, STRANGER, "me@example.com", "me@example.com")
    assert signers(verdict, mail) == {"example.com": 1}
    assert [value for name, value in verdict.headers if name == "X-Spam"] == ["Yes"]
    assert not [value for name, value in verdict.headers if name == "Subject"]

    other = pod.scan(mail, STRANGER, "me@example.com")
    assert other.reply == "accept"
    assert [value for name, value in other.headers if name == "Subject"] == ["*** SPAM *** hello there"]
    pod.remove()


@pytest.mark.parametrize("domain", THREE)
@pytest.mark.parametrize("client", [STRANGER, NETWORK, LOCAL])
def test_a_domain_signs_with_all_of_its_keys(networks: Pod, domain: str, client: str) -> None:
    author = f"me@{domain}"
    assert signed_by(networks, author, client, author if client == STRANGER else "") == domain


@pytest.mark.parametrize(
    ("author", "client", "user"),
    [
        ("me@example.com", STRANGER, ""),
        ("me@example.com", "10.244.0.7", ""),
        ("me@example.com", STRANGER, "me@example.org"),
        ("me@example.com", STRANGER, "me"),
        ("me@example.com", STRANGER, "me@shop.example.com"),
        # Whoever has logged in is asked for the login, wherever that was.
        ("me@example.com", NETWORK, "me@example.org"),
        ("me@example.com", LOCAL, "me"),
        ("me@example.test", STRANGER, "me@example.test"),
        ("me@example.test", NETWORK, ""),
        ("me@shop.example.com", STRANGER, "me@shop.example.com"),
        ("me@notexample.com", LOCAL, ""),
        ("me@com", LOCAL, ""),
    ],
)
def test_mail_that_is_not_to_be_signed_passes_unsigned(networks: Pod, author: str, client: str, user: str) -> None:
    assert signed_by(networks, author, client, user) == ""


MISMATCHES = [
    ("networks", NETWORK, "", True),
    ("networks", LOCAL, "", True),
    ("networks", STRANGER, "me@example.com", False),
    ("never", NETWORK, "", False),
    ("never", LOCAL, "", False),
    ("never", STRANGER, "me@example.com", False),
    ("always", STRANGER, "me@example.com", True),
    ("always", STRANGER, "", False),
]


@pytest.mark.parametrize(("name", "client", "user", "signed"), MISMATCHES)
def test_another_domain_in_the_envelope(
    request: pytest.FixtureRequest, name: str, client: str, user: str, *, signed: bool
) -> None:
    pod = request.getfixturevalue(name)
    for envelope in ("bounce-me=example.org@lists.example", "me@mail.example.com"):
        assert signed_by(pod, "me@example.com", client, user, envelope) == ("example.com" if signed else "")


@pytest.mark.parametrize(
    ("name", "client", "user"),
    [
        ("networks", STRANGER, "me@example.com"),
        ("networks", LOCAL, ""),
        ("never", STRANGER, "me@example.com"),
        ("never", NETWORK, ""),
        ("never", LOCAL, ""),
        ("always", STRANGER, "me"),
    ],
)
def test_the_empty_envelope_of_a_bounce_and_one_of_the_same_domain_are_signed(
    request: pytest.FixtureRequest, name: str, client: str, user: str
) -> None:
    pod = request.getfixturevalue(name)
    for envelope in ("", "other@example.com", "other@Example.COM"):
        assert signed_by(pod, "me@example.com", client, user, envelope) == "example.com"


@pytest.mark.parametrize(
    ("author", "user", "domain"),
    [
        ("me@blog.example.com", "me@blog.example.com", "example.com"),
        ("me@a.b.Example.com", "me@a.b.example.COM", "example.com"),
        ("me@shop.example.com", "me@shop.example.com", "shop.example.com"),
        ("me@a.shop.example.com", "me@a.shop.example.com", "shop.example.com"),
        ("me@shop.example.com", "me@example.com", ""),
        ("me@notexample.com", "me@notexample.com", ""),
        ("me@com", "me@com", ""),
    ],
)
def test_subdomains_sign_as_the_nearest_listed_domain(never: Pod, author: str, user: str, domain: str) -> None:
    assert signed_by(never, author, STRANGER, user) == domain


@pytest.mark.parametrize("user", ["me", "me@example.org"])
def test_any_login_signs_if_the_spec_says_so(always: Pod, user: str) -> None:
    assert signed_by(always, "me@example.com", STRANGER, user) == "example.com"
    assert signed_by(always, "me@example.com", LOCAL) == ""


AUTHORS = {
    "quoted local part": (b'"a b@c"@example.com', True),
    "name with another address": (b'"x@example.org" <me@EXAMPLE.com>', True),
    "comment": (b"me@example.com (x@example.org)", True),
    "encoded name": (b"=?utf-8?q?x=40example=2Eorg?= <me@example.com>", True),
    "several": (b"me@example.com, you@example.com", False),
    "several, one unlisted": (b"me@example.com, you@example.test", False),
    "group": (b"us: me@example.com, you@example.com;", False),
    "two fields": (b"me@example.com\r\nFrom: you@example.com", False),
    "empty": (b"", False),
    "empty address": (b"<>", False),
    "no domain": (b"me", False),
    "only a name": (b'"me@example.com"', False),
    "domain literal": (b"me@[192.0.2.1]", False),
}
"""Values of From: who may have mail of example.com signed, has this one signed."""


def with_author(value: bytes) -> bytes:
    """A mail with this value of From."""
    return message(b"hello").replace(b"From: sender@example.org\r\n", b"From: " + value + b"\r\n")


@pytest.mark.parametrize(("value", "signed"), AUTHORS.values(), ids=AUTHORS)
def test_from_has_to_name_one_address(networks: Pod, value: bytes, *, signed: bool) -> None:
    mail = with_author(value)
    assert signers(networks.scan(mail, NETWORK, "me@example.com"), mail) == ({"example.com": 1} if signed else {})


ODD = {
    "no body": message(b"", sender="me@example.com").rstrip(b"\r\n") + b"\r\n\r\n",
    "bytes of no character set": message(bytes(range(128, 256)) * 20, sender="me@example.com"),
    "nothing but From": b"From: me@example.com\r\n\r\n",
    "long lines": message(b"a" * 100_000, sender="me@example.com", subject="b" * 5000),
    "broken parts": message(b"--x", sender="me@example.com").replace(b"text/plain", b'multipart/mixed; boundary="x"'),
    "spaces at the ends": message(b" a  \r\n\r\n \t\r\n\r\n", sender="me@example.com", extra=b"X-A:  b \r\n\tc \r\n"),
}


@pytest.mark.parametrize("mail", ODD.values(), ids=ODD)
def test_odd_mail_is_signed_like_any_other(networks: Pod, mail: bytes) -> None:
    assert signers(networks.scan(mail, LOCAL, ""), mail) == {"example.com": 1}


def test_mail_that_is_not_accepted_is_refused_as_before(networks: Pod) -> None:
    for user in ("me@example.com", ""):
        answer = networks.scan(message(EICAR, sender="me@example.com"), STRANGER, "me@example.com", user)
        assert answer.reply.startswith("554 5.7.1 Virus found: ")


BROKEN = ("empty", "garbage", "missing", "curve", "half")
"""Domains below test, each with a key that cannot sign; half has another that can."""


@pytest.fixture(scope="module")
def broken(make_pod: Callable[[], Pod]) -> Iterator[Pod]:
    """Provide a pod with domains whose key files are not what they should be, and example.com."""
    curve = ec.generate_private_key(ec.SECP256R1())
    content = {
        "empty": "",
        "garbage": "not a key\n",
        "missing": None,
        "curve": curve.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
    }
    half = make_key("half.test", "Ed25519", 256)
    keys = (*keys_of(*(f"{name}.test" for name in BROKEN), "example.com"), half)
    changes = {keys_of(f"{name}.test")[0].file_name: text for name, text in content.items()}
    made = serve(make_pod(), keys, {"networks": ["192.0.2.0/24"]}, {**changes, half.file_name: ""})
    yield made
    made.remove()


@pytest.mark.parametrize("name", BROKEN)
def test_mail_that_cannot_be_signed_is_held_back(broken: Pod, name: str) -> None:
    author = f"me@{name}.test"
    for client, user in ((STRANGER, author), (NETWORK, ""), (LOCAL, "")):
        assert broken.scan(message(b"hello", sender=author), client, author, user).reply == REFUSAL


def test_other_domains_sign_beside_one_that_cannot(broken: Pod) -> None:
    assert signed_by(broken, "me@example.com", NETWORK) == "example.com"


@pytest.mark.parametrize("envelope", ["me@empty.test", "", "bounces@lists.example.org"])
@pytest.mark.parametrize("value", [value for value, _ in AUTHORS.values()], ids=AUTHORS)
def test_mail_from_outside_never_waits_for_a_signature(broken: Pod, value: bytes, envelope: str) -> None:
    """Forged, or come back from a list."""
    mail = with_author(value.replace(b"example.com", b"empty.test").replace(b"EXAMPLE.com", b"Empty.Test"))
    for client in (STRANGER, "10.244.0.7"):
        assert signers(broken.scan(mail, client, envelope), mail) == {}


@pytest.mark.parametrize("value", [value for value, signed in AUTHORS.values() if not signed])
def test_what_would_not_be_signed_does_not_wait_for_a_signature(broken: Pod, value: bytes) -> None:
    mail = with_author(value.replace(b"example.com", b"empty.test"))
    assert signers(broken.scan(mail, NETWORK, "me@empty.test"), mail) == {}


def test_inbound_mail_that_a_network_forwards_passes(broken: Pod) -> None:
    assert signed_by(broken, "friend@example.test", NETWORK, envelope="srs0=x@empty.test") == ""
    assert signed_by(broken, "me@empty.test", STRANGER, "me@example.com") == ""


SETTINGS = """
symbol { from = "symbol@example.com"; apply { symbols_disabled = ["DKIM_SIGNED", "DKIM_CHECK"]; } }
group { from = "group@example.com"; apply { groups_disabled = ["dkim", "policies", "mailfilter"]; } }
chosen { from = "chosen@example.com"; apply { symbols_enabled = ["CLAM_VIRUS"]; } }
given { from = "given@example.com"; symbols [ "DKIM_SIGNED" ] }
whitelisted { from = "whitelisted@example.com"; whitelist = true; }
skipped { from = "skipped@example.com"; apply { flags = ["skip"]; } }
"""
MULTIMAP = 'EARLY { type = "ip"; map = ["192.0.2.77"]; prefilter = true; action = "accept"; }\n'


@pytest.fixture(scope="module")
def meddled(make_pod: Callable[[], Pod]) -> Iterator[Pod]:
    """Provide a pod with raw text that does to the mail of some senders what keeps rspamd from signing."""
    files = {"local.d/settings.conf": SETTINGS, "local.d/multimap.conf": MULTIMAP}
    made = serve(make_pod(), keys_of("example.com"), {"networks": ["192.0.2.0/24"]}, config={"files": files})
    yield made
    made.remove()


@pytest.mark.parametrize("name", ["symbol", "group", "given", "whitelisted", "skipped"])
def test_no_setting_keeps_mail_from_being_signed(meddled: Pod, name: str) -> None:
    assert signed_by(meddled, f"{name}@example.com", STRANGER, f"{name}@example.com") == "example.com"
    assert signed_by(meddled, f"{name}@example.com", STRANGER) == ""


def test_settings_that_choose_symbols_do_not_leave_out_the_signature(meddled: Pod) -> None:
    """Mail of which nothing but the scan is wanted."""
    assert signed_by(meddled, "chosen@example.com", STRANGER, "chosen@example.com") == "example.com"


def test_mail_that_is_accepted_early_is_signed(meddled: Pod) -> None:
    assert signed_by(meddled, "any@example.com", "192.0.2.77") == "example.com"


def test_without_the_module_that_signs_outgoing_mail_is_held_back(make_pod: Callable[[], Pod]) -> None:
    files = {"local.d/options.inc": 'filters = "chartable,regexp";\n'}
    pod = serve(make_pod(), keys_of("example.com"), config={"files": files})
    for sender, user, expected in (("me@example.com", "me@example.com", REFUSAL), ("me@example.com", "", "accept")):
        assert pod.scan(message(b"hello", sender=sender), STRANGER, sender, user).reply == expected
    pod.remove()
