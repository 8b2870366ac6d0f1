"""How an honest device fares beside each attack of SECURITY.md, on the broker of docker/secure.

The broker runs on the file that is shipped, with dynamic security and TLS; only ports and paths differ. The
honest device has an account, and publishes ten messages a second at QoS 1. Beside it a process
(`benchmarks.attacker`) repeats one attack for as long, as fast as it can, on four connections: with accounts
of another tenant, or with none. A tenant that floods with accounts of its own is `benchmarks.flood`.

A message's time begins when it was due. Told is how long it took until the device had its PUBACK, and until a
reader that waits for jobs had its job. What has not come in the end counts as if it came then: those are
lower bounds. Nothing is attacked in the first scene and in the last: what differs between these two is the
machine's doing. The attacker has the same cores as the servers, and takes from them what it needs itself.

Each scene has a broker, a worker and topics of its own. Ten messages come before each, for what is slow once.
"""

import argparse
import asyncio
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.attack_kinds import FLOODS, HELD, KINDS, NOTHING
from benchmarks.attacker import Assault, Attacked, attacking
from benchmarks.flood import Order, Taken, flooding
from benchmarks.honest import Paced, publish_paced
from benchmarks.hostile import CASES, LIMIT_S, RATE, Arrival, Arrivals, Pair, pairs
from benchmarks.report import console, report, say, spread_ms
from benchmarks.stack import Run, add_settings, given_settings, stack
from benchmarks.usage import cpu_s, memory_mb
from tests.parts.accounts import Entrance, let_in, many_files
from tests.parts.authority import Authority
from tests.parts.guarded_mosquitto import GuardedMosquitto
from tests.parts.raw_mqtt import TAKEN

CONNECTIONS = 4
"""Of the attacker, each with an account of its own."""
BEFOREHAND = 10
"""Messages before the attack begins."""
TIMES = ("puback", "end_to_end")


