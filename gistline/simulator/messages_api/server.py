"""The twin over HTTP: the paths of the API, and under ``/twin`` what a test or a person wants of the twin itself."""

from __future__ import annotations

import json
import select
import socket
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from gistline.errors import GistlineError
from gistline.simulator.messages_api.answers import Answer, json_answer
from gistline.simulator.messages_api.batches import Batch
from gistline.simulator.messages_api.faults import read_steps
from gistline.simulator.messages_api.replies import Place, Recorded, Reply
from gistline.simulator.messages_api.service import MessagesService, Twin, refuse
from gistline.simulator.messages_api.validation import BATCH_BYTES, REQUEST_BYTES, wrong_headers

_LOOK_S = 0.05
_BATCHES = "/v1/messages/batches"


class MessagesServer:
    """The twin as a context manager: serves on 127.0.0.1 from entry to exit; port 0 takes a free one.

    ``replies`` are played first, one for each call of ``messages``; ``requests`` are the calls and batches that came
    in, without those that were refused as malformed.
    """

    def __init__(self, replies: Iterable[Reply] = (), *, port: int = 0, twin: Twin | None = None) -> None:
        self.twin = twin or Twin()
        self.twin.plan.script(*replies)
        self.requests: list[Recorded] = []
        self.service = MessagesService(self.twin, self._taken)
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._server = _Server(("127.0.0.1", port), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        """Address to set as ``base_url``."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def stopped(self) -> threading.Event:
        """Set when the server stops."""
        return self._stopped

    def script(self, *replies: Reply, on: Place = Place.MESSAGES) -> None:
        """Add replies to the end of a place's script."""
        self.twin.plan.script(*replies, on=on)

    def wait(self) -> None:
        """Block until the server is stopped."""
        self._stopped.wait()

    def record(self, request: Recorded) -> None:
        """Note a request."""
        with self._lock:
            self.requests.append(request)

    def take(self, request: Recorded) -> Reply:
        """Record a call and give the reply for it."""
        self.record(request)
        return self.twin.plan.next(Place.MESSAGES)

    def _taken(self, request: Recorded) -> Reply:
        return self.take(request)  # looked up at each call, so that a test can put itself in between

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

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(_Handler):
            front = server

        return Handler


class _Server(ThreadingHTTPServer):
    """Says nothing of clients that hang up or are killed; what goes wrong here itself is still told."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    front: MessagesServer

    def do_GET(self) -> None:
        """Answer a read."""
        self._serve(b"")

    def do_DELETE(self) -> None:
        """Answer a deletion."""
        self._serve(b"")

    def do_POST(self) -> None:
        """Answer a call."""
        size = int(self.headers.get("content-length", "0"))
        if size > (BATCH_BYTES if self.path.startswith(_BATCHES) else REQUEST_BYTES):
            self.close_connection = True
            self._send(refuse(413, f"the request has {size} bytes"))
            return
        self._serve(self.rfile.read(size))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Stay silent: the requests are recorded."""

    def _serve(self, raw: bytes) -> None:
        address = urlsplit(self.path)
        headers = {key.lower(): value for key, value in self.headers.items()}
        try:
            body = json.loads(raw) if raw else {}
        except ValueError:
            self._send(refuse(400, "the body is no JSON"))
            return
        request = Recorded(address.path, headers, body)
        if address.path.startswith("/twin/"):
            answer = self._admin(request)
        elif wrong := wrong_headers(headers):
            answer = refuse(*wrong)
        else:
            query = {key: values[0] for key, values in parse_qs(address.query).items()}
            answer = self._route(request, query, len(raw))
        self._send(answer)

    def _route(self, request: Recorded, query: Mapping[str, str], size: int) -> Answer:
        service = self.front.service
        match self.command, request.path.strip("/").split("/")[1:]:
            case "POST", ["messages"]:
                return service.create(request)
            case "POST", ["messages", "count_tokens"]:
                return service.count(request)
            case "POST", ["messages", "batches"]:
                self.front.record(request)
                return service.submit(request, size=size, base=self._base)
            case "GET", ["messages", "batches"]:
                return self._list(query)
            case method, ["messages", "batches", batch_id, *rest]:
                return self._batch(method, batch_id, rest)
            case _:
                return refuse(404, f"no such path: {self.command} {request.path}")

    def _batch(self, method: str, batch_id: str, rest: list[str]) -> Answer:
        """Look at one batch, its results, cancel or delete it."""
        service = self.front.service
        now = service.settle()
        batch = service.batches.find(batch_id)
        if batch is None:
            return refuse(404, f"no such batch: {batch_id}")
        if (method, rest) == ("GET", ["results"]):
            return self._results(batch)
        if (method, rest) == ("DELETE", []):
            return self._delete(batch)
        if (method, rest) == ("POST", ["cancel"]):
            service.cancel(batch)
        elif (method, rest) != ("GET", []):
            return refuse(404, f"no such path: {method} {self.path}")
        return service.play(Place.READS, batch.as_json(self._base, now))

    def _delete(self, batch: Batch) -> Answer:
        if batch.ended_at is None:
            return refuse(400, f"{batch.id} is being processed: cancel it first")
        self.front.service.batches.forget(batch)
        return json_answer(200, {"id": batch.id, "type": "message_batch_deleted"})

    def _results(self, batch: Batch) -> Answer:
        now = self.front.twin.clock.now()
        if batch.ended_at is None or batch.archived(now):
            return refuse(404, f"{batch.id} has no results: not ended yet, or older than 29 days")
        played = self.front.service.play(Place.READS, None)
        if played.status != 200:
            return played
        shown = (pair for pair in batch.results.items() if pair[0] not in batch.unlisted)
        rows = ({"custom_id": custom_id, "result": result} for custom_id, result in shown)
        lines = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
        return Answer(200, lines.encode(), "application/x-jsonl", played.headers, hang_s=played.hang_s, cut=played.cut)

    def _list(self, query: Mapping[str, str]) -> Answer:
        service = self.front.service
        now = service.settle()
        found = service.batches.newest_first()
        names = [batch.id for batch in found]
        if query.get("after_id") in names:
            found = found[names.index(query["after_id"]) + 1 :]
        elif query.get("before_id") in names:
            found = found[: names.index(query["before_id"])]
        limit = int(query.get("limit", "20"))
        page = [batch.as_json(self._base, now) for batch in found[:limit]]
        ends = {"first_id": page[0]["id"] if page else None, "last_id": page[-1]["id"] if page else None}
        return service.play(Place.READS, {"data": page, "has_more": len(found) > limit, **ends})

    def _admin(self, request: Recorded) -> Answer:
        """``/twin/books``, ``/twin/faults`` and ``/twin/clock``: no part of the API."""
        twin = self.front.twin
        now = self.front.service.settle()
        match self.command, request.path:
            case "GET", "/twin/books":
                return json_answer(200, twin.books.as_json())
            case "GET", "/twin/clock":
                return json_answer(200, {"now": now.isoformat()})
            case "POST", "/twin/clock":
                twin.clock.advance(float(request.body.get("advance_s", 0)))
                return json_answer(200, {"now": self.front.service.settle().isoformat()})
            case "POST", "/twin/faults":
                try:
                    steps = read_steps(request.body.get("script", ()))
                except GistlineError as error:
                    return refuse(400, str(error))
                for place, reply in steps:
                    twin.plan.script(reply, on=place)
                return json_answer(200, {"added": len(steps)})
            case _:
                return refuse(404, "known are GET /twin/books, GET and POST /twin/clock, POST /twin/faults")

    @property
    def _base(self) -> str:
        return f"http://{self.headers.get('host', urlsplit(self.front.url).netloc)}"

    def _send(self, answer: Answer) -> None:
        try:
            if answer.hang_s and not self._wait(answer.hang_s):
                self.close_connection = True
            elif answer.drop:
                self._hang_up()
            elif answer.parts:
                self._send_parts(answer)
            else:
                self._send_whole(answer)
        except OSError:
            self.close_connection = True  # the client gave up meanwhile

    def _send_whole(self, answer: Answer) -> None:
        self._head(answer, {"content-type": answer.content_type, "content-length": str(len(answer.payload))})
        if answer.cut is None:
            self.wfile.write(answer.payload)
            return
        self.wfile.write(answer.payload[: int(len(answer.payload) * answer.cut)])
        self._hang_up()

    def _send_parts(self, answer: Answer) -> None:
        """As a stream of events, in chunks; ``cut`` leaves out the last of them and the end."""
        self._head(answer, {"content-type": "text/event-stream; charset=utf-8", "transfer-encoding": "chunked"})
        shown = len(answer.parts) if answer.cut is None else int(len(answer.parts) * answer.cut)
        for part in answer.parts[:shown]:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        if answer.cut is None:
            self.wfile.write(b"0\r\n\r\n")
        else:
            self._hang_up()

    def _head(self, answer: Answer, more: Mapping[str, str]) -> None:
        self.send_response(answer.status)
        for key, value in {**more, **answer.headers}.items():
            self.send_header(key, value)
        self.end_headers()

    def _hang_up(self) -> None:
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    def _wait(self, seconds: float) -> bool:
        """Wait as long as the server runs and the client holds on; whether it still does."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self.front.stopped.wait(min(_LOOK_S, left)):
            readable, _, _ = select.select([self.connection], [], [], 0)
            if readable and not self.connection.recv(1, socket.MSG_PEEK):
                return False
        return not self.front.stopped.is_set()
