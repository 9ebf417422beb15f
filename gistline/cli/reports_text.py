"""What ``gistline reports show`` prints below a report, in the report's own language."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.table import Table

from gistline.domain import Language, Placement

_LABELS: Mapping[Language, Mapping[str, str]] = {
    Language.ENGLISH: {
        "window": "Window",
        "writer": "Written by",
        "findings": "Findings",
        "places": "In the prompt",
        "tokens": "Tokens",
        "cost": "Cost",
        "images": "The images instead",
        "simulated": "simulated",
        Placement.ROW: "{} as rows",
        Placement.AGGREGATE: "{} summed up",
        Placement.TOTALS: "{} in the totals",
        Placement.DEFERRED: "{} waiting for a later report",
        "budget": "budget {budget}, at most {ceiling} promised, {used} billed; gap to the best choice {gap}",
        "behind": "{confidence:.0%} {label}, {camera}: finding {finding_id}, frame {frame_id}",
        "nothing": "No findings are meant by this number.",
        "place": "#",
        "said": "said",
        "measure": "what it measures",
        "of": "of",
        "all": "all",
        "unsupported": "not supported",
    },
    Language.CHINESE: {
        "window": "时间窗",
        "writer": "撰写",
        "findings": "缺陷",
        "places": "提示词中",
        "tokens": "词元",
        "cost": "费用",
        "images": "改用图像",
        "simulated": "模拟",
        Placement.ROW: "{} 处列为行",
        Placement.AGGREGATE: "{} 处汇总",
        Placement.TOTALS: "{} 处计入总表",
        Placement.DEFERRED: "{} 处留待下一份报告",
        "budget": "预算 {budget}，承诺不超过 {ceiling}，计费 {used}；与最优选择的差距 {gap}",
        "behind": "{confidence:.0%} {label}，{camera}：缺陷 {finding_id}，帧 {frame_id}",
        "nothing": "该数字不涉及任何缺陷。",
        "place": "#",
        "said": "原文",
        "measure": "含义",
        "of": "范围",
        "all": "全部",
        "unsupported": "无数据支持",
    },
}


def report_facts(found: Mapping[str, Any], language: Language) -> Iterator[tuple[str, str]]:
    """Label and value of each line, from the object that ``--json`` prints."""
    words, prompt = _LABELS[language], found["prompt"]
    simulated = f" ({words['simulated']})" if found["simulated"] else ""
    gap = "-" if prompt["gap_to_bound"] is None else f"{prompt['gap_to_bound']:.2%}"
    yield words["window"], f"{found['line']}, {moment(found['starts_at'])} - {moment(found['ends_at'])} UTC"
    yield words["writer"], f"{found['writer']} ({found['model']})"
    yield words["findings"], str(found["findings"])
    placed = [words[place].format(found["placements"][place.value]) for place in Placement]
    yield words["places"], ", ".join(placed)
    yield (
        words["tokens"],
        words["budget"].format(
            budget=prompt["token_budget"], ceiling=prompt["ceiling_tokens"], used=found["input_tokens"], gap=gap
        ),
    )
    yield words["cost"], f"${found['cost_usd']}{simulated}"
    yield words["images"], f"${found['image_usd']}"


def moment(written: str) -> str:
    """A time of the object as people read it, in UTC."""
    return f"{datetime.fromisoformat(written):%Y-%m-%d %H:%M:%S}"


def evidence_table(items: Sequence[Mapping[str, Any]], language: Language) -> Table:
    """Every number of the text with its measure, the cameras and classes it is about, and their findings."""
    words = _LABELS[language]
    table = Table(box=None, pad_edge=False)
    for column in ("place", "said", "measure", "of", "findings"):
        table.add_column(words[column])
    for item in items:
        scope = ", ".join([*item["cameras"], *item["labels"]]) or words["all"]
        measure = (item["measure"] or "-") if item["supported"] else words["unsupported"]
        table.add_row(str(item["place"]), item["said"], measure, scope, str(item["findings"]))
    return table


def behind_lines(findings: Sequence[Mapping[str, Any]], language: Language) -> Iterator[str]:
    """A line for each finding behind a number, with the frame that shows it."""
    words = _LABELS[language]
    yield from (words["behind"].format(**one) for one in findings)
    if not findings:
        yield words["nothing"]
