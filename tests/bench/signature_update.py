"""From new signatures to every pod scanning with them: the part of the way that is the project's own.

How often freshclam asks for a custom database is `checksPerDay`, and how fast it downloads is the network's.  So the
clock starts when the last pod's freshclam has the database, or when the shared service serves it, and what is counted
is the proof, clamd's reload, and with the service how soon pods notice.
"""

from __future__ import annotations

import urllib.request
from collections.abc import Callable, Mapping, Sequence
from email import policy

from tests.bench import live
from tests.bench.figures import Figure, describe_seconds
from tests.bench.live import Mail, Trial, Wanted
from tests.demo import installation
from tests.e2e import changes, databases
from tests.e2e.test_mirror import FIRST, SECOND, publish_version
from tests.mail import messages, offers, signatures, signed_databases
from tests.mail.polling import eventually
from tests.mail.system import MailSystem

CUSTOM_TRIALS = 5
SHARED_TRIALS = 3
REPLICAS = 2
DATABASE = "bench.ndb"
SHARED = "bench-shared"
SERVICE = "mailfilter-signatures"
_SERVICE_PODS = (f"--namespace={installation.OPERATOR_NAMESPACE}", f"--selector=app.kubernetes.io/name={SERVICE}")
_STATUS = "X-Virus-Status"


def measure_custom(system: MailSystem, trials: int = CUSTOM_TRIALS) -> list[Figure]:
    """Replace the database at a custom URL *trials* times, each time with a signature more."""
    before = system.mailfilter()["spec"]
    urls = before["antivirus"]["signatures"]["customURLs"]
    offered = {DATABASE: _line(0)}
    with offers.offering(offered) as url:
        fetched = {"onUnofficial": "AddHeader", "signatures": {"customURLs": [*urls, f"{url}{DATABASE}"]}}
        try:
            changes.patch_spec(system, {"replicas": REPLICAS, "antivirus": fetched})
            _wait_ready(system)
            directories = [databases.directory(pod) for pod in system.filter_pods()]
            _wait_for(lambda: all(databases.identify(one, DATABASE) for one in directories))

            def attempt(number: int) -> Trial:
                def replace() -> None:
                    offered[DATABASE] += _line(number)
                    databases.fetch_again(directories, DATABASE)
                    _wait_for(lambda: all(databases.is_fetched(one, DATABASE) for one in directories))

                return live.measure(system, _mail(_pattern(number)), marked(f"Bench.{number}.UNOFFICIAL"), replace)

            found = [attempt(number) for number in range(1, trials + 1)]
        finally:
            changes.restore(system, before, "antivirus")
    how = "from when the last freshclam has it: its proof, clamd's reload; freshclam itself asks checksPerDay times"
    return [_summarize("a custom database replaced until every pod scans with it", "<= 10 s", how, found)]


def measure_shared(system: MailSystem, trials: int = SHARED_TRIALS) -> list[Figure]:
    """Offer a later version of the signed test databases to the shared service *trials* times, each time to new pods.

    Freshclam takes no older version, so that all begin anew.
    """
    found = [_attempt_shared(system) for _ in range(trials)]
    how = "from when the service serves it: pods look after 40-60 s, freshclam's download, clamd's reload"
    return [_summarize("the shared service's signatures until every pod scans with them", "<= 80 s", how, found)]


def _attempt_shared(system: MailSystem) -> Trial:
    known = signed_databases.body_signatures(signed_databases.read(FIRST))
    later = signed_databases.body_signatures(signed_databases.read(SECOND))
    (new,) = later.keys() - known.keys()
    publish_version(system, FIRST)
    namespace = installation.OPERATOR_NAMESPACE
    system.kubectl.run("rollout", "restart", f"deployment/{SERVICE}", f"--namespace={namespace}")
    system.kubectl.wait_rolled_out(namespace, f"deployment/{SERVICE}")
    other = MailSystem(system.kubectl, system.address, system.namespace, SHARED)
    metadata = {"name": other.name, "namespace": other.namespace}
    spec = {"replicas": REPLICAS, "antivirus": {"onVirus": "AddHeader"}}
    kind = {"apiVersion": "mailfilter.dev/v1alpha1", "kind": "MailFilter"}
    system.kubectl.apply({**kind, "metadata": metadata, "spec": spec})
    try:
        _wait_ready(other)
        address = system.kubectl.get("service", SERVICE, f"--namespace={namespace}")["spec"]["clusterIP"]

        def replace() -> None:
            publish_version(system, SECOND)
            (pod,) = system.kubectl.items("pods", *_SERVICE_PODS)
            databases.check_now(pod)
            _wait_for(lambda: set(_served(address).values()) == {SECOND})

        return live.measure(other, _mail(later[new]), marked(new), replace)
    finally:
        system.kubectl.run("delete", "mailfilter", other.name, f"--namespace={other.namespace}")
        signatures.publish(system.kubectl, {signatures.DATABASE: signatures.custom_database()})


def own_seconds(trial: Trial) -> float:
    """Return how long a trial took from when its change, which waits for what is not the project's own, was made."""
    return max(0.0, trial.seconds - trial.kubectl_seconds)


def marked(name: str) -> Wanted:
    """Tell whether a mail was accepted as one in which *name* was found."""
    return lambda verdict: any(field == _STATUS and value == f"Infected ({name})" for field, value in verdict.headers)


def parse_versions(text: str) -> dict[str, int]:
    """Read which databases the shared service says to serve, each with its version."""
    rows = (line.split() for line in text.splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) > 1}


def _served(address: str) -> Mapping[str, int]:
    with urllib.request.urlopen(f"http://{address}:8080/versions", timeout=10) as answer:
        return parse_versions(answer.read().decode())


def _wait_for(condition: Callable[[], bool]) -> None:
    """Return when *condition* holds, soon after it does."""
    eventually(condition, within_seconds=90, what="the new database", every_seconds=0.05)


def _wait_ready(system: MailSystem) -> None:
    def ready() -> bool:
        return [live.is_ready(pod) for pod in system.filter_pods()] == [True] * REPLICAS

    eventually(ready, within_seconds=180, what=f"{REPLICAS} ready pods")
    changes.wait_ready_for(system, system.mailfilter()["metadata"]["generation"])


def _pattern(number: int) -> bytes:
    return f"what the bench looks for in trial {number}.".encode()


def _line(number: int) -> bytes:
    return f"Bench.{number}:0:*:{_pattern(number).hex()}\n".encode()


def _mail(content: bytes) -> Mail:
    message = messages.with_attachment(content, "application", "octet-stream", "sample.bin")
    return message.as_bytes(policy=policy.SMTP), ""


def _summarize(name: str, expected: str, how: str, found: Sequence[Trial]) -> Figure:
    mails, not_accepted = sum(trial.answers for trial in found), sum(trial.not_accepted for trial in found)
    basis = f"{len(found)} times, {REPLICAS} pods asked all the time, {mails} mails, {not_accepted} not accepted; {how}"
    return Figure(name, describe_seconds([own_seconds(trial) for trial in found]), expected, basis)
