"""What the operator renders does in the real programs what the fields of the spec say."""

import functools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.image.conftest import serve_databases, wait_ready
from tests.image.messages import CLEAN, DATE, GTUBE, INFECTED, message
from tests.image.pod import Pod, write_candidate
from tests.unit import samples

from mailfilter_operator.api import parse
from mailfilter_operator.dkim.keys import DkimKey
from mailfilter_operator.dkim.slots import KeyRequest
from mailfilter_operator.keygen import make_key as generate_key
from mailfilter_operator.references import References
from mailfilter_operator.render import Configuration
from mailfilter_operator.validate import validate

NOW = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
DOMAINS = ("example.com", "mail.example.com", "example.org")
STRANGER = "198.51.100.7"
NETWORK = "192.0.2.9"


def configure(spec: dict[str, Any], references: References | None = None) -> Configuration:
    """Return what is rendered for *spec*, with a key for each domain and small messages."""
    antivirus = {
        "maxMessageSize": "1Mi",
        "signatures": {"source": "CustomOnly", "customURLs": ["http://127.0.0.1:8080/demo.ndb"]},
    }
    metadata = {"name": "mx", "namespace": "mail", "uid": "1", "generation": 1}
    mailfilter = parse({"metadata": metadata, "spec": {"antivirus": antivirus, **spec}})
    keys = tuple(make_key(domain.name) for domain in mailfilter.spec.domains)
    return samples.render(validate(mailfilter, samples.IMAGE), keys, references)


def public_files(configuration: Configuration, spec: dict[str, Any]) -> dict[str, str]:
    """Return all files but those of the credentials."""
    keys = [make_key(domain["name"]) for domain in spec.get("domains", ())]
    return {
        **configuration.metrics,
        **configuration.workers,
        **configuration.modules,
        **configuration.clamav,
        **configuration.files,
        **{f"keys/{key.file_name}": key.private_pem.decode() for key in keys},
    }


def start(pod: Pod, spec: dict[str, Any]) -> Pod:
    """Start all containers with what is rendered for *spec*; return when ready."""
    configuration = configure(spec)
    files = public_files(configuration, spec)
    assert (
        write_candidate(pod.candidate, files, secret=configuration.credentials, salt=samples.SALT) == configuration.hash
    )
    serve_databases(pod)
    for name in ("rspamd", "freshclam", "clamd"):
        pod.start(name)
    wait_ready(pod, "rspamd", "clamd")
    return pod


@functools.cache
def make_key(domain: str) -> DkimKey:
    """Return a key of a domain, the same for all tests."""
    return generate_key(KeyRequest(domain, "r0", "RSA", 2048, at_once=True), NOW)


@pytest.fixture(scope="module")
def plain(make_pod: Callable[[], Pod]) -> Pod:
    """Provide a pod that says little: scores for one symbol, three domains, one network."""
    return start(
        make_pod(),
        {
            "domains": [{"name": name} for name in DOMAINS],
            "dkim": {"sign": {"networks": ["192.0.2.0/24"]}},
            "actions": {"addHeader": 6, "reject": 15},
            "metrics": {"groups": [{"name": "own", "symbols": [{"name": "MISSING_DATE", "score": "9.5"}]}]},
        },
    )


@pytest.fixture(scope="module")
def other(make_pod: Callable[[], Pod]) -> Iterator[Pod]:
    """Provide a pod that says the opposite where it can."""
    made = start(
        make_pod(),
        {
            "domains": [{"name": name} for name in DOMAINS],
            "dkim": {"sign": {"authenticated": False, "local": False, "usernames": "Any"}},
            "actions": {"addHeader": 5, "rewriteSubject": 7, "reject": 15},
            "metrics": {"groups": [{"name": "own", "symbols": [{"name": "MISSING_DATE", "score": "9.5"}]}]},
            "logging": {"level": "Debug"},
        },
    )
    yield made
    made.remove()


@pytest.fixture(scope="module")
def any_username(make_pod: Callable[[], Pod]) -> Iterator[Pod]:
    """Provide a pod that signs for every login."""
    spec = {"domains": [{"name": "example.com"}], "dkim": {"sign": {"usernames": "Any"}}}
    made = start(make_pod(), spec)
    yield made
    made.remove()


