"""A local twin of the Messages API, over real HTTP, that answers by script: for tests, drills and machines offline.

It checks a request as far as a client can get it wrong, records it, and plays the next reply of its script; without a
script it answers with a fixed text. Its token counts follow a plain rule of bytes and are not Claude's.

Run it with ``python -m gistline.simulator.messages_api --port 8091`` and set ``GISTLINE_REPORTS__BASE_URL`` to the
address that it prints.
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

ERROR_TYPES: Mapping[int, str] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}
TEXT = "# Scripted report\n\nThe twin of the Messages API wrote this; no model read the findings."


@dataclass(frozen=True, slots=True)
class Reply:
    """One scripted answer.

    ``status`` 200 sends a message with ``text``, ``stop_reason`` and ``usage`` (left out: counted by a rule); any
    other status sends an error. ``body`` replaces what would be sent. ``hang_s`` waits before anything is sent, and
    ``drop`` then closes the connection without a word.
    """

    status: int = 200
    text: str = TEXT
    stop_reason: str = "end_turn"
    usage: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None
    hang_s: float = 0.0
    drop: bool = False


@dataclass(frozen=True, slots=True)
class Recorded:
    """A request as it came in; header names in lower case."""

    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]


class MessagesServer:
    """The twin as a context manager: serves on 127.0.0.1 from entry to exit; port 0 takes a free one."""

    def __init__(self, replies: Iterable[Reply] = (), *, port: int = 0) -> None:
        self._replies = deque(replies)
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self.requests: list[Recorded] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        """Address to set as ``base_url``."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def script(self, *replies: Reply) -> None:
        """Add replies to the end of the script."""
        with self._lock:
            self._replies.extend(replies)

    def wait(self) -> None:
        """Block until the server is stopped."""
        self._stopped.wait()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def take(self, request: Recorded) -> Reply:
        """Record a request and give the reply for it."""
        with self._lock:
            self.requests.append(request)
            return self._replies.popleft() if self._replies else Reply()

    def hang(self, seconds: float) -> None:
        """Wait, but no longer than the server runs."""
        self._stopped.wait(seconds)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        twin = self

        class Handler(_Handler):
            server_twin = twin

        return Handler


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_twin: MessagesServer

    def do_POST(self) -> None:
        """Answer one request."""
        raw = self.rfile.read(int(self.headers.get("content-length", "0")))
        try:
            body = json.loads(raw)
        except json.JSONDecodeError:
            self._send_error(400, "the body is no JSON")
            return
        request = Recorded(self.path, {key.lower(): value for key, value in self.headers.items()}, body)
        if wrong := _mistake(request):
            self._send_error(*wrong)
        elif self.path == "/v1/messages/count_tokens":
            self._send(200, json.dumps({"input_tokens": _input_tokens(body)}), {})
        else:
            self._play(self.server_twin.take(request), body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Stay silent: the requests are recorded."""

    def _play(self, reply: Reply, body: Mapping[str, Any]) -> None:
        if reply.hang_s:
            self.server_twin.hang(reply.hang_s)
        if reply.drop:
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
        elif reply.body is not None:
            self._send(reply.status, reply.body, reply.headers)
        elif reply.status == 200:
            self._send(200, json.dumps(_message(reply, body)), reply.headers)
        else:
            self._send_error(reply.status, "scripted", reply.headers)

    def _send_error(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        error = {"type": ERROR_TYPES.get(status, "api_error"), "message": message}
        self._send(status, json.dumps({"type": "error", "error": error}), headers or {})

    def _send(self, status: int, text: str, headers: Mapping[str, str]) -> None:
        payload = text.encode()
        sent = {"content-type": "application/json", "request-id": f"req_{uuid4().hex[:24]}", **headers}
        try:
            self.send_response(status)
            for key, value in {**sent, "content-length": str(len(payload))}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(payload)
        except ConnectionError:
            self.close_connection = True  # the client gave up while the reply hung


def _mistake(request: Recorded) -> tuple[int, str] | None:
    """Status and message for a request that the API would not take."""
    if not request.headers.get("authorization") and not request.headers.get("x-api-key"):
        return 401, "no key"
    if request.path not in {"/v1/messages", "/v1/messages/count_tokens"}:
        return 404, f"no such path: {request.path}"
    needed = ["model", "messages"] if request.path.endswith("count_tokens") else ["model", "messages", "max_tokens"]
    missing = [key for key in needed if key not in request.body]
    return (400, f"missing: {', '.join(missing)}") if missing else None


def _message(reply: Reply, body: Mapping[str, Any]) -> dict[str, Any]:
    counted = {"input_tokens": _input_tokens(body), "output_tokens": _tokens(reply.text)}
    return {
        "id": f"msg_{uuid4().hex[:24]}",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [{"type": "text", "text": reply.text}],
        "stop_reason": reply.stop_reason,
        "stop_sequence": None,
        "usage": dict(reply.usage) if reply.usage is not None else counted,
    }


def _input_tokens(body: Mapping[str, Any]) -> int:
    return _tokens(json.dumps([body.get("system"), body["messages"]], ensure_ascii=False))


def _tokens(text: str) -> int:
    return -(-len(text.encode()) // 3)


def main(arguments: list[str] | None = None) -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="A local twin of the Messages API.")
    parser.add_argument("--port", type=int, default=8091, help="port on 127.0.0.1; 0 takes a free one")
    with MessagesServer(port=parser.parse_args(arguments).port) as server:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        try:
            server.wait()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
