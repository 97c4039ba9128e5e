"""Debian packages that cluster, image builds and tests need: what is missing is installed, nothing upgraded."""

from __future__ import annotations

import os
import shutil
import subprocess

from tests.cluster import cache

CLUSTER = (
    "ca-certificates",
    "conntrack",
    "containernetworking-plugins",
    "iproute2",
    "iptables",
    "mount",
    "openssl",
    "runc",
    "util-linux",
)
"""What a cluster runs."""

BUILD = ("buildah", "busybox-static", "mmdebstrap", "shellcheck", "skopeo")
"""What the images are built and checked with."""

TESTS = ("bind9", "chromium", "chromium-driver", "jq")
"""The tests' name servers, what they open rspamd's web interface with, and what README moves keys with; some 460 MB,
which the demo does without."""


def missing(names: tuple[str, ...]) -> list[str]:
    """Return those of *names* that are not installed."""
    if not shutil.which("dpkg-query"):
        raise SystemExit("this needs Debian: dpkg-query was not found")
    result = subprocess.run(
        ["dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status}\n", *names],
        capture_output=True,
        text=True,
        check=False,  # it exits with 1 as soon as one package is unknown
    )
    installed = {line.split()[0] for line in result.stdout.splitlines() if line.endswith(" installed")}
    return [name for name in names if name not in installed]


def install(names: tuple[str, ...]) -> list[str]:
    """Install those of *names* that are missing and return them; package lists are refreshed only for that."""
    if not missing(names):
        return []
    with cache.locked("packages"):
        wanted = missing(names)
        if not wanted:  # another checkout was faster
            return []
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "--quiet"], check=True, env=environment)
        options = ("--quiet", "--yes", "--no-install-recommends", "--option=DPkg::Lock::Timeout=300")
        command = ["apt-get", "install", *options, *wanted]
        subprocess.run(command, check=True, env=environment)
    return wanted
