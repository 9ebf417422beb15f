"""MQTT over TLS: a broker that an authority of ours vouches for, and what happens when none does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr

from gistline.errors import SettingsError
from gistline.outputs.mqtt import Message, MqttLink
from gistline.settings_acting import MqttSettings
from tests.support.broker import Broker, Certificate, make_certificate, own_broker

MESSAGE = Message("gistline/verdicts/line-1/cam-1", b"{}")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory, certificate: Certificate) -> Iterator[Broker]:
    with own_broker(tmp_path_factory.mktemp("mosquitto"), certificate) as made:
        yield made


@contextmanager
def link(settings: MqttSettings) -> Iterator[MqttLink]:
    made = MqttLink(settings, name="test")
    made.open()
    try:
        yield made
    finally:
        made.close()


def test_a_broker_of_a_known_authority_takes_messages(broker: Broker, certificate: Certificate) -> None:
    with link(broker.settings(ca_file=str(certificate.authority))) as made:
        assert made.wait_until_up(20)
        assert made.publish_and_wait(MESSAGE, 10)


# paho leaves the socket of a failed handshake to the collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_broker_that_nobody_vouches_for_is_told_nothing(
    broker: Broker, certificate: Certificate, tmp_path: Path
) -> None:
    other = make_certificate(tmp_path).authority
    elsewhere = SecretStr(broker.url.replace("127.0.0.1", "localhost"))  # the certificate is for the address
    for settings in (
        broker.settings(),
        broker.settings(ca_file=str(other)),
        MqttSettings(url=elsewhere, ca_file=str(certificate.authority)),
        MqttSettings(url=SecretStr(broker.url.replace("mqtts:", "mqtt:"))),  # without TLS the broker says nothing
    ):
        with link(settings) as made:
            assert not made.wait_until_up(0.7)
            assert not made.publish(MESSAGE)


def test_an_authority_that_cannot_be_read_is_named(broker: Broker, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.pem"):
        MqttLink(broker.settings(ca_file=str(tmp_path / "nowhere.pem")), name="test")
    (tmp_path / "empty.pem").write_text("not a certificate")
    with pytest.raises(SettingsError, match=r"empty\.pem"):
        MqttLink(broker.settings(ca_file=str(tmp_path / "empty.pem")), name="test")
