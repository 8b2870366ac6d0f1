"""Which messages somebody wants to see. Pure."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import translate

from streams.browse.coordinate import Coordinate
from streams.browse.messages import Browsed
from streams.models import Reason


@dataclass(frozen=True)
class Filter:
    """What a message must be like; what is left empty lets everything pass.

    >>> Filter(agents=["edge-*"], reasons=[Reason.TENANT_UNKNOWN]).is_open
    False
    """

    tenants: Sequence[str] = ()
    """Globs, of which one must match: ``*``, ``?`` and ``[abc]``."""
    agents: Sequence[str] = ()
    metrics: Sequence[str] = ()
    reasons: Sequence[Reason] = ()
    """Of metrics.rejected."""
    text: str = ""
    """In topic, payload or detail, in whichever case."""
    coordinates: Sequence[Coordinate] = ()
    _names: tuple["_Globs", ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        lower = [tenant.lower() for tenant in self.tenants]
        names = tuple(matcher(globs) for globs in (lower, self.agents, self.metrics))
        object.__setattr__(self, "_names", names)

    @property
    def is_open(self) -> bool:
        """Whether everything passes."""
        return self == Filter()

    def matches(self, message: Browsed) -> bool:
        """Tell whether a message is wanted."""
        if self.reasons and message.reason not in self.reasons:
            return False
        if self.coordinates and not any(wanted.holds(message.coordinate) for wanted in self.coordinates):
            return False
        if any(self._names) and not self._are_named(message):
            return False
        return not self.text or self.text.casefold() in message.text.casefold()

    def _are_named(self, message: Browsed) -> bool:
        return all(
            wanted is None or wanted(name) is not None
            for wanted, name in zip(self._names, message.names, strict=True)
        )


_Globs = Callable[[str], object] | None


def matcher(globs: Iterable[str]) -> _Globs:
    """Return what matches a name that one of some globs matches; None if there are none."""
    patterns = [translate(glob) for glob in globs]
    return re.compile("|".join(patterns)).match if patterns else None
