"""Every file that rspamd's own configuration looks for is the user's to set, and read, or is refused."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path

import pytest
from tests.contract.test_upstream import configuration, dump, write
from tests.image.rootfs import rootfs

from mailfilter_operator.errors import InvalidSpec
from mailfilter_operator.raw_text import refuse_path

FEWEST = {"settable": 140, "refused": 30, "maps": 15}
"""What is looked at is at least this: a search that finds nothing finds nothing wrong."""
LEAST_SECTIONS = 20
"""Of rspamd's whole configuration."""

FIRST_MARK = 700_000
CONTENTS = {
    "actions.conf": "discard = {mark};",
    "composites.conf": 'PROBE_{mark} {{ expression = "R_SPF_ALLOW"; score = {mark}; }}',
    "emails.conf": 'rules {{ PROBE_{mark} {{ dnsbl = "probe.test"; }} }}',
    "surbl.conf": 'rules {{ PROBE_{mark} {{ suffix = "probe.test"; }} }}',
}
"""Sections that take no other option than their own; the last two are turned into others."""

APART = ("override.d/emails.conf", "override.d/surbl.conf")
"""They replace the rules of the same file in local.d."""


@functools.cache
def find_paths() -> tuple[set[str], set[str]]:
    """Paths of files that are included, and of others, which are maps."""
    included: set[str] = set()
    others: set[str] = set()
    for file in (rootfs() / "etc" / "rspamd").rglob("*"):
        lines = file.read_text(errors="replace").splitlines() if file.is_file() else []
        for line in [line.strip() for line in lines if not line.strip().startswith("#")]:
            found = re.findall(r"\$\{?LOCAL_CONFDIR\}?/(\w+\.d/[^\"\'\s]+)", line)
            (included if line.startswith(".include") else others).update(found)
    return included, others


def is_refused(path: str) -> bool:
    """Tell whether the operator says that the file is its own, and not only that it is none."""
    try:
        refuse_path("spec.config.files", path)
    except InvalidSpec as error:
        return "is no file that rspamd reads" not in error.message or pytest.fail(f"{path} is not known")
    return False


def find_settable() -> list[str]:
    """Paths of included files that the user may set."""
    return sorted(path for path in find_paths()[0] if not is_refused(path))


def test_enough_is_looked_at() -> None:
    included, maps = find_paths()
    settable = find_settable()
    found = {"settable": len(settable), "refused": len(included) - len(settable), "maps": len(maps)}

    assert all(found[name] >= least for name, least in FEWEST.items()), found


def test_every_map_can_be_set() -> None:
    assert [path for path in sorted(find_paths()[1]) if is_refused(path)] == []


@pytest.mark.parametrize("apart", [False, True], ids=["most", "others"])
def test_every_file_that_can_be_set_is_read_and_none_reaches_another_section(tmp_path: Path, apart: bool) -> None:
    """Each holds a number of its own, which the configuration that rspamd has read then shows.

    What it holds never stands outside of all sections: such a file could set any of them, those of the operator too.
    """
    paths = [path for path in find_settable() if path.endswith(APART) is apart]
    marks = {path: FIRST_MARK + index for index, path in enumerate(paths)}
    contents = {
        path: CONTENTS.get(path.partition("/")[2], "probe_{mark} = {mark};").format(mark=mark)
        for path, mark in marks.items()
    }
    write(configuration({"config": {"files": contents}}), tmp_path)
    shown = dump(tmp_path)
    sections = json.loads(shown)

    assert [path for path, mark in marks.items() if str(mark) not in shown] == []
    assert len(sections) > LEAST_SECTIONS
    assert [path for path, text in contents.items() if text.split()[0] in sections] == []
