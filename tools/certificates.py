#!/usr/bin/env python3
"""Make the certificates with which broker, receivers and units know one another, by ``openssl``.

Standard library and openssl only. Law: a certificate names one party in one role, and a name that would mean more than
that in the broker's list of rights is refused.

usage: python3 tools/certificates.py ca FOLDER
       python3 tools/certificates.py broker FOLDER HOST [HOST …]
       python3 tools/certificates.py receiver FOLDER receiver-1
       python3 tools/certificates.py device FOLDER DEVICE [--csr FILE]
       python3 tools/certificates.py revoke FOLDER NAME
"""

from __future__ import annotations

import argparse
import ipaddress
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

CA_DAYS = 3650
DAYS = 825
RECEIVER_NAME = re.compile(r"receiver-[a-z0-9-]{1,32}")
DEVICE_NAME = re.compile(r"[a-z2-7]{26}")
HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,62})")
CLIENT = "extendedKeyUsage = clientAuth\n"
SERVER = "extendedKeyUsage = serverAuth\n"
CONFIG = """\
[ca]
default_ca = carnet
[carnet]
dir = .
database = index.txt
new_certs_dir = issued
serial = serial
crlnumber = crlnumber
certificate = ca.pem
private_key = ca.key
default_md = sha256
default_crl_days = 3650
policy = name_only
unique_subject = no
rand_serial = yes
[name_only]
commonName = supplied
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
"""
PARTY = """\
[party]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


class CertificateError(Exception):
    """One sentence that says what to do."""


def make_authority(folder: Path) -> None:
    """A new authority in ``folder``: ca.pem to hand out, ca.key to keep off every network, an empty revoked.pem."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if (folder / "ca.key").exists():
        raise CertificateError(f"{folder} has an authority already; name another folder")
    (folder / "issued").mkdir(exist_ok=True)
    (folder / "openssl.cnf").write_text(CONFIG)
    (folder / "index.txt").write_text("")
    (folder / "crlnumber").write_text("01\n")
    _new_key(folder, "ca")
    words = ["req", "-x509", "-config", "openssl.cnf", "-extensions", "authority", "-key", "ca.key"]
    _openssl(folder, *words, "-subj", "/CN=Carnet authority", "-days", str(CA_DAYS), "-out", "ca.pem")
    _write_revoked(folder)


def make_broker(folder: Path, hosts: Sequence[str]) -> None:
    """broker.pem and broker.key, for these host names and addresses."""
    names = []
    for host in hosts:
        kind = "IP" if _is_address(host) else "DNS"
        if kind == "DNS" and not HOST_NAME.fullmatch(host):
            raise CertificateError(f"{host!r} is no host name or address")
        names.append(f"{kind}:{host}")
    issue(folder, "broker", hosts[0], SERVER + f"subjectAltName = {', '.join(names)}\n")


def make_receiver(folder: Path, name: str) -> None:
    """NAME.pem and NAME.key; the name must stand in the broker's list of rights."""
    if not RECEIVER_NAME.fullmatch(name):
        raise CertificateError(f"{name!r}: a receiver is called receiver- and lower-case letters or digits")
    issue(folder, name, name, CLIENT)


def make_device(folder: Path, device: str, csr: Path | None = None) -> None:
    """DEVICE.pem for the key in ``csr``, which was made on the unit; without it also a key, for a bench."""
    if not DEVICE_NAME.fullmatch(device):
        raise CertificateError(f"{device!r}: a unit is called by its device id, 26 characters of a-z and 2-7")
    issue(folder, device, device, CLIENT, csr)


