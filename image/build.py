"""Builds the container images and exports them as OCI archives; prints the path of each archive.

Usage: image/build [--base REFERENCE] [all | filter | operator | base | custom DIRECTORY NAME]

An archive lies in the cache under the SHA-256 of everything that goes into it, so a second run with the same inputs
only prints. The images start from a Debian forky: from REFERENCE if that can be pulled, otherwise from one made here
with mmdebstrap and this machine's own Debian mirror (DEBIAN_MIRROR names another one). `base` makes it and prints its
name in the build storage; `custom` builds the Containerfile of DIRECTORY, with that name as the argument BASE.

Needs buildah, for a base of its own mmdebstrap, for the operator pip. REGISTRY replaces `localhost` in image names.
"""

# ruff: noqa: S603, T201 - it runs the tools it names, and prints for people and scripts

import argparse
import contextlib
import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator

VERSION = "0.1.0"
HERE = pathlib.Path(__file__).resolve().parent
CHECKOUT = HERE.parent
SUITE = "forky"
BASE_NAME = f"localhost/debian:{SUITE}"
BASE_FORMAT = "1"  # Change it when the way the base is made changes.
OPERATOR_PYTHON = "3.14"
KEEP_DAYS = 14
# The machine's apt settings that a build must share to be able to reach its mirror.
APT_SETTINGS = (
    "Acquire::Check-Valid-Until",
    "Acquire::Check-Date",
    "Acquire::http::Proxy",
    "Acquire::https::Proxy",
)


class BuildError(Exception):
    """Something the person who builds has to know; the text is for them."""


def cache_directory() -> pathlib.Path:
    """Where everything that is built lies, outside the checkout."""
    chosen = os.environ.get("MAILFILTER_CACHE")
    if chosen:
        return pathlib.Path(chosen)
    parent = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(parent) / "mailfilter-operator"


def image_name(short: str) -> str:
    """Full name of one of our images, for instance localhost/mailfilter:0.1.0."""
    return f"{os.environ.get('REGISTRY') or 'localhost'}/{short}:{VERSION}"


