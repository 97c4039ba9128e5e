"""Go programs of the cluster, built from the pinned modules below ``modules/``.

One module per group, because their dependencies disagree.  A group's cache key is its module files,
its build flags and the compiler's version, so an entry never has to be judged by its age.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache as once
from pathlib import Path

from tests.cluster import cache

_MODULES = Path(__file__).parent / "modules"
_VERSION_PACKAGE = "k8s.io/component-base/version"


@dataclass(frozen=True, slots=True)
class Group:
    """One Go module and how it is built; *package* is what `go build` is told to build."""

    name: str
    package: str = "tool"
    tags: tuple[str, ...] = ()
    link_flags: tuple[str, ...] = ("-s", "-w")


KUBERNETES = Group(
    "kubernetes",
    # Without these the API server calls itself v0.0.0-master.
    link_flags=(
        "-s",
        "-w",
        f"-X {_VERSION_PACKAGE}.gitVersion=v1.37.2",
        f"-X {_VERSION_PACKAGE}.gitMajor=1",
        f"-X {_VERSION_PACKAGE}.gitMinor=37",
    ),
)
ETCD = Group("etcd")
CONTAINERD = Group("containerd", tags=("no_btrfs", "no_devmapper", "no_zfs", "no_aufs"))
COREDNS = Group("coredns")
PAUSE = Group("pause", package=".")
GROUPS = (ETCD, CONTAINERD, PAUSE, COREDNS, KUBERNETES)


@once
def _compiler() -> str:
    """Return version and platform of the Go compiler."""
    if not shutil.which("go"):
        raise SystemExit("the cluster's programs are built with Go 1.26 or newer: no `go` was found on PATH")
    command = ["go", "env", "GOVERSION", "GOOS", "GOARCH"]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=_MODULES).stdout


def _flags(group: Group) -> list[str]:
    """Return the build flags; paths and repository state stay out of the programs."""
    tags = ",".join(group.tags)
    return ["-mod=readonly", "-trimpath", "-buildvcs=false", "-tags", tags, "-ldflags", " ".join(group.link_flags)]


def key(group: Group) -> str:
    """Return the cache key of *group*."""
    sources = sorted(path for path in (_MODULES / group.name).iterdir() if path.suffix in {".mod", ".sum", ".go"})
    parts = [text.encode() for text in (_compiler(), group.package, *_flags(group))]
    return cache.key([*parts, *(path.read_bytes() for path in sources)])


def directory(group: Group) -> Path:
    """Return the directory of the programs of *group*, built if need be (minutes, for Kubernetes)."""

    def build(place: Path) -> None:
        print(f"building {group.name} (once; it is kept in {cache.root()})", flush=True)
        environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}
        command = ["go", "build", *_flags(group), "-o", f"{place}/", group.package]
        subprocess.run(command, check=True, cwd=_MODULES / group.name, env=environment)

    return cache.entry(f"programs/{group.name}", key(group), build)


def path(group: Group, program: str) -> str:
    """Return the path of one program of *group*."""
    return str(directory(group) / program)


def build_all() -> dict[str, Path]:
    """Build whatever is not in the cache; one group after the other, since each uses all cores."""
    return {group.name: directory(group) for group in GROUPS}
