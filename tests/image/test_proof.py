"""What a pod that serves finds out about raw text before it serves."""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Callable
from typing import Any

import pytest
from tests.e2e.bad_text import BY_POD, KEY, SECRET, Bad
from tests.image.pod import PROGRAMS, Pod, wait_until
from tests.image.rootfs import USER
from tests.image.test_rendered import configure, public_files, start

from mailfilter_operator.raw_text import RawText, shorten_error
from mailfilter_operator.references import References

DOMAINS = {"domains": [{"name": "example.com"}, {"name": "example.org"}]}
GOOD: dict[str, dict[str, Any]] = {
    "a rule of its own": {
        "config": {
            "files": {
                "local.d/multimap.conf": 'OWN { type = "header"; header = "subject"; map = "$LOCAL_CONFDIR/maps/own"; '
                "regexp = true; score = 3; }\n",
                "maps/own": "/cheap watches/\n",
            }
        }
    },
    "template marks in a text": {
        "config": {"files": {"local.d/rbl.conf": 'own = "{{ env.HOME }} {% if x %} {= x =} {# x #}";\n'}}
    },
    "a map from a server that is away": {
        "config": {"files": {"local.d/multimap.conf": 'OWN { type = "from"; map = "http://127.0.0.1:1/own"; }\n'}}
    },
    "a sender that is accepted": {
        "config": {
            "files": {
                "local.d/multimap.conf": 'OWN { type = "from"; map = "$LOCAL_CONFDIR/maps/own"; action = "accept"; }\n',
                "maps/own": "friend@example.net\n",
            }
        }
    },
    "a low score to reject from": {
        "actions": {"addHeader": 4, "greylist": "Disabled", "reject": 6},
        "config": {"files": {"local.d/rbl.conf": "enabled = false;\n"}},
    },
}


@pytest.fixture(scope="module")
def serving(make_pod: Callable[[], Pod]) -> Pod:
    """Provide a pod that serves without raw text."""
    return start(make_pod(), DOMAINS)


def prove(pod: Pod, spec: dict[str, Any], secret: str = "") -> tuple[int, str]:
    """How the proof of *spec* ends in the pod, in the time that it has there: exit status, and what people are told."""
    data = {KEY: base64.b64encode(secret.encode()).decode()}
    references = References(secrets={SECRET: {"data": data}} if secret else {})
    configuration = configure({**DOMAINS, **spec}, references)
    files = {**public_files(configuration, DOMAINS), **configuration.credentials, "manifest": configuration.manifest}
    trial = pod.directory / "rspamd/memory/trials/own"
    shutil.rmtree(trial.parent, ignore_errors=True)
    for path, text in files.items():
        (trial / path).parent.mkdir(parents=True, exist_ok=True)
        (trial / path).write_text(text, newline="")
        # As what comes from the pod's volume.
        (trial / path).chmod(0o440)
    for entry in (trial.parent, *trial.parent.rglob("*")):
        os.chown(entry, USER, USER)
    proof = pod.run("rspamd", "timeout", "120", f"{PROGRAMS}/prove-config", "/run/mailfilter/trials/own", timeout=150)
    raw = RawText(secret={"any": secret} if secret else {})
    return proof.returncode, shorten_error(proof.stdout, raw)


@pytest.mark.parametrize("kind", BY_POD, ids=[kind.name for kind in BY_POD])
def test_bad_text_is_refused(serving: Pod, kind: Bad) -> None:
    status, said = prove(serving, dict(kind.spec), kind.secret)

    # 143: it was ended, since it went on and on; the entry point says so.
    if status == 143:
        said += "endless loop"
    assert 0 < status < 126 or status == 143, said
    assert all(part in said for part in kind.says), said
    assert "hunter2" not in said


@pytest.mark.parametrize("spec", GOOD.values(), ids=GOOD)
def test_good_text_is_proven(serving: Pod, spec: dict[str, Any]) -> None:
    assert prove(serving, spec) == (0, "")


def test_nothing_of_a_proof_is_left(serving: Pod) -> None:
    def listening() -> set[str]:
        return set(serving.on_network("ss", "--listening", "--tcp", "--numeric", "--no-header").splitlines())

    wait_until(lambda: not any(":1134" in line for line in listening()), 5, "the sockets of earlier proofs closed")
    before = listening()
    prove(serving, dict(BY_POD[-1].spec), BY_POD[-1].secret)

    wait_until(lambda: listening() == before, 5, "the sockets of the proof closed")
    assert list((serving.directory / "rspamd/tmp").glob("tmp.*")) == []


def test_without_a_virus_scanner_nothing_is_found_out(make_pod: Callable[[], Pod]) -> None:
    pod = start(make_pod(), DOMAINS)
    clamd = next(container for container in pod.containers if container.log.name == "clamd.log")
    clamd.kill()

    assert prove(pod, GOOD["a rule of its own"]) == (126, "clamd finds no virus at the moment\n")
    pod.remove()
