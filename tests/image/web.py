"""A small HTTP client that runs on a pod's network: python -m tests.image.web ADDRESS PORT PATH PASSWORD.

It sends what is on stdin, or asks with GET if nothing is, and prints status and text of the answer as JSON.
"""

import http.client
import json
import sys
from dataclasses import dataclass

from tests.image.pod import Pod


@dataclass(frozen=True)
class Answer:
    """Status and text of an HTTP answer."""

    status: int
    text: str


def ask(pod: Pod, port: int, path: str, password: str = "", body: bytes = b"", address: str = "127.0.0.1") -> Answer:
    """What a server of *pod* answers."""
    command = (sys.executable, "-m", "tests.image.web", address, str(port), path, password)
    return Answer(*json.loads(pod.on_network(*command, stdin=body)))


def main(address: str, port: str, path: str, password: str) -> tuple[int, str]:
    """Ask once, and read the answer whatever it is."""
    body = sys.stdin.buffer.read()
    connection = http.client.HTTPConnection(address, int(port), timeout=30)
    connection.request("POST" if body else "GET", path, body or None, {"Password": password} if password else {})
    answer = connection.getresponse()
    return answer.status, answer.read().decode(errors="replace")


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:5])))
