"""What is in the filter image, and what is not."""

import re
import stat
from collections.abc import Callable

import pytest
from tests.image.rootfs import archive, rootfs, run_in_rootfs

ENTRY_POINTS = {
    *("rspamd", "clamd", "freshclam", "mirror-signatures", "serve-signatures"),
    *("probe-rspamd", "probe-clamd", "drain-clamd", "take-config"),
    *("prove-config", "fetched-database", "prove-database"),
    *("www/cgi-bin/state", "www/cgi-bin/metrics"),
}


@pytest.mark.parametrize(
    ("argv", "least"),
    [
        (["rspamd", "--version"], (4, 1, 5)),
        (["rspamadm", "--version"], (4, 1, 5)),
        (["clamd", "--config-file=/etc/clamav/clamd.conf", "--version"], (1, 4, 6)),
        (["freshclam", "--config-file=/dev/null", "--version"], (1, 4, 6)),
        (["clamdscan", "--version"], (1, 4, 6)),
        (["clamscan", "--version"], (1, 4, 6)),
        (["valkey-server", "--version"], (9, 0, 0)),
        (["unbound", "-V"], (1, 20, 0)),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_program_runs_and_is_recent_enough(argv: list[str], least: tuple[int, ...]) -> None:
    output = run_in_rootfs(argv).stdout
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", output)
    assert found, output
    assert tuple(map(int, found.groups())) >= least


def test_entry_points_are_programs() -> None:
    directory = rootfs() / "usr/lib/mailfilter"
    executable = {path for path in directory.rglob("*") if path.is_file() and path.stat().st_mode & stat.S_IXOTH}
    assert {str(path.relative_to(directory)) for path in executable} == ENTRY_POINTS


def test_no_file_gives_privileges() -> None:
    special = [path for path in rootfs().rglob("*") if path.is_file() and path.lstat().st_mode & 0o6000]
    assert special == []


def test_only_volumes_belong_to_the_user() -> None:
    owned = {str(path.relative_to(rootfs())) for path in rootfs().rglob("*") if path.lstat().st_uid != 0}
    assert owned == {"var/lib/clamav", "var/lib/rspamd", "run/clamav", "run/mailfilter"}


def test_nothing_that_the_filter_does_not_need() -> None:
    unwanted = re.compile(r"(^|/)(perl|python|systemd|apt|dpkg-query|man|locale)(/|$)")
    names = [str(path.relative_to(rootfs())) for path in rootfs().rglob("*") if not path.is_symlink()]
    assert [name for name in names if unwanted.search(name)] == []


def test_every_package_brings_its_copyright() -> None:
    lines = (rootfs() / "usr/share/mailfilter/packages").read_text().splitlines()
    packages = {line.split()[0] for line in lines}
    assert {"rspamd", "clamav-daemon", "valkey-tools", "unbound", "busybox", "libc6"} <= packages
    missing = {name for name in packages if not (rootfs() / "usr/share/doc" / name / "copyright").is_file()}
    assert missing == set()


def test_libraries_are_complete() -> None:
    objects = [path for path in rootfs().rglob("*") if path.is_file() and path.read_bytes()[:4] == b"\x7fELF"]
    inside = " ".join(f"/{path.relative_to(rootfs())}" for path in objects if "gconv" not in path.parts)
    script = f"for file in {inside}; do /lib64/ld-linux-x86-64.so.2 --list $file 2>&1 || :; done"
    missing = [line for line in run_in_rootfs(["sh", "-c", script]).stdout.splitlines() if "not found" in line]
    assert missing == []


def test_sizes(record_property: Callable[[str, object], None]) -> None:
    unpacked = sum(path.lstat().st_size for path in rootfs().rglob("*") if path.is_file() and not path.is_symlink())
    packed = archive().stat().st_size
    record_property("unpacked", unpacked)
    record_property("packed", packed)
    print(f"filter image: {unpacked / 1e6:.1f} MB unpacked, {packed / 1e6:.1f} MB packed")
    assert unpacked <= 140e6
    assert packed <= 55e6
