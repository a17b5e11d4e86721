"""TLS between peers: the relay's own key and certificate, and how a peer knows that it talks to that relay.

Nobody has to run a certificate authority.  The relay makes a key on its first start; a peer is told the *pin*, the SHA-256 of the
public key, by the person who sets it up, and checks it within the TLS handshake: the handshake proves that the other end has the
private key, and fails before a byte of a request, hence of a token, is sent.  Names and dates in the certificate do not matter
then, and renewing the certificate with the same key keeps the pin.

Who has a certificate authority gives peers its file instead: then chain, name and dates are checked as in a browser.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import ipaddress
import os
import re
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tmrld.errors import SettingsError, StorageError
from tmrld.security.files import explained, write_private

VALID_FOR = datetime.timedelta(days=10 * 365)
RENEW_BEFORE = datetime.timedelta(days=90)

_PIN = re.compile(r"sha256:[0-9a-f]{64}")


class WrongKey(ssl.SSLCertVerificationError):
    """The server has another public key than the pinned one.

    An `ssl.SSLError`, because that is what asyncio expects of a handshake that fails; the dialer turns it into `Refused`.
    """

    def __init__(self, expected: str, seen: str) -> None:
        super().__init__(
            f"the relay's public key is not the pinned one: expected {expected}, seen {seen}. Somebody else may be answering at "
            "this address, so nothing secret was sent. If the relay was set up anew, get its pin again from what it prints "
            "when it starts"
        )
        self.expected = expected
        self.seen = seen

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True)
class Identity:
    """Where the relay's key and certificate lie, and the pin that its peers need."""

    key: Path
    certificate: Path
    pin: str


# The relay's side


def ensure_identity(folder: Path, names: Sequence[str] = (), now: datetime.datetime | None = None) -> Identity:
    """The identity in this folder, made if there is none.

    ``names`` are host names and addresses for a certificate that is made now, beside those of this machine.  A certificate that
    is missing, damaged or about to run out is made anew with the same key, so that pins stay good.  The files are for their
    owner alone.  Raises `StorageError`, also for a key that is there but cannot be read: a new one would lock out all peers; and
    `DiskFull` when there is no room.
    """
    now = now or datetime.datetime.now(datetime.UTC)
    key_path, certificate_path = folder / "relay.key.pem", folder / "relay.cert.pem"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not key_path.exists():
            write_private(key_path, _pem_of(ec.generate_private_key(ec.SECP256R1())))
        key = _read_key(key_path)
        if not _is_good(certificate_path, key, now):
            certificate = _make_certificate(key, names, now)
            write_private(certificate_path, certificate.public_bytes(serialization.Encoding.PEM))
    except OSError as error:
        raise explained(error, folder, f"the relay's key cannot be kept in {folder}") from error
    return Identity(key_path, certificate_path, _pin_of_key(key.public_key()))


def server_context(key: Path, certificate: Path) -> ssl.SSLContext:
    """TLS 1.2 or newer with this key and certificate chain (PEM).  Raises `SettingsError` if they cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:
        raise SettingsError(f"the key {key} and the certificate {certificate} cannot be used for TLS: {error}") from error
    return context


def read_pin(certificate: Path) -> str:
    """The pin that peers of a relay with this certificate (PEM) need.  Raises `StorageError` if it cannot be read."""
    try:
        return _pin_of_key(x509.load_pem_x509_certificate(certificate.read_bytes()).public_key())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise StorageError(f"the certificate {certificate} cannot be read: {error}") from error


# The peer's side


def client_context(pin: str | None = None, ca_file: Path | None = None) -> ssl.SSLContext:
    """TLS 1.2 or newer to a relay known by its ``pin``, by the authority in ``ca_file`` (PEM), or by both.

    A connection to another key fails in the handshake with `WrongKey`, with asyncio and with plain sockets alike.
    Raises `SettingsError` if neither is given: an unknown relay would be handed the token.
    """
    if not pin and ca_file is None:
        raise SettingsError(
            "nothing says which relay to trust: give its pin, which the relay prints when it "
            "starts, or the file of the authority that signed its certificate"
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except OSError as error:
            raise SettingsError(f"the file of authorities {ca_file} cannot be used: {error}") from error
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if pin:
        _require(context, check_pin(pin))
    return context


def check_pin(pin: str) -> str:
    """The pin in its one spelling.  Raises `SettingsError` if it is none."""
    spelling = pin.strip().lower()
    if not _PIN.fullmatch(spelling):
        raise SettingsError(
            f"{pin[:80]!r} is no pin: expected sha256: and 64 hexadecimal digits, as the relay shows at its start"
        )
    return spelling


def _require(context: ssl.SSLContext, pin: str) -> None:
    """Make every handshake of this context end with a look at the public key."""

    class PinnedObject(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()
            _compare(pin, self.getpeercert(binary_form=True))

    class PinnedSocket(ssl.SSLSocket):
        def do_handshake(self, block: bool = False) -> None:
            super().do_handshake(block)
            _compare(pin, self.getpeercert(binary_form=True))

    context.sslobject_class = PinnedObject
    context.sslsocket_class = PinnedSocket


def _compare(pin: str, certificate: bytes | None) -> None:
    seen = "none"
    if certificate:
        try:
            seen = _pin_of_key(x509.load_der_x509_certificate(certificate).public_key())
        except ValueError:
            seen = "a key that cannot be read"
    if not hmac.compare_digest(seen, pin):
        raise WrongKey(pin, seen)


# Keys and certificates


def _pin_of_key(key: PublicKeyTypes) -> str:
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return f"sha256:{hashlib.sha256(der).hexdigest()}"


def _pem_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    if os.name == "posix":
        path.chmod(0o600)
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise StorageError(
            f"the relay's key {path} is damaged ({error}): restore it from a backup; or remove it to get a new one, "
            "and then give every peer the new pin"
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise StorageError(f"the relay's key {path} is not an elliptic curve key, as the relay makes them")
    return key


def _is_good(path: Path, key: ec.EllipticCurvePrivateKey, now: datetime.datetime) -> bool:
    """Whether there is a certificate for this key that is valid, and will be for a while."""
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        ours = certificate.public_key() == key.public_key()
        if certificate.issuer == certificate.subject:
            certificate.verify_directly_issued_by(certificate)  # or it is damaged where nobody has looked yet
    except (FileNotFoundError, ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return ours and certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc - RENEW_BEFORE


def _make_certificate(key: ec.EllipticCurvePrivateKey, names: Sequence[str], now: datetime.datetime) -> x509.Certificate:
    """Signed by its own key; valid from a day ago, for machines whose clocks are behind."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tmrld relay")])
    every_name = dict.fromkeys(["localhost", "127.0.0.1", "::1", socket.gethostname(), *names])
    alternatives = [general for name in every_name if (general := _general_name(name)) is not None]
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + VALID_FOR)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .sign(key, hashes.SHA256())
    )


def _general_name(name: str) -> x509.GeneralName | None:
    """As certificates spell it; None for what cannot be in one: nothing, and the names of some machines."""
    if not name:
        return None
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        return x509.DNSName(name.encode("idna").decode("ascii"))
    except ValueError:
        return None
