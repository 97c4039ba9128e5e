"""A web server of signature databases, and a proxy, for freshclam.

`python -m tests.image.upstream PORT DIRECTORY [OPTION]` serves the files of the directory, also parts of them, and
prints a line for each request. Parts of NAME are those of NAME.first if that is there. A file `.status` there has a
status with which everything is answered. OPTION is `proxy`: it connects to other servers, for clients that send the
name and password of the file `.proxy` (NAME:PASSWORD); or the path of a certificate with its key (PEM): it speaks TLS.
"""

import base64
import http.server
import select
import socket
import ssl
import sys
from pathlib import Path
from urllib.parse import urlsplit

from typing_extensions import override


class Upstream(http.server.BaseHTTPRequestHandler):
    """Files, or a way to another server."""

    directory: Path
    proxy = False

    def do_GET(self) -> None:
        """Answer a request as told."""
        told = self.directory / ".status"
        if told.exists():
            self._answer(int(told.read_text()), b"")
        else:
            self._serve_file()

    def do_HEAD(self) -> None:
        """The same without a body."""
        self.do_GET()

    def _serve_file(self) -> None:
        path = self.directory / urlsplit(self.path).path.lstrip("/")
        if not path.is_file():
            self._answer(404, b"")
        elif self.headers.get("Range", "").startswith("bytes="):
            first, last = self.headers["Range"].removeprefix("bytes=").split("-")
            claimed = path.with_name(f"{path.name}.first")
            content = (claimed if claimed.exists() else path).read_bytes()
            self._answer(206, content[int(first) : int(last or "1000000") + 1])
        else:
            self._answer(200, path.read_bytes())

    def do_CONNECT(self) -> None:
        """Pass bytes to and fro, for clients that say who they are. freshclam asks a proxy in no other way."""
        wanted = base64.b64encode((self.directory / ".proxy").read_bytes()).decode() if self.proxy else None
        if wanted is None or self.headers.get("Proxy-Authorization") != f"Basic {wanted}":
            self._answer(407, b"", {"Proxy-Authenticate": "Basic realm=proxy"})
            return
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=10) as server:
            self.send_response(200)
            self.end_headers()
            self.close_connection = True
            ends = {self.connection: server, server: self.connection}
            while True:
                ready, _, _ = select.select(list(ends), [], [], 30)
                for end in ready:
                    content = end.recv(65536)
                    if not content:
                        return
                    ends[end].sendall(content)
                if not ready:
                    return

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    @override
    def log_message(self, format: str, *args: object) -> None:
        if format.startswith('"%s"'):
            whole = "" if "Range" in self.headers else " whole"
            print(f"{self.command} {self.path} {args[1]}{whole}", flush=True)


def main(port: str, directory: str, option: str = "") -> None:
    """Serve for ever."""
    Upstream.directory, Upstream.proxy = Path(directory), option == "proxy"
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Upstream)
    if option and not Upstream.proxy:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(option)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
