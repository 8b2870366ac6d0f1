"""Faust's compiled parts: with them the worker starts, without any of them it does not."""

import pytest
from faust import streams
from faust.transport import conductor

from streams.errors import StartupRefused
from streams.kafka.faust_build_check import check_compiled


def test_the_faust_that_is_installed_here_is_the_compiled_one() -> None:
    check_compiled()


@pytest.mark.parametrize(("module", "name"), [(streams, "_CStreamIterator"), (conductor, "ConductorHandler")])
def test_one_part_that_is_missing_refuses_the_start(
    module: object, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, name, None)
    with pytest.raises(StartupRefused, match=r"faust\..*_cython.*pip install"):
        check_compiled()
