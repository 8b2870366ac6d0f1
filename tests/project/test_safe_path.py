"""Which directories the console command searches last."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from metric_streams import doubtful_directories


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["/opt/scripts", *sys.path])
    return str(tmp_path)


@pytest.mark.parametrize("entry", ["", ".", "..", "lib"])
@pytest.mark.parametrize("place", ["{}:/opt/lib", "/opt/lib:{}", "/opt/a:{}:/opt/b"])
def test_a_relative_entry_of_pythonpath_is_doubtful(here: str, entry: str, place: str) -> None:
    python_path = place.format(entry).replace(":", os.pathsep)
    assert doubtful_directories(python_path) == {
        "/opt/scripts",
        os.path.realpath(Path(here, entry)),
    }


@pytest.mark.parametrize("python_path", ["", "/opt/lib"])
@pytest.mark.usefixtures("here")
def test_without_one_it_is_the_script_s_alone(python_path: str) -> None:
    assert doubtful_directories(python_path) == {"/opt/scripts"}


@pytest.mark.parametrize("python_path", [lambda here: f":{here}", lambda here: f"{here}:."])
def test_what_is_named_in_full_is_meant(here: str, python_path: Callable[[str], str]) -> None:
    assert here not in doubtful_directories(python_path(here).replace(":", os.pathsep))
