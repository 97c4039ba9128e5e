"""`make bench`: measure, and print each figure beside its target; nothing is judged.

Run inside the test cluster's network namespace.  Arguments choose parts (all by default); BENCH_CHANGES is the number
of score changes.  Ends with status 1 only if something could not be measured.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence

from rich.console import Console
from tests.bench import applies, changes, key_making, memory, signature_update, stock_filter, throughput
from tests.bench.figures import Figure, draw
from tests.mail import system as mail_system
from tests.mail.kubectl import Kubectl, KubectlError

CHANGES = 100
NOTES = (
    f"Stock: {stock_filter.DESCRIPTION}. Ours: as the operator renders a MailFilter with one domain.",
    f"Memory: {memory.DESCRIPTION}.",
)
FAILURES = (KubectlError, OSError, RuntimeError, AssertionError, subprocess.SubprocessError)
"""What a measurement raises if it does not come about."""

Part = Callable[[], list[Figure]]


def parts() -> dict[str, Part]:
    """Return what can be measured, in this order; `apply` comes before the others that need a cluster."""
    number = int(os.environ.get("BENCH_CHANGES", CHANGES))
    return {
        "throughput": throughput.measure,
        "apply": lambda: applies.measure(mail_system.start(Kubectl())),
        "memory": lambda: memory.measure(_connect(), "before the changes"),
        "score": lambda: changes.measure_scores(_connect(), number),
        "domain": lambda: changes.measure_domains(_connect()),
        "custom-signatures": lambda: signature_update.measure_custom(_connect()),
        "shared-signatures": lambda: signature_update.measure_shared(_connect()),
        "keys": lambda: key_making.measure(Kubectl()),
        "memory-after": lambda: memory.measure(_connect(), "after the changes"),
    }


def _connect() -> mail_system.MailSystem:
    return mail_system.connect(Kubectl())


def main(chosen: Sequence[str]) -> int:
    """Measure the chosen parts, print the table; return the exit status."""
    known = parts()
    unknown = [name for name in chosen if name not in known]
    if unknown:
        print(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    console = Console(width=None if sys.stdout.isatty() else 170)
    figures: list[Figure] = []
    failed = 0
    for name in chosen or known:
        console.print(f"Measuring: {name} ...")
        try:
            measured = known[name]()
        except FAILURES as failure:
            failed += 1
            measured = [Figure(name, f"NOT MEASURED: {type(failure).__name__}: {failure}")]
        for figure in measured:
            console.print(f"{figure.name}: {figure.measured}", markup=False, highlight=False)
        figures += measured
    console.print(draw(figures))
    for note in NOTES:
        console.print(note, markup=False, highlight=False)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
