"""The operator's proof of signing against the real filter, which starts although it cannot sign."""

import base64
import dataclasses
import functools
import json
import sys
from collections.abc import Callable, Mapping

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.image.conftest import serve_databases, wait_ready
from tests.image.pod import Pod, write_candidate
from tests.image.test_rendered import configure, make_key, public_files
from tests.unit import samples

from mailfilter_operator.api import Sign
from mailfilter_operator.dkim.records import build_dkim_record
from mailfilter_operator.signing import ProbeMail, ProbeResult, build_probe_mails, summarise

DOMAINS = ("example.com", "example.org")
SPEC = {"domains": [{"name": name} for name in DOMAINS]}
SIGNING = "override.d/mailfilter.conf"
SECOND = "ed1._domainkey.example.com"
PROGRAM = """
import json, sys, dataclasses
from mailfilter_operator.probe_signing import ProbeSigning
from mailfilter_operator.signing import ProbeMail
results = ProbeSigning()("127.0.0.1", [ProbeMail(**mail) for mail in json.load(sys.stdin)])
json.dump([dataclasses.asdict(result) for result in results], sys.stdout)
"""


@functools.cache
def second_key() -> Ed25519PrivateKey:
    """Return the Ed25519 key of the first domain, which the operator does not make."""
    return Ed25519PrivateKey.generate()


def write_files() -> dict[str, str]:
    """Return what is rendered, with a second key for the first domain."""
    files = public_files(configure(SPEC), SPEC)
    begin = '"example.com" = ['
    assert begin in files[SIGNING]
    second = '{ selector = "ed1"; path = "$LOCAL_CONFDIR/keys/second.key"; }, '
    pem = second_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return {**files, SIGNING: files[SIGNING].replace(begin, begin + second), "keys/second.key": pem}


def serve(pod: Pod, files: Mapping[str, str]) -> None:
    """Return when the pod serves these files."""
    credentials = configure(SPEC).credentials
    wanted = write_candidate(pod.candidate, files, secret=credentials, salt=samples.SALT)
    if not pod.containers[1:]:
        serve_databases(pod)
        for name in ("rspamd", "freshclam", "clamd"):
            pod.start(name)
        wait_ready(pod, "rspamd", "clamd")
    pod.wait_active(wanted)


def write_mails() -> tuple[ProbeMail, ...]:
    """Return the probes of both domains, the first of which has two keys."""
    keys = [make_key(domain) for domain in DOMAINS]
    records = {record.name: record.value for record in map(build_dkim_record, keys)}
    first, other = build_probe_mails(Sign(), keys, records)
    public = base64.b64encode(second_key().public_key().public_bytes_raw()).decode()
    both = {**first.records, SECOND: f"v=DKIM1; k=ed25519; p={public}"}
    return dataclasses.replace(first, records=both), other


def probe(pod: Pod, mails: tuple[ProbeMail, ...]) -> tuple[ProbeResult, ...]:
    """Return the results of probes on the pod's network."""
    text = json.dumps([dataclasses.asdict(mail) for mail in mails]).encode()
    answer = json.loads(pod.on_network(sys.executable, "-c", PROGRAM, stdin=text))
    return tuple(ProbeResult(**result) for result in answer)


@pytest.fixture(scope="module")
def signing(make_pod: Callable[[], Pod]) -> Pod:
    """Provide a pod that signs for two domains, for one of them with two keys."""
    made = make_pod()
    serve(made, write_files())
    return made


def test_signatures_of_every_domain_and_key_verify(signing: Pod) -> None:
    mails = write_mails()
    results = probe(signing, mails)
    assert [len(result.verified) for result in results] == [2, 1]
    assert [(result.reply, result.failed) for result in results] == [("accept", {})] * 2
    assert summarise({"mx-1": results}, mails).ok


def test_a_mail_without_a_login_is_not_taken_for_one_with_the_login_before_it(signing: Pod) -> None:
    first, other = write_mails()
    stranger = dataclasses.replace(other, user=None)
    assert [len(result.verified) for result in probe(signing, (first, stranger, other))] == [2, 0, 1]


def test_many_mails_go_through_in_a_few_seconds(signing: Pod) -> None:
    results = probe(signing, write_mails() * 50)
    assert sum(len(result.verified) for result in results) == 150


def test_an_empty_key_is_seen_although_the_filter_takes_it_and_its_mail_is_held_back(signing: Pod) -> None:
    files, mails = write_files(), write_mails()
    try:
        serve(signing, {**files, f"keys/{make_key('example.org').file_name}": ""})
        results = probe(signing, mails)
    finally:
        serve(signing, files)
    (name,) = mails[1].records
    assert (results[0].reply, results[0].failed) == ("accept", {})
    assert results[1].reply.startswith("451 4.7.1 DKIM signing failed")
    assert set(results[1].failed) == {name}
    assert summarise({"mx-1": results}, mails).ok is False


def test_a_record_of_another_key_does_not_verify(signing: Pod) -> None:
    mails = write_mails()
    (value,) = mails[1].records.values()
    first = dataclasses.replace(mails[0], records=dict.fromkeys(mails[0].records, value))
    (result,) = probe(signing, (first,))
    assert set(result.failed) == set(mails[0].records)
