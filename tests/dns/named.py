"""BIND on loopback addresses: name servers that really answer, each with zones of its own."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import dns.exception
import dns.message
import dns.query
from tests.mail.polling import eventually

PORT = 5359
_CONFIGURATION = """\
options {{
    directory "{directory}";
    pid-file none;
    session-keyfile none;
    listen-on port {port} {{ {address}; }};
    listen-on-v6 {{ none; }};
    recursion {recursion};
    dnssec-validation no;
    allow-query {{ any; }};
    allow-query-cache {{ any; }};
    empty-zones-enable no;
    minimal-responses yes;
}};
controls {{ }};
"""


def own_address(number: int) -> str:
    """The loopback address with this number, below 128, of this test run: no other run on the machine takes it."""
    return f"127.{64 + number}.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"


@dataclass
class Named:
    """One server at an address; `zones` by name hold all their lines. A zone that is no zone makes it say SERVFAIL."""

    directory: Path
    address: str
    zones: Mapping[str, str]
    forwards: Mapping[str, str] = field(default_factory=dict)
    """Address of the server of each zone for which it answers as a resolver does."""
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        """Return when it answers. BIND listens only on addresses of an interface."""
        subprocess.run(["ip", "address", "replace", f"{self.address}/32", "dev", "lo"], check=True)
        self.directory.mkdir(parents=True)
        recursion = "yes" if self.forwards else "no"
        text = _CONFIGURATION.format(directory=self.directory, port=PORT, address=self.address, recursion=recursion)
        for zone, address in self.forwards.items():
            server = f"{address} port {PORT}"
            text += f'zone "{zone}" {{ type forward; forward only; forwarders {{ {server}; }}; }};\n'
        for number, (zone, content) in enumerate(self.zones.items()):
            (self.directory / f"{number}.zone").write_text(content)
            text += f'zone "{zone}" {{ type primary; file "{number}.zone"; }};\n'
        (self.directory / "named.conf").write_text(text)
        # It ends with the tests, also if they are killed.
        command = ["setpriv", "--pdeathsig", "TERM", "named", "-g", "-4", "-n", "1", "-c", "named.conf"]
        with (self.directory / "log").open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.directory)
        eventually(self._answers, within_seconds=15, what=f"an answer of named at {self.address}", every_seconds=0.05)

    def _answers(self) -> bool:
        assert self.process
        if self.process.poll() is not None:
            raise RuntimeError((self.directory / "log").read_text())
        try:
            dns.query.udp(dns.message.make_query("version.bind.", "TXT", "CH"), self.address, 0.5, PORT)
        except dns.exception.Timeout:
            raise AssertionError("no answer yet") from None
        return True

    def pause(self) -> None:
        """It says nothing until `go_on`."""
        assert self.process
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it for good, whether it ever answered or not."""
        if self.process:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            self.process.wait(10)
        subprocess.run(["ip", "address", "delete", f"{self.address}/32", "dev", "lo"], check=False)
