"""Runs the filter image's own programs on this machine, without a cluster.

The image is built (or taken from the cache) and unpacked once into the cache. A command runs in a mount namespace of
its own with that tree as a read-only root, as the image's user, and with nothing of this machine but /proc and what is
bound in. Needs root.
"""

import functools
import io
import json
import os
import shlex
import shutil
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
USER = 11333


@functools.cache
def archive() -> Path:
    """Path of the filter image's OCI archive, built if need be."""
    result = subprocess.run([CHECKOUT / "image" / "build", "filter"], check=True, stdout=subprocess.PIPE, text=True)
    return Path(result.stdout.strip())


@functools.cache
def rootfs() -> Path:
    """Directory with the unpacked filter image, in the cache beside the archive."""
    target = archive().with_name("rootfs")
    if not target.exists():
        unfinished = target.with_name(f"rootfs.{os.getpid()}")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        for layer in layers(archive()):
            subprocess.run(["tar", "-C", unfinished, "-xz"], input=layer, check=True)
        try:
            unfinished.rename(target)
        except OSError:  # another process was first
            shutil.rmtree(unfinished)
    return target


def layers(oci_archive: Path) -> list[bytes]:
    """The image's layers as they are in the archive, lowest first."""
    with tarfile.open(oci_archive) as tar:

        def blob(digest: str) -> bytes:
            member = tar.extractfile("blobs/" + digest.replace(":", "/"))
            assert member is not None
            return member.read()

        index = tar.extractfile("index.json")
        assert index is not None
        manifest = json.load(io.BytesIO(blob(json.load(index)["manifests"][0]["digest"])))
        return [blob(layer["digest"]) for layer in manifest["layers"]]


def command_in_rootfs(
    argv: Sequence[str], binds: Mapping[Path, str], *, user: int = USER, net_of: int | None = None
) -> list[str]:
    """The command line that runs argv in the image; binds maps paths here to paths there (made if missing).

    net_of is the process whose network namespace is used. The command becomes the given program by exec only, so
    that signals sent to the process that runs this line reach the program.
    """
    lines = [
        "set -e",
        "mkdir -p /mnt && mount -t tmpfs none /mnt && mkdir /mnt/upper /mnt/work /mnt/root",
        f"mount -t overlay -o lowerdir={rootfs()},upperdir=/mnt/upper,workdir=/mnt/work none /mnt/root",
        "mount --rbind /proc /mnt/root/proc",
        # As small as a container's, and its own: /dev/termination-log is bound in.
        "mount -t tmpfs none /mnt/root/dev && mkdir /mnt/root/dev/shm && chmod 1777 /mnt/root/dev/shm",
        "for name in null zero full random urandom tty; do",
        "touch /mnt/root/dev/$name && mount --bind /dev/$name /mnt/root/dev/$name; done",
        "ln -s /proc/self/fd /mnt/root/dev/fd",
    ]
    for outside, inside in binds.items():
        there = shlex.quote(f"/mnt/root{inside}")
        make = f"mkdir -p {there}" if outside.is_dir() else f"mkdir -p $(dirname {there}) && touch {there}"
        lines += [make, f"mount --rbind {shlex.quote(str(outside.resolve()))} {there}"]
    lines += [
        "mount -o remount,ro,bind /mnt/root",
        f"cd /mnt/root && exec setpriv --no-new-privs "
        f"chroot --userspec={user}:{user} --groups= /mnt/root env -i PATH=/usr/sbin:/usr/bin " + shlex.join(argv),
    ]
    enter = ["nsenter", f"--net=/proc/{net_of}/ns/net"] if net_of else []
    return [*enter, "unshare", "--mount", "--propagation=private", "sh", "-c", "\n".join(lines)]


def run_in_rootfs(
    argv: Sequence[str],
    binds: Mapping[Path, str] | None = None,
    stdin: bytes | None = None,
    *,
    net_of: int | None = None,
    timeout: float = 60,
) -> subprocess.CompletedProcess[str]:
    """Runs argv in the image to its end (at most timeout seconds); output as text, no exception on failure."""
    finished = subprocess.run(
        command_in_rootfs(argv, binds or {}, net_of=net_of), input=stdin, capture_output=True, timeout=timeout
    )
    return subprocess.CompletedProcess(
        finished.args,
        finished.returncode,
        finished.stdout.decode(errors="replace"),
        finished.stderr.decode(errors="replace"),
    )
