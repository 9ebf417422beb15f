"""The twin of the Messages API as the real SDK sees it: messages, streams, counts, batches, faults, books."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import anthropic
import httpx2
import pytest
from pydantic import BaseModel, Field

from gistline.simulator.messages_api import (
    FAULTS,
    Books,
    FaultPlan,
    MessagesServer,
    Place,
    Reply,
    Twin,
    TwinClock,
    TwinOptions,
    fault,
)

MODEL = "claude-haiku-5-5"
ASK: dict[str, Any] = {
    "model": MODEL,
    "max_tokens": 400,
    "messages": [
        {"role": "user", "content": "Line line-1\n\n@cam-0 open s3 n4\n12,91,103,44,20,18\n@cam-1 spur s2 n9 c8/9"}
    ],
}
LONG = "The same instructions for every window, word for word, so that they are worth keeping. " * 60
KEPT: Any = {"type": "text", "text": LONG, "cache_control": {"type": "ephemeral"}}


@pytest.fixture
def server() -> Iterator[MessagesServer]:
    with MessagesServer(twin=Twin(options=TwinOptions(batch_s=60, seed=3))) as running:
        yield running


@pytest.fixture(scope="module")
def any_client() -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(api_key="any", base_url="http://127.0.0.1", max_retries=0, timeout=5) as opened:
        yield opened


@pytest.fixture
def client(server: MessagesServer, any_client: anthropic.Anthropic) -> anthropic.Anthropic:
    """The SDK's client for this test's server; opening one from scratch takes longer than most tests."""
    return any_client.with_options(base_url=server.url)


def text_of(message: Any) -> str:
    return "".join(block.text for block in message.content)


def test_a_message_is_answered_counted_and_booked(server: MessagesServer, client: anthropic.Anthropic) -> None:
    counted = client.messages.count_tokens(model=MODEL, messages=ASK["messages"])
    message = client.messages.create(**ASK, metadata={"user_id": "window-7"})
    assert message.usage.input_tokens == counted.input_tokens
    assert "`cam-0`: 4 x `open` (severity 3)." in text_of(message)
    (entry,) = server.twin.books.entries
    assert (entry.billed, entry.status, entry.user_id, entry.message_id) == (True, 200, "window-7", message.id)
    assert entry.request_id == message._request_id
    usage = message.usage
    assert entry.usd == (Decimal("0.10") * usage.input_tokens + Decimal("0.50") * usage.output_tokens) / 1_000_000


def test_a_stream_says_the_same_and_bills_once(server: MessagesServer, client: anthropic.Anthropic) -> None:
    whole = client.messages.create(**ASK)
    with client.messages.stream(**ASK) as stream:
        shown = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert shown == text_of(final) == text_of(whole)
    assert final.stop_reason == "end_turn"
    assert final.usage.output_tokens == whole.usage.output_tokens
    first, second = server.twin.books.billed
    assert first.usd == second.usd


class Spot(BaseModel):
    camera: str
    count: int = Field(ge=0)


class Answer(BaseModel):
    headline: str
    confidence: Literal["low", "high"]
    places: list[Spot]
    since: str | None


def test_structured_output_fits_its_schema_and_says_what_the_prompt_says(client: anthropic.Anthropic) -> None:
    parsed = client.messages.parse(**ASK, output_format=Answer)
    assert parsed.parsed_output is not None
    assert parsed.parsed_output.headline == "`cam-0`: 4 x `open` (severity 3)."
    plain = client.messages.create(**ASK)
    assert parsed.usage.input_tokens > plain.usage.input_tokens  # the schema is read as well


def test_the_output_limit_ends_an_answer(client: anthropic.Anthropic) -> None:
    message = client.messages.create(**{**ASK, "max_tokens": 10})
    assert (message.stop_reason, message.usage.output_tokens <= 10) == ("max_tokens", True)


def test_a_cached_beginning_is_written_read_and_forgotten(server: MessagesServer, client: anthropic.Anthropic) -> None:
    def ask() -> tuple[int, int, int]:
        usage = client.messages.create(**ASK, system=[KEPT]).usage
        return usage.input_tokens, usage.cache_creation_input_tokens or 0, usage.cache_read_input_tokens or 0

    rest, written, read = ask()
    assert (written > 512, read) == (True, 0)
    assert ask() == (rest, 0, written)
    server.twin.clock.advance(299)
    assert ask() == (rest, 0, written)  # the last read let it live on
    server.twin.clock.advance(301)
    assert ask() == (rest, written, 0)
    first, second, *_ = server.twin.books.billed
    out = Decimal("0.50") * first.usage.output_tokens
    assert first.usd == (Decimal("0.10") * rest + Decimal("0.125") * written + out) / 1_000_000
    assert second.usd == (Decimal("0.10") * rest + Decimal("0.01") * written + out) / 1_000_000


@pytest.mark.parametrize(
    ("name", "raised", "billed"),
    [
        ("rate_limit", anthropic.RateLimitError, False),
        ("spend_limit", anthropic.RateLimitError, False),
        ("overloaded", anthropic.InternalServerError, False),
        ("error", anthropic.InternalServerError, False),
        ("error_after_billing", anthropic.InternalServerError, True),
        ("timeout", anthropic.APITimeoutError, False),
        ("timeout_after_billing", anthropic.APITimeoutError, True),
        ("cut", anthropic.APIConnectionError, False),
        ("cut_after_billing", anthropic.APIConnectionError, True),
        ("cut_mid_answer", anthropic.APIConnectionError, True),
    ],
)
def test_a_failing_call_is_in_the_books_as_it_was(
    name: str, raised: type[Exception], billed: bool, server: MessagesServer, client: anthropic.Anthropic
) -> None:
    server.script(fault(name))
    with pytest.raises(raised):
        client.with_options(timeout=0.3).messages.create(**ASK)
    (entry,) = server.twin.books.entries
    assert (entry.fault, entry.billed, entry.usd > 0) == (name, billed, billed)


def test_a_spent_limit_is_told_from_a_rate_limit(server: MessagesServer, client: anthropic.Anthropic) -> None:
    from anthropic.types.shared import EnforcedSpendLimitReachedError

    server.script(fault("spend_limit"), fault("rate_limit", retry_after_s=7))
    with pytest.raises(EnforcedSpendLimitReachedError):
        client.messages.create(**ASK)
    with pytest.raises(anthropic.RateLimitError) as caught:
        client.messages.create(**ASK)
    assert not isinstance(caught.value, EnforcedSpendLimitReachedError)
    assert caught.value.response.headers["retry-after"] == "7"


@pytest.mark.parametrize(
    ("name", "stop_reason"), [("truncated", "max_tokens"), ("refusal", "refusal"), ("invalid_json", "end_turn")]
)
def test_an_unusable_answer_is_paid(
    name: str, stop_reason: str, server: MessagesServer, client: anthropic.Anthropic
) -> None:
    schema = anthropic.transform_schema(Answer)
    server.script(fault(name))
    message = client.messages.create(**ASK, output_config={"format": {"type": "json_schema", "schema": schema}})
    assert message.stop_reason == stop_reason
    with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
        json.loads(text_of(message))
    assert [entry.fault for entry in server.twin.books.billed] == [name]


def test_a_stream_that_breaks_off_is_paid(server: MessagesServer, client: anthropic.Anthropic) -> None:
    server.script(fault("cut_mid_answer"))
    with pytest.raises((anthropic.APIConnectionError, httpx2.TransportError)), client.messages.stream(**ASK) as stream:
        "".join(stream.text_stream)
    assert [entry.billed for entry in server.twin.books.entries] == [True]


def batch_of(client: anthropic.Anthropic, count: int, **changes: Any) -> Any:
    params = {**ASK, **changes}
    requests = [{"custom_id": f"window-{place}", "params": params} for place in range(count)]
    return client.messages.batches.create(requests=requests)  # type: ignore[arg-type]


def test_a_batch_ends_out_of_order_at_half_price(server: MessagesServer, client: anthropic.Anthropic) -> None:
    whole = client.messages.create(**ASK)
    batch = batch_of(client, 5)
    assert (batch.processing_status, batch.request_counts.processing) == ("in_progress", 5)
    with pytest.raises(anthropic.AnthropicError, match="No `results_url`"):
        client.messages.batches.results(batch.id)
    server.twin.clock.advance(60)
    ended = client.messages.batches.retrieve(batch.id)
    assert (ended.processing_status, ended.request_counts.succeeded) == ("ended", 5)
    assert ended.results_url is not None
    assert ended.results_url.startswith(server.url)
    results = list(client.messages.batches.results(batch.id))
    names = [result.custom_id for result in results]
    assert sorted(names) == [f"window-{place}" for place in range(5)] != names
    assert all(result.result.type == "succeeded" for result in results)
    price, *prices = [entry.usd for entry in server.twin.books.billed]
    assert prices == [price / 2] * 5
    assert {entry.usage for entry in server.twin.books.billed} == {server.twin.books.billed[0].usage}
    assert whole.usage.service_tier == "standard"


def test_a_cancelled_batch_bills_what_was_done(server: MessagesServer, client: anthropic.Anthropic) -> None:
    batch = batch_of(client, 4)
    server.twin.clock.advance(31)
    cancelled = client.messages.batches.cancel(batch.id)
    assert cancelled.processing_status == "canceling"
    ended = client.messages.batches.retrieve(batch.id)
    assert (ended.request_counts.succeeded, ended.request_counts.canceled) == (2, 2)
    server.twin.clock.advance(3600)
    client.messages.batches.retrieve(batch.id)
    assert len(server.twin.books.billed) == 2


def test_a_stuck_batch_expires_after_a_day_unbilled(server: MessagesServer, client: anthropic.Anthropic) -> None:
    server.script(fault("stuck"), on=Place.BATCHES)
    batch = batch_of(client, 3)
    server.twin.clock.advance(23 * 3600)
    assert client.messages.batches.retrieve(batch.id).processing_status == "in_progress"
    server.twin.clock.advance(3600)
    assert client.messages.batches.retrieve(batch.id).request_counts.expired == 3
    assert server.twin.books.billed == ()


def test_items_fail_one_by_one(server: MessagesServer, client: anthropic.Anthropic) -> None:
    server.script(fault("item_errored"), fault("item_expired"), fault("truncated"), on=Place.ITEMS)
    batch = batch_of(client, 3)
    mistaken = batch_of(client, 1, max_tokens=0)
    server.twin.clock.advance(60)
    kinds = sorted(result.result.type for result in client.messages.batches.results(batch.id))
    assert kinds == ["errored", "expired", "succeeded"]
    (wrong,) = client.messages.batches.results(mistaken.id)
    assert "max_tokens" in wrong.model_dump_json()
    assert [entry.billed for entry in server.twin.books.entries] == [False, False, True, False]


def test_a_billed_item_can_be_missing_from_the_results(server: MessagesServer, client: anthropic.Anthropic) -> None:
    server.script(fault("item_unlisted"), on=Place.ITEMS)
    batch = batch_of(client, 3)
    server.twin.clock.advance(60)
    assert client.messages.batches.retrieve(batch.id).request_counts.succeeded == 3
    assert len(list(client.messages.batches.results(batch.id))) == 2
    assert len(server.twin.books.billed) == 3


def test_a_submission_whose_answer_is_lost_is_found_in_the_list(
    server: MessagesServer, client: anthropic.Anthropic
) -> None:
    server.script(fault("error_after_billing"), fault("overloaded"), on=Place.BATCHES)
    for _ in range(2):
        with pytest.raises(anthropic.InternalServerError):
            batch_of(client, 2)
    (found,) = client.messages.batches.list()
    assert found.request_counts.processing == 2


def test_batches_are_listed_in_pages_and_deleted(server: MessagesServer, client: anthropic.Anthropic) -> None:
    made = [batch_of(client, 1).id for _ in range(3)]
    assert [batch.id for batch in client.messages.batches.list(limit=2)] == made[::-1]
    with pytest.raises(anthropic.BadRequestError, match="cancel it first"):
        client.messages.batches.delete(made[0])
    server.twin.clock.advance(60)
    client.messages.batches.delete(made[0])
    with pytest.raises(anthropic.NotFoundError):
        client.messages.batches.retrieve(made[0])
    server.twin.clock.advance(29 * 24 * 3600)
    assert client.messages.batches.retrieve(made[1]).results_url is None


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"model": "claude-9"}, 404, "claude-haiku-5-5"),
        ({"max_tokens": 0}, 400, "max_tokens"),
        ({"temperature": 0.5}, 400, "temperature: Extra inputs"),
        ({"tools": []}, 400, "text and structured output only"),
        ({"messages": []}, 400, "at least one message"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, 400, "first message"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, 400, "'text' only"),
        ({"system": [KEPT] * 5}, 400, "at most 4 breakpoints"),
        ({"system": [{**KEPT, "cache_control": {"type": "ephemeral", "ttl": "2h"}}]}, 400, "ttl"),
        ({"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}}, 400, "additionalProp"),
        ({"model": "claude-haiku-4-5", "system": LONG * 300}, 400, "prompt is too long"),
    ],
)
def test_what_the_api_refuses_the_twin_refuses(
    change: dict[str, Any], status: int, said: str, server: MessagesServer, client: anthropic.Anthropic
) -> None:
    with pytest.raises(anthropic.APIStatusError) as caught:
        client.post("/v1/messages", cast_to=object, body={**ASK, **change})
    assert caught.value.status_code == status
    assert said in str(caught.value)
    assert server.twin.books.entries == ()


def test_faults_books_and_clock_are_reached_over_http(server: MessagesServer, client: anthropic.Anthropic) -> None:
    with httpx2.Client(base_url=server.url) as admin:
        added = admin.post("/twin/faults", json={"script": [{"fault": "rate_limit", "retry_after_s": 3, "times": 2}]})
        assert added.json() == {"added": 2}
        refused = admin.post("/twin/faults", json={"script": [{"fault": "sulking"}]})
        assert (refused.status_code, "rate_limit" in refused.text) == (400, True)
        with pytest.raises(anthropic.RateLimitError):
            client.messages.create(**ASK)
        batch_of(client, 2)
        admin.post("/twin/clock", json={"advance_s": 60})
        books = admin.get("/twin/books").json()
    assert (books["calls"], books["billed"]) == (3, 2)
    assert Decimal(books["usd"]) == server.twin.books.usd > 0


def test_books_are_kept_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "books.jsonl"
    with Books(file) as books, MessagesServer([fault("cut_after_billing")], twin=Twin(books=books)) as server:
        with anthropic.Anthropic(api_key="any", base_url=server.url, max_retries=0) as client:
            with pytest.raises(anthropic.APIConnectionError):
                client.messages.create(**ASK)
            client.messages.create(**ASK)
        total = books.usd
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert sum(Decimal(line["usd"]) for line in lines) == total > 0
    assert [line["fault"] for line in lines] == ["cut_after_billing", ""]


def test_with_every_fault_each_kind_is_met(tmp_path: Path) -> None:
    twin = Twin(plan=FaultPlan(seed=5, every=1.0), clock=TwinClock(speed=1000))
    here = {name for name, one in FAULTS.items() if Place.MESSAGES in one.places}
    with MessagesServer(twin=twin) as server:
        with anthropic.Anthropic(api_key="any", base_url=server.url, max_retries=0, timeout=0.2) as client:
            for _ in here:
                try:
                    client.messages.create(**ASK)
                except (anthropic.APIError, json.JSONDecodeError):
                    continue
        assert {entry.fault for entry in server.twin.books.entries} == here


def test_a_scripted_reply_is_sent_as_it_stands(server: MessagesServer, client: anthropic.Anthropic) -> None:
    usage = {"input_tokens": 11, "output_tokens": 7}
    server.script(Reply(text="# As written", usage=usage))
    message = client.messages.create(**ASK)
    assert text_of(message) == "# As written"
    assert server.twin.books.billed[0].usd == Decimal("0.0000046")


def test_a_count_and_a_look_at_a_batch_fail_too_and_cost_nothing(
    server: MessagesServer, client: anthropic.Anthropic
) -> None:
    batch = batch_of(client, 2)
    server.twin.clock.advance(60)
    for place in (Place.COUNT, Place.READS):
        server.script(fault("rate_limit"), fault("cut"), on=place)
    for _ in range(2):
        with pytest.raises((anthropic.RateLimitError, anthropic.APIConnectionError)):
            client.messages.count_tokens(model=MODEL, messages=ASK["messages"])
        with pytest.raises((anthropic.RateLimitError, anthropic.APIConnectionError)):
            client.messages.batches.retrieve(batch.id)
    server.script(Reply(), fault("cut_mid_answer"), on=Place.READS)
    with pytest.raises((anthropic.APIConnectionError, httpx2.TransportError)):
        list(client.messages.batches.results(batch.id))
    assert len(list(client.messages.batches.results(batch.id))) == len(server.twin.books.entries) == 2


@pytest.mark.parametrize(("error", "told"), [(ConnectionResetError(), False), (KeyError("ours"), True)])
def test_of_errors_only_its_own_are_told(
    server: MessagesServer, capsys: pytest.CaptureFixture[str], error: Exception, told: bool
) -> None:
    try:
        raise error
    except type(error):  # socketserver calls it from here
        server._server.handle_error(None, ("127.0.0.1", 1))
    assert (type(error).__name__ in capsys.readouterr().err) is told
