"""What the test cluster's modules agree on, without starting one."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from pathlib import Path

import pytest
from tests.cluster import cache, images, layout, node

MODULES = layout.CHECKOUT / "tests" / "cluster" / "modules"
LONGEST_SOCKET_PATH = 107


def test_second_name_is_added_to_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two checkouts may use the same second name and still have clusters of their own."""
    monkeypatch.delenv(layout.NAME_VARIABLE, raising=False)
    first = layout.current_cluster()
    monkeypatch.setenv(layout.NAME_VARIABLE, "other")
    assert layout.current_cluster().name == f"{first.name}-other"


def test_checkouts_have_different_clusters(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The name comes from the path of the checkout."""
    first = layout.current_cluster()
    monkeypatch.setattr(layout, "CHECKOUT", tmp_path)
    assert layout.current_cluster() != first


@pytest.mark.parametrize("name", ["../up", "UPPER", "1", "a" * 17, "a b"])
def test_second_name_that_is_no_file_name_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A name becomes part of paths that are removed, so it is judged first."""
    monkeypatch.setenv(layout.NAME_VARIABLE, name)
    with pytest.raises(SystemExit, match=layout.NAME_VARIABLE):
        layout.current_cluster()


def test_socket_paths_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The longest name leaves room for the longest socket path, that of containerd's second protocol."""
    monkeypatch.setenv(layout.NAME_VARIABLE, "a" * 16)
    assert len(f"{layout.current_cluster().containerd_socket}.ttrpc") <= LONGEST_SOCKET_PATH


def test_tiers_have_no_port_in_common() -> None:
    """Both tiers share one network namespace."""
    used = []
    for tier in layout.current_cluster().tiers:
        ports = tier.ports
        used += [ports.api, ports.etcd_client, ports.etcd_peer, ports.controller_manager]
    assert len(set(used)) == len(used)


def test_machine_directories_are_hidden() -> None:
    """The node's programs write below fixed paths, which must be the cluster's own."""
    mounts = node.mounts(layout.current_cluster())
    assert {"/run", "/var/lib", "/var/log"} <= {*mounts.tmpfs, *(target for _, target in mounts.binds)}


@pytest.mark.parametrize("name", ["kubernetes", "etcd", "containerd", "coredns"])
def test_modules_are_pinned(name: str) -> None:
    """Every module has its checksums, and no version is replaced by a directory."""
    text = (MODULES / name / "go.mod").read_text()
    assert (MODULES / name / "go.sum").stat().st_size > 0
    assert all(re.search(r"=> \S+ v\d", line) for line in text.splitlines() if "=>" in line)


def test_archive_can_be_read_back(tmp_path: Path) -> None:
    """An archive carries its name, its digest and files that hash to what they are called."""
    path = tmp_path / "image.tar"
    images.write_archive(path, "localhost/nothing:1", {"bin/nothing": b"#!"}, ["/bin/nothing"])
    archive = images.read_archive(path)
    assert archive.name == "localhost/nothing:1"
    with tarfile.open(path) as file:
        blobs = {member.name.rpartition("/")[2]: member for member in file if member.name.startswith("blobs/")}
        assert archive.digest.removeprefix("sha256:") in blobs
        for name, member in blobs.items():
            content = file.extractfile(member)
            assert content is not None
            assert hashlib.sha256(content.read()).hexdigest() == name
        index = file.extractfile("index.json")
        assert index is not None
        assert len(json.load(index)["manifests"]) == 1


def test_archive_without_a_full_name_is_refused(tmp_path: Path) -> None:
    """A name without a tag would be imported under another name than the one pods ask for."""
    path = tmp_path / "image.tar"
    images.write_archive(path, "localhost/nothing", {"bin/nothing": b"#!"}, ["/bin/nothing"])
    with pytest.raises(SystemExit, match="no full image name"):
        images.read_archive(path)


def test_cache_entry_is_complete_or_absent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A build that fails leaves nothing, and the next one starts from nothing."""
    monkeypatch.setenv("MAILFILTER_CACHE", str(tmp_path))

    def fail(place: Path) -> None:
        (place / "half").touch()
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        cache.entry("kind", "key", fail)
    assert list((tmp_path / "kind").iterdir()) == []
    assert [path.name for path in cache.entry("kind", "key", lambda place: (place / "whole").touch()).iterdir()] == [
        "whole"
    ]


def test_cache_key_knows_boundaries() -> None:
    """What moves from one input to the next makes another key."""
    assert cache.key([b"ab", b"c"]) != cache.key([b"a", b"bc"])
