#!/usr/bin/env python3
"""Make the certificates with which broker, receivers and units know one another, by ``openssl``.

Standard library and openssl only. Law: a certificate names one party in one role, and a name that would mean more than
that in the broker's list of rights is refused.

FOLDER is an absolute path outside the checkout, which nobody but its owner may enter (mode 0700); each file that was
written is printed.

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

CHECKOUT = Path(__file__).resolve().parents[1]
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


def make_authority(folder: Path) -> list[Path]:
    """A new authority in ``folder``: ca.pem to hand out, ca.key to keep off every network, an empty revoked.pem."""
    if not folder.is_absolute() or folder.resolve().is_relative_to(CHECKOUT):
        raise CertificateError(f"{folder} is no place for an authority: name an absolute path outside {CHECKOUT}")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_mode & 0o077:
        raise CertificateError(f"{folder} can be entered by others: chmod 700 {folder}")
    if (folder / "ca.key").exists():
        raise CertificateError(f"{folder} has an authority already; name another folder")
    (folder / "issued").mkdir(exist_ok=True)
    (folder / "openssl.cnf").write_text(CONFIG)
    (folder / "index.txt").write_text("")
    (folder / "crlnumber").write_text("01\n")
    _new_key(folder, "ca")
    words = ["req", "-x509", "-config", "openssl.cnf", "-extensions", "authority", "-key", "ca.key"]
    _openssl(folder, *words, "-subj", "/CN=Carnet authority", "-days", str(CA_DAYS), "-out", "ca.pem")
    return [folder / "ca.pem", folder / "ca.key", _write_revoked(folder)]


def make_broker(folder: Path, hosts: Sequence[str]) -> list[Path]:
    """broker.pem and broker.key, for these host names and addresses."""
    names = []
    for host in hosts:
        kind = "IP" if _is_address(host) else "DNS"
        if kind == "DNS" and not HOST_NAME.fullmatch(host):
            raise CertificateError(f"{host!r} is no host name or address")
        names.append(f"{kind}:{host}")
    return issue(folder, "broker", hosts[0], SERVER + f"subjectAltName = {', '.join(names)}\n")


def make_receiver(folder: Path, name: str) -> list[Path]:
    """NAME.pem and NAME.key; the name must stand in the broker's list of rights."""
    if not RECEIVER_NAME.fullmatch(name):
        raise CertificateError(f"{name!r}: a receiver is called receiver- and lower-case letters or digits")
    return issue(folder, name, name, CLIENT)


def make_device(folder: Path, device: str, csr: Path | None = None) -> list[Path]:
    """DEVICE.pem for the key in ``csr``, which was made on the unit; without it also a key, for a bench."""
    if not DEVICE_NAME.fullmatch(device):
        raise CertificateError(f"{device!r}: a unit is called by its device id, 26 characters of a-z and 2-7")
    return issue(folder, device, device, CLIENT, csr)


def issue(folder: Path, file: str, name: str, extensions: str, csr: Path | None = None) -> list[Path]:
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
        try:
            request.write_bytes(csr.read_bytes())
        except OSError as error:
            raise CertificateError(f"{csr} cannot be read ({error.strerror}): carry the unit's request here") from None
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
    return [folder / f"{file}.pem", *([folder / f"{file}.key"] if csr is None else [])]


def revoke(folder: Path, name: str) -> list[Path]:
    """Write NAME into revoked.pem, which the broker reads again on SIGHUP; its files are moved out of the way."""
    certificate = folder / f"{name}.pem"
    if name in ("ca", "revoked") or not certificate.exists():
        raise CertificateError(f"there is no certificate {certificate}")
    _openssl(folder, "ca", "-config", "openssl.cnf", "-revoke", certificate.name)
    written = _write_revoked(folder)
    (folder / f"{name}.key").unlink(missing_ok=True)
    return [written, certificate.rename(folder / f"{name}.revoked")]


def _write_revoked(folder: Path) -> Path:
    """Whole or not at all: with half a list the broker would not start."""
    _openssl(folder, "ca", "-config", "openssl.cnf", "-gencrl", "-out", "revoked.new")
    return (folder / "revoked.new").replace(folder / "revoked.pem")


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
        epilog="example: certificates.py ca /root/authority; certificates.py broker /root/authority broker.example.org",
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
        sub.add_argument("folder", type=Path, help="the authority's folder, an absolute path")
        if action != "ca":
            sub.add_argument("name", nargs="+" if action == "broker" else None, help="host, receiver or device id")
        if action == "device":
            sub.add_argument("--csr", type=Path, help="certificate request of a key that was made on the unit")
    chosen = parser.parse_args(arguments)
    os.umask(0o077)
    try:
        for path in _do(chosen):
            print(f"wrote {path}")
    except (CertificateError, OSError) as error:
        print(f"certificates: {error}", file=sys.stderr)
        return 1
    return 0


def _do(chosen: argparse.Namespace) -> list[Path]:
    """What was asked for; the files that were written."""
    if chosen.action == "ca":
        return make_authority(chosen.folder)
    if chosen.action == "broker":
        return make_broker(chosen.folder, chosen.name)
    if chosen.action == "receiver":
        return make_receiver(chosen.folder, chosen.name)
    if chosen.action == "device":
        return make_device(chosen.folder, chosen.name, chosen.csr)
    return revoke(chosen.folder, chosen.name)


if __name__ == "__main__":
    sys.exit(main())
