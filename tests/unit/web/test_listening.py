"""Why an address cannot be listened on: which setting, and what to set it to."""

import errno
import os
import socket

import pytest

from streams.web.listening import why_not_listening


def error_of(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    ("error", "mend"),
    [
        (error_of(errno.EADDRINUSE), "set WEB_PORT to a port that is free"),
        (error_of(errno.EACCES), "this user may not use WEB_PORT=80. Set WEB_PORT to a port above 1023"),
        (error_of(errno.EPERM), "Set WEB_PORT to a port above 1023"),
        (error_of(errno.EADDRNOTAVAIL), "WEB_BIND=h is no address of this machine"),
        (error_of(errno.EAFNOSUPPORT), "WEB_BIND=h is no address of this machine"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "no name that it knows"),
        (error_of(errno.ENOBUFS), "Check WEB_BIND and WEB_PORT"),
    ],
)
def test_each_failure_names_the_setting_and_the_mend(error: OSError, mend: str) -> None:
    why = why_not_listening(error, "h", 80, "WEB_PORT")
    assert why.startswith("the web pages cannot be served on h port 80: ")
    assert mend in why
