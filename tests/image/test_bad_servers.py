"""Servers of signatures that refuse, break off, send something else, something older, or nothing at all.

Whatever one of them does: the last good signatures go on finding, the pod says what is wrong with that source and with
no other, the others get what is new, the server is not asked more often than is meant, and what it has once it is good
again is taken.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.image.answering import PORT, Answer, Answers
from tests.image.conftest import wait_ready
from tests.image.messages import with_attachment
from tests.image.pod import PROGRAMS, Pod, write_candidate
from tests.image.test_failures import FRESHCLAM
from tests.image.test_rendered import configure, public_files
from tests.mail.polling import eventually
from tests.mail.signed_databases import body_signatures, read
from tests.unit import samples

URL = f"http://127.0.0.1:{PORT}"
OFFICIAL = ("daily", "main", "bytecode")
PERIOD = 3
"""Seconds between two checks; two hours else."""
REST = 8
"""Seconds after a refusal while there is nothing to scan with; five minutes else."""
SILENCE = 1
"""Seconds after which freshclam takes a server for silent; a minute else."""
PATIENCE = 60
"""Seconds; what is awaited comes within 15 on an idle machine."""
LEFT_ALONE = 6
"""Seconds that a mirror asks for with its 429."""

PAGE = b"<!DOCTYPE html><html><body>Please log in</body></html>\n"
FORBIDDEN = Answer(status=403)
TOO_MANY = Answer(status=429, headers={"Retry-After": "3600"})
BROKEN = Answer(status=500)
SILENT = Answer(silent=True)
HANGS_UP = Answer(hangs_up=True)


def pattern(text: str) -> bytes:
    """A database with one signature, which finds its own name."""
    return f"{text}:0:*:{text.encode().hex()}\n".encode()


def damaged(content: bytes) -> bytes:
    """The same with other bytes in the middle."""
    middle = len(content) // 2
    return content[: middle - 5] + bytes(10) + content[middle + 5 :]


def half(content: bytes) -> Answer:
    """The connection ends in the middle."""
    return Answer(content[: len(content) // 2], length=len(content))


class Fed:
    """A pod fed by a server with chosen answers."""

    def __init__(
        self, pod: Pod, customs: Iterable[str], answers: Mapping[str, Answer], rest: int = REST, **settings: int
    ) -> None:
        self.pod = pod
        self.answers = Answers(pod.directory / "answers")
        self.answers.choose(answers)
        antivirus = {
            "maxMessageSize": "1Mi",
            "onUnofficial": "Reject",
            "signatures": {"source": "Mirror", "mirrorURL": URL, "customURLs": [f"{URL}/{name}" for name in customs]},
        }
        configuration = configure({"antivirus": antivirus})
        files = public_files(configuration, {})
        chosen = {"Checks": 86400 // PERIOD, "ReceiveTimeout": SILENCE, **settings}
        kept = [line for line in files[FRESHCLAM].splitlines() if line.split(" ")[0] not in chosen]
        files[FRESHCLAM] = "\n".join([*kept, *(f"{name} {value}" for name, value in chosen.items()), ""])
        write_candidate(pod.candidate, files, secret=configuration.credentials, salt=samples.SALT)
        server = (sys.executable, "-m", "tests.image.answering", "127.0.0.1", str(PORT), str(self.answers.directory))
        pod.start_outside("www", *server)
        self.freshclam = pod.start("freshclam", "env", f"MAILFILTER_REST_SECONDS={rest}", f"{PROGRAMS}/freshclam")

    def serve(self) -> None:
        """Starts the rest of the pod; returns when it is ready."""
        self.pod.start("clamd")
        self.pod.start("rspamd")
        wait_ready(self.pod, "rspamd", "clamd")

    def sources(self) -> dict[str, dict[str, Any]]:
        """What the pod says of each source."""
        return {source["name"]: source for source in self.pod.state().get("sources", [])}

    def wait_said(self, expected: Mapping[str, tuple[str, str]]) -> None:
        """Returns when the pod says all of this: source -> key and a part of its text; no text: all is well."""

        def said() -> bool:
            found = self.sources()
            missing = {
                name: found.get(name)
                for name, (key, text) in expected.items()
                if not (text in (found.get(name, {}).get(key) or "") if text else is_well(found.get(name, {})))
            }
            assert not missing, missing
            return True

        eventually(said, within_seconds=PATIENCE, what="what the pod is to say", every_seconds=0.5)

    def find(self, wanted: Mapping[str, bytes]) -> set[str]:
        """Which of these signatures find their text in a mail through the milter port."""

        def finds(item: tuple[str, bytes]) -> bool:
            return item[0] in self.pod.scan(with_attachment("sample.bin", item[1])).reply

        with ThreadPoolExecutor(4) as threads:
            return {name for name, found in zip(wanted, threads.map(finds, wanted.items()), strict=True) if found}

    def wait_found(self, wanted: Mapping[str, bytes]) -> None:
        """Returns when all of these signatures find."""
        left = dict(wanted)

        def found() -> bool:
            for name in self.find(left):
                del left[name]
            assert not left, sorted(left)
            return True

        eventually(found, within_seconds=PATIENCE, what="findings", every_seconds=0.5)

    def asked(self, *names: str, since: float = 0) -> list[float]:
        """When there were requests for these names."""
        return [when for name, when in self.answers.asked() if name in names and when >= since]

    def wait_asked(self, *names: str, times: int, since: float) -> None:
        """Returns when there have been so many requests for these names."""
        eventually(
            lambda: len(self.asked(*names, since=since)) >= times, within_seconds=PATIENCE, what=f"requests for {names}"
        )


def is_well(source: Mapping[str, Any]) -> bool:
    """Whether a source's last check has succeeded, and nothing is wrong with what it has."""
    return bool(source.get("lastSuccess")) and not any(source[key] for key in ("error", "refused", "retryAfter"))


