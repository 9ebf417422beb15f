"""The fixed words of a report in each language: everything that a model does not write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gistline.domain import Language


@dataclass(frozen=True, slots=True)
class Phrases:
    """Templates for :func:`str.format`; names come in backticks, times as ``HH:MM:SS``."""

    happened: str
    where: str
    cause: str
    check_first: str
    confidence: str
    counts: str
    levels: Mapping[str, str]
    frames: str
    losses: str
    found: str
    at: str
    span: str
    mostly: str
    place: str
    more_places: str
    totals: str
    list_joint: str
    sentence_joint: str
    quiet: str
    deferred: str
    few: str
    no_money: str
    unsupported: str
    within: str
    by_rule: str
    headline: str
    advice: str
    advice_region: str
    cause_shared: str
    cause_spot: str
    cause_station: str
    shares: str


_ENGLISH = Phrases(
    happened="What happened.",
    where="Where and since when (UTC).",
    cause="Suspected cause (a guess).",
    check_first="Check first.",
    confidence="Confidence.",
    counts="Counts.",
    levels={"low": "Low.", "medium": "Medium.", "high": "High."},
    frames="From {starts_at} to {ends_at} UTC {inspected} inspected: {ng} NG, {reinspect} to re-inspect.",
    losses="Not inspected: {failed} failed, {expired} expired.",
    found="Found: {findings} of {classes} on {cameras}.",
    at="at {first}",
    span="from {first} to {last}",
    mostly=", mostly {region}",
    place="{camera}: {count} x {label} (severity {severity}), {when}{region}, confidence up to {highest}%",
    more_places="Further groups: see the counts.",
    totals="By class: {by_label}. By camera: {by_camera}. All: {findings}.",
    list_joint=", ",
    sentence_joint=" ",
    quiet="No findings on line {line}.",
    deferred="Waiting for the next report of line {line}: {findings}. {reason}",
    few="That is fewer than {below}, and none is of severity 3.",
    no_money="The money did not reach for a report. {reason}",
    unsupported="Not supported by the findings:",
    within="{said} (in: {sentence})",
    by_rule="Written by rule, because the model's answer could not be used: {reason}",
    headline="{line}: {count} x {label} on {camera}",
    advice="Camera {camera}, class {label}: the surest one lies around x {x}, y {y} px ({time}){region}.",
    advice_region=", {region}",
    cause_shared="{label} is seen on {cameras}: a step that they share, rather than one station.",
    cause_spot="{label} is seen on {camera} only, mostly {region}: tooling, mask or lens at that place.",
    cause_station="{label} is seen on {camera} only: that station before the line.",
    shares="{percent}% of the findings are {label}.",
)
_CHINESE = Phrases(
    happened="发生了什么。",
    where="位置与时间（UTC）。",
    cause="疑似原因（推测）。",
    check_first="先检查。",
    confidence="可信程度。",
    counts="计数。",
    levels={"low": "低。", "medium": "中。", "high": "高。"},
    frames="从 {starts_at} 到 {ends_at}（UTC）共检测 {inspected}：{ng} 帧 NG，{reinspect} 帧待复检。",
    losses="未检测：{failed} 帧失败，{expired} 帧过期。",
    found="共发现 {findings}，{classes}，来自 {cameras}。",
    at="时间 {first}",
    span="从 {first} 到 {last}",
    mostly="，多在{region}",
    place="{camera}：{count} 处 {label}（严重度 {severity}），{when}{region}，置信度最高 {highest}%",
    more_places="其余各组见计数。",
    totals="按类别：{by_label}。按相机：{by_camera}。总计：{findings}。",
    list_joint="，",
    sentence_joint="",
    quiet="产线 {line} 没有发现缺陷。",
    deferred="产线 {line} 有 {findings}，留待下一份报告。{reason}",
    few="少于 {below} 处，且没有严重度 3 的缺陷。",
    no_money="预算不足，无法撰写报告：{reason}",
    unsupported="以下内容没有检测数据支持：",
    within="{said}（原句：{sentence}）",
    by_rule="模型的回答无法使用，本报告按规则生成：{reason}",
    headline="{line}：{camera} 有 {count} 处 {label}",
    advice="相机 {camera}，类别 {label}：最可信的一处在 x {x}、y {y} 像素附近（{time}）{region}。",
    advice_region="，{region}",
    cause_shared="{label} 出现在 {cameras}上：更可能是它们共有的工序，而不是某一个工位。",
    cause_spot="{label} 只出现在 {camera} 上，多在{region}：检查该处的工装、掩膜或镜头。",
    cause_station="{label} 只出现在 {camera} 上：先查该工位，再查整线。",
    shares="{percent}% 的缺陷是 {label}。",
)

PHRASES: Mapping[Language, Phrases] = {Language.ENGLISH: _ENGLISH, Language.CHINESE: _CHINESE}

_NOUNS: Mapping[Language, Mapping[str, tuple[str, str]]] = {
    Language.ENGLISH: {
        "finding": ("{} finding", "{} findings"),
        "class": ("{} class", "{} classes"),
        "camera": ("{} camera", "{} cameras"),
        "frame": ("{} frame was", "{} frames were"),
    },
    Language.CHINESE: {
        "finding": ("{} 处缺陷", "{} 处缺陷"),
        "class": ("{} 类", "{} 类"),
        "camera": ("{} 台相机", "{} 台相机"),
        "frame": ("{} 帧", "{} 帧"),
    },
}


def counted(count: int, noun: str, language: Language) -> str:
    """A number with its noun: ``1 finding``, ``2 classes``, ``3 处缺陷``; a frame takes its verb along."""
    one, several = _NOUNS[language][noun]
    return (one if count == 1 else several).format(count)
