"""Name servers in memory: what they say of TXT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mailfilter_operator.dkim.published import Answer, Look

NEGATIVE_TTL = 60


@dataclass
class NameServers:
    """Two servers that agree; `records` by name, `asked` are the names that were asked for."""

    records: dict[str, str] = field(default_factory=dict)
    silent: bool = False
    asked: list[str] = field(default_factory=list)

    def look(self, names: Sequence[str], now: str) -> Mapping[str, Look]:
        """What both say."""
        self.asked += names
        return {name: Look(name, now, self._answer(name), NEGATIVE_TTL) for name in names}

    def _answer(self, name: str) -> tuple[Answer, ...]:
        texts = (self.records[name],) if name in self.records else ()
        said = None if self.silent else texts
        return tuple(Answer(f"ns{n}.example.", said, NEGATIVE_TTL) for n in (1, 2))
