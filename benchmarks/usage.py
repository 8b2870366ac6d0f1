"""What processes use, as Linux accounts for it in /proc: CPU time and memory, of those processes alone."""

import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_OURS = "ours"
_UTIME, _STIME = 11, 12  # proc(5), counted behind the name in parentheses


def cpu_s(pids: Sequence[int]) -> float:
    """Return the CPU time that processes have used so far, in seconds, in steps of 10 ms."""
    return sum(_cpu_s(Path(f"/proc/{pid}/stat").read_text()) for pid in pids)


def _cpu_s(stat: str) -> float:
    fields = stat.rpartition(")")[2].split()
    return (int(fields[_UTIME]) + int(fields[_STIME])) * _TICK_S


def family(pid: int) -> list[int]:
    """Return a process and its children: PostgreSQL has one for each connection."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [pid, *map(int, children.split())]


def memory_mb(pid: int, what: str = "VmRSS") -> float:
    """Return a process's memory in MiB: ``VmRSS`` now, ``VmHWM`` at most so far."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == what:
            return round(int(value.split()[0]) / 1024, 1)
    raise ValueError(f"process {pid} has no {what}")


class Usage:
    """CPU and memory of some processes while the block lasts.

    Args:
        pids: of what is measured.
        servers: by name, the processes of what stands beside it; of these only the CPU.

    Attributes:
        samples: MiB of all that is measured together, once a second.
    """

    def __init__(self, pids: Sequence[int], servers: Mapping[str, int] | None = None) -> None:
        self.samples: list[float] = []
        self._pids = pids
        self._servers = dict(servers or {})
        self._began: dict[str, float] = {}
        self._used: dict[str, float] = {}
        self._over = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)

    def figures(self, count: int, unit: str = "message") -> dict[str, object]:
        """Return what the block has cost, by message (or what else was counted) where that has a meaning."""
        by_unit = {name: round(used_s / count * 1e6, 2) for name, used_s in self._used.items()}
        quarter = max(1, len(self.samples) // 4)
        return {
            f"cpu_us_a_{unit}": by_unit.pop(_OURS),
            f"servers_cpu_us_a_{unit}": by_unit,
            "cpu_s": round(self._used[_OURS], 2),
            "memory_mb": {
                "first_quarter_most": max(self.samples[:quarter]),
                "last_quarter_most": max(self.samples[-quarter:]),
                "most": [memory_mb(pid, "VmHWM") for pid in self._pids],
            },
        }

    def _cpu(self) -> dict[str, float]:
        servers = {name: cpu_s(family(pid)) for name, pid in self._servers.items()}
        return {_OURS: cpu_s(self._pids), **servers}

    def _sample(self) -> None:
        while True:
            self.samples.append(round(sum(memory_mb(pid) for pid in self._pids), 1))
            if self._over.wait(1.0):
                return

    def __enter__(self) -> Self:
        self._began = self._cpu()
        self._sampler.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Take no more into account; the end of the block does this as well."""
        if self._over.is_set():
            return
        self._used = {name: used_s - self._began[name] for name, used_s in self._cpu().items()}
        self._over.set()
        self._sampler.join()
