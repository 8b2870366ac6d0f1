"""The forms of a timestamp in ``timestamps.tsv``; ``timestamps.md`` says what its columns mean."""

import json
from pathlib import Path
from typing import NamedTuple


class Form(NamedTuple):
    """A text, what PHP makes of it, and what we do."""

    text: str
    php_takes: bool
    php_reads: str
    here: str


def forms() -> list[Form]:
    """Return all of them."""
    lines = Path(__file__).with_suffix(".tsv").read_text(encoding="utf-8").splitlines()
    rows = (line.split("\t") for line in lines[1:])
    return [Form(json.loads(text), takes == "yes", reads, here) for text, takes, reads, here in rows]
