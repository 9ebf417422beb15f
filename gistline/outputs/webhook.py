"""Webhooks: signed, sent to addresses that are allowed, and never redirected.

The signature is HMAC-SHA256 over ``TIMESTAMP.BODY`` in ``Gistline-Signature: t=TIMESTAMP,v1=HEX``; a receiver compares
it and refuses old timestamps. ``Idempotency-Key`` is the delivery's id. A host name is resolved once, every address it
has is checked, and the connection goes to the address that was checked, so that a name cannot change its mind between.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import socket
import time
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

import httpx2

from gistline.outputs.delivery import NotDelivered, Parcel
from gistline.settings_acting import AlarmSettings

TRY_AGAIN: Final = frozenset({408, 409, 423, 425, 429})
"""Statuses below 500 that may be another one later."""
LONGEST_WAIT_S: Final = 3_600.0

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def signature(secret: str, timestamp: int, body: bytes) -> str:
    """The value of ``Gistline-Signature``."""
    mac = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256)
    return f"t={timestamp},v1={mac.hexdigest()}"


def send_webhook(parcel: Parcel, settings: AlarmSettings, *, now: Callable[[], float] = time.time) -> None:
    """Post it.

    Raises:
        NotDelivered: it was not taken; the address is never part of the message, since it may be a secret.

    """
    url = parcel.target or settings.webhook_url.get_secret_value()
    if not url:
        raise NotDelivered("alarms.webhook_url is empty: set GISTLINE_ALARMS__WEBHOOK_URL.", final=True)
    address, host = checked_address(url, settings)
    timestamp = int(now())
    headers = {
        "Content-Type": "application/json",
        "Idempotency-Key": str(parcel.id),
        "User-Agent": "gistline",
        "Host": host,
    }
    if secret := settings.webhook_secret.get_secret_value():
        headers["Gistline-Signature"] = signature(secret, timestamp, parcel.payload)
    pinned = httpx2.URL(url).copy_with(host=str(address))
    extensions = {"sni_hostname": urlsplit(url).hostname or ""}
    try:
        # No environment: a proxy would reach what the networks forbid.
        # The body of the answer is not read: it says nothing, and a receiver could make it endless.
        with (
            httpx2.Client(timeout=settings.timeout_s, trust_env=False, follow_redirects=False) as client,
            client.stream("POST", pinned, content=parcel.payload, headers=headers, extensions=extensions) as answer,
        ):
            _judge(answer)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise NotDelivered(f"no answer: {type(error).__name__}") from error


def checked_address(url: str, settings: AlarmSettings) -> tuple[Address, str]:
    """An address of the URL's host that may be reached, and the value of its ``Host`` header.

    Raises:
        NotDelivered: the URL is none, its host has no address now, or one that is not allowed.

    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise NotDelivered("the webhook's URL is none", final=True) from error
    if parts.scheme not in ("http", "https") or not host:
        raise NotDelivered("the webhook's URL begins neither with https:// nor http://", final=True)
    default = 443 if parts.scheme == "https" else 80
    try:
        found = socket.getaddrinfo(host, port or default, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise NotDelivered(f"the webhook's host has no address: {error}") from error
    addresses = [ipaddress.ip_address(str(one[4][0]).partition("%")[0]) for one in found]
    for address in addresses:
        if not is_allowed(address, settings):
            raise NotDelivered(
                f"the webhook's host is at {address}, which is neither public nor in alarms.webhook_networks: "
                "allow its network there if it is yours.",
                final=True,
            )
    name = f"[{host}]" if ":" in host else host
    return addresses[0], name if port in (None, default) else f"{name}:{port}"


def is_allowed(address: Address, settings: AlarmSettings) -> bool:
    """Public addresses, and the networks that the settings name."""
    mapped = getattr(address, "ipv4_mapped", None)
    address = mapped or address
    named = any(address in ipaddress.ip_network(one) for one in settings.webhook_networks)
    return named or (address.is_global and not address.is_multicast)


def _judge(answer: httpx2.Response) -> None:
    status = answer.status_code
    if 200 <= status < 300:
        return
    final = status < 500 and status not in TRY_AGAIN
    raise NotDelivered(f"the receiver answered {status}", final=final, wait_s=_asked(answer))


def _asked(answer: httpx2.Response) -> float | None:
    try:
        return min(LONGEST_WAIT_S, max(0.0, float(answer.headers.get("Retry-After", ""))))
    except ValueError:
        return None