UNDATED = message(b"hello").replace(f"Date: {DATE}\r\n".encode(), b"")


def headers(pod: Pod, mail: bytes) -> list[tuple[str, str]]:
    """Return the header fields that the milter adds to an accepted mail or changes."""
    verdict = pod.scan(mail)
    assert verdict.reply == "accept"
    return verdict.headers


def test_clean_mail_passes_and_bad_mail_does_not(plain: Pod) -> None:
    added = [name for name, _ in headers(plain, CLEAN)]
    assert "Authentication-Results" in added
    assert "X-Spam" not in added
    assert plain.scan(message(GTUBE)).reply.startswith("554 5.7.1")
    for mail in INFECTED.values():
        assert "Eicar" in plain.scan(mail).reply


def test_a_score_of_the_spec_marks_mail_once(plain: Pod) -> None:
    assert [value for name, value in headers(plain, UNDATED) if name == "X-Spam"] == ["Yes"]


def test_a_rewritten_subject_is_marked_like_added_headers(other: Pod) -> None:
    changed = headers(other, UNDATED)
    assert [value for name, value in changed if name == "Subject"] == ["*** SPAM *** hello there"]
    assert [value for name, value in changed if name == "X-Spam"] == ["Yes"]


def test_a_message_above_the_limit_is_refused_with_the_limit(plain: Pod) -> None:
    assert plain.scan(message(b"0123456789abcdef" * 70_000)).reply == "554 5.7.1 Message larger than 1 MiB"


def signatures(pod: Pod, sender: str, client: str = STRANGER, username: str = "") -> list[str]:
    """Return the signing domains of a mail's signatures."""
    verdict = pod.scan(message(b"hello", sender=sender), client, sender, *([username] if username else []))
    assert verdict.reply == "accept"
    fields = [value for name, value in verdict.headers if name == "DKIM-Signature"]
    tags = [dict(tag.strip().split("=", 1) for tag in value.split(";") if "=" in tag) for value in fields]
    return [tag["d"] for tag in tags]


@pytest.mark.parametrize("domain", DOMAINS)
def test_every_domain_signs_with_its_own_name(plain: Pod, domain: str) -> None:
    assert signatures(plain, f"me@{domain}", username=f"me@{domain}") == [domain]


@pytest.mark.parametrize(
    ("sender", "client", "username", "signed"),
    [
        ("me@example.com", NETWORK, "", True),
        ("me@example.com", "127.0.0.1", "", True),
        ("me@example.com", STRANGER, "", False),
        ("me@example.com", "10.244.0.7", "", False),
        ("me@example.com", STRANGER, "me@example.org", False),
        ("me@example.com", STRANGER, "me", False),
        ("me@example.net", STRANGER, "me@example.net", False),
        ("me@sub.example.org", STRANGER, "me@sub.example.org", False),
    ],
)
def test_who_may_sign(plain: Pod, sender: str, client: str, username: str, *, signed: bool) -> None:
    assert bool(signatures(plain, sender, client, username)) == signed


@pytest.mark.parametrize(
    ("client", "username"),
    [(STRANGER, "me@example.com"), (NETWORK, ""), ("127.0.0.1", "")],
    ids=["authenticated", "network", "local"],
)
def test_what_is_switched_off_does_not_sign(other: Pod, client: str, username: str) -> None:
    assert signatures(other, "me@example.com", client, username) == []


@pytest.mark.parametrize("username", ["me", "me@example.org"])
def test_any_login_signs_if_the_spec_says_so(any_username: Pod, username: str) -> None:
    assert signatures(any_username, "me@example.com", username=username) == ["example.com"]


def test_no_fuzzy_storage_is_asked_about_mail(plain: Pod) -> None:
    assert plain.scan(message(b"Enough text for a fuzzy hash of it.\r\n" * 100)).reply == "accept"
    asked = (plain.directory / "dns.log").read_text().split()
    assert [name for name in asked if name.endswith("example.org")]
    assert [name for name in asked if "fuzzy" in name] == []
