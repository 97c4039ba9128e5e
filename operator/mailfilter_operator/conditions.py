"""One condition of a status, and the words that its status can be."""

from dataclasses import dataclass

TRUE, FALSE, UNKNOWN = "True", "False", "Unknown"


@dataclass(frozen=True, slots=True)
class Condition:
    """Status, reason and sentence of one condition."""

    status: str
    reason: str
    message: str
