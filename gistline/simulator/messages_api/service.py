"""What the twin does with a call: takes the next reply of its plan, makes the answer, bills it, and books it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

from gistline.domain import TokenUsage
from gistline.simulator.messages_api import answers, tokens, validation
from gistline.simulator.messages_api.answers import Answer, error_body, json_answer
from gistline.simulator.messages_api.batches import Batch, Batches
from gistline.simulator.messages_api.books import Books, Entry, body_digest, user_id
from gistline.simulator.messages_api.cache import PromptCache
from gistline.simulator.messages_api.clock import TwinClock
from gistline.simulator.messages_api.faults import FaultPlan
from gistline.simulator.messages_api.models import ModelCard, bill, find_model
from gistline.simulator.messages_api.replies import Place, Recorded, Reply
from gistline.simulator.messages_api.writer import Compose, compose

NOTHING = TokenUsage()


@dataclass(frozen=True, slots=True)
class TwinOptions:
    """How a twin behaves where nothing goes wrong.

    ``batch_s`` twin seconds pass until a batch is processed; ``compose`` writes the answers; ``seed`` draws the order
    of batches' results.
    """

    batch_s: float = 60.0
    compose: Compose = compose
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Twin:
    """The parts of a twin that outlive a call."""

    plan: FaultPlan = field(default_factory=FaultPlan)
    books: Books = field(default_factory=Books)
    clock: TwinClock = field(default_factory=TwinClock)
    options: TwinOptions = field(default_factory=TwinOptions)


@dataclass(frozen=True, slots=True)
class _Call:
    """Who calls with what, for the books; an item of a batch has its ``batch``."""

    body: Mapping[str, Any]
    key: str
    at: datetime
    request_id: str
    idempotency_key: str | None = None
    batch: Batch | None = None
    custom_id: str | None = None


class MessagesService:
    """Answers calls that are well-formed HTTP. Several threads may call at once; the account is kept under one lock."""

    def __init__(self, twin: Twin, take: Callable[[Recorded], Reply]) -> None:
        self.twin = twin
        self._take = take
        self._lock = threading.RLock()
        self._cache = PromptCache()
        options = twin.options
        self.batches = Batches(self._item, seed=options.seed, takes_s=options.batch_s)

    def settle(self) -> datetime:
        """Let batches do what is due; returns the twin's time."""
        with self._lock:
            now = self.twin.clock.now()
            self.batches.settle(now)
        return now

    def create(self, request: Recorded) -> Answer:
        """``POST /v1/messages``."""
        if wrong := validation.wrong_call(request.body):
            return refuse(*wrong)
        reply = self._take(request)
        call = _Call(
            request.body,
            _key(request),
            self.twin.clock.now(),
            new_id("req"),
            idempotency_key=request.headers.get("idempotency-key"),
        )
        with self._lock:
            message = self._answer(call, reply)
        return self._send(reply, call.request_id, message, streamed=bool(request.body.get("stream")))

    def count(self, request: Recorded) -> Answer:
        """``POST /v1/messages/count_tokens``: free, and with faults of its own."""
        if wrong := validation.wrong_call(request.body, counting=True):
            return refuse(*wrong)
        card = _card(request.body)
        return self.play(Place.COUNT, {"input_tokens": tokens.count_request(request.body, card)})

    def submit(self, request: Recorded, *, size: int, base: str) -> Answer:
        """``POST /v1/messages/batches``. A fault after billing takes the batch in and loses the answer."""
        if wrong := validation.wrong_batch(request.body, size):
            return refuse(*wrong)
        reply = self.twin.plan.next(Place.BATCHES)
        batch = None
        if reply.is_billed:
            with self._lock:
                now = self.settle()
                batch = self.batches.create(
                    request.body["requests"], key=_key(request), now=now, stuck=reply.stuck
                ).as_json(base, now)
        return self._send(reply, new_id("req"), batch)

    def cancel(self, batch: Batch) -> None:
        """Process no further items of a batch."""
        with self._lock:
            self.batches.cancel(batch, self.settle())

    def play(self, place: Place, content: Any) -> Answer:
        """Answer with ``content`` as JSON, unless a fault of the place comes between."""
        return self._send(self.twin.plan.next(place), new_id("req"), content)

    def _send(self, reply: Reply, request_id: str, content: Any, *, streamed: bool = False) -> Answer:
        headers = {"request-id": request_id, **reply.headers}
        if reply.status != 200:
            content = error_body(reply.status, "scripted", code=reply.error_code, request_id=request_id)
        payload = reply.body.encode() if reply.body is not None else json.dumps(content, ensure_ascii=False).encode()
        parts: tuple[bytes, ...] = ()
        if streamed and reply.status == 200 and reply.body is None:
            parts = answers.as_events(content)
        return Answer(
            reply.status, payload, headers=headers, parts=parts, hang_s=reply.hang_s, drop=reply.drop, cut=reply.cut
        )

    def _item(self, batch: Batch, custom_id: str, params: Mapping[str, Any], *, at: datetime) -> dict[str, Any]:
        """One item of a batch when its moment has come."""
        wrong = validation.wrong_call(params)
        reply = Reply(wrong[0], outcome="errored") if wrong else self.twin.plan.next(Place.ITEMS)
        call = _Call(params, batch.key, at, "", batch=batch, custom_id=custom_id)
        message = self._answer(call, reply)
        if reply.unlisted:
            batch.unlisted.add(custom_id)
        if message is not None:
            return {"type": "succeeded", "message": message}
        if reply.outcome == "expired":
            return {"type": "expired"}
        status, said = wrong or (reply.status, "scripted")
        return {"type": "errored", "error": error_body(status, said)}

    def _answer(self, call: _Call, reply: Reply) -> dict[str, Any] | None:
        """Make and bill the answer, or book that there is none."""
        if not reply.is_billed:
            self._book(call, reply, NOTHING, None)
            return None
        text, stop_reason = self._text(call.body, reply)
        usage = self._usage(call, reply, text)
        tier = "batch" if call.batch else "standard"
        message = {
            "id": new_id("msg"),
            "type": "message",
            "role": "assistant",
            "model": call.body["model"],
            "content": [{"type": "text", "text": text}] if text else [],
            "stop_reason": stop_reason,
            "stop_sequence": None,
            "usage": dict(reply.usage) if reply.usage is not None else answers.usage_body(usage, tier),
        }
        self._book(call, reply, usage, message["id"])
        return message

    def _text(self, body: Mapping[str, Any], reply: Reply) -> tuple[str, str]:
        """Text and stop reason. A scripted text is sent as it stands; one of the twin's own keeps the output limit."""
        card = _card(body)
        text = self.twin.options.compose(body) if reply.text is None else reply.text
        if reply.spoil:
            text = text.rstrip("}] \n") + ', "'
        if reply.keep is not None:
            text = tokens.clip(text, card, max(1, int(tokens.count(text, card) * reply.keep)))
        if reply.text is None and tokens.count(text, card) > body["max_tokens"]:
            return tokens.clip(text, card, body["max_tokens"]), "max_tokens"
        return text, reply.stop_reason

    def _usage(self, call: _Call, reply: Reply, text: str) -> TokenUsage:
        if reply.usage is not None:
            return answers.read_usage(reply.usage)
        card = _card(call.body)
        split = self._cache.charge(call.key, card, tokens.blocks(call.body, card), call.at)
        return TokenUsage(
            input_tokens=split.uncached,
            output_tokens=max(1, tokens.count(text, card)),
            cache_read_tokens=split.read,
            cache_write_5m_tokens=split.written_5m,
            cache_write_1h_tokens=split.written_1h,
        )

    def _book(self, call: _Call, reply: Reply, usage: TokenUsage, message_id: str | None) -> None:
        card = find_model(str(call.body.get("model")))
        billed = message_id is not None and card is not None
        self.twin.books.add(
            Entry(
                at=call.at,
                request_id=call.request_id,
                model=str(call.body.get("model")),
                billed=billed,
                status=reply.status,
                usage=usage,
                usd=bill(card, usage, batch=call.batch is not None) if billed and card else Decimal(0),
                fault=reply.name,
                batch_id=call.batch.id if call.batch else None,
                custom_id=call.custom_id,
                message_id=message_id,
                body_sha256=body_digest(call.body),
                user_id=user_id(call.body),
                idempotency_key=call.idempotency_key,
            )
        )


def refuse(status: int, message: str) -> Answer:
    """An error that the client is to blame for."""
    request_id = new_id("req")
    return json_answer(status, error_body(status, message, request_id=request_id), {"request-id": request_id})


def new_id(kind: str) -> str:
    """An identifier like the API's."""
    return f"{kind}_{uuid4().hex[:24]}"


def _card(body: Mapping[str, Any]) -> ModelCard:
    card = find_model(str(body["model"]))
    if card is None:
        raise LookupError(f"{body['model']!r} passed the validation without being known")
    return card


def _key(request: Recorded) -> str:
    return request.headers.get("x-api-key") or request.headers.get("authorization", "")
