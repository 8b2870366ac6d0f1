"""The login before Redpanda Console, on the file that is shipped; a page stands for Console."""

import base64
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.acceptance.conftest import Own
from tests.conftest import real
from tests.parts.nginx import ConsoleLogin
from tests.parts.secure_profile import Secrets


class Page(BaseHTTPRequestHandler):
    """Answers with the login that it was told, if any."""

    def do_GET(self) -> None:
        """Answer."""
        told = self.headers.get("Authorization", "nothing").encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"told " + told)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def console() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def asked(login: ConsoleLogin, path: str = "/", known: str = "") -> tuple[int, str]:
    """Return the status and the body of a page."""
    request = urllib.request.Request(f"http://{login.host}:{login.port}{path}")
    if known:
        request.add_header("Authorization", f"Basic {base64.b64encode(known.encode()).decode()}")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - loopback
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, ""


def test_nobody_reaches_console_without_the_password_that_init_has_made(
    own: Own, tmp_path: Path, console: str
) -> None:
    secrets = real(lambda: Secrets(tmp_path / "made"))
    login: ConsoleLogin = own(lambda: ConsoleLogin(secrets.path, console))
    password = secrets.of("console-login")
    for known in ("", "admin:", "admin:wrong", f"root:{password}", "admin:metric-streams-dev"):
        for path in ("/", "/api/topics", "/healthy/../"):
            status, body = asked(login, path, known)
            assert (status in {401, 403}, body) == (True, ""), (known, path)
    assert asked(login, "/", f"admin:{password}") == (200, "told nothing")
    assert asked(login, "/healthy")[0] == 204
