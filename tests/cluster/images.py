"""Container images as OCI archives: a small writer, and the way into containerd.

An archive is a tar file with `index.json`; its manifest's digest identifies the image, so an archive
that containerd already has under the same name is not imported again.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import subprocess
import tarfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster import cache, layout, programs

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_NAME_ANNOTATIONS = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
_MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
_SEEN_LABEL = "io.cri-containerd.image=managed"
_IMPORT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Archive:
    """An OCI archive: *name* and *digest* are those of its only image."""

    path: Path
    name: str
    digest: str


def _tar(members: Mapping[str, tuple[bytes, int]]) -> bytes:
    """Pack name -> (content, mode) into a tar file that depends on nothing else."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, (content, mode) in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), mode
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def write_archive(path: Path, name: str, files: Mapping[str, bytes], entrypoint: Sequence[str]) -> None:
    """Write an image *name* of one layer with *files* (path without leading slash -> content), all executable."""
    layer = _tar({file: (content, 0o755) for file, content in files.items()})
    blobs: dict[str, tuple[bytes, int]] = {}

    def blob(media_type: str, content: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = (content, 0o644)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    layer_blob = blob("application/vnd.oci.image.layer.v1.tar", layer)
    config = {
        "architecture": _ARCHITECTURES[platform.machine()],
        "os": "linux",
        "config": {"Entrypoint": list(entrypoint)},
        "rootfs": {"type": "layers", "diff_ids": [layer_blob["digest"]]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST_TYPE,
        "config": blob("application/vnd.oci.image.config.v1+json", json.dumps(config).encode()),
        "layers": [layer_blob],
    }
    described = blob(_MANIFEST_TYPE, json.dumps(manifest).encode())
    described["annotations"] = {_NAME_ANNOTATIONS[1]: name}
    index = {"schemaVersion": 2, "manifests": [described]}
    head = {
        "oci-layout": (b'{"imageLayoutVersion": "1.0.0"}', 0o644),
        "index.json": (json.dumps(index).encode(), 0o644),
    }
    path.write_bytes(_tar({**head, **blobs}))


def pause_archive() -> Path:
    """Return the archive of the image that holds a pod's namespaces."""
    program = Path(programs.path(programs.PAUSE, "pause")).read_bytes()

    def build(place: Path) -> None:
        write_archive(place / "pause.tar", layout.PAUSE_IMAGE, {"pause": program}, ["/pause"])

    return cache.entry("pause-image", cache.key([program, layout.PAUSE_IMAGE.encode()]), build) / "pause.tar"


def busybox_archive(name: str) -> Path:
    """Return the archive of an image *name* that holds nothing but the machine's static busybox."""
    program = Path("/bin/busybox").read_bytes()

    def build(place: Path) -> None:
        write_archive(place / "busybox.tar", name, {"bin/busybox": program}, ["/bin/busybox"])

    return cache.entry("busybox-image", cache.key([program, name.encode()]), build) / "busybox.tar"


def read_archive(path: Path) -> Archive:
    """Return what the archive at *path* holds. Raises SystemExit with what is wrong with it."""
    try:
        with tarfile.open(path) as archive:
            member = archive.extractfile("index.json")
            manifests = json.load(member)["manifests"] if member else []
    except (OSError, tarfile.TarError, KeyError) as error:
        raise SystemExit(f"{path} is no OCI archive: {error}") from error
    if len(manifests) != 1:
        raise SystemExit(f"{path} holds {len(manifests)} images; an archive of exactly one is needed")
    annotations = manifests[0].get("annotations", {})
    carried = [annotations[key] for key in _NAME_ANNOTATIONS if key in annotations]
    full_name = carried[0] if carried else ""
    if ":" not in full_name.rpartition("/")[2]:
        raise SystemExit(f"{path} carries no full image name ({full_name!r}); write it to oci-archive:FILE:NAME:TAG")
    return Archive(path, full_name, manifests[0]["digest"])


def _ctr(cluster: layout.Cluster, *arguments: str) -> str:
    """Run containerd's own client in the namespace that Kubernetes uses and return what it prints."""
    program = programs.path(programs.CONTAINERD, "ctr")
    command = [program, "--address", str(cluster.containerd_socket), "--namespace", "k8s.io", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise SystemExit(f"ctr {' '.join(arguments)}: {result.stderr.strip()}")
    return result.stdout


def is_loaded(cluster: layout.Cluster, archive: Archive) -> bool:
    """Tell whether containerd has exactly this image and the kubelet can see it."""
    rows = _ctr(cluster, "images", "list", f"name=={archive.name}").splitlines()[1:]
    return any(archive.digest in row.split() and _SEEN_LABEL in row for row in rows)


def load(cluster: layout.Cluster, path: Path) -> bool:
    """Import an OCI archive and wait until pods can use it; return whether there was anything to do.

    containerd's Kubernetes side learns of an import by an event a moment later, and says so by a label.
    """
    archive = read_archive(path)
    if is_loaded(cluster, archive):
        return False
    base = archive.name.rpartition(":")[0]
    _ctr(cluster, "images", "import", "--local", "--base-name", base, str(path))
    deadline = time.monotonic() + _IMPORT_SECONDS
    while not is_loaded(cluster, archive):
        if time.monotonic() > deadline:
            raise SystemExit(f"{archive.name} was imported but is not there with digest {archive.digest}")
        time.sleep(0.05)
    return True


def tag(cluster: layout.Cluster, name: str, other: str) -> None:
    """Give the image *name* the name *other* as well; both are the same image."""
    _ctr(cluster, "images", "tag", "--force", name, other)


def task_pid(cluster: layout.Cluster, container: str) -> int:
    """Return process 1 of a running container as the tier numbers it, 0 if it does not run."""
    rows = [row.split() for row in _ctr(cluster, "tasks", "list").splitlines()[1:]]
    return next((int(row[1]) for row in rows if row[0] == container and row[2] == "RUNNING"), 0)
