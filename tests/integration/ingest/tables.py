"""Tables that refuse, or take their time, as extensions, triggers and policies make them."""

import asyncpg

REFUSE = """
create or replace function refuse() returns trigger language plpgsql as $$
begin
    if {when} then {then} end if;
    return new;
end
$$;
create or replace trigger refuse before insert or update on metrics_raw
    for each row execute function refuse();
"""


async def refuse(database: asyncpg.Connection, sqlstate: str, when: str = "new.agent_id = 'odd'") -> None:
    """Let the table refuse some rows with an error."""
    then = f"raise exception 'not this one' using errcode = '{sqlstate}';"
    await database.execute(REFUSE.format(when=when, then=then))


async def slow_down(
    database: asyncpg.Connection, seconds: float, when: str = "new.agent_id = 'slow'"
) -> None:
    """Let some rows take their time."""
    await database.execute(REFUSE.format(when=when, then=f"perform pg_sleep({seconds});"))
