"""`make demo`: install the operator, apply a MailFilter, send mail, show what became of it.

Run inside the test cluster's network namespace.  Ends with status 1 unless every row of the table holds; the
cluster is left running to look around.
"""

from __future__ import annotations

import sys

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from tests.demo import installation
from tests.demo.rows import ROWS, Outcome, Row
from tests.mail import system as mail_system
from tests.mail.kubectl import Kubectl, KubectlError

AFTERWARDS = """\
The cluster goes on running. To look around:
  python3 -m tests.cluster run -- kubectl get mailfilters,pods,configmaps,services --namespace=mail
  python3 -m tests.cluster run -- kubectl get mailfilter mx --namespace=mail --output=yaml
  python3 -m tests.cluster run -- kubectl logs --namespace=mail deployment/mx --all-containers
Remove everything: make down"""


def main() -> int:
    """Run the demo; return the exit status."""
    try:
        outcomes = show(Console(width=None if sys.stdout.isatty() else 150))
    except (KubectlError, OSError, RuntimeError) as failure:
        print(f"The demo ended early: {failure}\n\n{AFTERWARDS}", file=sys.stderr)
        return 1
    return 0 if all(outcome.ok for outcome in outcomes) else 1


def show(console: Console) -> list[Outcome]:
    """Set everything up, send mail, print what came of it; return the outcome of each row.

    Raises KubectlError, OSError or RuntimeError if it does not come to the table.
    """
    console.print("Starting Postfix, BIND and the signature server ...")
    system = mail_system.start(Kubectl())
    console.print("Applying manifests/install.yaml ...")
    installation.install_operator(system)
    console.print("Applying a MailFilter, sending EICAR until it is refused ...")
    seconds = installation.apply_mailfilter(system)
    installation.wait_ready(system)
    records = installation.wait_records(system)
    system.publish_records()
    console.print("Waiting until the operator has seen the records in DNS and the pod signs ...")
    installation.wait_signing(system)
    console.print("Sending mail ...\n")
    outcomes = [(row, row.run(system)) for row in ROWS]
    console.print(draw(outcomes))
    console.print("\nThe zone lines from the MailFilter's status that the name server was loaded with:")
    for record in records:
        console.print(record["zoneLine"], soft_wrap=True, markup=False, highlight=False)
    console.print(f"\nFrom applying the MailFilter to the first EICAR refused: {seconds:.1f} s\n")
    console.print(AFTERWARDS, soft_wrap=True, highlight=False)
    failed = [row.name for row, outcome in outcomes if not outcome.ok]
    if failed:
        console.print(f"\nFAILED: {', '.join(failed)}", markup=False)
    return [outcome for _, outcome in outcomes]


def draw(outcomes: list[tuple[Row, Outcome]]) -> Table:
    """Draw the table: what was tried, what was expected, what came of it."""
    table = Table(box=box.SIMPLE_HEAD)
    for heading, ratio in (("row", 2), ("expected", 2), ("got", 5), ("ok", None)):
        table.add_column(heading, ratio=ratio, overflow="fold")
    for row, outcome in outcomes:
        mark = "[green]yes[/green]" if outcome.ok else "[bold red]NO[/bold red]"
        table.add_row(row.name, row.expected, escape(outcome.got), mark)
    return table


if __name__ == "__main__":
    sys.exit(main())
