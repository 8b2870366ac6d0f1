"""What MkDocs is told about this repository: `mkdocs.yml` names this file, and ``./dev docs`` runs it.

Some pages of the site are no files of ``docs/``. The documents of the root are brought in as they are, with
their links led to where they stand in the site. The settings, the reference and the list of decisions are
made from the code and the records, so they cannot fall behind.
"""

import inspect
import posixpath
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from streams.settings import Settings, shown_default

ROOT = Path(__file__).parents[1]
OF_THE_ROOT = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
FOLDERS = {"docs/adr": "adr/index.md"}
"""Folders that documents link to, and the page that lists what is in them."""
REFERENCE = {
    "job": ("The job", ["streams.laravel.job", "streams.laravel.command"]),
    "topics": ("Topics", ["streams.topics"]),
    "settings": ("Settings", ["streams.settings"]),
    "models": ("Values", ["streams.models"]),
    "errors": ("Errors", ["streams.errors"]),
    "wire": (
        "Wire formats",
        [
            "streams.wire.raw",
            "streams.wire.unique",
            "streams.wire.rejected",
            "streams.wire.headers",
            "streams.wire.term",
            "streams.wire.decision",
            "streams.wire.devices",
            "streams.wire.mark",
        ],
    ),
}
"""Page: its title, and the modules whose docstrings it shows."""

LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?P<target>(?!\w+:|#)[^)\s]+)\)")
SECTION_OR_FIELD = re.compile(r"^    (?:# --- (?P<section>.+)|(?P<field>[a-z]\w*): )", re.MULTILINE)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fill the two parts of the navigation that follow from what there is."""
    parts = {
        "Reference": [{title: f"reference/{name}.md"} for name, (title, _) in REFERENCE.items()],
        "Decisions": ["adr/index.md", *(f"adr/{path.name}" for path in decisions())],
    }
    config.nav = [
        {title: parts.get(title, page) for title, page in entry.items()} for entry in config.nav or []
    ]
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages that are no files of ``docs/``."""
    for page, text in made_pages():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 - MkDocs's
    """Lead a page's links to where the site has what they name."""
    here = page.file.src_uri
    source = next((name for name, of in OF_THE_ROOT.items() if of == here), f"docs/{here}")
    return linked_within_the_site(markdown, source, here)


def made_pages() -> Iterator[tuple[str, str]]:
    """Yield each made page's place in the site, and its Markdown."""
    for name, page in OF_THE_ROOT.items():
        yield page, (ROOT / name).read_text()
    yield "settings.md", settings_page()
    yield "adr/index.md", decisions_page()
    for name, (title, modules) in REFERENCE.items():
        shown = "".join(f"\n::: {module}\n" for module in modules)
        yield f"reference/{name}.md", f"# {title}\n{shown}"


def linked_within_the_site(markdown: str, source: str, page: str) -> str:
    """Return a document with its links led to pages of the site.

    What the site does not have, such as a configuration file, is named without a link.

    Args:
        markdown: the document.
        source: its path in the repository, from which its links go out.
        page: its place in the site.
    """

    def led(link: re.Match[str]) -> str:
        path, _, part = link["target"].partition("#")
        found = place_in_site(posixpath.normpath(posixpath.join(posixpath.dirname(source), path)))
        if found is None:
            return link["text"]
        target = posixpath.relpath(found, posixpath.dirname(page) or ".")
        return f"{link['image']}[{link['text']}]({target}{'#' if part else ''}{part})"

    return LINK.sub(led, markdown)


def place_in_site(path: str) -> str | None:
    """Return where the site has a file of the repository, None if it has not."""
    if (page := OF_THE_ROOT.get(path) or FOLDERS.get(path)) is not None:
        return page
    return path.removeprefix("docs/") if path.startswith("docs/") else None


def settings_page() -> str:
    """Return every setting, by chapter, with its default and what it means."""
    lines = [
        "# Settings",
        "",
        "Every setting is an environment variable. `NAME_FILE` names a file that holds the value of `NAME`,",
        "which suits secrets. The start reports everything that is wrong with the settings, all at once, and",
        "ends with exit code 78. This page is made from [the code](reference/settings.md).",
    ]
    for section, names in settings_by_section().items():
        lines += [
            "",
            f"## {section[0].upper()}{section[1:]}",
            "",
            "| setting | default | meaning |",
            "|---|---|---|",
        ]
        lines += [setting_row(name) for name in names]
    return "\n".join(lines) + "\n"


def setting_row(name: str) -> str:
    """Return one row of the table of settings."""
    field = Settings.model_fields[name]
    default = shown_default(field.default)
    meaning = (field.description or "").replace("|", "\\|")
    return f"| `{name.upper()}` | {f'`{default}`' if default else 'empty'} | {meaning} |"


def settings_by_section() -> Mapping[str, list[str]]:
    """Return the names of the settings under the headings that ``streams/settings.py`` puts above them."""
    sections: dict[str, list[str]] = {}
    for found in SECTION_OR_FIELD.finditer(inspect.getsource(Settings)):
        if found["section"]:
            sections[found["section"]] = []
        elif found["field"] in Settings.model_fields:
            sections[list(sections)[-1]].append(found["field"])
    return sections


def decisions() -> list[Path]:
    """Return the decision records in their order."""
    return sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))


def decisions_page() -> str:
    """Return the list of the decision records."""
    titles = {path.name: path.read_text().splitlines()[0].removeprefix("# ") for path in decisions()}
    listed = "\n".join(f"- [{title}]({name})" for name, title in titles.items())
    return f"# Decisions\n\nChoices that are hard to take back: context, choice, cost.\n\n{listed}\n"
