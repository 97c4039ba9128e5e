"""Answers every stream with the same text in place of clamd, to show what rspamd makes of it.

Run as a program: python -m tests.image.fake_clamd SOCKET ANSWER [LATER]
LATER is what all streams but the first are answered.
"""

import contextlib
import socket
import sys
from pathlib import Path


def main(path: str, answer: str, later: str | None = None) -> None:
    """Serves on the unix socket path until it is ended; an empty answer closes the connection without one."""
    Path(path).unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        Path(path).chmod(0o666)
        while True:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(1 << 20)
                if answer:
                    connection.sendall(answer.encode() + b"\0")
            answer = answer if later is None else later


if __name__ == "__main__":
    main(*sys.argv[1:])
