"""A web server in the process of the tests, for databases that are too large for a ConfigMap.

It listens at the node's address, which pods reach, and which is there only in the test cluster's network namespace.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.cluster.layout import NODE_ADDRESS
from typing_extensions import override


@contextlib.contextmanager
def offering(files: Mapping[str, bytes], address: str = NODE_ADDRESS) -> Iterator[str]:
    """Serve what *files* holds at each moment, by name; provide the URL that a name is put after."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = files.get(self.path[1:])
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            if content and self.command == "GET":
                with contextlib.suppress(ConnectionError):  # who asks may end at any moment
                    self.wfile.write(content)

        do_HEAD = do_GET  # noqa: N815 - named by http.server

        @override
        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer((address, 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://{address}:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
