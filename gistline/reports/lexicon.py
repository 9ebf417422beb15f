"""How numbers are spoken of in the languages of the reports: what stands around a number says what it counts.

Rules are tried in order; the first one whose patterns fit the text to the left and to the right of a number names its
measure. Names are single private characters (:data:`NAME`) by then. A rule that is not ``firm`` says what a number
most likely is; a claim beside the sentence may say otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from gistline.domain import Language
from gistline.reports.draft import Measure
from gistline.reports.regions import Region

NAME = "[\ue000-\uf8ff]"


@dataclass(frozen=True, slots=True)
class Rule:
    """``left`` must match up to the number, ``right`` from behind it; ``of_all`` takes the whole of which it is part.

    A group ``severity`` of either pattern narrows the count to that severity. ``scale`` turns the unit into seconds.
    """

    measure: Measure
    left: re.Pattern[str] | None = None
    right: re.Pattern[str] | None = None
    firm: bool = True
    of_all: bool = False
    axis: str = ""
    scale: int = 1


@dataclass(frozen=True, slots=True)
class Lexicon:
    """The patterns of one language. ``words`` are numbers written as words, where they count something.

    ``kept`` is what no colon behind it cuts off from its number.
    """

    sentence: re.Pattern[str]
    kept: re.Pattern[str]
    clause: re.Pattern[str]
    filler: re.Pattern[str]
    first_before: re.Pattern[str]
    first_after: re.Pattern[str]
    last_before: re.Pattern[str]
    last_after: re.Pattern[str]
    whole: re.Pattern[str]
    share: re.Pattern[str]
    each_camera: re.Pattern[str]
    words: re.Pattern[str]
    rules: tuple[Rule, ...]
    regions: Mapping[str, frozenset[Region]] = field(default_factory=dict)


def _rule(
    measure: Measure, left: str = "", right: str = "", *, firm: bool = True, of_all: bool = False, **more: object
) -> Rule:
    before = re.compile(rf"(?:{left})$", re.IGNORECASE) if left else None
    after = re.compile(right, re.IGNORECASE) if right else None
    return Rule(measure, before, after, firm, of_all, **more)  # type: ignore[arg-type]


_IN = Region
_UPPER = {"upper left": _IN.UPPER_LEFT, "upper right": _IN.UPPER_RIGHT}
_CORNERS = {**_UPPER, "lower left": _IN.LOWER_LEFT, "lower right": _IN.LOWER_RIGHT}
_SAME = {"upper": "top", "lower": "bottom"}
_ENGLISH_REGIONS = {
    f"{word}{joint}{side}": frozenset({region})
    for corner, region in _CORNERS.items()
    for height, side in [corner.split()]
    for word in (height, _SAME[height])
    for joint in (" ", "-")
}
_CHINESE_REGIONS = {
    "左上": frozenset({_IN.UPPER_LEFT}),
    "右上": frozenset({_IN.UPPER_RIGHT}),
    "左下": frozenset({_IN.LOWER_LEFT}),
    "右下": frozenset({_IN.LOWER_RIGHT}),
    "左侧": frozenset({_IN.UPPER_LEFT, _IN.LEFT, _IN.LOWER_LEFT}),
    "右侧": frozenset({_IN.UPPER_RIGHT, _IN.RIGHT, _IN.LOWER_RIGHT}),
}

_PERCENT = r"\s*(?:%|percent\b|per cent\b)"
_FINDINGS = r"(?:findings?|defects?|detections?|cases?|instances?|occurrences?|pieces?)\b"
_PLAIN = r"(?:(?:such|recorded|detected|reported|individual|separate|distinct|total) )?"
_OF_FRAMES = r"\s*(?:out )?of (?:the )?[\d,]+ (?:inspected )?(?:frames|images)"
_ENDS = (
    rf"\s*(?:$|[.,;:!?)|\]]|{NAME}|(?:are|is|on|at|in|from|since|across|each|were|was|have|has|of|out of|with|all"
    r"|between|over|both|here|there|per|only|alone|altogether|together|until|to)\b)"
)

_ENGLISH_RULES = (
    _rule(Measure.NG, right=rf"{_OF_FRAMES}[^,;]*\bNG\b"),
    _rule(Measure.REINSPECT, right=rf"{_OF_FRAMES}[^,;]*\bre-?inspect"),
    _rule(Measure.FRAMES, r"\bof (?:the )?", r"\s*(?:inspected )?(?:frames|images)\b"),
    _rule(Measure.COUNT, right=r"\s*of (?:the )?\d+ \w+ (?:are|have|were) (?:of )?severity (?P<severity>[123])\b"),
    _rule(Measure.COUNT, r"\bseverity[- ](?P<severity>[123]) (?:findings|defects)?\s*[:=(]?\s*"),
    _rule(Measure.COUNT, r"\bseverity[- ](?P<severity>[123]) (?:applies to|covers|includes|concerns) (?:the )?"),
    _rule(Measure.COUNT, right=rf"\s*(?:{_FINDINGS} )?(?:of |with )?severity[- ](?P<severity>[123])\b"),
    _rule(Measure.SEVERITY, r"\bseverity(?: level)?(?: of| is|:)?[\s-]*"),
    _rule(Measure.HIGHEST, r"\b(?:up to|at most|highest|surest|maximum|max|peak|peaks?|top)\b[^\d%]*", _PERCENT),
    _rule(Measure.MEAN, r"\b(?:mean|average|averaging|averages|avg)\b[^\d%]*", _PERCENT),
    _rule(Measure.SHARE, r"\b(?:share|accounts? for|makes? up|proportion)\b[^\d%]*", _PERCENT),
    _rule(Measure.SHARE, right=rf"{_PERCENT} of\b"),
    _rule(Measure.CONFIDENCE, r"\bconfiden(?:ce|t)\b[^\d%]*", _PERCENT),
    _rule(Measure.CONFIDENCE, right=rf"{_PERCENT} (?:confiden|sure|certain)"),
    _rule(Measure.CONFIDENCE, right=_PERCENT, firm=False),
    _rule(Measure.PIXELS, right=r"\s*(?:px|pixels?)\b"),
    _rule(Measure.PIXELS, r"\bx\s*[=:]?\s*", r"(?!\s*[^\W\d_])", axis="x"),
    _rule(Measure.PIXELS, r"\by\s*[=:]?\s*", r"(?!\s*[^\W\d_])", axis="y"),
    _rule(Measure.SECONDS, right=r"[\s-]*(?:s|sec|seconds?)\b"),
    _rule(Measure.SECONDS, right=r"[\s-]*(?:min|minutes?)\b", scale=60),
    _rule(Measure.SECONDS, right=r"[\s-]*(?:h|hours?)\b", scale=3600),
    _rule(
        Measure.NG,
        right=r"\s*(?:frames? )?(?:(?:is|are|was|were|of them) )?"
        r"(?:judged |marked |came out |turned out |ended as )?NG\b",
    ),
    _rule(Measure.NG, r"\bNG(?: frames?)?\s*[:=(]\s*"),
    _rule(
        Measure.REINSPECT,
        right=r"\s*(?:frames? )?(?:(?:is|are|was|were) )?"
        r"(?:to |for |up for |due for |waits? for |awaits? |needs? )?re-?inspect",
    ),
    _rule(Measure.REINSPECT, right=r"\s*frames? (?:should|must|needs? to|has to|have to|are to|is to) be re-?inspect"),
    _rule(Measure.FAILED, right=r"\s*(?:frames? )?(?:have |has )?failed\b"),
    _rule(Measure.FAILED, right=r"\s*(?:frames? )?(?:could not|couldn't|cannot) be inspected\b"),
    _rule(Measure.EXPIRED, right=r"\s*(?:frames? )?(?:have |has )?expired\b"),
    _rule(Measure.FRAMES, right=r"\s*(?:inspected )?(?:frames?|images?|inspected)\b"),
    _rule(Measure.CAMERAS, right=r"\s*(?:different |affected |of the )?cameras?\b"),
    _rule(Measure.CLASSES, right=r"\s*(?:different |defect )?(?:class(?:es)?|types?|kinds?)\b"),
    _rule(Measure.GROUPS, right=r"\s*groups?\b"),
    _rule(
        Measure.COUNT,
        rf"\bof (?:the |all |its |these |{NAME}'s )*",
        rf"\s*{_PLAIN}(?:{_FINDINGS}|{NAME}|$)",
        of_all=True,
    ),
    _rule(Measure.COUNT, right=r"\s*(?:x\b|×|times\b)"),
    _rule(Measure.COUNT, right=rf"\s*{_PLAIN}{_FINDINGS}"),
    _rule(Measure.COUNT, right=_ENDS),
)

_SMALL = "two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen"
_ENGLISH = Lexicon(
    sentence=re.compile(r"(?<=[.!?])\**\s+|\n+"),
    kept=re.compile(r"(severity[- ][123] (?:findings|defects)):\s*", re.IGNORECASE),
    clause=re.compile(r"[,;:]\s+|\s+(?:and|while|but|whereas)\s+|[()]"),
    filler=re.compile(r"\b(?:both|on|in|of|the|cameras?|class(?:es)?|at|for|also|then)\b|[\s*,:]+", re.IGNORECASE),
    first_before=re.compile(
        r"\b(?:(?<!dates )(?<!dating )from|since|first(?: \w+){0,3} at|start(?:s|ed|ing)?(?: at)?"
        r"|beg[ai]n(?:s|ning)?(?: at)?|between|earliest"
        r"(?: \w+){0,2}(?: at)?)\s*$",
        re.IGNORECASE,
    ),
    first_after=re.compile(r"\s*(?:onwards?)\b", re.IGNORECASE),
    last_before=re.compile(
        r"(?:\b(?:to|until|till|through|last(?: \w+){0,3} at|end(?:s|ed|ing)?(?: at)?|latest(?: \w+){0,2}(?: at)?)"
        r"|[-\u2013\u2014])\s*$",
        re.IGNORECASE,
    ),
    last_after=re.compile(r"(?!)"),
    whole=re.compile(r"\b(?:total|overall|altogether|in all|the line|all cameras|whole|window)\b", re.IGNORECASE),
    share=re.compile(r"\b(?:accounts? for|share|makes? up|proportion|of (?:the |all )?\d+)\b", re.IGNORECASE),
    each_camera=re.compile(r"\b(?:each|every|per) camera\b|\bcameras\b.*\b(?:apiece|each)\b", re.IGNORECASE),
    words=re.compile(
        rf"\b(?P<word>zero|{_SMALL}|eighteen|nineteen|twenty|thirty|forty|fifty|hundred"
        r"|one(?= (?:finding|defect|camera|class|frame|group|image)\b))\b",
        re.IGNORECASE,
    ),
    rules=_ENGLISH_RULES,
    regions=_ENGLISH_REGIONS,
)

_SHARE_ZH = r"\s*%"
_NOUN = r"(?:缺陷|发现|检出|问题|瑕疵|检测结果|结果)"
_MEASURE_WORD = r"(?:处|个|次|条|项|例|件|起)"
_ENDS_ZH = (
    rf"(?:$|\s*(?:[。，,；;：:！!？?）)|\]、]|{NAME}|位于|在|均|都|全部|来自|是|为|属于|分布|集中|出现|发生|被|中|其|与|和|及|以|"
    r"置信|最|平均|从|自))"
)
_CHINESE_RULES = (
    _rule(
        Measure.COUNT,
        r"严重(?:度|程度|性|等级)(?:为|是)?\s*(?P<severity>[123])\s*级?的?缺陷?(?:一共|共|共计|合计|总计|累计|有|为|:|：)*\s*",
    ),
    _rule(
        Measure.COUNT,
        right=rf"\s*{_MEASURE_WORD}?{_NOUN}?的?严重(?:度|程度|性|等级)(?:均?为|都?是)?\s*(?P<severity>[123])",
    ),
    _rule(Measure.SEVERITY, r"严重(?:度|程度|性|等级)(?:为|是|达|:|：)?\s*"),
    _rule(Measure.SEVERITY, r"", r"\s*级"),
    _rule(Measure.COUNT, right=rf"{_SHARE_ZH}\s*{_MEASURE_WORD}"),
    _rule(Measure.HIGHEST, r"(?:最高|高达|最大|至多|最可信)[^\d%]*", _SHARE_ZH),
    _rule(Measure.MEAN, r"(?:平均|均值)[^\d%]*", _SHARE_ZH),
    _rule(Measure.SHARE, r"(?:占|比例|份额)[^\d%]*", _SHARE_ZH),
    _rule(Measure.SHARE, right=rf"{_SHARE_ZH}\s*的?(?:缺陷|发现|来自|属于|是|为)"),
    _rule(Measure.CONFIDENCE, r"置信度?[^\d%]*", _SHARE_ZH),
    _rule(Measure.CONFIDENCE, right=_SHARE_ZH, firm=False),
    _rule(Measure.PIXELS, right=r"\s*(?:像素|px)"),
    _rule(Measure.PIXELS, r"(?<![a-z])x\s*(?:为|约|[=:])?\s*", axis="x"),
    _rule(Measure.PIXELS, r"(?<![a-z])y\s*(?:为|约|[=:])?\s*", axis="y"),
    _rule(Measure.SECONDS, right=r"\s*(?:秒|s\b)"),
    _rule(Measure.SECONDS, right=r"\s*(?:分钟|min\b)", scale=60),
    _rule(Measure.SECONDS, right=r"\s*(?:个?小时|h\b)", scale=3600),
    _rule(Measure.NG, r"(?:NG|不合格|不良)(?:的)?(?:帧|图像)?(?:共|有|为|[:：(（])*\s*", r"(?!\s*(?:帧|张|幅)?复检)"),
    _rule(Measure.NG, right=r"\s*(?:帧|张|幅)?(?:图像|图片|画面)?(?:被?判?定?为|被判|是|属于)?\s*(?:NG|不合格|不良)"),
    _rule(Measure.REINSPECT, r"(?:复检|复查|重检)(?:的)?(?:帧|图像)?(?:共|有|为|[:：(（])*\s*"),
    _rule(Measure.REINSPECT, right=r"\s*(?:帧|张|幅)?(?:图像|图片|画面)?(?:需要?|等?待|要)?(?:复检|复查|重检)"),
    _rule(Measure.FAILED, r"失败(?:的)?(?:帧|图像)?(?:共|有|为|[:：(（])*\s*"),
    _rule(Measure.FAILED, right=r"\s*(?:帧|张|幅)?(?:图像|图片|画面)?(?:检测|处理)?失败"),
    _rule(Measure.FAILED, right=r"\s*(?:帧|张|幅)?(?:图像|图片|画面)?(?:未能|无法|没能)(?:被)?检测"),
    _rule(Measure.EXPIRED, r"(?:过期|超时)(?:的)?(?:帧|图像)?(?:共|有|为|[:：(（])*\s*"),
    _rule(Measure.EXPIRED, right=r"\s*(?:帧|张|幅)?(?:图像|图片|画面)?(?:已)?(?:过期|超时)"),
    _rule(Measure.FRAMES, right=r"\s*(?:帧|张|幅)(?:图像|图片|画面|照片)?"),
    _rule(Measure.CAMERAS, right=r"\s*(?:台|个|部|路)(?:不同的?)?(?:相机|摄像头|摄像机)"),
    _rule(Measure.CLASSES, right=r"\s*(?:类|种|个类别)(?:不同的?)?(?:缺陷|问题|类型|类别)?"),
    _rule(Measure.GROUPS, right=r"\s*个?组"),
    _rule(Measure.COUNT, right=rf"\s*{_MEASURE_WORD}?\s*{_NOUN}?(?:中|里|之中|当中|由)", of_all=True),
    _rule(Measure.COUNT, right=rf"\s*{_MEASURE_WORD}?\s*{_NOUN}的\s*\d", of_all=True),
    _rule(Measure.COUNT, right=rf"\s*{_MEASURE_WORD}?\s*{NAME}(?:中|里|之中|当中)", of_all=True),
    _rule(Measure.COUNT, right=r"\s*[x×]"),
    _rule(Measure.COUNT, right=rf"\s*{_MEASURE_WORD}?\s*{_NOUN}"),
    _rule(Measure.COUNT, right=rf"\s*{_MEASURE_WORD}?{_ENDS_ZH}"),
)
_DIGITS_ZH = "零〇一二两三四五六七八九十百千"
_CHINESE = Lexicon(
    sentence=re.compile(r"(?<=[。!?！？])\**|\n+"),
    kept=re.compile(r"(严重(?:度|程度|性|等级)[为是]?\s*[123]\s*级?的?(?:缺陷|发现))[:：]\s*"),
    clause=re.compile(r"(?<!\d)[,:]\s*|[,:](?!\d)\s*|[，；;：、]\s*|\s*(?:以及|并且|而且|和|与|及|而|并)|[()（）]"),
    filler=re.compile(r"(?:相机|摄像头|摄像机|类别|类|在|的|位于|上|中|其中|分别)|[\s*,，:：、]+"),
    first_before=re.compile(r"(?:从|自|始于|首次[^\d]{0,6}|最早[^\d]{0,8}|起始[^\d]{0,4}|介于)\s*$"),
    first_after=re.compile(r"\s*(?:UTC)?\s*(?:起|开始|以来)"),
    last_before=re.compile(r"(?:到|至|直到|止于|最晚[^\d]{0,8}|最后[^\d]{0,8}|末次[^\d]{0,6}|[-\u2013\u2014~])\s*$"),
    last_after=re.compile(r"\s*(?:UTC)?\s*(?:止|为止|结束)"),
    whole=re.compile(r"共|总计|合计|总数|全部|整条|产线|全线|所有|窗口"),
    share=re.compile("占|比例|份额"),
    each_camera=re.compile("[每各](?:台|个)?(?:相机|摄像头|摄像机)|每台|(?:相机|摄像头|摄像机)各"),
    words=re.compile(
        rf"(?<![第同每任某几的早晚后近首末{_DIGITS_ZH}])(?P<word>(?:[二两三四五六七八九十百千零〇][{_DIGITS_ZH}]*|一[十百千][{_DIGITS_ZH}]*|一(?=处|台)))"
        r"(?=\s*(?:处|个|次|条|项|例|件|起|台|张|帧|类|种|秒|分钟|小时|像素|组|级))"
    ),
    rules=_CHINESE_RULES,
    regions=_CHINESE_REGIONS,
)

LEXICON: Mapping[Language, Lexicon] = {Language.ENGLISH: _ENGLISH, Language.CHINESE: _CHINESE}

_UNITS = {"十": 10, "百": 100, "千": 1000}
_WORDS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
]
_TENS = {"thirty": 30, "forty": 40, "fifty": 50, "hundred": 100}


def number_of(word: str) -> int:
    """The value of a number that is written as a word of :attr:`Lexicon.words`."""
    small = word.lower()
    if small in _WORDS:
        return _WORDS.index(small)
    return _TENS[small] if small in _TENS else _chinese_number(word)


def _chinese_number(word: str) -> int:
    total, digit = 0, 0
    for sign in word:
        if sign in _UNITS:
            total += (digit or 1) * _UNITS[sign]
            digit = 0
        elif sign not in "零〇":
            digit = 2 if sign == "两" else "一二三四五六七八九".index(sign) + 1
    return total + digit
