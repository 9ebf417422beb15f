"""The real Anthropic SDK against the local twin of its API: what is booked, what is raised, what is sent."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from gistline.domain import Language, TokenUsage
from gistline.errors import AnswerUnusable, SettingsError, WriterFailed, WriterRefused
from gistline.reports.answer import Attempt, Outcome, read_text
from gistline.reports.check import check
from gistline.reports.draft import read_draft, schema
from gistline.reports.offline import OfflineWriter
from gistline.reports.prompt import Prompt, build_prompt
from gistline.reports.render import render
from gistline.reports.tokens import ceiling
from gistline.reports.writer import AnthropicWriter, open_writer
from gistline.settings import ReportSettings, Settings
from gistline.simulator.messages_api import MessagesServer, Reply
from tests.support.reporting import draft_text, request_of, some_findings, window_data

USAGE = {
    "input_tokens": 900,
    "output_tokens": 120,
    "cache_read_input_tokens": 30,
    "cache_creation_input_tokens": 70,
    "cache_creation": {"ephemeral_5m_input_tokens": 50, "ephemeral_1h_input_tokens": 20},
    "service_tier": "standard",
}


@pytest.fixture
def server() -> Iterator[MessagesServer]:
    with MessagesServer() as running:
        yield running


@pytest.fixture
def writer(server: MessagesServer) -> Iterator[AnthropicWriter]:
    made = AnthropicWriter("test-key", ReportSettings(base_url=server.url, timeout_s=1.0))
    yield made
    made.close()


@pytest.fixture
def booked() -> list[Attempt]:
    return []


@pytest.fixture(scope="module")
def prompt() -> Prompt:
    return build_prompt(window_data(some_findings(12)), budget=6000, measure=ceiling)


def test_a_report_is_written_and_every_kind_of_token_booked(
    server: MessagesServer, writer: AnthropicWriter, booked: list[Attempt], prompt: Prompt
) -> None:
    server.script(Reply(text="# Fine", usage=USAGE))
    written = read_text(writer.write(request_of(prompt), book=booked.append))
    assert (written.text, written.usage) == ("# Fine", TokenUsage(900, 120, 30, 50, 20))
    (attempt,) = booked
    assert (attempt.outcome, attempt.http_status, attempt.usage) == (Outcome.PAID, 200, written.usage)
    assert attempt.request_id is not None
    assert attempt.request_id.startswith("req_")
    assert attempt.answer is not None
    assert '"# Fine"' in attempt.answer
    assert attempt.latency_s is not None
    assert 0 < attempt.latency_s < 1


def test_the_request_is_the_prompt_and_nothing_else(
    server: MessagesServer, writer: AnthropicWriter, booked: list[Attempt], prompt: Prompt
) -> None:
    writer.write(request_of(prompt), book=booked.append)
    (request,) = server.requests
    assert request.path == "/v1/messages"
    assert request.headers["authorization"] == "Bearer test-key"
    assert request.body == {
        "model": "claude-haiku-5-5",
        "max_tokens": 321,
        "system": prompt.system,
        "messages": [{"role": "user", "content": prompt.user}],
        "output_config": {"format": {"type": "json_schema", "schema": schema()}},
    }


def test_another_schema_goes_along(
    server: MessagesServer, writer: AnthropicWriter, booked: list[Attempt], prompt: Prompt
) -> None:
    wanted = {"type": "object", "properties": {"headline": {"type": "string"}}, "additionalProperties": False}
    plain = request_of(prompt)
    asked = replace(plain, schema=wanted)
    writer.write(asked, book=booked.append)
    assert server.requests[0].body["output_config"] == {"format": {"type": "json_schema", "schema": wanted}}
    assert asked.sha256 != plain.sha256


@pytest.mark.parametrize(
    ("status", "outcome", "retryable"),
    [
        (400, Outcome.REFUSED, False),
        (401, Outcome.REFUSED, False),
        (402, Outcome.REFUSED, True),
        (403, Outcome.REFUSED, False),
        (404, Outcome.REFUSED, False),
        (408, Outcome.REFUSED, True),
        (409, Outcome.REFUSED, True),
        (413, Outcome.REFUSED, False),
        (429, Outcome.REFUSED, True),
        (500, Outcome.UNKNOWN, True),
        (502, Outcome.UNKNOWN, True),
        (529, Outcome.REFUSED, True),
    ],
)
def test_an_error_is_booked_once_and_raised_without_a_retry_of_the_sdk(
    status: int,
    outcome: Outcome,
    retryable: bool,
    server: MessagesServer,
    writer: AnthropicWriter,
    booked: list[Attempt],
    prompt: Prompt,
) -> None:
    server.script(Reply(status=status))
    with pytest.raises(WriterFailed, match=f"answered {status}: scripted") as caught:
        writer.write(request_of(prompt), book=booked.append)
    assert caught.value.retryable is retryable
    assert isinstance(caught.value, WriterRefused) is not retryable
    assert [(attempt.outcome, attempt.http_status, attempt.answer) for attempt in booked] == [(outcome, status, None)]
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), ("0.5", 0.5), ("inf", 3600.0), ("nan", 0.0), ("Mon, 23 Nov 2026 08:00:00 GMT", None)],
)
def test_the_wait_that_the_api_asks_for_is_handed_on(
    header: str,
    seconds: float | None,
    server: MessagesServer,
    writer: AnthropicWriter,
    booked: list[Attempt],
    prompt: Prompt,
) -> None:
    server.script(Reply(status=429, headers={"retry-after": header}))
    with pytest.raises(WriterFailed) as caught:
        writer.write(request_of(prompt), book=booked.append)
    assert caught.value.retry_after_s == seconds


@pytest.mark.parametrize("lie", ["99 x `open` on `cam-0`.", "`cam-9` is worst.", "`cam-0`: since 09:59:59."])
def test_a_lying_model_is_caught(
    lie: str, server: MessagesServer, writer: AnthropicWriter, booked: list[Attempt], prompt: Prompt
) -> None:
    server.script(Reply(text=draft_text("Found", lie)), Reply(text=draft_text("Found")))

    def unsupported() -> list[str]:
        draft = read_draft(read_text(writer.write(request_of(prompt), book=booked.append)).text)
        checked = check(render(draft, prompt.data, Language.ENGLISH), prompt.data)
        return [one.sentence for one in checked.unsupported]

    assert unsupported() == [lie]
    assert unsupported() == []


def test_output_cut_off_is_paid_and_the_report_says_so(
    server: MessagesServer, writer: AnthropicWriter, booked: list[Attempt], prompt: Prompt
) -> None:
    server.script(Reply(text="# Half a rep", stop_reason="max_tokens", usage=USAGE))
    written = read_text(writer.write(request_of(prompt), book=booked.append))
    assert written.cut_off
    assert written.text == "# Half a rep"
    assert booked[0].usage == TokenUsage(900, 120, 30, 50, 20)


def test_a_refusal_is_paid_and_booked_although_there_is_no_report(
    server: MessagesServer, writer: AnthropicWriter, booked: list[Attempt], prompt: Prompt
) -> None:
    server.script(Reply(text="", stop_reason="refusal", usage=USAGE))
    answer = writer.write(request_of(prompt), book=booked.append)
    with pytest.raises(AnswerUnusable, match="wrote no report"):
        read_text(answer)
    assert [attempt.outcome for attempt in booked] == [Outcome.PAID]
    assert booked[0].usage == TokenUsage(900, 120, 30, 50, 20)


@pytest.mark.parametrize("body", ["no json at all", "{}", '{"content": [], "usage": {"input_tokens": null}}'])
def test_an_answer_that_is_no_message_may_have_been_billed(
    body: str, server: MessagesServer, writer: AnthropicWriter, booked: list[Attempt], prompt: Prompt
) -> None:
    server.script(Reply(body=body))
    with pytest.raises(WriterFailed, match="none of its messages"):
        writer.write(request_of(prompt), book=booked.append)
    assert [(attempt.outcome, attempt.usage) for attempt in booked] == [(Outcome.UNKNOWN, None)]


@pytest.mark.parametrize("reply", [Reply(hang_s=30), Reply(drop=True)], ids=["hang", "drop"])
def test_a_silent_server_leaves_the_bill_unknown(
    reply: Reply, server: MessagesServer, writer: AnthropicWriter, booked: list[Attempt], prompt: Prompt
) -> None:
    server.script(reply)
    with pytest.raises(WriterFailed, match="not reached or broke off") as caught:
        writer.write(request_of(prompt), book=booked.append)
    assert caught.value.retryable
    assert [(attempt.outcome, attempt.http_status) for attempt in booked] == [(Outcome.UNKNOWN, None)]


def test_a_connection_never_made_bought_nothing(booked: list[Attempt], prompt: Prompt) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        writer = AnthropicWriter("key", ReportSettings(base_url=url, timeout_s=1.0))
        with pytest.raises(WriterFailed, match="not reached"):
            writer.write(request_of(prompt), book=booked.append)
        writer.close()
    assert [attempt.outcome for attempt in booked] == [Outcome.REFUSED]


def test_a_booking_that_fails_is_not_swallowed(server: MessagesServer, writer: AnthropicWriter, prompt: Prompt) -> None:
    def fail(_attempt: Attempt) -> None:
        raise RuntimeError("the ledger is down")

    with pytest.raises(RuntimeError, match="the ledger is down"):
        writer.write(request_of(prompt), book=fail)
    assert len(server.requests) == 1


def test_the_settings_choose_the_writer(clean_settings: object) -> None:
    assert isinstance(open_writer(Settings()), OfflineWriter)
    keyed = Settings(anthropic_api_key=SecretStr("key"))
    chosen = open_writer(keyed)
    assert isinstance(chosen, AnthropicWriter)
    chosen.close()
    assert isinstance(
        open_writer(keyed.model_copy(update={"reports": ReportSettings(writer="offline")})), OfflineWriter
    )
    with pytest.raises(SettingsError, match="there is no key"):
        open_writer(Settings(reports=ReportSettings(writer="anthropic")))


@pytest.mark.long
def test_the_sdk_is_imported_only_when_it_is_used() -> None:
    check = "import sys, gistline.flows.write_report; sys.exit('anthropic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False, env=dict(os.environ)).returncode == 0


def test_the_twin_counts_tokens_and_refuses_what_the_api_refuses(server: MessagesServer) -> None:
    import anthropic

    with anthropic.Anthropic(api_key="key", base_url=server.url, max_retries=0) as client:
        counted = client.messages.count_tokens(
            model="claude-haiku-5-5", messages=[{"role": "user", "content": "hello"}]
        )
        assert counted.input_tokens > 0
        with pytest.raises(anthropic.BadRequestError, match="missing: messages"):
            client.post("/v1/messages", cast_to=object, body={"model": "claude-haiku-5-5", "max_tokens": 1})
        with pytest.raises(anthropic.NotFoundError):
            client.post("/v1/nothing", cast_to=object, body={})
    assert server.requests == []


def test_the_twin_runs_as_a_program(booked: list[Attempt], prompt: Prompt) -> None:
    command = [str(Path(sys.executable).with_name("gistline")), "twin", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        url = program.stdout.readline().strip()
        writer = AnthropicWriter("key", ReportSettings(base_url=url))
        assert read_text(writer.write(request_of(prompt), book=booked.append)).text.startswith('{"headline"')
        writer.close()
        program.terminate()
