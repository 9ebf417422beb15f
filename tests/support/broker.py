"""A real MQTT broker (mosquitto) of the test's own, and a listener who writes down what he hears."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from threading import Lock
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from gistline.embedded.redis import HOST, free_port
from gistline.outputs.mqtt import MqttLink
from gistline.settings_acting import MqttSettings
from tests.support.processes import wait_until

USER, PASSWORD = "gistline", "a-password-of-the-tests"


def find_mosquitto() -> str:
    """Path of the broker; skips on a laptop without it, fails where CI promises it."""
    found = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        reason = "no mosquitto: 'apt install mosquitto', or 'make tools'"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@dataclass(frozen=True, slots=True)
class Certificate:
    """PEM files of a server's certificate and key, and of the authority that signed it."""

    chain: Path
    key: Path
    authority: Path


def make_certificate(folder: Path, address: str = HOST) -> Certificate:
    """An authority of the test's own, and a server's certificate for an IP address, good for a day."""
    now = datetime.now(UTC)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("authority", "broker")]

    def signed(number: int, extension: x509.ExtensionType) -> bytes:
        made = x509.CertificateBuilder().issuer_name(names[0]).subject_name(names[number])
        made = made.public_key(keys[number].public_key()).serial_number(x509.random_serial_number())
        made = made.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=1))
        made = made.add_extension(extension, critical=number == 0)
        return made.sign(keys[0], hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    found = Certificate(folder / "broker.pem", folder / "broker.key", folder / "authority.pem")
    found.authority.write_bytes(signed(0, x509.BasicConstraints(ca=True, path_length=None)))
    found.chain.write_bytes(signed(1, x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))])))
    plain = serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    found.key.write_bytes(keys[1].private_bytes(serialization.Encoding.PEM, *plain))
    return found


class Broker:
    """Keeps its port over restarts, and nothing else: sessions and retained messages are gone then."""

    def __init__(self, folder: Path, certificate: Certificate | None = None) -> None:
        self._binary = find_mosquitto()
        self.port = free_port()
        self.url = f"{'mqtts' if certificate else 'mqtt'}://{USER}:{PASSWORD}@{HOST}:{self.port}"
        self._config = folder / "mosquitto.conf"
        passwords = folder / "passwords"
        passwords.write_text(f"{USER}:{PASSWORD}\n")
        passwords.chmod(0o600)
        tool = str(Path(self._binary).parent.parent / "bin" / "mosquitto_passwd")
        subprocess.run([shutil.which("mosquitto_passwd") or tool, "-U", str(passwords)], check=True)
        # As root it would drop to a user of its own, who cannot read the test's folder.
        account = "user root" if os.geteuid() == 0 else ""
        self._config.write_text(
            f"listener {self.port} {HOST}\nallow_anonymous false\npassword_file {passwords}\n{account}\n"
            + (f"certfile {certificate.chain}\nkeyfile {certificate.key}\n" if certificate else "")
        )
        self._process: subprocess.Popen[bytes] | None = None

    def settings(self, **more: Any) -> MqttSettings:
        """Settings of a client."""
        return MqttSettings(url=SecretStr(self.url), **more)

    def start(self) -> None:
        """Start and wait until it listens."""
        with self._config.with_suffix(".log").open("ab") as log:
            self._process = subprocess.Popen([self._binary, "-c", str(self._config)], stdout=log, stderr=log)
        wait_until(self._listens, "mosquitto listens")

    def kill(self) -> None:
        """SIGKILL; connections are refused from now on."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _listens(self) -> bool:
        with suppress(OSError), socket.create_connection((HOST, self.port), 0.2):
            return True
        return False


@contextmanager
def own_broker(folder: Path, certificate: Certificate | None = None) -> Iterator[Broker]:
    """Run one for the length of the block; with a certificate it speaks TLS alone."""
    broker = Broker(folder, certificate)
    broker.start()
    try:
        yield broker
    finally:
        broker.kill()


@dataclass
class Heard:
    """One message as a subscriber got it."""

    topic: str
    told: dict[str, Any]
    properties: dict[str, str]
    expires_s: int | None
    retained: bool
    at: float


@dataclass
class Listener:
    """A subscriber; what it heard is in ``messages``."""

    link: MqttLink
    messages: list[Heard] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)

    def hear(self, message: Any) -> None:
        properties = message.properties
        with self._lock:
            self.messages.append(
                Heard(
                    message.topic,
                    json.loads(message.payload),
                    dict(getattr(properties, "UserProperty", [])),
                    getattr(properties, "MessageExpiryInterval", None),
                    message.retain,
                    time.time(),
                )
            )

    def of(self, beginning: str) -> list[Heard]:
        """Messages whose topic begins so."""
        with self._lock:
            return [one for one in self.messages if one.topic.startswith(beginning)]


@contextmanager
def listening(broker: Broker, topic: str = "#") -> Iterator[Listener]:
    """A subscriber for the length of the block, connected when it begins."""
    link = MqttLink(broker.settings(), name="listener")
    listener = Listener(link)
    link.subscribe(topic, listener.hear)
    link.open()
    assert link.wait_until_up(10)
    try:
        yield listener
    finally:
        link.close()
