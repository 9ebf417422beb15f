"""Receivers of alarms: an HTTP server and an SMTP server that may be told to fail."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller

from gistline.embedded.redis import HOST, free_port


@dataclass
class Hook:
    """A webhook's receiver. ``answers`` are given one after the other, then 200; 0 breaks the connection off."""

    url: str
    answers: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    """Sent with each answer."""
    heard: list[tuple[dict[str, str], bytes, int]] = field(default_factory=list)

    @property
    def accepted(self) -> list[tuple[dict[str, str], bytes]]:
        """Requests that were answered with 200."""
        return [(headers, body) for headers, body, status in self.heard if status == 200]


@contextmanager
def own_hook() -> Iterator[Hook]:
    """Run one for the length of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = hook.answers.pop(0) if hook.answers else 200
            hook.heard.append((dict(self.headers), body, status))
            if not status:
                self.close_connection = True
                self.connection.close()
                return
            self.send_response(status)
            for name, value in hook.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer((HOST, 0), Handler)
    hook = Hook(f"http://{HOST}:{server.server_port}/alarms?token=in-the-url")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hook
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class Mailbox:
    """A mail server. ``answers`` are given to DATA one after the other, then it takes the mail."""

    url: str
    answers: list[str] = field(default_factory=list)
    mails: list[Message] = field(default_factory=list)

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        """Take a mail, or refuse it."""
        if self.answers:
            return self.answers.pop(0)
        self.mails.append(message_from_bytes(envelope.content))
        return "250 taken"


@contextmanager
def own_mailbox() -> Iterator[Mailbox]:
    """Run one for the length of the block."""
    port = free_port()
    mailbox = Mailbox(f"smtp://{HOST}:{port}")
    controller = Controller(mailbox, hostname=HOST, port=port)
    controller.start()
    try:
        yield mailbox
    finally:
        controller.stop()
