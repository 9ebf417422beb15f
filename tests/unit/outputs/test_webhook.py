"""Which addresses a webhook may reach, and its signature."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import socket
import threading
import time
from uuid import uuid4

import pytest

from gistline.outputs.delivery import NotDelivered, Parcel
from gistline.outputs.webhook import checked_address, is_allowed, send_webhook, signature
from gistline.settings_acting import AlarmSettings

OPEN = AlarmSettings(webhook_networks=["10.1.0.0/16", "127.0.0.1/32"])


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1", "::1", "fe80::1",  # noqa: S104 - compared, not listened on
     "fd00::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "100.64.0.1"],
)  # fmt: skip
def test_what_is_not_public_is_refused_unless_its_network_is_named(address: str) -> None:
    assert not is_allowed(ipaddress.ip_address(address), AlarmSettings())


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1"])
def test_what_is_public_is_allowed(address: str) -> None:
    assert is_allowed(ipaddress.ip_address(address), AlarmSettings())


def test_a_named_network_is_allowed_and_its_neighbour_is_not() -> None:
    assert is_allowed(ipaddress.ip_address("10.1.2.3"), OPEN)
    assert is_allowed(ipaddress.ip_address("::ffff:10.1.2.3"), OPEN)
    assert not is_allowed(ipaddress.ip_address("10.2.2.3"), OPEN)


def test_the_host_header_keeps_its_name_and_its_odd_port() -> None:
    assert checked_address("http://127.0.0.1:8080/x", OPEN) == (ipaddress.ip_address("127.0.0.1"), "127.0.0.1:8080")
    assert checked_address("https://127.0.0.1/x", OPEN)[1] == "127.0.0.1"


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "http://", "127.0.0.1", "http://[::1", "http://localhost:99999/"])
def test_what_is_no_address_is_refused_for_good(url: str) -> None:
    with pytest.raises(NotDelivered) as refused:
        checked_address(url, OPEN)
    assert refused.value.final


def test_the_signature_is_over_time_and_body() -> None:
    expected = hmac.new(b"key", b'1700000000.{"a":1}', hashlib.sha256).hexdigest()
    assert signature("key", 1_700_000_000, b'{"a":1}') == f"t=1700000000,v1={expected}"


def test_the_answer_of_a_receiver_is_not_read_to_an_end_that_never_comes() -> None:
    cut_off = threading.Event()

    def drip(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
            try:
                for _ in range(100):  # an end after all, should the client wait for it
                    connection.sendall(b".")
                    time.sleep(0.05)
            except OSError:
                cut_off.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        receiver = threading.Thread(target=drip, args=(listener,), daemon=True)
        receiver.start()
        target = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        send_webhook(Parcel(uuid4(), target, "subject", "body", b"{}", "topic"), OPEN)
        receiver.join(10)
    assert cut_off.is_set()
