"""./dev sbom and ./dev audit: what the lock file names, and whether anything in it is known to be bad.

And the lock files of tools that are installed apart.
"""

import json
import re
import subprocess
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
APART = {".ci/supply": {"cyclonedx-bom", "pip-audit"}, ".ci/mutation": {"mutmut"}}
LOCKED = re.compile(r"^([a-z0-9-]+)==([^ ;]+)", re.MULTILINE)
BAD = {"id": "PYSEC-2026-1", "fix_versions": ["2.0"], "aliases": [], "description": "…"}


def test_the_bill_names_every_locked_package_with_its_version_and_hashes(tmp_path: Path) -> None:
    target = tmp_path / "sbom.json"
    done = subprocess.run(
        [REPOSITORY / "dev", "sbom", target], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    bill = json.loads(target.read_text())
    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["name"] == "metric-streams"
    lock = (REPOSITORY / "requirements.lock").read_text()
    named = {(each["name"], each["version"]) for each in bill["components"]}
    assert named == set(LOCKED.findall(lock))
    hashes = set(re.findall(r"sha256:([0-9a-f]{64})", lock))
    told = {
        one["content"]
        for each in bill["components"]
        for reference in each["externalReferences"]
        for one in reference["hashes"]
    }
    assert told == hashes
    again = subprocess.run([REPOSITORY / "dev", "sbom"], capture_output=True, text=True, check=True)
    assert json.loads(again.stdout) == bill


@pytest.mark.parametrize(("folder", "tools"), APART.items())
def test_the_tools_have_a_lock_file_of_their_own_and_none_of_them_is_installed_with_the_project(
    folder: str, tools: set[str]
) -> None:
    lock = (REPOSITORY / folder / "requirements.lock").read_text()
    blocks = re.split(r"^(?=[a-z0-9-]+==)", lock, flags=re.MULTILINE)[1:]
    assert all("--hash=sha256:" in block for block in blocks)
    assert tools <= {name for name, _ in LOCKED.findall(lock)}
    assert not re.search(r"https?:|--(extra-)?index|--find-links", lock)
    project = (REPOSITORY / "requirements.lock").read_text()
    assert not tools & {name for name, _ in LOCKED.findall(project)}


@pytest.fixture
def dev(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program, which does not install what it would call."""
    loader = SourceFileLoader("dev_of_supply", str(REPOSITORY / "dev"))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    monkeypatch.setattr(module, "supply_tool", lambda name: name)
    return module


def answers(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch, *packages: dict[str, Any], says: str = ""
) -> None:
    """Let pip-audit answer this."""
    stdout = json.dumps({"dependencies": packages, "fixes": []}) if packages else ""

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 0, stdout, says)

    monkeypatch.setattr(dev.subprocess, "run", run)


def test_an_audit_without_a_service_says_so_in_one_line_and_fails(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(dev, monkeypatch, says="…\nERROR: Could not connect")
    with pytest.raises(
        dev.DevError, match=r"^nothing was checked, .* can be reached: ERROR: Could not connect$"
    ):
        dev.audit([])
    absent = {"name": "a", "skip_reason": "Dependency not found"}
    answers(dev, monkeypatch, absent, {**absent, "name": "b"})
    with pytest.raises(dev.DevError, match=r"^nothing was checked"):
        dev.audit([])


def test_an_audit_that_has_checked_some_alone_fails(dev: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(
        dev, monkeypatch, {"name": "a", "version": "1", "vulns": []}, {"name": "b", "skip_reason": "unknown"}
    )
    with pytest.raises(dev.DevError, match=r"^1 of 2 packages were not checked: b$"):
        dev.audit([])


def test_an_audit_tells_what_is_known_and_what_mends_it(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers(dev, monkeypatch, {"name": "a", "version": "1", "vulns": [BAD]})
    assert dev.audit([]) == 1
    assert capsys.readouterr().out == "a 1: PYSEC-2026-1, mended in 2.0\n"
    answers(dev, monkeypatch, {"name": "a", "version": "1", "vulns": []})
    assert dev.audit([]) == 0
