"""Stock rspamd and clamd: the image's own programs with their default configuration and none of ours.

What differs from a Debian system where both were just installed is said by DESCRIPTION and done here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.image.messages import CLEAN, INFECTED
from tests.image.pod import Pod, wait_until
from tests.image.rootfs import CHECKOUT, USER, rootfs

DESCRIPTION = (
    "/etc/rspamd as packaged (milter proxy -> normal worker, as many as rspamd chooses, log level info to a "
    "file), local.d/antivirus.conf with clamd at 127.0.0.1:3310, clamd.conf as Debian's package writes it but for that "
    "socket; clamav.lua as upstream has it, our plugin off"
)

_HERE = Path(__file__).parent / "stock"
_SCANNER = "usr/share/rspamd/lualib/lua_scanners/clamav.lua"
# The same compiled patterns, so that neither has them to compile.
_RSPAMD = "cp -n /usr/share/mailfilter/hyperscan/* /var/lib/rspamd/ && exec rspamd -f"


def start(pod: Pod, databases: Path, *, local: Mapping[str, str] | None = None, clamd_conf: str = "") -> None:
    """Start stock rspamd and clamd with the signatures in *databases* and return when a virus is found.

    What an administrator may set besides: files of *local*.d, and more lines of clamd.conf.
    """
    for database in databases.glob("*.ndb"):
        copied = Path(shutil.copy(database, pod.databases))
        os.chown(copied, USER, USER)
    logs = {name: _writable(pod.directory / "logs" / name) for name in ("rspamd", "clamav")}
    conf = pod.directory / "clamd.conf"
    conf.write_text((_HERE / "clamd.conf").read_text() + clamd_conf)
    clamd = {conf: "/etc/clamav/clamd.conf", logs["clamav"]: "/var/log/clamav"}
    pod.start("clamd", "clamd", "--foreground", "--config-file=/etc/clamav/clamd.conf", extra=clamd)
    directory = pod.directory / "local.d"
    directory.mkdir()
    for name, text in {"antivirus.conf": (_HERE / "antivirus.conf").read_text(), **(local or {})}.items():
        (directory / name).write_text(text)
    no_plugin = pod.directory / "no-plugin.conf"
    no_plugin.touch()
    rspamd = {
        directory: "/etc/rspamd/local.d",
        no_plugin: "/etc/rspamd/modules.d/mailfilter.conf",
        _unpatched_scanner(pod.directory): f"/{_SCANNER}",
        logs["rspamd"]: "/var/log/rspamd",
        _writable(pod.directory / "run"): "/run/rspamd",
    }
    pod.start("rspamd", "sh", "-c", _RSPAMD, extra=rspamd)
    wait_until(lambda: _finds_a_virus(pod, logs["clamav"] / "clamav.log"), 60, "stock rspamd and clamd")


def _writable(directory: Path) -> Path:
    directory.mkdir(parents=True)
    os.chown(directory, USER, USER)
    return directory


def _unpatched_scanner(directory: Path) -> Path:
    """Take our fix out of a copy of rspamd's clamav.lua."""
    target = directory / "upstream" / _SCANNER
    target.parent.mkdir(parents=True)
    shutil.copy(rootfs() / _SCANNER, target)
    patch = CHECKOUT / "image" / "filter" / "clamav-lua-failclosed.patch"
    command = ["patch", "--reverse", "--strip=1", "--batch", f"--directory={directory / 'upstream'}"]
    subprocess.run([*command, f"--input={patch}"], check=True, stdout=subprocess.DEVNULL)
    return target


def _finds_a_virus(pod: Pod, log: Path) -> bool:
    """Tell whether clean mail is accepted, and clamd has reported what a virus mail brought it."""
    if pod.run("rspamd", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1:11332/ping").returncode:
        return False
    pod.scan(INFECTED["attachment"])
    return pod.scan(CLEAN).reply == "accept" and log.exists() and "FOUND" in log.read_text()
