"""Certificates for servers and clients on loopback, good and bad, made by openssl: P-256, valid for a day or not at all."""

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Certificate:
    """A PEM certificate and its key."""

    certificate: Path
    key: Path


def _openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=60)


class Authority:
    """A certificate authority."""

    def __init__(self, folder: Path, name: str = "Mailfleet test authority"):
        self.folder = folder / f"ca-{name.split()[-1]}-{id(self)}"
        self.folder.mkdir()
        self.certificate, self.key = self.folder / "ca.pem", self.folder / "ca.key"
        new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        _openssl("req", "-x509", *new_key, "-keyout", self.key, "-out", self.certificate, "-days", 2, "-subj", f"/CN={name}")
        self.new_key = new_key

    def issue(self, name: str, alternatives: str = "DNS:localhost,IP:127.0.0.1", days: int = 1) -> Certificate:
        """A server certificate; with negative `days` it has expired."""
        return self._sign(name, f"/CN={name}", f"subjectAltName={alternatives}\nextendedKeyUsage=serverAuth\n", days)

    def issue_client(self, name: str, subject: str) -> Certificate:
        """A client certificate; `subject` as openssl writes it: /O=group/CN=user."""
        return self._sign(name, subject, "extendedKeyUsage=clientAuth\n", 1)

    def _sign(self, name: str, subject: str, extensions: str, days: int) -> Certificate:
        key, request, certificate, file = (self.folder / f"{name}.{end}" for end in ("key", "csr", "pem", "ext"))
        file.write_text(f"{extensions}basicConstraints=CA:FALSE\n")
        _openssl("req", "-new", *self.new_key, "-keyout", key, "-out", request, "-subj", subject)
        _openssl(
            "x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial",
            "-days", days, "-extfile", file, "-out", certificate,
        )  # fmt: skip
        return Certificate(certificate, key)

    def key_pair(self, name: str) -> Certificate:
        """A key and its public half, without a certificate: for tokens."""
        private, public = self.folder / f"{name}.key", self.folder / f"{name}.pub"
        _openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", private)
        _openssl("pkey", "-in", private, "-pubout", "-out", public)
        return Certificate(public, private)