def count_checks(times: list[float], rest: float) -> list[int]:
    """Requests of each check: a new one begins after so many seconds without any."""
    checks: list[int] = []
    for before, when in zip([0.0, *times], times, strict=False):
        if when - before >= rest:
            checks.append(0)
        checks[-1] += 1
    return checks


def official(answer: Answer, *ends: str) -> dict[str, Answer]:
    """The same answer for all databases of the mirror; for both kinds of file if it is no database."""
    return {f"{name}.{end}": answer for name in OFFICIAL for end in ends or ("cvd",)}


ALL = tuple(official(Answer(), "cvd", "cld"))


def added_in(version: int) -> dict[str, bytes]:
    """Texts that a version of the signed databases finds and the one before does not, by signature."""
    found, before = body_signatures(read(version)), body_signatures(read(version - 1))
    return {name: found[name] for name in found.keys() - before.keys()}


def marker(kind: str, number: int) -> dict[str, bytes]:
    """The text that a custom database finds, by its signature."""
    text = f"{kind.title()}.Marker-{number}"
    return {text: text.encode()}


def custom(kind: str, number: int) -> bytes:
    """The custom database of that marker."""
    (text,) = marker(kind, number)
    return pattern(text)


CUSTOM: dict[str, tuple[Callable[[bytes], Answer], str, str]] = {
    "forbidden": (lambda _: FORBIDDEN, "error", "error code 403"),
    "many": (lambda _: TOO_MANY, "error", "error code 429"),
    "broken": (lambda _: BROKEN, "error", "Unexpected response (500)"),
    "half": (half, "error", "Transferred a partial file"),
    "damaged": (lambda good: Answer(damaged(good)), "refused", "clamd cannot load it: "),
    "greedy": (lambda _: Answer(b"Every.Mail:0:*:" + b"Subject: ".hex().encode() + b"\n"), "refused", "harmless"),
    "page": (lambda _: Answer(PAGE), "refused", "clamd cannot load it: "),
    "empty": (lambda _: Answer(), "error", "Can't download empty.ndb"),
    "missing": (lambda _: Answer(status=404), "error", "there is no such file"),
    "silent": (lambda _: SILENT, "error", "Timeout was reached"),
    "deaf": (lambda _: HANGS_UP, "error", "Server returned nothing"),
}
"""What the server of a custom database answers, given a good one, and what the pod says of that source then."""


@pytest.fixture(scope="module")
def customs(make_pod: Callable[[], Pod]) -> Iterator[Fed]:
    """Provide a pod that has signatures of a mirror and of many custom URLs, one of which stays good."""
    kinds = (*CUSTOM, "good")
    names = [f"{kind}.ndb" for kind in kinds]
    good = {f"{kind}.ndb": Answer(custom(kind, 1)) for kind in kinds}
    made = Fed(make_pod(), names, {**official(Answer(read(4))), **good}, rest=1, MaxAttempts=1)
    made.serve()
    made.wait_said(dict.fromkeys(("official", *names), ("", "")))
    made.wait_found({name: text for kind in kinds for name, text in marker(kind, 1).items()})
    yield made
    made.pod.remove()


