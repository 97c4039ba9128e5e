"""What was read from the cluster, as data. `observe` fills it in; the core decides on it."""

from dataclasses import dataclass, field

from mailfilter_operator import names
from mailfilter_operator.api import Manifest
from mailfilter_operator.ownership import is_ours


@dataclass(frozen=True)
class Observed:
    """The objects of one MailFilter as they were when the pass began."""

    mailfilter: Manifest
    children: dict[tuple[str, str], Manifest] = field(default_factory=dict)
    """Live objects with our labels, the keyring and the credentials, by (kind, name)."""
    pods: tuple[Manifest, ...] = ()
    """The filter pods."""

    def owned(self, kind: str) -> Manifest | None:
        """The object of this kind that is called as the MailFilter, None if there is none or it is not ours."""
        found = self.children.get((kind, self.mailfilter["metadata"]["name"]))
        return found if found is not None and is_ours(found, self.mailfilter) else None

    @property
    def keyring(self) -> Manifest | None:
        """The Secret that the pods mount."""
        return self.children.get(("Secret", names.keyring(self.mailfilter["metadata"]["name"])))

    @property
    def credentials(self) -> Manifest | None:
        """The Secret of rendered files that hold secrets."""
        return self.children.get(("Secret", names.credentials(self.mailfilter["metadata"]["name"])))
