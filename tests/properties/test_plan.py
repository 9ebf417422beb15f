"""Windows cut into parts, for any findings: one budget, every finding in one part, more budget never says less."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gistline.domain import Language, Placement
from gistline.errors import BudgetTooSmall
from gistline.reports.plan import DIGEST_BYTES, Limits, Plan, join_texts, plan_calls
from gistline.reports.prompt import whole_text
from gistline.reports.tokens import schema_ceiling
from tests.support.reporting import finding, some_findings, window_data

quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
COUNTS = st.integers(1, 900)
CALLS = st.integers(4_500, 14_000)


def plan_of(count: int, budget: int, call: int, language: Language = Language.ENGLISH) -> Plan | None:
    try:
        return plan_calls(window_data(some_findings(count)), Limits(budget, call, schema_ceiling), language)
    except BudgetTooSmall:
        return None


@quick
@given(COUNTS, st.integers(4_500, 80_000), CALLS, st.sampled_from(Language))
def test_all_calls_together_keep_to_the_budget_and_each_to_its_limit(
    count: int, budget: int, call: int, language: Language
) -> None:
    plan = plan_of(count, budget, call, language)
    if plan is None:
        return
    assert plan.tokens <= budget
    assert all(schema_ceiling(prompt.text) == prompt.used <= call for prompt in plan.prompts)
    if len(plan.prompts) > 1:
        data = window_data(some_findings(count))
        digests = ["界" * DIGEST_BYTES] * len(plan.prompts)
        texts = join_texts(data, plan.packed, digests, language)
        assert schema_ceiling(whole_text(*texts)) <= plan.join_tokens <= call


@quick
@given(COUNTS, st.integers(4_500, 80_000), CALLS)
def test_every_finding_is_in_one_part_and_has_one_place(count: int, budget: int, call: int) -> None:
    plan = plan_of(count, budget, call)
    if plan is None:
        return
    keys = [key for prompt in plan.prompts for key in prompt.packed.placements]
    assert sorted(keys) == list(range(1, count + 1))
    assert sum(prompt.data.totals.findings for prompt in plan.prompts) == count
    assert sum(plan.packed.counts.values()) == count
    assert plan.packed.placements.keys() == set(keys)


@quick
@given(COUNTS, st.integers(4_500, 40_000), st.integers(1, 20_000), CALLS)
def test_more_budget_never_says_less(count: int, budget: int, more: int, call: int) -> None:
    small, large = plan_of(count, budget, call), plan_of(count, budget + more, call)
    if small is None:
        return
    assert large is not None
    assert large.value >= small.value


def test_a_window_that_fits_into_one_call_is_not_cut() -> None:
    plan = plan_of(40, 60_000, 14_000)
    assert plan is not None
    assert len(plan.prompts) == 1
    assert plan.packed.counts[Placement.ROW] == 40


def test_what_one_call_cannot_hold_is_told_of_in_parts() -> None:
    one, several = plan_of(900, 10_000, 10_000), plan_of(900, 60_000, 10_000)
    assert one is not None
    assert several is not None
    assert len(one.prompts) == 1 < len(several.prompts)
    assert several.packed.counts[Placement.ROW] > one.packed.counts[Placement.ROW]
    assert "part 2 of" in several.prompts[1].user


def test_a_single_group_is_never_cut() -> None:
    data = window_data([finding(key, seconds=key) for key in range(1, 500)])
    assert len(plan_calls(data, Limits(60_000, 8_500, schema_ceiling), Language.ENGLISH).prompts) == 1
