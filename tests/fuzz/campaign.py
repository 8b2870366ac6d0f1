"""Starts the engine on a target for a while, and says what it found."""

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.targets import Target, load

REPOSITORY = Path(__file__).parents[2]
FOUND = REPOSITORY / ".cache" / "fuzz"
"""Where inputs that reached something new are kept between calls on demand, and those that failed."""
MOST_BYTES = 32_768
SLOWEST_S = 20
"""For one input: more than this, on whatever machine, is a finding."""
MOST_MEMORY_MB = 2_048
NO_ENGINE = "atheris is not installed: it has wheels for Linux on x86-64 and Python 3.11 and 3.12 alone"
_SHOWN_BYTES = 2_000


@dataclass(frozen=True)
class Outcome:
    """What came of fuzzing one target.

    Attributes:
        failures: the files with the inputs that failed.
        output: what the engine said.
    """

    target: str
    failed: bool
    failures: list[Path]
    output: str

    @property
    def figures(self) -> str:
        """The last line that tells executions and coverage."""
        lines = [line for line in self.output.splitlines() if re.match(r"#\d+\s", line)]
        return lines[-1] if lines else "nothing was executed"

    def explain(self) -> str:
        """Return the traceback, each failing input in hex, and how to replay it."""
        return "\n".join([_traceback(self.output), *(_shown(self.target, path) for path in self.failures)])


def has_engine() -> bool:
    """Tell whether atheris is installed."""
    return importlib.util.find_spec("atheris") is not None


def fuzz(target: str, seconds: float, corpus: Path, failures: Path, *, quiet: bool) -> Outcome:
    """Fuzz one target for a while, in a process of its own.

    Args:
        target: its name.
        seconds: how long.
        corpus: a directory of inputs to begin with; what reaches something new is added.
        failures: the directory for inputs that fail.
        quiet: do not also show the engine's output, line by line as it comes.
    """
    corpus.mkdir(parents=True, exist_ok=True)
    failures.mkdir(parents=True, exist_ok=True)
    before = set(failures.iterdir())
    with tempfile.TemporaryDirectory(prefix="metric-streams-fuzz-") as directory:
        seeds, words = _write(load(target), Path(directory))
        engine = [sys.executable, "-m", "tests.fuzz.engine", target]
        options = {
            "max_total_time": max(1, round(seconds)),
            "max_len": MOST_BYTES,
            "timeout": SLOWEST_S,
            "rss_limit_mb": MOST_MEMORY_MB,
            "artifact_prefix": f"{failures}{os.sep}",
            "dict": words,
            "print_final_stats": 1,
            "detect_leaks": 0,  # of C code, which is not ours
        }
        arguments = [f"-{name}={value}" for name, value in options.items()]
        code, output = _run([*engine, *arguments, str(corpus), str(seeds)], quiet=quiet)
    return Outcome(target, code != 0, sorted(set(failures.iterdir()) - before), output)


def _run(command: list[str], *, quiet: bool) -> tuple[int, str]:
    lines = []
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        for line in process.stdout or ():
            lines.append(line)
            if not quiet:
                print(line, end="", flush=True)
    return process.returncode, "".join(lines)


def _write(target: Target, directory: Path) -> tuple[Path, Path]:
    """Write a target's seeds and words as the engine takes them (libFuzzer, "Dictionaries")."""
    seeds, words = directory / "seeds", directory / "words"
    seeds.mkdir()
    for number, seed in enumerate(target.SEEDS):
        (seeds / str(number)).write_bytes(seed)
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.WORDS))
    return seeds, words


def _escaped(word: bytes) -> str:
    return "".join([f"\\x{byte:02x}" for byte in word])


def _traceback(output: str) -> str:
    """Return the failure alone: the exception, or why the engine itself gave up (memory, time)."""
    start = output.find("=== Uncaught Python exception")
    if start < 0:
        start = output.find("ERROR: libFuzzer")
    end = output.find("MS: ", start)
    return output[start:end] if start >= 0 else output[-_SHOWN_BYTES:]


def _shown(target: str, path: Path) -> str:
    data = path.read_bytes()
    cut = "" if len(data) <= _SHOWN_BYTES else f" (the first {_SHOWN_BYTES} of {len(data)} bytes)"
    hexed = data[:_SHOWN_BYTES].hex()
    return f"input{cut}: {hexed}\nreplay: python -m tests.fuzz {target} --replay {path}"