def issue(folder: Path, file: str, name: str, extensions: str, csr: Path | None = None) -> None:
    """FILE.pem with this common name, whatever ``csr`` asks for; nothing about ``name`` is checked here."""
    if not (folder / "ca.key").exists():
        raise CertificateError(f"{folder} has no authority; make one: certificates.py ca {folder}")
    if (folder / f"{file}.pem").exists():
        raise CertificateError(f"{folder / file}.pem is there already; revoke {file} first")
    request = folder / f"{file}.csr"
    if csr is None:
        _new_key(folder, file)
        words = ["req", "-new", "-config", "openssl.cnf", "-key", f"{file}.key", "-subj", "/CN=new"]
        _openssl(folder, *words, "-out", request.name)
    else:
        request.write_bytes(csr.read_bytes())
    extended = folder / f"{file}.ext"
    extended.write_text(PARTY + extensions)
    subject = "/CN=" + re.sub(r"([\\/+=])", r"\\\1", name)
    words = ["ca", "-config", "openssl.cnf", "-batch", "-notext", "-in", request.name, "-out", f"{file}.pem"]
    try:
        _openssl(
            folder,
            *words,
            "-subj",
            subject,
            "-days",
            str(DAYS),
            "-extfile",
            extended.name,
            "-extensions",
            "party",
        )
    except CertificateError:
        (folder / f"{file}.pem").unlink(missing_ok=True)
        raise
    finally:
        request.unlink()
        extended.unlink()


def revoke(folder: Path, name: str) -> None:
    """Write NAME into revoked.pem, which the broker reads again on SIGHUP; its files are moved out of the way."""
    certificate = folder / f"{name}.pem"
    if name in ("ca", "revoked") or not certificate.exists():
        raise CertificateError(f"there is no certificate {certificate}")
    _openssl(folder, "ca", "-config", "openssl.cnf", "-revoke", certificate.name)
    _write_revoked(folder)
    certificate.rename(folder / f"{name}.revoked")
    (folder / f"{name}.key").unlink(missing_ok=True)


def _write_revoked(folder: Path) -> None:
    """Whole or not at all: with half a list the broker would not start."""
    _openssl(folder, "ca", "-config", "openssl.cnf", "-gencrl", "-out", "revoked.new")
    (folder / "revoked.new").replace(folder / "revoked.pem")


def _new_key(folder: Path, name: str) -> None:
    """P-256, which every TPM and secure element can keep."""
    words = ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-out", f"{name}.key"]
    _openssl(folder, *words)


def _openssl(folder: Path, *words: str) -> None:
    try:
        done = subprocess.run(["openssl", *words], cwd=folder, check=False, capture_output=True, text=True, umask=0o077)
    except FileNotFoundError:
        raise CertificateError("openssl is missing: apt-get install openssl") from None
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line and not line.startswith("Using configuration")]
        raise CertificateError(f"openssl {words[0]} refused: {said[0] if said else 'it gave no reason'}")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0, 1 with a sentence, or 2 for a wrong command line."""
    parser = argparse.ArgumentParser(
        description="certificates for broker, receivers and units",
        epilog="example: certificates.py ca carnet-ca; certificates.py broker carnet-ca broker.example.org",
    )
    actions = parser.add_subparsers(dest="action", required=True)
    for action, sentence in (
        ("ca", "a new authority"),
        ("broker", "the broker's certificate"),
        ("receiver", "a receiver's certificate"),
        ("device", "a unit's certificate"),
        ("revoke", "let the broker refuse a certificate"),
    ):
        sub = actions.add_parser(action, help=sentence)
        sub.add_argument("folder", type=Path, help="the authority's folder")
        if action != "ca":
            sub.add_argument("name", nargs="+" if action == "broker" else None, help="host, receiver or device id")
        if action == "device":
            sub.add_argument("--csr", type=Path, help="certificate request of a key that was made on the unit")
    chosen = parser.parse_args(arguments)
    os.umask(0o077)
    try:
        if chosen.action == "ca":
            make_authority(chosen.folder)
        elif chosen.action == "broker":
            make_broker(chosen.folder, chosen.name)
        elif chosen.action == "receiver":
            make_receiver(chosen.folder, chosen.name)
        elif chosen.action == "device":
            make_device(chosen.folder, chosen.name, chosen.csr)
        else:
            revoke(chosen.folder, chosen.name)
    except (CertificateError, OSError) as error:
        print(f"certificates: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
