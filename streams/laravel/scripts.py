"""The Lua scripts that run in the queue's Redis: the ``.lua`` files beside this one.

Redis undoes nothing of a script that fails in the middle, so each of them fails before its first write or not
at all. Its first commands change nothing, but need all that the later ones need: that this is no replica, the
type of each key, the right to each command and key, and to publish. Two rules of Redis do the rest. It kills
no script that has begun to write. And one that is full refuses memory to the *first* write of a script alone
(``scriptVerifyOOM`` in script.c, ``lua_write_dirty`` in older versions), so a first write that needs none, as
an LTRIM, lets the script free what the jobs take. Laravel's own pop begins with an LPOP.
"""

from functools import cache
from importlib import resources


@cache
def script(*names: str) -> str:
    """Return the text of a script by its file's name without ``.lua``, behind what it shares with others."""
    package = resources.files("streams.laravel")
    return "\n".join(package.joinpath(f"{name}.lua").read_text(encoding="utf-8") for name in names)
