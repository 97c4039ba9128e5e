"""A web server whose answers a test chooses and changes while it runs, good ones and bad ones.

Run as a program it serves what a directory says, so that it can run in another network namespace:
python -m tests.image.answering ADDRESS PORT DIRECTORY
"""

from __future__ import annotations

import base64
import dataclasses
import http.server
import json
import sys
import threading
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

PORT = 8080
_ANSWERS = "answers.json"
_REQUESTS = "requests"


@dataclasses.dataclass(frozen=True)
class Answer:
    """What is answered to a request for one name."""

    body: bytes = b""
    status: int = HTTPStatus.OK
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """With Last-Modified, who has that or something newer gets 304."""
    length: int | None = None
    """Bytes that Content-Length promises; what there is if not given."""
    first: bytes | None = None
    """Answered to who asks for the first bytes only, as freshclam does before it fetches a signed database."""
    silent: bool = False
    """The request is taken and never answered."""
    hangs_up: bool = False
    """The connection is closed in place of an answer."""


class Answers:
    """The test's side: what is answered, and what was asked."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(exist_ok=True)
        (directory / _REQUESTS).touch()
        self._chosen: dict[str, Answer] = {}
        self.choose({})

    def choose(self, answers: Mapping[str, Answer]) -> None:
        """From now on these names are answered like this, the others as before; 404 for all else."""
        self._chosen |= answers
        entries = {name: _write(answer) for name, answer in self._chosen.items()}
        unfinished = self.directory / "unfinished"
        unfinished.write_text(json.dumps(entries))
        unfinished.rename(self.directory / _ANSWERS)

    def asked(self) -> list[tuple[str, float]]:
        """The names that were asked for, each as often as it was, in their order, and when by the monotonic clock."""
        lines = (line.split() for line in (self.directory / _REQUESTS).read_text().splitlines())
        return [(name, float(when)) for name, when in lines]


def _write(answer: Answer) -> dict[str, Any]:
    texts = {
        name: None if content is None else base64.b64encode(content).decode()
        for name, content in (("body", answer.body), ("first", answer.first))
    }
    return {**dataclasses.asdict(answer), **texts}


def _read(entry: Mapping[str, Any]) -> Answer:
    contents = {name: None if entry[name] is None else base64.b64decode(entry[name]) for name in ("body", "first")}
    return Answer(**{**entry, **contents})


class _Handler(http.server.BaseHTTPRequestHandler):
    directory: Path
    writing = threading.Lock()

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        with self.writing, (self.directory / _REQUESTS).open("a") as requests:
            requests.write(f"{name} {time.monotonic()}\n")
        entry = json.loads((self.directory / _ANSWERS).read_text()).get(name)
        answer = Answer(status=HTTPStatus.NOT_FOUND) if entry is None else _read(entry)
        if answer.silent:
            threading.Event().wait()
        elif answer.hangs_up:
            self.close_connection = True
        elif self._is_known(answer):
            self._send(HTTPStatus.NOT_MODIFIED, b"", {})
        else:
            self._send_chosen(answer)

    def _is_known(self, answer: Answer) -> bool:
        """Whether who asks has what there is, or something newer."""
        there, modified = self.headers.get("If-Modified-Since"), answer.headers.get("Last-Modified")
        return bool(there and modified) and parsedate_to_datetime(str(there)) >= parsedate_to_datetime(str(modified))

    def _send_chosen(self, answer: Answer) -> None:
        span = self.headers.get("Range", "")
        if span.startswith("bytes=0-") and (answer.first is not None or answer.status == HTTPStatus.OK):
            last = int(span.removeprefix("bytes=0-"))
            self._send(HTTPStatus.PARTIAL_CONTENT, (answer.first or answer.body)[: last + 1], {})
        else:
            length = {} if answer.length is None else {"Content-Length": str(answer.length)}
            self._send(answer.status, answer.body, {**answer.headers, **length})

    def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for header, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(header, value)
        self.end_headers()
        self.wfile.write(body)


def main(address: str, port: str, directory: str) -> None:
    """Serve for ever."""
    _Handler.directory = Path(directory)
    http.server.ThreadingHTTPServer((address, int(port)), _Handler).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
