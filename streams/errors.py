"""Every exception of the project.

MetricStreamsError
├── SettingsError        the environment cannot be used; lists every problem
├── Outage               a part does not answer: wait and try again
│   ├── DeliveryFailed   Kafka did not take a record
│   ├── ConnectionLost   the MQTT connection is over
│   ├── LeaseLapsed      this process stood still, and another may have taken its place
│   ├── SpeaksNoMqtt5    the MQTT broker speaks an older version, or gave no answer to ours
│   ├── RowsDoubted      the database refused rows, and it may be theirs or its own fault
│   └── QueueFull        the job queue is at its limit: Kafka holds what follows
├── PositionMoved        the position moved under an agent: ask for it again
├── SessionTakenOver     another MQTT client uses our client id
├── Stalled              the worker makes no progress, and only a restart helps
├── Bug                  something of ours is wrong: an exception came up that nobody foresaw
├── StartupRefused       what was found at start is unsafe to run on
├── NotFinished          a run that ends by itself ended before its work was done
├── ForeignJob           the queue holds a job of a class that is not ours
├── RowsRefused          the database does not take the rows of a job
│   └── RowsLocked       somebody else holds a lock on one of them: later it may
├── MalformedRecord      bytes on one of our own topics or queues cannot be read
└── NewerFormat          a newer version wrote them: skipping them would lose what they say

Bad input from a device is none of these: it is a value (``streams.models.Rejection``).
"""

from typing import ClassVar


class MetricStreamsError(Exception):
    """Something in metric-streams failed.

    Attributes:
        exit_code: of a command that ends with it.
    """

    exit_code: ClassVar[int] = 1


def worded(error: BaseException) -> str:
    """Return what an error says, on one line; of one that says nothing (a timeout, say) its kind.

    Examples:
        >>> worded(TimeoutError())
        'TimeoutError'
    """
    return " ".join(str(error).split()) or type(error).__name__


class SettingsError(MetricStreamsError):
    """The settings are not usable.

    Attributes:
        problems: one line for each bad setting, naming it, its value and the mend.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Outage(MetricStreamsError):  # noqa: N818 - the field's own word reads better than OutageError
    """A part does not answer: wait and try again.

    Attributes:
        part: the name of the part, as on the readiness page ("kafka", "redis", "postgres", "mqtt").
        detail: what it did, without the name of the part; to be shown where that is said already.
        seen: the detail without the mend.
        mend: what to do about it; empty where that is not known, or stands within the detail.
    """

    def __init__(self, part: str, detail: str, *, seen: str = "", mend: str = "") -> None:
        super().__init__(f"{part}: {detail}")
        self.part = part
        self.detail = detail
        self.seen = seen or detail
        self.mend = mend


class DeliveryFailed(Outage):
    """Kafka did not take a record."""

    def __init__(self, topic: str, detail: str) -> None:
        super().__init__("kafka", f"{topic}: {detail}")


class ConnectionLost(Outage):
    """The MQTT connection is over.

    Attributes:
        wordless: it was closed from afar without a reason.
    """

    def __init__(self, detail: str, *, wordless: bool = False) -> None:
        super().__init__("mqtt", detail)
        self.wordless = wordless


class LeaseLapsed(Outage):
    """This process stood still for so long that another worker may have taken its place meanwhile."""

    def __init__(self, stood_s: float) -> None:
        super().__init__(
            "mqtt", f"this process stood still for {stood_s:.1f} s, and drops what it has not written"
        )


class SpeaksNoMqtt5(Outage):
    """The MQTT broker does not speak MQTT 5, or left our CONNECT in it without an answer."""

    def __init__(self, detail: str) -> None:
        super().__init__("mqtt", detail)


class QueueFull(Outage):
    """The job queue or its Redis is at its limit; its workers are behind."""

    def __init__(
        self, detail: str = "the job queue is at HANDOFF_MAX_QUEUED_JOBS, its workers are behind"
    ) -> None:
        super().__init__("queue", detail)


class RowsDoubted(Outage):
    """The database refused rows with an error that does not tell whether they or it must be mended.

    Whoever has other rows can find out: does it take those?
    """


class PositionMoved(MetricStreamsError):  # noqa: N818 - states what happened
    """The effects say another position than the one that an agent works at."""


class SessionTakenOver(MetricStreamsError):  # noqa: N818 - MQTT's own word (MQTT 5, 4.13: reason 0x8E)
    """Another MQTT client connected with our client id."""


class Stalled(MetricStreamsError):  # noqa: N818 - states what happened
    """The worker makes no progress although every part answers; only a restart helps."""


class Bug(MetricStreamsError):  # noqa: N818 - names the thing found
    """An exception came up that nobody foresaw; made by `streams.bugs`.

    Attributes:
        cause: that exception.
    """

    def __init__(self, cause: Exception) -> None:
        super().__init__(repr(cause))
        self.cause = cause


class BadArgument(MetricStreamsError):  # noqa: N818 - names the thing found
    """An argument of a command cannot be read, or does not go with another."""

    exit_code = 2  # as click's own


class StartupRefused(MetricStreamsError):  # noqa: N818 - states what happened
    """What was found at start is unsafe to run on."""

    exit_code = 78  # EX_CONFIG of sysexits.h


class NotFinished(MetricStreamsError):  # noqa: N818 - states what happened
    """A run that ends by itself ended before its work was done. The next one goes on there."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h: try again later


class ForeignJob(MetricStreamsError):  # noqa: N818 - names the thing found
    """The queue holds a job of a class that is not ours."""


class RowsRefused(MetricStreamsError):  # noqa: N818 - states what happened
    """The database does not take the rows of a job, and would not the next moment.

    Attributes:
        for_good: the job will fail however often it is tried.
    """

    def __init__(self, detail: str, *, for_good: bool = False) -> None:
        super().__init__(detail)
        self.for_good = for_good


class RowsLocked(RowsRefused):
    """Somebody else has held a lock on a row of a job for too long: nothing is wrong with the job."""


class MalformedRecord(MetricStreamsError):  # noqa: N818 - names the thing found
    """Bytes on one of our own topics or queues cannot be read."""


class NewerFormat(MetricStreamsError):  # noqa: N818 - states what was found
    """A newer version of metric-streams wrote something: this one must end, not guess.

    Args:
        what: was written, and where.
        written: its format.
        known: the newest format that this version can read.
        word: what this version does not know, where it is not the format.
    """

    def __init__(self, what: str, written: int, known: int, word: str = "") -> None:
        shown = f"it says {word}" if word else f"format {written}; this version reads up to {known}"
        super().__init__(f"{what} was written by a newer version ({shown}): start that version again")
        self.written = written
        self.known = known
        self.word = word

    def at(self, where: str) -> "NewerFormat":
        """Return the same, with the place where it was found."""
        return NewerFormat(where, self.written, self.known, self.word)
