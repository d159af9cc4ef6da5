"""An authority of the test run's own: certificates for servers and clients on this machine."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

LOOPBACK: Final = "127.0.0.1"
_VALID: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Papers:
    """A certificate and its key, in a file each and, as servers take them, in one."""

    cert: Path
    key: Path
    both: Path


class Authority:
    """Signs certificates; ``ca`` is the file of its own, by which it is trusted."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.ca = folder / "ca.pem"
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(folder.name)
        own = _draft(self._name, self._name, self._key.public_key())
        signed = own.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self.ca.write_bytes(signed.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))

    def issue(self, name: str, address: str = LOOPBACK) -> Papers:
        """For whoever bears the name and is reached at the address."""
        key = ec.generate_private_key(ec.SECP256R1())
        reached = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        draft = _draft(_name(name), self._name, key.public_key()).add_extension(
            reached, critical=False
        )
        signed = draft.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        papers = Papers(*(self.folder / f"{name}.{kind}" for kind in ("crt", "key", "pem")))
        for file, content in zip(
            (papers.cert, papers.key, papers.both), (signed, secret, secret + signed), strict=True
        ):
            file.write_bytes(content)
        return papers


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _draft(
    name: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        # A clock that is a little behind is none of what is tested.
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + _VALID)
    )
