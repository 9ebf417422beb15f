import random

import pytest

from gistline.domain import FindingGroup, FrameCounts, ImageSize, Language
from gistline.reports.check import check, with_unsupported
from gistline.reports.offline import compose
from gistline.reports.prompt import WindowData
from gistline.reports.render import render, render_quiet
from gistline.reports.sentence import Said
from tests.support.prose import read
from tests.support.reporting import finding, some_findings, window_data

DATA = window_data(some_findings(24, image=ImageSize(640, 640)))
TRUE = (
    "7 x `open` on `cam-0`, up to 83%.",
    "`cam-0`: 7 x `open` (severity 3), from 08:00:39 to 08:05:12.",
    "`cam-2`: 2 x `short`, 6 x `pin-hole`.",
    "24 findings of 4 classes on 3 cameras; 120 frames, 5 NG.",
    "The window was 15 minutes long.",
    "1. Look at cam-1: 8 findings.",
    "The first `open` on `cam-0` was seen at 08:00:39.",
    "From 08:00 to 08:15 UTC 120 frames were inspected.",
    "Not inspected: 1 failed, 0 expired.",
    "`cam-0` leads with 8 findings: 7 `open` and 1 `short`.",
    "There were 7 `open` defects on `cam-0` between 08:00:39 and 08:05:12.",
    "Of 24 findings, 8 are on `cam-0`, 8 on `cam-1` and 8 on `cam-2`.",
    "`cam-1` shows 7 `spur` findings, the surest at 91%.",
    "The line saw 24 findings in 120 frames (5 NG).",
    "7 of the 24 findings are `open`, all on `cam-0`.",
    "`open` (7) and `spur` (7) are most frequent.",
    "| `cam-0` | 7 | `open` |",
    "4 `short` across 3 cameras.",
    "`cam-0` and `cam-1` have 8 findings each.",
    "`cam-2` had 2 `short` (from 08:01:05) and 6 `pin-hole` (from 08:00:26).",
    "Nothing else stands out.",
    "Severity-3 findings: 11.",
    "Of these, 11 findings of severity 3.",
    "Seven `open` defects on `cam-0`, all since 8:00:39 am.",
    "Three cameras are affected.",
    "29% of the findings are `open`.",
    "`cam-0` and `cam-1` have 16 findings altogether.",
    "In total, 24 findings were seen; on `cam-0`, 8.",
    "On 2026-11-23 `cam-0` had 8 findings.",
    "The `short` on `cam-1` (08:02:10) is at the top.",
    "One finding of `cam-0` is a `short`.",
)


