"""What a pass brings about: the configuration that serves, and the one that a pod tries beside it."""

from collections.abc import Mapping
from dataclasses import dataclass

from mailfilter_operator.pod_reports import Verdict
from mailfilter_operator.raw_text import Files
from mailfilter_operator.render import Configuration


@dataclass(frozen=True)
class Plan:
    """`candidate` differs from `configuration` by raw text alone."""

    configuration: Configuration
    proof: str | None = None
    """What a pod has proven its raw text with; None if none has."""
    unproven: bool = False
    """No pod has proven the raw text with what it has to be proven with now: each does so before it takes it."""
    candidate: Configuration | None = None
    """Is to be tried; None if nothing is."""
    refusal: Verdict | None = None
    """What was said against the raw text of the spec."""

    @property
    def tried_files(self) -> Files:
        """Files with raw text that are not those that serve."""
        return _find_changed(self.configuration.files, self.candidate.files) if self.candidate else {}

    @property
    def tried_credentials(self) -> Files:
        """The same of files that hold secrets."""
        return _find_changed(self.configuration.credentials, self.candidate.credentials) if self.candidate else {}


def _find_changed(before: Mapping[str, str], after: Mapping[str, str]) -> Files:
    return {path: text for path, text in after.items() if before.get(path) != text}
