"""The errors Headgate raises for anyone outside it, each with its exit code."""


class HeadgateError(Exception):
    """Base of all. The message says place, found, expected and remedy; no full stop."""

    exit_code = 1


class TrainingError(HeadgateError):
    """A training run cannot go on: a loss that is not finite, a rank that vanished."""


class UsageError(HeadgateError):
    """An argument, an option or a configuration file is wrong."""

    exit_code = 2


class DataError(UsageError):
    """A picture or a data set is missing, truncated or not what it says."""


class ProfileError(UsageError):
    """A profile is malformed, unknown, or asks for what the family lacks."""


class TraceError(UsageError):
    """A recorded link cannot be read."""


class GateError(HeadgateError):
    """A quality or SLA gate failed; nothing was written."""

    exit_code = 3


class FamilyError(HeadgateError):
    """A family or run folder is missing, incomplete, altered or of a newer schema."""

    exit_code = 4


class WireError(HeadgateError):
    """The peer sent bytes that are not a message of this protocol, or speaks for another family."""

    exit_code = 4


class PeerError(HeadgateError):
    """A peer that a one-shot command needs cannot be reached."""

    exit_code = 5