def test_custom_urls_that_go_bad(customs: Fed) -> None:
    """All at once, while one of them and the mirror have something newer."""
    started = time.monotonic()
    customs.answers.choose({f"{kind}.ndb": answer(custom(kind, 2)) for kind, (answer, _, _) in CUSTOM.items()})
    customs.answers.choose({"good.ndb": Answer(custom("good", 2)), **official(Answer(read(5)))})
    customs.wait_said({f"{kind}.ndb": (key, text) for kind, (_, key, text) in CUSTOM.items()})
    customs.wait_found({**marker("good", 2), **added_in(5)})
    for kind in ("broken", "forbidden"):
        customs.wait_asked(f"{kind}.ndb", times=4, since=started)
    times = {kind: customs.asked(f"{kind}.ndb", since=started) for kind in CUSTOM}
    last_good = {name: text for kind in CUSTOM for name, text in marker(kind, 1).items()}
    assert customs.find(last_good) == set(last_good)
    assert customs.find({name: text for kind in CUSTOM for name, text in marker(kind, 2).items()}) == set()
    found = customs.sources()
    assert is_well(found["official"])
    assert is_well(found["good.ndb"])
    assert all(found[f"{kind}.ndb"]["lastFailure"] >= found[f"{kind}.ndb"]["lastSuccess"] for kind in CUSTOM)
    waits = {kind: found[f"{kind}.ndb"]["retryAfter"] for kind in CUSTOM}
    assert {kind for kind, until in waits.items() if until} == {"forbidden", "many"}
    assert waits["many"] == pytest.approx(found["many.ndb"]["lastFailure"] + 3600, abs=2)
    print({kind: len(asked) for kind, asked in times.items()}, f"requests in {time.monotonic() - started:.0f} s")
    assert len(times["many"]) == 1
    for kind, asked in times.items():
        assert count_checks(asked, PERIOD) == [1] * len(asked), kind


def test_custom_urls_that_are_good_again(customs: Fed) -> None:
    """But for the one that has asked to be left alone for an hour."""
    kinds = [kind for kind in CUSTOM if kind != "many"]
    customs.answers.choose({f"{kind}.ndb": Answer(custom(kind, 3)) for kind in CUSTOM})
    customs.wait_said({f"{kind}.ndb": ("", "") for kind in kinds})
    customs.wait_found({name: text for kind in kinds for name, text in marker(kind, 3).items()})
    assert customs.find(marker("many", 1)) == set(marker("many", 1))
    customs.pod.remove()


NEW = read(6)
START = NEW[:512]
"""What freshclam asks for before the rest."""
LATER = START.replace(b":6:", b":9:", 1)
"""The same of a version that there is not."""
SLOW_DOWN = {"Retry-After": str(LEFT_ALONE)}

MIRROR: dict[str, tuple[dict[str, Answer], str, int]] = {
    "many": (official(Answer(status=429, headers=SLOW_DOWN), "cvd", "cld"), "error code 403 or 429", 2),
    "broken": (official(BROKEN, "cvd", "cld"), "Unexpected response (500)", 2),
    "half": (official(half(NEW)), "Transferred a partial file", 3),
    "silent": (official(SILENT, "cvd", "cld"), "Timeout was reached", 2),
    "tampered": (official(Answer(NEW[:-100] + bytes([NEW[-100] ^ 1]) + NEW[-99:])), "Can't verify", 3),
    "older-than-told": (official(Answer(read(3), first=LATER)), "the server sent version 3 of ", 9),
    "page": (official(Answer(PAGE * 20)), "Malformed CVD header (bad chars)", 2),
    "many-later": (official(Answer(status=429, headers=SLOW_DOWN, first=START)), "error code 429", 9),
    "older": (official(Answer(read(3))), "", 6),
    "deaf": (official(HANGS_UP, "cvd", "cld"), "Server returned nothing", 2),
    "forbidden-later": (official(Answer(status=403, first=START)), "error code 403", 3),
}
"""What a mirror answers, what the pod says of it then, and the most requests of one check with one attempt."""
NO_CLD = official(Answer(status=404), "cld")


FULL = {
    "forbidden": (official(FORBIDDEN, "cvd", "cld"), [6]),
    "broken": (official(BROKEN, "cvd", "cld"), [6, 6]),
    "older-than-told": (official(Answer(read(3), first=LATER)), [27, 27]),
}
"""What a mirror answers, and the requests of its first checks with as many attempts as the operator renders."""
REPEATED = 8
"""Seconds between two checks there: more than the five between two attempts of freshclam."""


