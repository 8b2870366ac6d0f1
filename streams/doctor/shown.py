"""Shows findings: as a table on a terminal, a line each elsewhere, or JSON."""

from collections import Counter
from collections.abc import Sequence

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streams.doctor.finding import Finding, Severity, is_well
from streams.logs.plain import plain

STYLES = {Severity.OK: "green", Severity.WARNING: "yellow", Severity.BROKEN: "bold red"}
MARKS = {Severity.OK: "✓", Severity.WARNING: "!", Severity.BROKEN: "✗"}
PLAIN_MARKS = {Severity.OK: "+", Severity.WARNING: "!", Severity.BROKEN: "X"}
"""For a terminal that knows no others."""


def as_json(findings: Sequence[Finding]) -> str:
    """Return the findings for a program."""
    told = {"well": is_well(findings), "findings": findings}
    return msgspec.json.format(msgspec.json.encode(told), indent=2).decode()


def lines(findings: Sequence[Finding]) -> str:
    """Return the findings, one line each."""
    return "\n".join([*map(_line, findings), summary(findings)])


def show(findings: Sequence[Finding], console: Console) -> None:
    """Show the findings as a table, the mend below what was seen."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for name in ("state", "part"):
        table.add_column(name, no_wrap=True)
    table.add_column("seen", overflow="fold")
    marks = MARKS if console.encoding.startswith("utf") else PLAIN_MARKS
    for finding in findings:
        style = STYLES[finding.state]
        seen = Text(plain(finding.seen))
        if finding.mend:
            seen.append(
                f"\n{plain(finding.mend)}", style=style if finding.state is Severity.BROKEN else "cyan"
            )
        table.add_row(Text(f"{marks[finding.state]} {finding.state}", style=style), finding.part, seen)
    console.print(table)
    console.print(Text(summary(findings), style="bold"))


def summary(findings: Sequence[Finding]) -> str:
    """Return how many of which there are.

    >>> broken = Finding(Severity.BROKEN, "redis", "is away", "start it")
    >>> summary([Finding(Severity.OK, "kafka", "stands"), broken])
    '1 broken, 0 warnings, 1 ok'
    """
    counts = Counter(finding.state for finding in findings)
    return (
        f"{counts[Severity.BROKEN]} broken, "
        f"{counts[Severity.WARNING]} warning{'s' * (counts[Severity.WARNING] != 1)}, "
        f"{counts[Severity.OK]} ok"
    )


def _line(finding: Finding) -> str:
    mend = f" -> {finding.mend}" if finding.mend else ""
    return plain(f"{finding.state:8} {finding.part:8} {finding.seen}{mend}")
