"""What a pod that serves finds out about raw text before it serves."""

from __future__ import annotations

import base64
import os
import shutil
import signal
import sys
from collections.abc import Callable
from typing import Any

import pytest
from tests.e2e.bad_text import BY_POD, HANGING, KEY, SECRET, Bad
from tests.image.messages import EICAR
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
    "settings that keep rspamd's own module from signing": {
        "config": {
            "files": {
                "local.d/settings.conf": 'own { authenticated = true; apply { symbols_disabled = ["DKIM_SIGNED"]; '
                'groups_disabled = ["dkim"]; } }\n'
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


def lay_out(pod: Pod, spec: dict[str, Any], secret: str = "", planted: dict[str, str] | None = None) -> None:
    """Write what is rendered for *spec* where the pod has it while it tries it.

    *planted* are files that the operator would have refused.
    """
    data = {KEY: base64.b64encode(secret.encode()).decode()}
    references = References(secrets={SECRET: {"data": data}} if secret else {})
    configuration = configure({**DOMAINS, **spec}, references)
    files = {**public_files(configuration, DOMAINS), **configuration.credentials, "manifest": configuration.manifest}
    files.update(planted or {})
    trial = pod.directory / "rspamd/memory/trials/own"
    shutil.rmtree(trial.parent, ignore_errors=True)
    for path, text in files.items():
        (trial / path).parent.mkdir(parents=True, exist_ok=True)
        (trial / path).write_text(text, newline="")
        # As what comes from the pod's volume.
        (trial / path).chmod(0o440)
    for entry in (trial.parents[1], trial.parent, *trial.parent.rglob("*")):
        os.chown(entry, USER, USER)


def prove(
    pod: Pod, spec: dict[str, Any], secret: str = "", planted: dict[str, str] | None = None, seconds: int = 120
) -> tuple[int, str]:
    """How the proof of *spec* ends in the pod, in the time that it has there: exit status, and what people are told."""
    lay_out(pod, spec, secret, planted)
    command = ("timeout", str(seconds), f"{PROGRAMS}/prove-config", "/run/mailfilter/trials/own")
    proof = pod.run("rspamd", *command, timeout=seconds + 30)
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


@pytest.mark.parametrize("policy", ["Quarantine", "AddHeader", "Discard"])
def test_a_virus_need_not_be_refused_where_the_policy_is_another(serving: Pod, policy: str) -> None:
    signatures = {"source": "CustomOnly", "customURLs": ["http://127.0.0.1:8080/demo.ndb"]}
    spec = {**GOOD["a rule of its own"], "antivirus": {"onVirus": policy, "signatures": signatures}}

    assert prove(serving, spec) == (0, "")
    # What has another effect than that is refused: here a policy that is not the one that is expected.
    planted = {"probes/expected": "virus reject\n"}
    assert prove(serving, spec, planted=planted)[1].startswith("the probe 'EICAR' is not treated as a virus: Action: ")


def test_good_text_is_proven_where_a_database_of_ones_own_knows_eicar_too(make_pod: Callable[[], Pod]) -> None:
    """Either of two signatures that match may be told."""
    pod = make_pod()
    (pod.directory / "www").mkdir()
    (pod.directory / "www/own.ndb").write_text(f"Own.Eicar:0:*:{EICAR.strip().hex()}\n")
    urls = [f"http://127.0.0.1:8080/{name}.ndb" for name in ("demo", "own")]
    antivirus = {"maxMessageSize": "1Mi", "signatures": {"source": "CustomOnly", "customURLs": urls}}
    start(pod, {**DOMAINS, "antivirus": antivirus})

    assert prove(pod, {**GOOD["a rule of its own"], "antivirus": antivirus}) == (0, "")
    pod.remove()


@pytest.mark.parametrize("text", ["mailfilter { a = 1; }\n", "mailfilter { enabled = false; }\n"])
def test_text_that_takes_the_place_of_the_guards_section_is_refused(serving: Pod, text: str) -> None:
    """The pod knows it by itself: rspamd reads these files outside of any section."""
    for path in ("local.d/statistic.conf", "override.d/groups.conf"):
        status, said = prove(serving, GOOD["a rule of its own"], planted={path: text})

        assert status == 1
        assert "does not say that it has loaded it" in said


def test_text_is_not_blamed_for_a_probe_while_the_rspamd_that_serves_hangs(make_pod: Callable[[], Pod]) -> None:
    pod = start(make_pod(), DOMAINS)
    refusing = next(kind for kind in BY_POD if "not let through" in kind.says)
    rspamd = next(container for container in pod.containers if container.log.name == "rspamd.log")
    wait_until(lambda: pod.state().get("active") is not None, 40, "a configuration that serves")
    rspamd.signal_all(signal.SIGSTOP)
    try:
        status, said = prove(pod, dict(refusing.spec))
    finally:
        rspamd.signal_all(signal.SIGCONT)

    assert (status, said) == (126, "the rspamd that serves does not answer at the moment\n")
    pod.remove()


def test_nothing_of_a_proof_is_left(serving: Pod) -> None:
    def listening() -> set[str]:
        return set(serving.on_network("ss", "--listening", "--tcp", "--numeric", "--no-header").splitlines())

    wait_until(lambda: not any(":1134" in line for line in listening()), 5, "the sockets of earlier proofs closed")
    before = listening()
    prove(serving, dict(BY_POD[-1].spec), BY_POD[-1].secret)

    wait_until(lambda: listening() == before, 5, "the sockets of the proof closed")
    assert list((serving.directory / "rspamd/tmp").glob("tmp.*")) == []
    assert list((serving.directory / "rspamd/memory").glob("proof.*")) == []


def test_what_is_secret_stays_in_memory_while_it_is_proven_and_goes_after_a_kill(make_pod: Callable[[], Pod]) -> None:
    pod = start(make_pod(), DOMAINS)
    lay_out(pod, dict(HANGING[1].spec))
    trial = pod.start("rspamd", f"{PROGRAMS}/prove-config", "/run/mailfilter/trials/own")
    state = pod.directory / "rspamd/tmp"
    wait_until(lambda: any(state.glob("tmp.*/log")), 30, "the trial's rspamd")
    trial.kill()

    assert [path for path in state.rglob("*") if path.is_file() and "PRIVATE" in path.read_text("latin-1")] == []
    assert list(state.glob("tmp.*/config")) == []
    next(container for container in pod.containers if container.log.name == "rspamd.log").kill()
    left = (*state.glob("tmp.*"), *(pod.directory / "rspamd/memory").glob("proof.*"))
    assert left
    pod.start("rspamd")
    wait_until(lambda: not any(path.exists() for path in left), 10, "what is left of the trial gone")
    pod.remove()


@pytest.mark.parametrize(
    ("later", "spec", "seconds", "said"),
    [
        (
            "INSTREAM size limit exceeded. ERROR",
            GOOD["a rule of its own"],
            120,
            # The second where rspamd is too slow to say the first: it waits for clamd as long as it is asked.
            ("clamd could not scan the probe 'clean", "clamd finds no virus at the moment"),
        ),
        ("stream: OK", GOOD["a rule of its own"], 120, "clamd finds no virus at the moment"),
        ("stream: OK", HANGING[1].spec, 15, "clamd finds no virus at the moment"),
        ("stream: OK", HANGING[0].spec, 15, "clamd finds no virus at the moment"),
    ],
    ids=["error", "nothing found", "time-out", "time-out of configtest"],
)
def test_good_text_is_not_blamed_for_a_scanner_that_fails_meanwhile(
    make_pod: Callable[[], Pod], later: str, spec: dict[str, Any], seconds: int, said: str | tuple[str, ...]
) -> None:
    pod = make_pod()
    path = pod.sockets / "clamd.sock"
    fake = ("-m", "tests.image.fake_clamd", str(path), "stream: Eicar FOUND", later)
    pod.start_outside("clamd", sys.executable, *fake)
    wait_until(lambda: path.exists() and path.stat().st_mode & 0o777 == 0o666, 5, "the socket")
    if spec is HANGING[0].spec:
        # It is asked for the first time after the time-out.
        pod.run("rspamd", "sh", "-c", "echo | clamdscan --config-file=/etc/clamav/clamd.conf --stream -")

    status, told = prove(pod, dict(spec), seconds=seconds)

    assert status == 126, told
    assert told.startswith(said)
    pod.remove()


def test_each_probe_has_its_share_of_the_time(pod: Pod) -> None:
    script = f"""
    mkdir -p /tmp/a /tmp/b/probes && printf 'gtube\nsigned a - 192.0.2.1\n' >/tmp/b/probes/expected
    . {PROGRAMS}/follow-config && proof_seconds /tmp/a && proof_seconds /tmp/b
    """
    assert pod.run("rspamd", "sh", "-c", script).stdout.split() == ["120", "124"]


def test_without_a_virus_scanner_nothing_is_found_out(make_pod: Callable[[], Pod]) -> None:
    pod = start(make_pod(), DOMAINS)
    clamd = next(container for container in pod.containers if container.log.name == "clamd.log")
    clamd.kill()

    assert prove(pod, GOOD["a rule of its own"]) == (126, "clamd finds no virus at the moment\n")
    pod.remove()