class Counted:
    """Pods of which only the requests count; they go on beside the other tests, as freshclam takes its time."""

    def __init__(self, make_pod: Callable[[], Pod]) -> None:
        good = {**NO_CLD, **official(Answer(read(5)))}
        self.had = {kind: Fed(make_pod(), [], good, Checks=86400 // REPEATED) for kind in FULL}
        self.never = {kind: Fed(make_pod(), [], FULL[kind][0]) for kind in ("forbidden", "broken")}
        self.started = 0.0

    def go_bad(self) -> None:
        """From now on the servers are bad of which the pods have good databases."""
        # With this one a check ends.
        last = "bytecode.cvd database is up-to-date"
        logs = [fed.freshclam for fed in self.had.values()]
        eventually(lambda: all(last in log.output() for log in logs), within_seconds=PATIENCE, what="good checks")
        self.started = time.monotonic()
        for kind, fed in self.had.items():
            fed.answers.choose(FULL[kind][0])


@pytest.fixture(scope="module")
def counted(make_pod: Callable[[], Pod]) -> Iterator[Counted]:
    """Provide the pods of which only the requests count."""
    made = Counted(make_pod)
    made.go_bad()
    yield made
    for fed in (*made.had.values(), *made.never.values()):
        fed.pod.remove()


@pytest.fixture(scope="module")
def mirrored(make_pod: Callable[[], Pod], counted: Counted) -> Iterator[Fed]:
    """Provide a pod that has signatures of a mirror, and of one custom URL that stays good.

    The pods that are counted start before it, for they take the time of all its tests.
    """
    assert counted.started
    good = {**official(Answer(read(5))), "good.ndb": Answer(custom("good", 0))}
    made = Fed(make_pod(), ["good.ndb"], good, MaxAttempts=1)
    made.serve()
    made.wait_said({"official": ("", ""), "good.ndb": ("", "")})
    made.wait_found(added_in(5))
    yield made
    made.pod.remove()


@pytest.mark.parametrize("kind", MIRROR)
def test_a_mirror_that_goes_bad(mirrored: Fed, kind: str) -> None:
    """While a custom database has something newer. One that refuses is left alone as long as it says."""
    answers, text, most = MIRROR[kind]
    number = 1 + [*MIRROR].index(kind)
    mirrored.answers.choose({**NO_CLD, **answers, "good.ndb": Answer(custom("good", number))})
    started = time.monotonic()
    mirrored.wait_said({"official": ("error", text)})
    mirrored.wait_asked(*ALL, times=most, since=started)
    mirrored.wait_found(marker("good", number))
    assert mirrored.find({**added_in(5), **added_in(6)}) == set(added_in(5))
    found = mirrored.sources()
    assert {name.split(":")[1] for name in found["official"]["databases"]} == {"5"}
    assert is_well(found["good.ndb"])
    assert is_well(found["official"]) == (not text)
    checks = count_checks(mirrored.asked(*ALL, since=started), LEFT_ALONE if "many" in kind else PERIOD - 1)
    print(f"requests of each check: {checks}")
    assert max(checks) <= most


def test_requests_of_one_check_as_rendered(counted: Counted) -> None:
    """And of pods that never had a database: the figures of the README."""
    for kind, fed in counted.had.items():
        checks = FULL[kind][1]
        fed.wait_asked(*ALL, times=sum(checks), since=counted.started)
        found = count_checks(fed.asked(*ALL, since=counted.started), REPEATED - 1)
        print(f"{kind}: requests of each check: {found}")
        assert found[: len(checks)] == checks
    assert len(counted.had["forbidden"].asked(*ALL, since=counted.started)) == 6
    for fed in counted.never.values():
        fed.wait_asked(*ALL, times=12, since=0)
    refused, broken = counted.never["forbidden"], counted.never["broken"]
    assert max(count_checks(refused.asked(*ALL), REST)) <= 6
    asked = len(broken.asked(*ALL))
    pauses = re.findall(r"trying again in (\d+) seconds", broken.freshclam.output())
    print(f"never good: {asked} requests, pauses of {pauses}")
    assert asked <= 6 * (len(pauses) + 1)
    assert pauses[:5] == ["2", "4", "8", "16", "30"][: len(pauses)]
