"""What the operator renders, judged by the programs that read it: rspamadm, clamd, freshclam of the filter image."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.image.rootfs import run_in_rootfs
from tests.unit import samples

from mailfilter_operator.api import parse
from mailfilter_operator.render import Configuration
from mailfilter_operator.validate import validate

AWKWARD = (
    "quotes \" and ' and a backslash \\ and \\n",
    "template marks {{ a }} {% if b %} {= env.X =} {# c #}",
    "variables $DBDIR ${LOCAL_CONFDIR} $$ $",
    "comments # and /* */ and ; , = [ ] ( )",
    "µ € 漢 🙂",
    "\\u007b \\x41 \\",
)

SPECS: dict[str, dict[str, Any]] = {
    "minimal": {},
    "shared": {"antivirus": {"signatures": {"exclude": ["Own.Marker"], "checksPerDay": 50}}},
    "mirror": {"antivirus": {"signatures": {"source": "Mirror", "mirrorURL": "http://mirror.test:8080/db"}}},
    "official": {"antivirus": {"signatures": {"source": "Official", "customURLs": ["http://s.test/own.hdb"]}}},
    "actions": {"actions": {"addHeader": "4.5", "rewriteSubject": "8.25", "reject": 9999}},
    "sizes": {
        "antivirus": {"maxMessageSize": "500Mi", "signatures": {"source": "Official"}},
        "workers": {"proxy": {"timeoutSeconds": 215}},
    },
    "workers": {"workers": {"proxy": {"count": 64, "timeoutSeconds": 600}}, "logging": {"level": "Debug"}},
    "signing": {
        "dkim": {"sign": {"networks": ["192.0.2.0/24", "2001:db8::/32"], "usernames": "Any", "authenticated": False}}
    },
    "metrics": {
        "metrics": {
            "groups": [
                {
                    "name": "own-group",
                    "maxScore": "12.5",
                    "symbols": [
                        {"name": f"SYMBOL_{i}", "score": f"-{i}.25", "description": text}
                        for i, text in enumerate(AWKWARD)
                    ],
                }
            ]
        }
    },
}


def configuration(spec: Mapping[str, Any]) -> Configuration:
    """Return what is rendered for a spec."""
    custom = {"signatures": {"source": "CustomOnly", "customURLs": ["http://signatures.test/own.ndb"]}}
    metadata = {"name": "mx", "namespace": "mail", "uid": "1", "generation": 1}
    mailfilter = parse({"metadata": metadata, "spec": {"antivirus": custom, **spec}})
    return samples.render(validate(mailfilter, samples.IMAGE), ())


def write(rendered: Configuration, directory: Path) -> None:
    """Write the files as the entry points lay them out, readable for the image's user."""
    for files in (
        rendered.metrics,
        rendered.workers,
        rendered.modules,
        rendered.clamav,
        rendered.files,
        rendered.credentials,
    ):
        for path, text in files.items():
            (directory / path).parent.mkdir(exist_ok=True)
            (directory / path).write_text(text)
    directory.chmod(0o755)


@pytest.fixture(params=list(SPECS))
def accepted(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """Return the name of a spec and a directory with its files, as the entry points lay them out."""
    name = str(request.param)
    write(configuration(SPECS[name]), tmp_path)
    return name, tmp_path


def run(directory: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a program of the image with the files at /conf."""
    return run_in_rootfs(command, {directory: "/conf"})


def dump(directory: Path, *sections: str) -> str:
    """Return sections of rspamd's configuration, or all of it, as rspamd read it, in JSON."""
    command = ("rspamadm", "--var=LOCAL_CONFDIR=/conf", "configdump", "--skip-template", "--json", *sections)
    result = run(directory, *command)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_programs_accept_what_is_rendered(accepted: tuple[str, Path]) -> None:
    _, directory = accepted
    for command in (
        ("rspamadm", "--var=LOCAL_CONFDIR=/conf", "configtest", "--skip-template"),
        ("clamd", "--config-file=/conf/clamav/clamd.conf", "--version"),
        ("freshclam", "--config-file=/conf/clamav/freshclam.conf", "--version"),
    ):
        result = run(directory, *command)
        assert result.returncode == 0, (command, result.stdout, result.stderr)


def test_rspamd_reads_the_values_of_the_spec(accepted: tuple[str, Path]) -> None:
    name, directory = accepted
    actions, options, workers = (dump(directory, section) for section in ("actions", "options", "worker"))
    wanted = SPECS[name].get("actions", {})
    assert float(_number(actions, "reject")) == float(wanted.get("reject", 15))
    assert float(_number(actions, "add_header")) == float(wanted.get("addHeader", 6))
    assert '"greylist": null' in actions
    assert '"soft_reject_on_timeout": true' in options
    size = 524288000 if name == "sizes" else 52428800
    assert int(_number(options, "max_message")) == size
    proxy = SPECS[name].get("workers", {}).get("proxy", {})
    assert f'"count": {proxy.get("count", 2)}' in workers
    assert workers.count('"allow_file_and_shm_inputs": false') >= 2


def test_text_of_the_user_stays_text(tmp_path: Path) -> None:
    write(configuration(SPECS["metrics"]), tmp_path)
    groups = dump(tmp_path, "group")
    for text in AWKWARD:
        assert f'"description": {json.dumps(text, ensure_ascii=False)}' in groups


def _number(section: str, name: str) -> str:
    found = re.search(rf'"{name}": ([-0-9.]+)', section)
    assert found, (name, section)
    return found[1]
