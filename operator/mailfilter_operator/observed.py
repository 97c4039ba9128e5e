"""What was read from the cluster, as data. `observe` fills it in; the core decides on it."""

from dataclasses import dataclass, field

from mailfilter_operator import names
from mailfilter_operator.api import Manifest


@dataclass(frozen=True)
class Observed:
    """The objects of one MailFilter as they were when the pass began."""

    mailfilter: Manifest
    children: dict[tuple[str, str], Manifest] = field(default_factory=dict)
    """Live objects with our labels, and the keyring, by (kind, name)."""

    @property
    def deployment(self) -> Manifest | None:
        """The filter's Deployment."""
        return self.children.get(("Deployment", self.mailfilter["metadata"]["name"]))

    @property
    def keyring(self) -> Manifest | None:
        """The Secret that the pods mount."""
        return self.children.get(("Secret", names.keyring(self.mailfilter["metadata"]["name"])))
