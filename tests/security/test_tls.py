import datetime
import errno
import os
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509

from tmrld.errors import DiskFull, SettingsError, StorageError
from tmrld.security.tls import Identity, WrongKey, check_pin, client_context, ensure_identity, read_pin, server_context

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    return ensure_identity(tmp_path / "keys")


def shake_hands(client: ssl.SSLContext, server: ssl.SSLContext, host: str = "relay.example") -> str | None:
    """A whole TLS handshake in memory; returns the version agreed on.  Raises what the client raises."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = client.wrap_bio(to_client, to_server, server_hostname=host)
    there = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(10):
        for end in (here, there):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            if end is here:
                return here.version()
    raise AssertionError("the handshake does not end")


def test_the_pinned_key_is_accepted_whatever_the_name(identity: Identity) -> None:
    context = client_context(pin=identity.pin)
    assert shake_hands(context, server_context(identity.key, identity.certificate)) == "TLSv1.3"


def test_another_key_is_refused_in_the_handshake(identity: Identity, tmp_path: Path) -> None:
    other = ensure_identity(tmp_path / "other")
    with pytest.raises(WrongKey) as raised:
        shake_hands(client_context(pin=identity.pin), server_context(other.key, other.certificate))
    sentence = str(raised.value)
    assert f"expected {identity.pin}, seen {other.pin}" in sentence
    assert "Somebody else may be answering" in sentence
    assert "from what it prints when it starts" in sentence


def test_a_renewed_certificate_keeps_the_pin(identity: Identity, tmp_path: Path) -> None:
    identity.certificate.unlink()
    renewed = ensure_identity(tmp_path / "keys")
    assert renewed == identity
    shake_hands(client_context(pin=identity.pin), server_context(renewed.key, renewed.certificate))


def test_dates_do_not_matter_with_a_pin(tmp_path: Path) -> None:
    old = ensure_identity(tmp_path / "keys", now=datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC))
    shake_hands(client_context(pin=old.pin), server_context(old.key, old.certificate))


def test_a_start_finds_what_the_one_before_made(tmp_path: Path) -> None:
    first = ensure_identity(tmp_path / "keys", now=NOW)
    before = first.certificate.read_bytes()
    assert ensure_identity(tmp_path / "keys", now=NOW + datetime.timedelta(days=365)) == first
    assert first.certificate.read_bytes() == before


@pytest.mark.parametrize("days", [9 * 365 + 300, 20 * 365, -10])
def test_a_certificate_that_runs_out_is_renewed(tmp_path: Path, days: int) -> None:
    first = ensure_identity(tmp_path / "keys", now=NOW)
    before = first.certificate.read_bytes()
    assert ensure_identity(tmp_path / "keys", now=NOW + datetime.timedelta(days=days)).pin == first.pin
    assert first.certificate.read_bytes() != before


def test_a_full_disk_is_told_from_other_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(DiskFull, match="the disk is full"):
        ensure_identity(tmp_path)


def test_a_certificate_of_another_key_is_replaced(identity: Identity, tmp_path: Path) -> None:
    other = ensure_identity(tmp_path / "other")
    identity.certificate.write_bytes(other.certificate.read_bytes())
    assert ensure_identity(tmp_path / "keys") == identity
    assert read_pin(identity.certificate) == identity.pin


def test_a_damaged_key_is_not_silently_replaced(identity: Identity, tmp_path: Path) -> None:
    identity.key.write_text("damaged")
    with pytest.raises(StorageError, match=r"relay\.key\.pem is damaged .* restore it from a backup"):
        ensure_identity(tmp_path / "keys")


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_only_the_owner_can_read_the_key(identity: Identity, tmp_path: Path) -> None:
    identity.key.chmod(0o644)
    ensure_identity(tmp_path / "keys")
    assert identity.key.stat().st_mode & 0o777 == 0o600
    assert identity.certificate.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700
    assert len(list((tmp_path / "keys").iterdir())) == 2


def test_the_certificate_names_this_machine_and_what_it_is_told(tmp_path: Path) -> None:
    identity = ensure_identity(tmp_path / "keys", names=["relay.example", "192.0.2.7", "a..b", ""])
    certificate = x509.load_pem_x509_certificate(identity.certificate.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"localhost", "relay.example"} <= set(names.get_values_for_type(x509.DNSName))
    assert "" not in names.get_values_for_type(x509.DNSName)
    assert {"127.0.0.1", "192.0.2.7"} <= {str(address) for address in names.get_values_for_type(x509.IPAddress)}


def test_an_authoritys_file_checks_the_name(tmp_path: Path) -> None:
    identity = ensure_identity(tmp_path / "keys", names=["relay.example"])
    server = server_context(identity.key, identity.certificate)
    context = client_context(ca_file=identity.certificate)
    shake_hands(context, server, "relay.example")
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        shake_hands(context, server, "rival.example")


def test_an_unknown_authority_is_refused(identity: Identity, tmp_path: Path) -> None:
    other = ensure_identity(tmp_path / "other")
    with pytest.raises(ssl.SSLCertVerificationError, match="self-signed"):
        shake_hands(client_context(ca_file=other.certificate), server_context(identity.key, identity.certificate), "localhost")


def test_a_pin_and_an_authority_both_count(identity: Identity, tmp_path: Path) -> None:
    other = ensure_identity(tmp_path / "other")
    context = client_context(pin=other.pin, ca_file=identity.certificate)
    with pytest.raises(WrongKey):
        shake_hands(context, server_context(identity.key, identity.certificate), "localhost")


def test_a_relay_has_to_be_known_by_something() -> None:
    with pytest.raises(SettingsError, match="nothing says which relay to trust: give its pin"):
        client_context()


def test_a_pin_has_one_spelling(identity: Identity) -> None:
    assert check_pin(f"  {identity.pin.upper()}\n") == identity.pin
    for wrong in ("sha256:abc", identity.pin.removeprefix("sha256:"), "md5:" + "0" * 64):
        with pytest.raises(SettingsError, match="is no pin: expected sha256: and 64 hexadecimal digits"):
            client_context(pin=wrong)


def test_old_versions_of_tls_are_not_spoken(identity: Identity) -> None:
    server = server_context(identity.key, identity.certificate)
    assert server.minimum_version == ssl.TLSVersion.TLSv1_2
    assert client_context(pin=identity.pin).minimum_version == ssl.TLSVersion.TLSv1_2
    server.maximum_version = ssl.TLSVersion.TLSv1_2
    assert shake_hands(client_context(pin=identity.pin), server) == "TLSv1.2"


@contextmanager
def listening(server: ssl.SSLContext) -> Iterator[tuple[str, int]]:
    """A TLS server on plain sockets that lets one client in."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                try:
                    server.wrap_socket(connection, server_side=True).close()
                except OSError:
                    return

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()
        thread.join()


def test_plain_sockets_are_held_to_the_pin_too(identity: Identity, tmp_path: Path) -> None:
    server = server_context(identity.key, identity.certificate)
    other = ensure_identity(tmp_path / "other")
    with listening(server) as address, socket.create_connection(address) as raw:
        client_context(pin=identity.pin).wrap_socket(raw, server_hostname="x").close()
    with listening(server) as address, socket.create_connection(address) as raw, pytest.raises(WrongKey):
        client_context(pin=other.pin).wrap_socket(raw, server_hostname="x")


def test_files_that_cannot_be_used_are_named(identity: Identity, tmp_path: Path) -> None:
    other = ensure_identity(tmp_path / "other")
    with pytest.raises(SettingsError, match=re.escape(str(other.certificate))):
        server_context(identity.key, other.certificate)
    with pytest.raises(SettingsError, match="cannot be used"):
        client_context(ca_file=tmp_path / "missing.pem")
    with pytest.raises(StorageError, match="cannot be read"):
        read_pin(identity.key)