def main(arguments: list[str]) -> None:
    """Print one line of JSON with the honest device's times beside each attack."""
    parser = argparse.ArgumentParser(prog="./dev bench attacks", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each attack (%(default)s)")
    parser.add_argument("--attacks", nargs="*", choices=KINDS, default=KINDS, help="all of them by default")
    parser.add_argument("--wait", type=float, default=10.0, help="seconds for the rest to come (%(default)s)")
    add_settings(parser)
    options = parser.parse_args(arguments)
    settings = given_settings(options)
    figures: dict[str, dict[str, object]] = {}
    first, last = NOTHING
    # The broker is to have as many connections as the file allows it, and no fewer.
    with many_files(HELD), stack() as parts, admitted(pairs(parts.tenants)[CASES[0]]) as accounts:
        for kind in (first, *options.attacks, last):
            broker = accounts.broker()
            with parts.run(broker, **settings) as run, run.working(1), say(f"{kind}, {options.seconds:g} s"):
                figures[kind] = AttackScene(run, broker, accounts, kind).measured(
                    options.seconds, options.wait
                )
            console.print_json(data={kind: figures[kind]}, indent=None, highlight=False)
    given = {"set": settings, "seconds": options.seconds, "rate": RATE, "wait_s": options.wait}
    over = over_the_limit(figures)
    report("attacks", {**given, "beside": figures, "limit_s": LIMIT_S, "over_the_limit": over})


def over_the_limit(figures: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return beside which attacks the 99th percentile of either time is above the limit."""
    limit_ms = LIMIT_S * 1e3
    return [kind for kind, found in figures.items() if max(found[time]["p99"] for time in TIMES) > limit_ms]


class Admitted:
    """The accounts of all scenes, and brokers that know them.

    Args:
        directory: where they are kept.
        tenants: the honest one and the attacker's.
    """

    def __init__(self, directory: Path, tenants: Pair) -> None:
        self._authority = Authority(directory / "authority")
        self._certificate = self._authority.server("mosquitto", GuardedMosquitto.address)
        self._kept = directory / "accounts"
        with GuardedMosquitto(self._authority, certificate=self._certificate) as broker:
            # Each call is a process that mostly starts; the first account is the honest one's.
            asked = [(tenants.honest, "honest"), *_asked(tenants.hostile)]
            with ThreadPoolExecutor(CONNECTIONS) as at_a_time:
                self.honest, *others = at_a_time.map(lambda one: let_in(broker, *one), asked)
            shutil.copytree(broker.accounts, self._kept)
        self.devices, self.gateways = others[:CONNECTIONS], others[CONNECTIONS:]

    def broker(self) -> GuardedMosquitto:
        """Return one, which is not started."""
        return GuardedMosquitto(self._authority, accounts=self._kept, certificate=self._certificate)


def _asked(tenant: str) -> list[tuple[str, ...]]:
    """Return what is asked for the attacker's devices, and for the gateways that flood for a whole tenant."""
    numbers = range(CONNECTIONS)
    devices = [(tenant, f"device-{number}") for number in numbers]
    return [*devices, *((tenant, f"gateway-{number}", "--whole-tenant") for number in numbers)]


@contextmanager
def admitted(tenants: Pair) -> Iterator[Admitted]:
    """Let everybody in, and forget them in the end."""
    with TemporaryDirectory(prefix="metric-streams-attacks-") as directory:
        yield Admitted(Path(directory), tenants)


class AttackScene:
    """The honest device beside one attack.

    Args:
        run: with a worker at work.
        broker: that of the run.
        accounts: that it knows.
        kind: one of `KINDS` or `NOTHING`.
    """

    def __init__(self, run: Run, broker: GuardedMosquitto, accounts: Admitted, kind: str) -> None:
        self._run, self._broker, self._accounts, self._kind = run, broker, accounts, kind
        self._entrance = Entrance.of(broker)

    def measured(self, seconds: float, wait_s: float) -> dict[str, object]:
        """Publish for so long, wait until all has come, and tell how long it took.

        Raises:
            ConnectionError: the honest device was not let in, or the attacker was not answered.
        """
        numbers = range(BEFOREHAND + int(RATE * seconds))
        with Arrivals(self._run.redis_url, self._run.queue) as arrivals:
            self._publish(numbers[:BEFOREHAND], wait_s)
            before, before_s = self._memory_mb("VmHWM"), cpu_s([self._broker.pid])
            with self._attacking() as end:
                paced = self._publish(numbers[BEFOREHAND:], wait_s)
                attacked = end()
            used_s = cpu_s([self._broker.pid]) - before_s
            ended = arrivals.wait_for(len(numbers), wait_s)
        memory = {"before": before, "most": self._memory_mb("VmHWM"), "in_the_end": self._memory_mb("VmRSS")}
        broker = {"memory_mb": memory, "cpu_s": round(used_s, 2)}
        return {**figures_of(paced, arrivals.of, ended), "attacker": done_by(attacked), "broker": broker}

    def _publish(self, numbers: range, wait_s: float) -> Paced:
        return asyncio.run(publish_paced(self._entrance, self._accounts.honest, numbers, wait_s))

    def _memory_mb(self, what: str) -> float:
        return memory_mb(self._broker.pid, what)

    @contextmanager
    def _attacking(self) -> Iterator[Callable[[], Attacked]]:
        if self._kind in NOTHING:
            yield lambda: Attacked(0, 0.0, 0, {})
        elif self._kind in FLOODS:
            gateways = self._accounts.gateways
            logins = [(each.username, each.password, self._entrance.ca) for each in gateways]
            kind, tenant = FLOODS[self._kind], gateways[0].tenant_id
            with flooding(Order(self._broker.port, kind, tenant, self._run.name, logins)) as flood:
                yield lambda: flooded(flood.end(), len(logins))
        else:
            known = (self._accounts.honest, self._accounts.devices, self._broker.client_id)
            with attacking(Assault(self._kind, self._entrance, *known)) as end:
                yield end


def flooded(taken: Taken, connections: int) -> Attacked:
    """Return what a flood did, in the words of an attack: what it counts are PUBACKs."""
    return Attacked(taken.messages, taken.seconds, connections, {TAKEN[0]: taken.messages})


def done_by(attacked: Attacked) -> dict[str, object]:
    """Return what an attacker did, with its attempts by the second."""
    rate = round(attacked.attempts / attacked.seconds) if attacked.seconds else 0
    return {"attempts_a_s": rate, **attacked._asdict()}


def figures_of(paced: Paced, came: Mapping[str, Arrival], ended: float) -> dict[str, object]:
    """Return how long the honest device's messages took.

    Args:
        paced: what it published.
        came: what came in a job, by dedupe id.
        ended: the Unix time as of which what is missing counts.
    """
    acknowledged = [paced.acknowledged.get(id_, ended) - due for id_, due in paced.due.items()]
    arrived = [came[id_].arrived if id_ in came else ended for id_ in paced.due]
    return {
        "let_in_ms": round(paced.let_in_s * 1e3, 2),
        "puback": spread_ms(acknowledged),
        "end_to_end": spread_ms([at - due for at, due in zip(arrived, paced.due.values(), strict=True)]),
        "not_acknowledged": len(paced.due.keys() - paced.acknowledged.keys()),
        "not_come": len(paced.due.keys() - came.keys()),
    }