def key_of(paths: Iterable[pathlib.Path], *words: str) -> str:
    """SHA-256 in hex over words and over the names, modes and contents of all files in paths."""
    digest = hashlib.sha256("\0".join(words).encode())
    for top in paths:
        for path in sorted([top] if top.is_file() else top.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                executable = os.access(path, os.X_OK)
                content = hashlib.sha256(path.read_bytes()).hexdigest()
                digest.update(f"{path.relative_to(top.parent)} {executable} {content}\n".encode())
    return digest.hexdigest()


def run(*command: str) -> None:
    """Runs a command with its output on stderr; BuildError if it fails."""
    try:
        subprocess.run(command, check=True, stdout=sys.stderr)
    except FileNotFoundError:
        raise BuildError(f"{command[0]} is not installed") from None
    except subprocess.CalledProcessError as error:
        raise BuildError(f"{command[0]} ended with status {error.returncode}") from None


def answer(*command: str) -> str:
    """Standard output of a command; empty if it fails or does not exist."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError):
        return ""


@contextlib.contextmanager
def locked(cache: pathlib.Path) -> Iterator[None]:
    """Only one build at a time works in the cache; others wait."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "images.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Buildah:
    """Buildah with a storage of its own in the cache, so that nothing else on the machine is touched."""

    def __init__(self, cache: pathlib.Path) -> None:
        storage = cache / "buildah"
        # vfs needs no support by the kernel or the file system, but copies: layers are few.
        self._command = (
            "buildah",
            f"--root={storage / 'root'}",
            f"--runroot={storage / 'run'}",
            "--storage-driver=vfs",
        )

    def has(self, name: str) -> bool:
        """Whether an image of this name is in the storage."""
        return bool(answer(*self._command, "images", "--quiet", name).strip())

    def pull(self, name: str) -> bool:
        """Whether the image could be pulled."""
        return bool(answer(*self._command, "pull", name).strip())

    def build(self, context: pathlib.Path, containerfile: pathlib.Path, name: str, base: str) -> None:
        """Builds one image; base is the Containerfile's argument BASE."""
        run(
            *self._command,
            "bud",
            "--isolation=chroot",
            "--network=host",
            "--ulimit=nofile=1024:1024",
            f"--build-arg=BASE={base}",
            f"--file={containerfile}",
            f"--tag={name}",
            str(context),
        )

    def export(self, name: str, archive: pathlib.Path) -> None:
        """Writes an image as an OCI archive and takes it out of the storage; the archive appears complete."""
        archive.parent.mkdir(parents=True, exist_ok=True)
        unfinished = archive.with_suffix(".unfinished")
        unfinished.unlink(missing_ok=True)
        run(
            *self._command,
            "push",
            "--compression-format=gzip",
            "--compression-level=9",
            name,
            f"oci-archive:{unfinished}:{name}",
        )
        unfinished.rename(archive)
        run(*self._command, "rmi", name)

    def drop_leftovers(self) -> None:
        """Removes working containers and unnamed images of builds that were cut off."""
        answer(*self._command, "rm", "--all")
        answer(*self._command, "rmi", "--prune")


def debian_mirror() -> str:
    """The mirror from which this machine installs Debian; BuildError if it does not name one."""
    chosen = os.environ.get("DEBIAN_MIRROR")
    if chosen:
        return chosen
    release = dict(
        line.split("=", 1) for line in pathlib.Path("/etc/os-release").read_text().splitlines() if "=" in line
    )
    suites = {release.get("VERSION_CODENAME", ""), "stable", "testing", "sid", "unstable"}
    form = "$(CREATED_BY) $(CODENAME) $(RELEASE) $(COMPONENT) $(REPO_URI)"
    for line in answer("apt-get", "indextargets", "--format", form).splitlines():
        fields = line.split()
        if len(fields) >= 4 and fields[0] == "Packages" and "main" in fields and suites & set(fields[1:-2]):
            return fields[-1]
    raise BuildError("no Debian mirror in this machine's apt configuration; name one in DEBIAN_MIRROR")


def apt_options() -> list[str]:
    """The machine's own apt settings in the form that mmdebstrap takes."""
    known = answer("apt-config", "dump")
    return [
        f"--aptopt={line.rstrip(';')}"
        for line in known.splitlines()
        if line.split(" ")[0] in APT_SETTINGS and not line.endswith('"";')
    ]


def make_base(buildah: Buildah, cache: pathlib.Path) -> None:
    """Makes a minimal Debian as an image of the build storage, if it is not there."""
    if buildah.has(f"{BASE_NAME}-{BASE_FORMAT}"):
        return
    with tempfile.TemporaryDirectory(dir=cache) as directory:
        work = pathlib.Path(directory)
        run(
            "mmdebstrap",
            "--variant=minbase",
            "--include=ca-certificates",
            *apt_options(),
            SUITE,
            str(work / "root.tar"),
            debian_mirror(),
        )
        (work / "Containerfile").write_text('FROM scratch\nADD root.tar /\nCMD ["/bin/sh"]\n')
        buildah.build(work, work / "Containerfile", f"{BASE_NAME}-{BASE_FORMAT}", "scratch")


def ready_base(buildah: Buildah, cache: pathlib.Path, wanted: str | None) -> str:
    """Name of the image to start from, which is in the storage or can be pulled."""
    if wanted and buildah.pull(wanted):
        return wanted
    if wanted:
        print(f"{wanted} cannot be pulled; making a base", file=sys.stderr)
    make_base(buildah, cache)
    return f"{BASE_NAME}-{BASE_FORMAT}"


class Builder:
    """Archives of images, each made only if there is none for its inputs."""

    def __init__(self, cache: pathlib.Path, base: str | None) -> None:
        self._cache = cache
        self._base = base
        self._buildah = Buildah(cache)
        self._common = (VERSION, os.environ.get("REGISTRY", ""), base or BASE_FORMAT)

    def base(self) -> str:
        """Name of the base image in the build storage."""
        with locked(self._cache):
            return ready_base(self._buildah, self._cache, self._base)

    def filter(self) -> pathlib.Path:
        """Archive of the image with rspamd, ClamAV, Valkey and unbound."""
        inputs = [HERE / "filter", HERE / "bin"]
        return self._archive(image_name("mailfilter"), inputs, HERE, HERE / "filter" / "Containerfile")

    def operator(self) -> pathlib.Path:
        """Archive of the operator's image."""
        inputs = [CHECKOUT / "operator", CHECKOUT / "requirements.lock", HERE / "operator"]
        name = image_name("mailfilter-operator")
        archive = self._path(name, inputs)
        if archive.exists():
            os.utime(archive.parent)
        else:
            with tempfile.TemporaryDirectory() as directory:
                context = pathlib.Path(directory)
                collect_operator(context)
                self._archive(name, inputs, context, context / "Containerfile")
        return archive

    def custom(self, directory: pathlib.Path, name: str) -> pathlib.Path:
        """Archive of another image whose Containerfile takes BASE."""
        return self._archive(name, [directory], directory, directory / "Containerfile")

    def _path(self, name: str, inputs: list[pathlib.Path]) -> pathlib.Path:
        short = name.rsplit("/", 1)[-1].split(":")[0]
        return self._cache / "images" / key_of(inputs, name, *self._common) / f"{short}.tar"

    def _archive(
        self, name: str, inputs: list[pathlib.Path], context: pathlib.Path, containerfile: pathlib.Path
    ) -> pathlib.Path:
        archive = self._path(name, inputs)
        if archive.exists():
            os.utime(archive.parent)  # the time of its last use
            return archive
        with locked(self._cache):
            if not archive.exists():
                drop_unused(self._cache / "images")
                self._buildah.drop_leftovers()
                base = ready_base(self._buildah, self._cache, self._base)
                self._buildah.build(context, containerfile, name, base)
                self._buildah.export(name, archive)
        return archive


def drop_unused(archives: pathlib.Path) -> None:
    """Removes archives, and what was unpacked beside them, that nobody asked for in KEEP_DAYS days."""
    for directory in archives.glob("*"):
        if time.time() - directory.stat().st_mtime > KEEP_DAYS * 86400:
            shutil.rmtree(directory)


def collect_operator(context: pathlib.Path) -> None:
    """Puts what the operator's image is built from into context: our package, its wheels, the Containerfile.

    The wheels are fetched here and not in the build, so that this machine's own pip configuration applies.
    """
    shutil.copytree(HERE / "operator", context, dirs_exist_ok=True)
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(
        CHECKOUT / "operator" / "mailfilter_operator", context / "site" / "mailfilter_operator", ignore=ignore
    )
    run(
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-compile",
        "--no-deps",
        "--require-hashes",
        "--only-binary=:all:",
        "--no-binary=dkimpy",  # there is no wheel of it; it is of Python alone
        f"--python-version={OPERATOR_PYTHON}",
        f"--target={context / 'site'}",
        f"--requirement={CHECKOUT / 'requirements.lock'}",
    )


def parse_arguments() -> argparse.Namespace:
    """The command line as documented at the top."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--base", default=os.environ.get("BASE"), help="Debian forky image to start from")
    commands = parser.add_subparsers(dest="command")
    for command in ("all", "filter", "operator", "base"):
        commands.add_parser(command)
    custom = commands.add_parser("custom")
    custom.add_argument("directory", type=pathlib.Path)
    custom.add_argument("name")
    return parser.parse_args()


def main() -> int:
    """Builds what was asked for; exit status 1 with a sentence on stderr if that fails."""
    arguments = parse_arguments()
    builder = Builder(cache_directory(), arguments.base)
    try:
        match arguments.command:
            case "base":
                print(builder.base())
            case "filter":
                print(builder.filter())
            case "operator":
                print(builder.operator())
            case "custom":
                print(builder.custom(arguments.directory.resolve(), arguments.name))
            case _:
                print(builder.filter())
                print(builder.operator())
    except BuildError as error:
        print(f"image/build: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
