"""Command line: `python3 -m tests.cluster COMMAND`, from the root of the checkout, as root."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

from tests.cluster import cache, connection, images, layout, packages, programs, supervisor, tiers


def _binaries(_options: argparse.Namespace) -> int:
    for name, directory in programs.build_all().items():
        print(f"{name:12} {directory}")
    return 0


def _packages(options: argparse.Namespace) -> int:
    wanted = packages.CLUSTER + packages.BUILD
    installed = packages.install(wanted + packages.TESTS if options.tests else wanted)
    print("installed: " + (" ".join(installed) or "nothing, all there"))
    return 0


def _up(options: argparse.Namespace) -> int:
    cluster = layout.current_cluster()
    for name in options.tier or ["node"]:
        tier = cluster.tier(name)
        seconds = tiers.ensure_up(cluster, tier)
        print(f"{name}: {tier.api_server_url} " + (f"up in {seconds:.1f} s" if seconds else "was up"))
    return 0


def _down(options: argparse.Namespace) -> int:
    cluster = layout.current_cluster()
    for name in options.tier or [""]:
        tiers.bring_down(cluster, cluster.tier(name) if name else None)
    return 0


def _load(options: argparse.Namespace) -> int:
    cluster = layout.current_cluster()
    for path in options.archive:
        archive = images.read_archive(path)
        done = "loaded" if images.load(cluster, path) else "was there"
        print(f"{archive.name} {archive.digest[:19]} {done}")
    return 0


def _run(options: argparse.Namespace) -> int:
    cluster = layout.current_cluster()
    chosen = cluster.tier(options.tier) if options.tier else None
    tier = chosen or next((tier for tier in cluster.tiers if tiers.is_up(tier)), None)
    if tier is None or not tiers.is_up(tier):
        raise SystemExit("no cluster is up: python3 -m tests.cluster up")
    command = connection.entering(cluster, options.command)
    os.execvpe(command[0], command, {**os.environ, **connection.environment(tier)})  # noqa: S606 - no shell is the point


def _status(_options: argparse.Namespace) -> int:
    cluster = layout.current_cluster()
    print(f"cluster {cluster.name}, state {cluster.state}, cache {cache.root()}")
    for tier in cluster.tiers:
        state = "up" if tiers.is_up(tier) else "down"
        print(f"{tier.name:5} {state:5} {tier.api_server_url}  KUBECONFIG={tier.kubeconfig}")
        progress, running = supervisor.progress(tier), supervisor.component_pids(tier)
        for name, seconds in progress["ready"].items():
            print(f"      {name:25} ready after {seconds:5.2f} s  pid {running.get(name, 'gone')}")
    return 0 if any(tiers.is_up(tier) for tier in cluster.tiers) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m tests.cluster", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    names = [tier.name for tier in layout.current_cluster().tiers]

    commands.add_parser("binaries", help="build the Go programs").set_defaults(act=_binaries)
    debian = commands.add_parser("packages", help="install missing Debian packages")
    debian.add_argument("--tests", action="store_true", help="name servers and browser of the tests, too")
    debian.set_defaults(act=_packages)
    up = commands.add_parser("up", help="start a tier (default: node) unless it is up")
    up.add_argument("--tier", action="append", choices=names)
    up.set_defaults(act=_up)
    down = commands.add_parser("down", help="remove the cluster, or one tier")
    down.add_argument("--tier", action="append", choices=names)
    down.set_defaults(act=_down)
    load = commands.add_parser("load", help="import OCI archives")
    load.add_argument("archive", type=Path, nargs="+")
    load.set_defaults(act=_load)
    run = commands.add_parser("run", help="run a command inside the cluster's network, with KUBECONFIG set")
    run.add_argument("--tier", choices=names, help="whose KUBECONFIG (default: node if it is up)")
    run.add_argument("command", nargs="+", metavar="-- COMMAND")
    run.set_defaults(act=_run)
    commands.add_parser("status", help="say what is up").set_defaults(act=_status)
    return parser


def main() -> int:
    """Run one command and return its exit status."""
    # Python ignores this signal, and what `run` becomes would inherit that.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    options = _parser().parse_args()
    if os.geteuid() != 0:
        raise SystemExit("the cluster needs root: network namespaces, mounts and control groups")
    act = options.act
    return int(act(options))


if __name__ == "__main__":
    sys.exit(main())
