"""One certificate authority per tier, the certificates it issues, and kubeconfigs made from them.

Keys are P-256: fifty times faster to make than RSA, and every part of Kubernetes takes them.
"""

from __future__ import annotations

import base64
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

_DAYS = "365"
_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def _openssl(*arguments: str, directory: Path) -> None:
    """Run openssl in *directory*; its own words come with the error."""
    result = subprocess.run(["openssl", *arguments], cwd=directory, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(f"openssl {arguments[0]} failed: {result.stderr.strip()}")


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority that keeps all its files in *directory*."""

    directory: Path

    @property
    def certificate(self) -> Path:
        """The authority's own certificate."""
        return self.directory / "ca.crt"

    def create(self) -> None:
        """Make the authority, and the key pair that signs ServiceAccount tokens (`sa.key`, `sa.pub`)."""
        self.directory.mkdir(parents=True, mode=0o700)
        # The machine's own openssl.cnf would add extensions of its choice.
        (self.directory / "openssl.cnf").write_text("[req]\ndistinguished_name = name\n[name]\n")
        self._issue("ca", "/CN=mailfilter-test", ["basicConstraints=critical,CA:TRUE"], "keyCertSign,cRLSign")
        _openssl(
            "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-out", "sa.key",
            directory=self.directory,
        )  # fmt: skip
        _openssl("pkey", "-in", "sa.key", "-pubout", "-out", "sa.pub", directory=self.directory)

    def issue(self, name: str, subject: str, alternative_names: tuple[str, ...] = ()) -> None:
        """Write NAME.crt and NAME.key, good for servers and clients; *alternative_names* as `IP:...`, `DNS:...`."""
        extensions = ["basicConstraints=critical,CA:FALSE", "extendedKeyUsage=serverAuth,clientAuth"]
        extensions.append("authorityKeyIdentifier=keyid")
        if alternative_names:
            extensions.append("subjectAltName=" + ",".join(alternative_names))
        self._issue(name, subject, extensions, "digitalSignature", "-CA", "ca.crt", "-CAkey", "ca.key")

    def _issue(self, name: str, subject: str, extensions: list[str], usage: str, *signer: str) -> None:
        added = [f"keyUsage=critical,{usage}", "subjectKeyIdentifier=hash", *extensions]
        options = [word for extension in added for word in ("-addext", extension)]
        output = ("-keyout", f"{name}.key", "-out", f"{name}.crt")
        _openssl(
            "req", "-x509", "-config", "openssl.cnf", *_NEW_KEY, "-days", _DAYS, "-subj", subject,
            *options, *signer, *output, directory=self.directory,
        )  # fmt: skip

    def write_kubeconfig(self, path: Path, user: str, server: str) -> None:
        """Write a self-contained kubeconfig (JSON, so YAML too) for the certificate issued as *user*."""

        def data(name: str) -> str:
            return base64.b64encode((self.directory / name).read_bytes()).decode()

        cluster = {"server": server, "certificate-authority-data": data("ca.crt")}
        credentials = {"client-certificate-data": data(f"{user}.crt"), "client-key-data": data(f"{user}.key")}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "mailfilter-test", "cluster": cluster}],
            "users": [{"name": user, "user": credentials}],
            "contexts": [{"name": user, "context": {"cluster": "mailfilter-test", "user": user}}],
            "current-context": user,
        }
        path.touch(mode=0o600)
        path.write_text(json.dumps(config, indent=1))
