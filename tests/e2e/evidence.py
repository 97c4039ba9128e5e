"""What the cluster says at the moment a test fails: without it a failure on another machine explains nothing.

Little of everything, and first what tells most: who shows a failed run may show its beginning only.
"""

from __future__ import annotations

import datetime
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from tests.demo.installation import OPERATOR_NAMESPACE
from tests.mail.kubectl import Kubectl, KubectlError

_FILTER = ("--namespace=mail", "--selector=app.kubernetes.io/name=mailfilter")
_ENDED = "{.status.containerStatuses[*]['name','restartCount','lastState']}"
_STATES = f"--output=jsonpath={{range .items[*]}}{{.metadata.name}} {_ENDED}{{'\\n'}}{{end}}"


@dataclass(frozen=True)
class Question:
    """Arguments of kubectl, and how many lines of the end of its answer are kept, of those that hold `having`."""

    arguments: tuple[str, ...]
    lines: int
    having: str = ""


def _log(*arguments: str, lines: int, having: str = "") -> Question:
    return Question(("logs", *arguments, "--tail=400", "--timestamps"), lines, having)


QUESTIONS = (
    Question(("get", "pods", "--namespace=mail", "--output=wide"), 10),
    Question(("get", "pods", *_FILTER, _STATES), 5),
    _log("--namespace=mail-test", "deployment/postfix", lines=8, having="milter"),
    _log(*_FILTER, "--container=rspamd", "--prefix", lines=25),
    _log(*_FILTER, "--container=clamd", "--prefix", lines=8),
    _log(f"--namespace={OPERATOR_NAMESPACE}", "deployment/mailfilter-operator", lines=15),
    Question(("get", "events", "--namespace=mail", "--sort-by=.lastTimestamp"), 15),
    _log(*_FILTER, "--container=rspamd", "--prefix", "--previous", lines=15),
)


def collect(kubectl: Kubectl) -> Iterator[tuple[str, str]]:
    """Give heading and text of each thing that an administrator would look at first."""
    yield "clock", datetime.datetime.now(datetime.UTC).isoformat()
    for question in QUESTIONS:
        try:
            said = kubectl.run(*question.arguments, timeout_seconds=20).splitlines()
            kept = [line for line in said if question.having in line][-question.lines :]
        except (KubectlError, subprocess.TimeoutExpired) as error:
            kept = [str(error)]
        yield f"kubectl {' '.join(question.arguments)}", "\n".join(kept)
