"""A handshake that failed is told in plain words, whoever met it."""

import asyncio
import socket
import ssl
import threading
from pathlib import Path

import pytest

from streams.tls import KAFKA, MQTT, TlsFiles, context_of, read_context, tls_fault
from tests.conftest import real
from tests.parts.authority import Authority

LIMIT_S = 10.0


def failure(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}] some words (_ssl.c:1)")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("reason", "seen"),
    [
        ("WRONG_VERSION_NUMBER", "it speaks no TLS on this port"),
        ("TLSV1_ALERT_PROTOCOL_VERSION", "it speaks no TLS as new as 1.2"),
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "it asks for a certificate of ours that it trusts"),
        ("SSLV3_ALERT_CERTIFICATE_EXPIRED", "our certificate has expired: renew MQTT_CERT_FILE"),
        ("TLSV1_ALERT_UNKNOWN_CA", "it does not know the CA of our certificate"),
        ("SOMETHING_NEW", "no TLS handshake, something new"),
    ],
)
def test_each_reason_has_its_words(reason: str, seen: str) -> None:
    assert seen in str(tls_fault(failure(reason), MQTT))


def test_the_cause_of_an_error_is_looked_for() -> None:
    wrapped = RuntimeError("raised from None")
    wrapped.__context__ = failure("WRONG_VERSION_NUMBER")
    assert str(tls_fault(wrapped, KAFKA)).startswith("it speaks no TLS on this port")
    assert tls_fault(ConnectionRefusedError(), KAFKA) is None


def test_nothing_older_than_1_2_is_spoken() -> None:
    assert read_context(TlsFiles()).minimum_version is ssl.TLSVersion.TLSv1_2


def test_the_files_are_read_again_when_they_change_and_never_done_without(tmp_path: Path) -> None:
    authority = real(lambda: Authority(tmp_path))
    ours = authority.client("ours")
    context = context_of(TlsFiles(str(authority.ca), str(ours.path), str(ours.key)))
    assert context_of(TlsFiles(str(authority.ca), str(ours.path), str(ours.key))) is context

    def in_use() -> ssl.SSLContext:
        return context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="h").context

    first = in_use()
    assert in_use() is first
    assert first.verify_mode is ssl.CERT_REQUIRED
    assert first.check_hostname
    authority.client("ours")
    second = in_use()
    assert second is not first
    ours.key.write_text("half")
    assert in_use() is second
    ours.key.unlink()
    assert in_use() is second
    authority.client("ours")
    assert in_use() not in (first, second)


async def test_a_connection_ends_without_the_other_sides_goodbye(tmp_path: Path) -> None:
    """Asyncio would wait for it for 30 s, and Kafka, for one, has none."""
    authority = real(lambda: Authority(tmp_path))
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(*authority.server("silent", "127.0.0.1"))
    over = threading.Event()

    def serve(listener: socket.socket) -> None:
        accepted, _ = listener.accept()
        with server_side.wrap_socket(accepted, server_side=True) as connection:
            connection.recv(1)
            over.wait(LIMIT_S * 2)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(asyncio.to_thread(serve, listener))
        context = context_of(TlsFiles(str(authority.ca)))
        _, writer = await asyncio.open_connection(*listener.getsockname(), ssl=context)
        writer.write(b"x")
        await writer.drain()
        async with asyncio.timeout(LIMIT_S):
            writer.close()
            await writer.wait_closed()
        over.set()
        await serving
