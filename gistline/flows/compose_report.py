"""Compose a window's report: plan the calls, buy their answers, hold what they say against the findings.

An answer that says what the findings do not is sent back once, within a token limit of its own. What is still not
supported then is listed under the report. An answer that is no report at all (cut off, no JSON, declined) goes the same
way, and where that does not help, the report is written by rule and says so: what was paid for stays in the ledger,
and the window has its report.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gistline.domain import Language, Placement
from gistline.errors import AnswerDeclined, AnswerUnusable, BudgetExhausted, BudgetTooSmall, WriterFailed
from gistline.flows.buy_answer import Call, buy_answer
from gistline.flows.price_forms import Sent
from gistline.flows.promise_tokens import Promise, Template, bound_of, promise_tokens, record_tokens, template_of
from gistline.flows.report_tools import ReportTools
from gistline.reports.answer import read_text
from gistline.reports.check import Checked, check, with_unsupported
from gistline.reports.draft import Draft, read_draft, schema
from gistline.reports.offline import compose
from gistline.reports.phrases import PHRASES
from gistline.reports.plan import Limits, Plan, join_texts, plan_calls
from gistline.reports.prompt import WindowData, fixed_text
from gistline.reports.render import Rendered, render
from gistline.reports.repair import repair_texts
from gistline.reports.request import Request
from gistline.reports.tokens import Bound, bound_from, bound_json, schema_ceiling
from gistline.storage import windows
from gistline.storage.session import transaction

RULE = "offline"
"""Writer of a report that no answer was usable for."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """A claimed window with its data, to be reported on in a language."""

    window: windows.ClaimedWindow
    data: WindowData
    language: Language
    tools: ReportTools


@dataclass(frozen=True, slots=True)
class Composed:
    """A finished report: Markdown, what its numbers rest on, where its findings went, how the budget was spent.

    ``writer`` is None where the tools' own writer wrote it.
    """

    body: str
    evidence: list[dict[str, Any]]
    placements: Mapping[int, Placement]
    account: dict[str, Any]
    sent: Sent
    writer: str | None = None


@dataclass(frozen=True, slots=True)
class _Attempted:
    """A draft as rendered and checked."""

    rendered: Rendered
    checked: Checked


def compose_report(given: Assignment) -> Composed:
    """Buy what the report takes, and finish it. Safe to call again: what is paid for is not paid for twice.

    Raises:
        BudgetTooSmall: not even the totals fit into the token budget.
        WriterFailed: an answer that the report cannot do without did not come.
        LeaseLost, SettingsError, BudgetExhausted: see :func:`gistline.flows.buy_answer.buy_answer`.

    """
    desk = _Desk(given)
    plan = desk.plan()
    draft, problem = desk.first_draft(plan)
    attempted = None if draft is None else desk.attempt(draft)
    final = desk.repaired(attempted, problem) or attempted
    note = ""
    if final is None:
        final = desk.attempt(compose(given.data, given.language))
        note = PHRASES[given.language].by_rule.format(reason=problem)
    body = with_unsupported(final.rendered.markdown, final.checked.unsupported, given.language)
    return Composed(
        body=f"{body}\n\n*{note}*" if note else body,
        evidence=final.checked.evidence(given.data),
        placements=plan.packed.placements,
        account=desk.account(plan),
        sent=Sent(given.data, given.language, "\n".join(prompt.text for prompt in plan.prompts)),
        writer=RULE if note else None,
    )


class _Desk:
    """One report in the making."""

    def __init__(self, given: Assignment) -> None:
        self._given = given
        self._data, self._language, self._tools = given.data, given.language, given.tools
        self._settings = given.tools.settings
        self._promises: dict[str, Promise] = {}
        self._bound: Bound = schema_ceiling
        self._declined = False

    def plan(self) -> Plan:
        """The calls that the window takes, packed by the bound that its first attempt was packed by."""
        with transaction(self._tools.sessions) as session:
            bound = bound_of(session, self._template("report"), self._tools)
            terms = {
                "budget": self._settings.token_budget,
                "call": self._settings.call_tokens,
                "bound": bound_json(bound),
            }
            kept = windows.keep_plan(session, self._given.window, terms)
        if kept["budget"] != terms["budget"]:  # a cheaper form, or other settings since
            kept = terms
        self._bound = bound_from(kept["bound"])
        plan = plan_calls(self._data, Limits(kept["budget"], kept["call"], self._bound), self._language)
        if self._bound is schema_ceiling or self._keeps_to(plan):
            return plan
        self._bound = schema_ceiling
        return plan_calls(self._data, Limits(kept["budget"], kept["call"], schema_ceiling), self._language)

    def _keeps_to(self, plan: Plan) -> bool:
        """Whether prompts that were packed by a learned bound are within it by the best count there is."""
        for prompt in plan.prompts:
            request = self._request(prompt.system, prompt.user, self._by_rule(prompt.data))
            if promise_tokens(request, self._bound, self._tools).tokens > prompt.budget:
                return False
        return True

    def first_draft(self, plan: Plan) -> tuple[Draft | None, str]:
        """The answer to the plan; None with the reason where it is no report."""
        if len(plan.prompts) == 1:
            prompt = plan.prompts[0]
            return self._draft("report", prompt.system, prompt.user, self._by_rule(self._data))
        digests = [self._part(place, plan) for place in range(len(plan.prompts))]
        system, user = join_texts(self._data, plan.packed, digests, self._language)
        return self._draft("join", system, user, self._by_rule(self._data))

    def attempt(self, draft: Draft) -> _Attempted:
        """Render and check a draft."""
        rendered = render(draft, self._data, self._language)
        return _Attempted(rendered, check(rendered, self._data))

    def repaired(self, attempted: _Attempted | None, problem: str) -> _Attempted | None:
        """One more answer, told what was wrong; None where nothing is, or it was not asked for, or is no better.

        What goes wrong here must not cost the window its report: the first answer is paid for and at hand.
        """
        limit = min(self._settings.repair_tokens, self._settings.call_tokens)
        wrong = attempted.checked.unsupported if attempted else ()
        if not (wrong or problem) or self._declined or not limit or self._tools.writer.simulated:
            return None
        faults = [f"{one.said} - {one.sentence}" for one in wrong] or [problem]
        draft_text = attempted.rendered.markdown if attempted else ""
        try:
            system, user = repair_texts(self._data, self._language, limit=limit, draft=draft_text, faults=faults)
            draft, _ = self._draft("repair", system, user, self._by_rule(self._data))
        except (WriterFailed, BudgetTooSmall, BudgetExhausted):
            return None
        if draft is None:
            return None
        better = self.attempt(draft)
        worse = attempted and len(better.checked.unsupported) >= len(wrong)
        return None if worse else better

    def account(self, plan: Plan) -> dict[str, Any]:
        """How the budget was spent, over all calls; ``gap`` is a share of the bound."""
        packed, first = plan.packed, plan.prompts[0]
        return {
            "budget": self._settings.token_budget,
            "used": plan.tokens,
            "fold": first.fold.value,
            "value": packed.value,
            "bound": packed.bound,
            "gap": round(packed.gap, 6),
            "placements": {place.value: count for place, count in packed.counts.items()},
            "calls": {name: {"tokens": one.tokens, "source": one.source} for name, one in self._promises.items()},
        }

    def _part(self, place: int, plan: Plan) -> str:
        """What one part reported, without what its findings do not support."""
        prompt = plan.prompts[place]
        name = f"part-{place + 1}"
        further = len(plan.prompts) - place  # the parts after it and the call that joins them
        draft, _ = self._draft(name, prompt.system, prompt.user, self._by_rule(prompt.data), further)
        part = draft or compose(prompt.data, self._language)
        rendered = render(part, prompt.data, self._language)
        return check(rendered, prompt.data).supported_text

    def _draft(
        self, name: str, system: str, user: str, by_rule: Callable[[], str], further: int = 0
    ) -> tuple[Draft | None, str]:
        request = self._request(system, user, by_rule)
        template = self._template(name.partition("-")[0])
        promise = self._promises[name] = promise_tokens(request, self._bound, self._tools)
        call = Call(self._given.window, name, request, exact=name != "report", further=further)
        answer = buy_answer(call, self._tools)
        try:
            text = read_text(answer)
            record_tokens(request, template, promise, text.usage, self._tools)
            if text.cut_off:
                return None, "The answer was cut off at reports.max_output_tokens; be shorter."
            return read_draft(text.text), ""
        except AnswerUnusable as error:
            self._declined = isinstance(error, AnswerDeclined)
            return None, error.message

    def _request(self, system: str, user: str, by_rule: Callable[[], str]) -> Request:
        return Request(system, user, self._settings.max_output_tokens, offline=by_rule, schema=schema())

    def _template(self, kind: str) -> Template:
        names = "".join(f"{group.camera}{group.label}" for group in self._data.groups)
        return template_of(kind, fixed_text(self._language), names, self._language)

    def _by_rule(self, data: WindowData) -> Callable[[], str]:
        return lambda: compose(data, self._language).model_dump_json()
