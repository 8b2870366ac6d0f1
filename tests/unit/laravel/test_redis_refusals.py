"""Who can mend what a Redis refuses."""

import pytest
from redis.exceptions import NoScriptError, ReadOnlyError, ResponseError

from streams.laravel.redis_refusals import KNOWN, RedisMender, sort, told


@pytest.mark.parametrize("code", sorted(KNOWN))
def test_a_refusal_is_known_by_its_code_wherever_a_script_puts_it(code: str) -> None:
    for text in (
        f"{code} it refuses",
        f"-{code} it refuses",
        f"ERR Error running script (call to f_1): @user_script:7: @user_script: 7: -{code} it refuses",
    ):
        assert sort(ResponseError(text)).code == code


@pytest.mark.parametrize(
    "text",
    [
        "ERR The user executing the script can't run this command or subcommand script: 1",
        "ERR ACL failure in script: User job has no permissions to run the 'publish' command",
        "ERR Error running script: -NOPERM The user executing the script can't access a key",
        "this user has no permissions to access one of the channels used as arguments",
    ],
)
def test_a_right_that_is_missing_is_one_whatever_the_version_says(text: str) -> None:
    assert sort(ResponseError(text)).code == "NOPERM"


@pytest.mark.parametrize("text", ["ERR unheard of", "", "READONLYISH", "the job READONLY", "FUTURE refusal"])
def test_what_nobody_knows_belongs_to_the_connection(text: str) -> None:
    assert sort(ResponseError(text)).mender is RedisMender.CONNECTION


def test_a_script_that_is_to_be_loaded_keeps_the_connection() -> None:
    assert sort(NoScriptError("No matching script")).mender is RedisMender.CALLER


def test_a_refusal_is_told_with_its_code_and_the_mend() -> None:
    told_so = told(ReadOnlyError("You can't write against a read only replica."))
    assert told_so.startswith("READONLY You can't write against a read only replica. (it is a replica now")
    assert told(ResponseError("ERR unheard of")) == "ERR unheard of"