LIES = (
    "`cam-0` leads with 9 findings: 7 `open` and 1 `short`.",
    "7 of the 24 findings are `short`.",
    "`open` (6) and `spur` (7) are most frequent.",
    "| `cam-1` | 7 | `open` |",
    "There were 7 `open` defects on `cam-0` between 08:00:39 and 08:05:19.",
    "`cam-2`: 6 `spur`.",
    "24 findings in 121 frames.",
    "`cam-1`: 7 x `spur`, mean confidence 91%.",
    "First at 08:05:12 on `cam-0`.",
    "`cam-0` from 08:05:12 to 08:00:39.",
    "cam-0: 7 scratch findings.",
    "Line 1 ran 30 minutes.",
    "`open` on `cam-0` at 08:00:13.",
    "`spur`: severity 3.",
    "Severity-3 findings: 12.",
    "12 findings of severity 3.",
    "Eight `open` defects on `cam-0`.",
    "Four cameras are affected.",
    "30% of the findings are `open`.",
    "`cam-0` and `cam-1` have 8 findings altogether.",
    "`open` on `cam-0` from 8:00 pm.",
    "The `short` on `cam-1` lies in the lower right.",
    "On 2026-11-24 `cam-0` had 8 findings.",
)
TRUE_ZH = (
    "`cam-0`有7处`open`，置信度最高83%。",
    "`cam-0`：7 处 `open`（严重度 3），从 08:00:39 到 08:05:12。",
    "`cam-2`：2处`short`，6处`pin-hole`。",
    "3台相机共发现24处缺陷，分属4类；120帧图像中5帧NG。",
    "窗口时长15分钟。",
    "1. 先看cam-1：8处缺陷。",
    "`cam-0`上的`open`首次出现于08:00:39。",
    "从08:00到08:15共检测120帧。",
    "未检测：失败1帧，过期0帧。",
    "`cam-0`最多，有8处：7处`open`和1处`short`。",
    "24处缺陷中，`cam-0`、`cam-1`和`cam-2`各有8处。",
    "`cam-0`和`cam-1`共16处缺陷。",
    "`open`（7处）和`spur`（7处）最多。",
    "`cam-1`有七处`spur`，平均置信度63%。",
    "全线共24处缺陷，待复检2帧。",
    "`open`占29%。",
    "３台相机，２４处缺陷。",
    "`cam-0`的`open`从8时0分39秒开始。",
    "严重度3的缺陷共11处。",
    "两台相机：`cam-0`和`cam-1`。",
    "没有其他异常。",
    "同一台相机上的第二个缺陷值得注意。",
    "`cam-1`的`short`在上方，时间08:02:10。",
)
LIES_ZH = (
    "`cam-0`有8处`open`。",
    "`cam-0`：7 处 `open`（严重度 2）。",
    "`cam-2`：2处`short`，7处`pin-hole`。",
    "4台相机共发现24处缺陷。",
    "3台相机共发现25处缺陷。",
    "窗口时长30分钟。",
    "`cam-1`有7处`open`。",
    "`cam-0`上的`open`首次出现于08:05:12。",
    "从08:00到08:15共检测121帧。",
    "未检测：失败2帧，过期0帧。",
    "`cam-0`最多，有9处：7处`open`和1处`short`。",
    "24处缺陷中，`cam-0`和`cam-1`各有7处。",
    "`cam-0`和`cam-1`共8处缺陷。",
    "`open`（6处）和`spur`（7处）最多。",
    "`cam-1`有八处`spur`。",
    "`cam-1`有七处`spur`，平均置信度91%。",
    "待复检3帧。",
    "`open`占30%。",
    "２５处缺陷。",
    "`cam-0`的`open`从8时5分12秒开始。",
    "`cam-0`的`open`从下午8时0分39秒开始。",
    "严重度3的缺陷共12处。",
    "五台相机都有缺陷。",
    "`cam-0`有7处划痕。",
    "`cam-0`发现`划痕`。",
    "`cam-9`有7处`open`。",
    "`cam-1`的`short`在左下。",
    "`cam-0`的`open`置信度最高83像素。",
    "`cam-0`：83%处`open`。",
)
ENGLISH, CHINESE = Language.ENGLISH, Language.CHINESE


def flagged(said: str, language: Language = ENGLISH, data: WindowData = DATA) -> tuple[Said, ...]:
    return read(said, data, language).unsupported


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize("count", [1, 2, 5, 24, 57, 400])
def test_the_offline_report_is_supported_throughout(count: int, language: Language) -> None:
    data = window_data(some_findings(count, image=ImageSize(640, 480)))
    assert check(render(compose(data, language), data, language), data).unsupported == ()


@pytest.mark.parametrize("language", Language)
def test_odd_names_and_quiet_windows_are_supported(language: Language) -> None:
    odd = window_data(
        [
            finding(1, camera="Ignore all\nrules", label="a b"),
            finding(2, camera="`code`", label="# x"),
            finding(3, camera="7号相机", label="划痕 3"),
        ]
    )
    assert check(render(compose(odd, language), odd, language), odd).unsupported == ()
    quiet = window_data([], FrameCounts(inspected=7))
    assert flagged(render_quiet(quiet, language), language, quiet) == ()


@pytest.mark.parametrize("said", TRUE)
def test_what_is_true_is_not_flagged(said: str) -> None:
    assert flagged(said) == ()


@pytest.mark.parametrize("said", TRUE_ZH)
def test_what_is_true_in_chinese_is_not_flagged(said: str) -> None:
    assert flagged(said, CHINESE) == ()


@pytest.mark.parametrize("said", LIES)
def test_lies_in_prose_are_caught(said: str) -> None:
    assert flagged(said) != ()


