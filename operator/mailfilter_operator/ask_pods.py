"""Ask filter pods what they serve: a small JSON over HTTP, from all pods of a filter at once, with a short patience.

Whatever a pod does, it holds up neither its own filter nor others: there is a time for each answer as a whole, not for
each of its parts, and one for all answers together. (HTTP clients know only the time between two parts.)
"""

import re
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor, wait

from mailfilter_operator import names
from mailfilter_operator.pod_reports import LONGEST_REPORT, PodReport, parse_report

_CONNECT_SECONDS = 0.5
ANSWER_SECONDS = 4.0
"""A pod that has not answered by then is asked again; a pass must not wait long for it."""

PATIENCE_SECONDS = 5.0
"""For all pods of a filter, the time for a free thread among it."""

_LONGEST_ANSWER = LONGEST_REPORT + 4096
"""Bytes, those of the header lines among them."""

_REQUEST = f"GET {names.REPORT_PATH} HTTP/1.0\r\nHost: pod\r\nConnection: close\r\n\r\n".encode()

AskPods = Callable[[Iterable[str]], Mapping[str, PodReport]]
"""Reports by pod IP; of a pod that does not answer, or not with a report, none."""


def make_asker(executor: Executor, port: int = names.REPORT_PORT) -> AskPods:
    """An AskPods that asks on the threads of *executor*."""

    def ask(ips: Iterable[str]) -> Mapping[str, PodReport]:
        asked = {ip: executor.submit(_ask_one, ip, port) for ip in sorted(set(ips))}
        answered, late = wait(asked.values(), PATIENCE_SECONDS)
        for future in late:
            future.cancel()
        reports = {ip: future.result() for ip, future in asked.items() if future in answered}
        return {ip: report for ip, report in reports.items() if report is not None}

    return ask


def _ask_one(ip: str, port: int) -> PodReport | None:
    deadline = time.monotonic() + ANSWER_SECONDS
    try:
        # Of its own: pods come and go, and a kept connection would be to a pod that is gone.
        with socket.create_connection((ip, port), _CONNECT_SECONDS) as connection:
            connection.sendall(_REQUEST)
            answer = _read_all(connection, deadline)
        head, _, body = re.sub(rb"\r?\n\r?\n", b"\n\n", answer, count=1).partition(b"\n\n")
        return parse_report(body) if re.match(rb"HTTP/1\.[01] 200\b", head) else None
    except (OSError, ValueError):
        return None


def _read_all(connection: socket.socket, deadline: float) -> bytes:
    """What comes until the other side closes. Raises TimeoutError at *deadline*, ValueError if it is too much."""
    answer = bytearray()
    while len(answer) <= _LONGEST_ANSWER:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)
        part = connection.recv(_LONGEST_ANSWER)
        if not part:
            return bytes(answer)
        answer += part
    raise ValueError("longer than any report")
