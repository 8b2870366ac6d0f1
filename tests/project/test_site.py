"""The site of the documents: its made pages, and where its links lead. ``./dev docs`` builds it."""

import posixpath
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest

from streams.settings import Settings, shown_default

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    loader = SourceFileLoader("docs_hooks", str(REPOSITORY / "docs" / "hooks.py"))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    sys.modules[loader.name] = module
    loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("source", "page", "link", "led"),
    [
        ("README.md", "index.md", "[a](docs/guarantees.md)", "[a](guarantees.md)"),
        ("README.md", "index.md", "![a](docs/flow.svg)", "![a](flow.svg)"),
        ("README.md", "index.md", "[why](docs/adr)", "[why](adr/index.md)"),
        ("docs/redis.md", "redis.md", "[a](../README.md#run-it)", "[a](index.md#run-it)"),
        ("docs/redis.md", "redis.md", "[a](guarantees.md#the-proof)", "[a](guarantees.md#the-proof)"),
        ("docs/adr/0006.md", "adr/0006.md", "[a](../performance.md)", "[a](../performance.md)"),
        ("docs/adr/0006.md", "adr/0006.md", "[a](../../ARCHITECTURE.md)", "[a](../architecture.md)"),
        ("README.md", "index.md", "[over\ntwo lines](docs/redis.md)", "[over\ntwo lines](redis.md)"),
    ],
)
def test_a_link_leads_to_the_page_that_the_site_has(
    hooks: ModuleType, source: str, page: str, link: str, led: str
) -> None:
    assert hooks.linked_within_the_site(f"see {link}.", source, page) == f"see {led}."


@pytest.mark.parametrize(
    "link", ["[a](https://kafka.apache.org)", "[a](#quotas)", "[a](mailto:x@example.com)"]
)
def test_a_link_out_of_the_site_or_within_the_page_stays(hooks: ModuleType, link: str) -> None:
    assert hooks.linked_within_the_site(link, "docs/redis.md", "redis.md") == link


def test_a_file_that_the_site_does_not_have_is_named_without_a_link(hooks: ModuleType) -> None:
    text = hooks.linked_within_the_site("[units](../docker/systemd)", "docs/operations.md", "operations.md")
    assert text == "units"


def test_the_page_of_settings_has_each_setting_with_its_default(hooks: ModuleType) -> None:
    page = hooks.settings_page()
    assert sum(map(len, hooks.settings_by_section().values())) == len(Settings.model_fields)
    for name, field in Settings.model_fields.items():
        default = shown_default(field.default)
        assert f"| `{name.upper()}` | {f'`{default}`' if default else 'empty'} |" in page


def test_each_made_page_is_in_the_navigation(hooks: ModuleType) -> None:
    navigation = (REPOSITORY / "mkdocs.yml").read_text()
    shown = {page for page, _ in hooks.made_pages() if posixpath.dirname(page) not in {"adr", "reference"}}
    assert {page for page in shown if page not in navigation} == set()


def test_each_module_of_the_reference_exists(hooks: ModuleType) -> None:
    modules = [module for _, modules in hooks.REFERENCE.values() for module in modules]
    assert {name for name in modules if not (REPOSITORY / f"{name.replace('.', '/')}.py").exists()} == set()


def test_every_wire_format_is_in_the_reference(hooks: ModuleType) -> None:
    formats = {f"streams.wire.{path.stem}" for path in (REPOSITORY / "streams" / "wire").glob("[a-z]*.py")}
    assert set(hooks.REFERENCE["wire"][1]) == formats