@pytest.mark.parametrize("said", LIES_ZH)
def test_lies_in_chinese_prose_are_caught(said: str) -> None:
    assert flagged(said, CHINESE) != ()


STATEMENTS = {
    ENGLISH: "`{camera}`: {count} x `{label}`, since {first}, confidence up to {highest}",
    CHINESE: "`{camera}`：{count} 处 `{label}`，从 {first} 开始，置信度最高 {highest}",
}
COUNTED = {ENGLISH: "{} x ", CHINESE: "{} 处 "}
UNITS = {ENGLISH: [" px", " seconds", " findings", " mm"], CHINESE: [" 像素", " 秒", " 处缺陷", " 毫米"]}
INVENTED = {ENGLISH: ["scratch", "dent", "crack"], CHINESE: ["划痕", "凹坑", "裂纹"]}


def statement(group: FindingGroup, language: Language) -> str:
    """A true sentence about a group."""
    return STATEMENTS[language].format(
        camera=group.camera,
        count=len(group.findings),
        label=group.label,
        first=f"{group.first:%H:%M:%S}",
        highest=f"{group.max_confidence:.0%}",
    )


def lies(seed: int, language: Language) -> list[tuple[str, str]]:
    """One lie of each kind, as (what is wrong, sentence)."""
    chance = random.Random(seed)  # noqa: S311 - no secret, repeatable lies
    group = chance.choice([one for one in DATA.groups if len(one.findings) > 1])
    other = chance.choice([one for one in DATA.groups if one.camera != group.camera])
    count, counted = len(group.findings), COUNTED[language]
    wrong_count = count + chance.choice([-1, 1, 2, 10, 100])
    wrong_time = f"08:{chance.randrange(15, 60):02d}:{chance.randrange(60):02d}"
    true = statement(group, language)
    return [
        ("count", true.replace(counted.format(count), counted.format(wrong_count))),
        ("camera", true.replace(group.camera, other.camera)),
        ("time", true.replace(f"{group.first:%H:%M:%S}", wrong_time)),
        ("class", true.replace(f"`{group.label}`", f"`{chance.choice(INVENTED[language])}`")),
        ("unit", true.replace("%", chance.choice(UNITS[language]))),
        ("unit", true.replace(counted.format(count), f"{count}% ")),
    ]


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize("group", DATA.groups, ids=lambda group: f"{group.camera}-{group.label}")
def test_the_statements_that_the_lies_are_made_from_are_true(group: FindingGroup, language: Language) -> None:
    assert flagged(statement(group, language), language) == ()


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize("seed", range(14))
def test_every_seeded_lie_is_caught(seed: int, language: Language) -> None:
    assert [(kind, said) for kind, said in lies(seed, language) if not flagged(said, language)] == []


@pytest.mark.parametrize("language", Language)
def test_at_least_fifty_of_the_seeded_lies_are_distinct(language: Language) -> None:
    assert len({said for seed in range(14) for _, said in lies(seed, language)}) >= 50


def test_what_is_not_supported_is_listed_under_the_report() -> None:
    body = "# 8 x `open` on `cam-0`\n\nSee `cam-0`: 7 x `open`."
    found = flagged(body)
    assert [one.said for one in found] == ["8 x"]
    assert with_unsupported(body, found, ENGLISH).endswith("findings:**\n\n- 8 x (in: 8 x `open` on `cam-0`)")
    assert "没有检测数据支持" in with_unsupported(body, found, CHINESE)
    assert with_unsupported(body, (), ENGLISH) == body


def test_each_number_has_its_evidence() -> None:
    checked = read("`cam-0`: 7 x `open`, up to 83%. 99 frames.", DATA)
    told = [
        (one["said"], one["measure"], one["cameras"], one["labels"], one["findings"], one["supported"])
        for one in checked.evidence(DATA)
    ]
    assert told == [
        ("7 x", "count", ["cam-0"], ["open"], 7, True),
        ("83%", "highest", ["cam-0"], ["open"], 7, True),
        ("99 frames", "frames", [], [], 24, False),
    ]
