"""Mails per second through the milter: the operator's configuration against stock rspamd and clamd.

Both run at the same time on this machine, each on a network of its own, and are loaded in turn, so that whatever else
happens on the machine meets both.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.bench import load, stock_filter
from tests.bench.figures import Figure
from tests.image.pod import Pod, pod
from tests.image.test_rendered import start as start_rendered

TARGET_RATIO = 1.3
ROUNDS = 5
MAILS = 3000
SECONDS = 8.0
"""A round ends with the first of both."""
WARM_UP = 500
_RESOLVER = ("python", "python3")


def measure(rounds: int = ROUNDS, mails: int = MAILS) -> list[Figure]:
    """Load both in turn and return the ratio with its parts. Raises RuntimeError if a mail was not accepted."""
    with tempfile.TemporaryDirectory() as name, pod(_new(name, "ours")) as ours, pod(_new(name, "stock")) as stock:
        Path(name).chmod(0o755)
        for made in (ours, stock):
            made.start_outside("dns", sys.executable, "-m", "tests.image.nameserver", "127.0.0.1")
        start_rendered(ours, _SPEC)
        stock_filter.start(stock, ours.databases)
        for made in (ours, stock):
            _load(made, WARM_UP)
        outcomes = [(_load(ours, mails), _load(stock, mails)) for _ in range(rounds)]
    return summarize([pair[0] for pair in outcomes], [pair[1] for pair in outcomes])


_SPEC = {
    "domains": [{"name": "example.com"}],
    "antivirus": {"signatures": {"source": "CustomOnly", "customURLs": ["http://127.0.0.1:8080/demo.ndb"]}},
}


def _new(parent: str, name: str) -> Path:
    directory = Path(parent) / name
    directory.mkdir()
    return directory


def _load(made: Pod, mails: int) -> load.Outcome:
    """Load the milter of *made* from a process on its network. Raises RuntimeError unless all mails are accepted."""
    answer = made.on_network(sys.executable, "-m", "tests.bench.load", "11332", str(mails), str(SECONDS))
    outcome = load.Outcome(**json.loads(answer))
    if set(outcome.replies) != {"accept"}:
        raise RuntimeError(f"{made.directory.name}: mails of the load were not all accepted: {outcome.replies}")
    return outcome


def summarize(ours: Sequence[load.Outcome], stock: Sequence[load.Outcome]) -> list[Figure]:
    """Return the ratio of the medians, and where the processors' time went in each."""
    rates = [_median(lambda one: one.mails / one.seconds, outcomes) for outcomes in (ours, stock)]
    pairs = [mine.mails / mine.seconds / (other.mails / other.seconds) for mine, other in zip(ours, stock, strict=True)]
    basis = (
        f"median of {len(ours)} rounds each, in turn: {rates[0]:.0f} against {rates[1]:.0f} mails/s, ratio by round "
        f"{min(pairs):.2f}-{max(pairs):.2f}; {load.CONNECTIONS} connections, mails of {load.MAIL_BYTES} bytes with an "
        "attachment (stock scans nothing else), signatures of the tests only"
    )
    figures = [
        Figure("mail through the milter over stock", f"{rates[0] / rates[1]:.2f}", f">= {TARGET_RATIO}", basis),
    ]
    for name, outcomes in (("ours", ours), ("stock", stock)):
        figures.append(Figure(f"processor per mail, {name}", _cost(outcomes), "", _harness(outcomes)))
    return figures


def _cost(outcomes: Sequence[load.Outcome]) -> str:
    """Write the milliseconds of processor time per mail by program."""
    programs = sorted({name for one in outcomes for name in one.cpu} - set(_RESOLVER))
    costs = {
        name: _median(lambda one, name=name: one.cpu.get(name, 0.0) / one.mails * 1000, outcomes)  # type: ignore[misc]
        for name in programs
    }
    return ", ".join(f"{name} {cost:.2f} ms" for name, cost in costs.items() if cost >= 0.005)


def _harness(outcomes: Sequence[load.Outcome]) -> str:
    """Write what part of the machine the programs under test took, and the client and the name server beside them."""
    cores = os.cpu_count() or 1
    client = _median(lambda one: one.client_cpu / one.seconds, outcomes)
    resolver = _median(lambda one: _spent(one, *_RESOLVER) / one.seconds, outcomes)
    tested = _median(lambda one: (_spent(one, *one.cpu) - _spent(one, *_RESOLVER)) / one.seconds, outcomes)
    others = _median(lambda one: (one.machine_cpu - one.client_cpu - _spent(one, *one.cpu)) / one.seconds, outcomes)
    return (
        f"of {cores} cores these took {tested / cores:.0%}, the client {client / cores:.0%}, the name server "
        f"{resolver / cores:.0%}, everything else on the machine {max(0.0, others) / cores:.0%}"
    )


def _spent(outcome: load.Outcome, *programs: str) -> float:
    return sum(outcome.cpu.get(name, 0.0) for name in programs)


def _median(measured: Callable[[load.Outcome], float], outcomes: Sequence[load.Outcome]) -> float:
    return statistics.median(map(measured, outcomes))
