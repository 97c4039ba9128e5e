"""What can go wrong, by who must act. Knows no framework; `reason` is the reason of the condition that reports it."""


class MailFilterError(Exception):
    """A sentence for the person who runs the filter, with the CamelCase reason of its condition."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class InvalidSpec(MailFilterError):
    """The user must edit *field* of the MailFilter; until then nothing changes in the cluster."""

    def __init__(self, field: str, message: str, reason: str = "InvalidSpec") -> None:
        super().__init__(reason, f"{field}: {message}")
        self.field = field


class InvalidReference(MailFilterError):
    """*field* names a Secret or ConfigMap that is not there or not usable; the user must mend either.

    Nobody tells us when that is done, so it is looked at again soon.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__("InvalidReference", f"{field}: {message}")
        self.field = field


class Conflict(MailFilterError):
    """An object that is not ours has a name that we need; a person must remove one of the two."""

    def __init__(self, kind: str, name: str, why: str) -> None:
        super().__init__(
            "Conflict",
            f"{kind} {name} exists and {why}. It is left alone: delete or rename it, or rename the MailFilter.",
        )


class ClusterError(MailFilterError):
    """The API server refused or did not answer; time, or whoever runs the cluster, must act.

    `status` is the HTTP status, 0 if there was no answer.
    """

    def __init__(self, verb: str, kind: str, name: str, status: int, detail: str) -> None:
        answer = f"answered {status}" if status else "did not answer"
        super().__init__("ClusterError", f"{verb} {kind} {name}: the API server {answer}: {detail}")
        self.verb, self.kind, self.name, self.status = verb, kind, name, status
