"""How numbers are spoken of in English; see :mod:`gistline.reports.lexicon`."""

from __future__ import annotations

import re

from gistline.reports.draft import Measure
from gistline.reports.lexicon import NAME, Lexicon, Relation, pattern, rule
from gistline.reports.regions import Region

_SMALL = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = {
    **{"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90},
    "hundred": 100,
}

_WHOLES = {"thirds": 3, "quarters": 4, "fifths": 5, "sixths": 6, "sevenths": 7, "eighths": 8, "ninths": 9, "tenths": 10}

_IN = Region
_UPPER = {"upper left": _IN.UPPER_LEFT, "upper right": _IN.UPPER_RIGHT}
_CORNERS = {**_UPPER, "lower left": _IN.LOWER_LEFT, "lower right": _IN.LOWER_RIGHT}
_SAME = {"upper": "top", "lower": "bottom"}
_REGIONS = {
    f"{word}{joint}{side}": frozenset({region})
    for corner, region in _CORNERS.items()
    for height, side in [corner.split()]
    for word in (height, _SAME[height])
    for joint in (" ", "-")
}

_PERCENT = r"\s*(?:%|percent\b|per cent\b)"
_FINDINGS = r"(?:findings?|defects?|detections?|cases?|instances?|occurrences?|pieces?)\b"
_MORE = r"(?:(?:more|further|other|others|additional|remaining|of them|of these|of those|in all|in total) )*"
_PLAIN = (
    r"(?:(?:such|recorded|detected|reported|individual|separate|distinct|total|new|further|more|other|additional"
    r"|remaining|isolated|repeated|recurring) )*"
)
_BE = r"(?:(?:is|are|was|were|has|have|had|been|to|be|should|must|needs?) )*"
_FRAMES = r"(?:(?:inspected|captured) )?(?:frames?|images?)\b"
_OF_FRAMES = r"\s*(?:out )?of (?:the )?[\d,]+ (?:inspected )?(?:frames|images)"
_ENDS = (
    rf"\s*(?:$|[.,;:!?)|\]]|{NAME}|(?:are|is|on|at|in|from|since|across|each|were|was|have|has|of|out of|with|all"
    r"|between|over|both|here|there|per|only|alone|altogether|together|until|to|during|within|come|comes|came|stem"
    r"|occur|occurs|occurred|appear|appears|appeared|lie|lies|fall|belong|affect|concern|respectively)\b)"
)
_OF = r"\b(?:out )?of (?:the |its |our |all |these |those )*"
_NUMBER = r"(?:[\d,]+|[a-z]+)"
_PART_OF = rf"(?:\d|\b(?:one|{'|'.join((*_SMALL, *_TENS))})) (?:out )?of (?:the |its |our |all |these |those )*"
_CLASSES = r"(?:different |defect |other )*(?:class(?:es)?|types?|kinds?)\b"
_CAMERAS = r"(?:different |affected |other |of the )*cameras?\b"
_SEVERE = (
    rf"\s*(?:{_FINDINGS} )?(?:(?:are|is|was|were|of|with|at|have|has|rated|the|highest|lowest|maximum|top|x|×) )*"
    r"severity(?: level)?[- ](?P<severity>[123])\b"
)
_PER = rf"\s*{_PLAIN}(?:(?:{_FINDINGS}|{NAME}|times) )?(?:(?:per|an?|each|every) |/ ?)"

RULES = (
    rule(Measure.NG, right=rf"{_OF_FRAMES}[^,;]*\bNG\b"),
    rule(Measure.REINSPECT, right=rf"{_OF_FRAMES}[^,;]*\bre-?inspect"),
    rule(
        Measure.FRAMES,
        right=rf"{_OF_FRAMES}[^,;]*\b(?:OK|passed|clean|free of|without)\b",
        less=(Measure.NG, Measure.REINSPECT),
    ),
    rule(Measure.FRAMES, r"\bof (?:the )?", r"\s*(?:inspected )?(?:frames|images)\b"),
    rule(Measure.FRAMES, r"\b(?:NG|frames?|images?) (?:out )?of (?:the |all )?", r"\s*(?!\w+ (?:findings?|defects?))"),
    rule(Measure.NG, r"\b(?:reject|rejection|NG|scrap) rate\b[^\d%]*", _PERCENT, relation=Relation.OF_FRAMES),
    rule(Measure.COUNT, right=rf"{_PER}(?:hour|h)\b", relation=Relation.RATE, scale=3600),
    rule(Measure.COUNT, right=rf"{_PER}(?:minute|min)\b", relation=Relation.RATE, scale=60),
    rule(Measure.COUNT, right=r"\s*(?:times|x|×) (?:as|more|the (?:number|count))\b", relation=Relation.RATIO),
    rule(Measure.COUNT, right=rf"\s*(?:{_FINDINGS} |{NAME} )?more\b.*\bthan\b", relation=Relation.MORE),
    rule(Measure.COUNT, right=rf"\s*(?:{_FINDINGS} |{NAME} )?(?:fewer|less)\b.*\bthan\b", relation=Relation.FEWER),
    rule(Measure.COUNT, right=r"(?:st|nd|rd|th)\b", relation=Relation.RANK),
    rule(Measure.COUNT, r"\b(?:ranks?|ranked|placed?|no\.|number)\s*(?:at |in |no\. ?|#)*", relation=Relation.RANK),
    rule(
        Measure.SEVERITY,
        r"\b(?:no|none|nothing|without)\b[^,;.\d]*\bseverity(?: level)?(?: of| is|:)?[\s-]*",
        relation=Relation.ABSENT,
    ),
    rule(
        Measure.COUNT,
        r"\b(?:at least|no fewer than|no less than) ",
        rf"\s*{_PLAIN}(?:{_FINDINGS}|{NAME})",
        relation=Relation.AT_LEAST,
    ),
    rule(Measure.COUNT, r"\b(?:more than|over) ", rf"\s*{_PLAIN}(?:{_FINDINGS}|{NAME})", relation=Relation.OVER),
    rule(Measure.COUNT, right=r"\s*of (?:the )?\d+ \w+ (?:are|have|were) (?:of )?severity (?P<severity>[123])\b"),
    rule(Measure.COUNT, r"\bseverity[- ](?P<severity>[123]) (?:findings|defects)?\s*[:=(]?\s*"),
    rule(Measure.COUNT, r"\bseverity[- ](?P<severity>[123]) (?:applies to|covers|includes|concerns) (?:the )?"),
    rule(Measure.COUNT, _OF, right=_SEVERE, of_all=True),
    rule(Measure.COUNT, right=_SEVERE),
    rule(Measure.COUNT, right=rf"\s*cosmetic {_FINDINGS}", level=1),
    rule(Measure.COUNT, right=rf"\s*(?:critical|severe|grave) {_FINDINGS}", level=3),
    rule(Measure.SEVERITY, r"\bseverity(?: level)?(?: of| is|:)?[\s-]*"),
    rule(Measure.HIGHEST, r"\b(?:up to|at most|highest|surest|maximum|max|peak|peaks?|top)\b[^\d%]*", _PERCENT),
    rule(Measure.HIGHEST, right=rf"{_PERCENT} (?:at most|at best|or less)\b"),
    rule(Measure.MEAN, r"\b(?:mean|average|averaging|averages|avg)\b[^\d%]*", _PERCENT),
    rule(Measure.MEAN, right=rf"{_PERCENT} on average\b"),
    rule(Measure.SHARE, r"\b(?:share|accounts? for|makes? up|proportion)\b[^\d%]*", _PERCENT),
    rule(Measure.SHARE, right=rf"{_PERCENT} of\b"),
    rule(Measure.CONFIDENCE, r"\bconfiden(?:ce|t)\b[^\d%]*", _PERCENT),
    rule(Measure.CONFIDENCE, right=rf"{_PERCENT} (?:confiden|sure|certain)"),
    rule(Measure.CONFIDENCE, right=_PERCENT, firm=False),
    rule(Measure.PIXELS, right=r"\s*(?:px|pixels?)\b"),
    rule(Measure.PIXELS, r"\bx\s*[=:]?\s*", r"(?!\s*[^\W\d_])", axis="x"),
    rule(Measure.PIXELS, r"\by\s*[=:]?\s*", r"(?!\s*[^\W\d_])", axis="y"),
    rule(Measure.SECONDS, r"\bevery ", r"[\s-]*(?:s|sec|seconds?)\b", relation=Relation.INTERVAL),
    rule(Measure.SECONDS, r"\bevery ", r"[\s-]*(?:min|minutes?)\b", relation=Relation.INTERVAL, scale=60),
    rule(Measure.SECONDS, right=r"[\s-]*(?:s|sec|seconds?)\b"),
    rule(Measure.SECONDS, right=r"[\s-]*(?:min|minutes?)\b", scale=60),
    rule(Measure.SECONDS, right=r"[\s-]*(?:h|hrs?|hours?)\b", scale=3600),
    rule(
        Measure.NG,
        right=rf"\s*{_MORE}(?:frames? )?{_MORE}{_BE}"
        r"(?:judged |marked |rated |found |came out |turned out |ended |ended up )?(?:as )?NG\b",
    ),
    rule(Measure.NG, r"\bNG(?: frames?)?\s*[:=(]\s*"),
    rule(
        Measure.REINSPECT,
        right=rf"\s*{_MORE}(?:frames? )?{_MORE}{_BE}(?:(?:marked|sent|queued|flagged|scheduled) )?(?:to |for |up for "
        r"|due for |went to |go to |waits? for |waiting for |awaits? |needs? |requires? )?"
        r"(?:re-?inspect|(?:a second|another) look\b|review\b)",
    ),
    rule(Measure.REINSPECT, r"\bre-?inspect (?:the |these |all )*", r"\s*(?:frames?|images?|marked)\b"),
    rule(Measure.FAILED, right=rf"\s*{_MORE}(?:frames? )?(?:have |has |had )?failed\b"),
    rule(
        Measure.FAILED,
        right=rf"\s*{_MORE}(?:frames? )?(?:(?:that|which) )?(?:{_BE}(?:lost|missed)|could not be (?:used|evaluated))\b",
        plus=(Measure.EXPIRED,),
    ),
    rule(Measure.FAILED, right=rf"\s*{_MORE}(?:frames? )?(?:could not|couldn't|cannot) be inspected\b"),
    rule(
        Measure.FAILED,
        right=rf"\s*{_MORE}{_FRAMES}[^,;\d]*\b(?:(?:was|were|are|is|remained|stayed|went) (?:not |un)|not )inspected\b",
        plus=(Measure.EXPIRED,),
    ),
    rule(Measure.EXPIRED, right=rf"\s*{_MORE}(?:frames? )?(?:have |has |had )?expired\b"),
    rule(
        Measure.FRAMES,
        right=rf"\s*{_MORE}{_FRAMES} {_BE}(?:judged |rated |passed as |came out )?(?:all )?"
        r"(?:OK|okay|fine|good|clean|in order|free of (?:findings|defects)|without (?:any )?(?:findings?|defects?))\b",
        less=(Measure.NG, Measure.REINSPECT),
    ),
    rule(
        Measure.FRAMES,
        right=rf"\s*of (?:them|these|those) {_BE}(?:all )?(?:OK|okay|fine|good)\b",
        less=(Measure.NG, Measure.REINSPECT),
    ),
    rule(Measure.FRAMES, right=r"\s*(?:inspected )?(?:frames?|images?|inspected)\b"),
    rule(Measure.CAMERAS, right=rf"\s*{_OF}{_NUMBER} {_CAMERAS}"),
    rule(Measure.CAMERAS, r"\bof (?:the|our|its) ", rf"\s*{_CAMERAS}", of_all=True),
    rule(Measure.CAMERAS, _PART_OF, rf"\s*{_CAMERAS}", of_all=True),
    rule(Measure.CAMERAS, right=rf"\s*{_CAMERAS}"),
    rule(Measure.CLASSES, right=rf"\s*{_OF}{_NUMBER} {_CLASSES}"),
    rule(Measure.CLASSES, r"\bof (?:the|our|its) ", rf"\s*{_CLASSES}", of_all=True),
    rule(Measure.CLASSES, _PART_OF, rf"\s*{_CLASSES}", of_all=True),
    rule(Measure.CLASSES, right=rf"\s*{_CLASSES}"),
    rule(Measure.GROUPS, right=r"\s*groups?\b"),
    rule(
        Measure.COUNT,
        rf"\bof (?:the |all |its |these |those |{NAME}'s )*",
        rf"\s*{_PLAIN}(?:{_FINDINGS}|{NAME}|$)",
        of_all=True,
    ),
    rule(
        Measure.COUNT,
        r"(?<=[\d\w]) of (?:the |these |those )",
        r"\s*(?:are|is|were|was|come|comes|came|stem|lie|lies|occur|occurred|appear|appeared|belong|on|at|in|from)\b",
        of_all=True,
    ),
    rule(Measure.COUNT, right=r"\s*(?:x\b|×|times\b)"),
    rule(Measure.COUNT, right=rf"\s*{_PLAIN}{_FINDINGS}"),
    rule(Measure.COUNT, right=rf"\s*(?:further|more|other|others) {NAME}"),
    rule(Measure.COUNT, right=_ENDS),
)


def number_of(word: str) -> int:
    """The value of a number that is written as a word.

    Raises:
        KeyError: it is none.

    """
    tens, _, ones = word.lower().replace(" ", "-").partition("-")
    if tens in _TENS:
        return _TENS[tens] + (_SMALL.index(ones) if ones else 0)
    if tens not in _SMALL:
        raise KeyError(word)
    return _SMALL.index(tens)


ENGLISH = Lexicon(
    sentence=re.compile(r"(?<=[.!?])(?<!\bi\.e\.)(?<!\be\.g\.)(?<!\bvs\.)(?<!\bapprox\.)(?<!\bNo\.)\**\s+|\n+"),
    kept=pattern(r"(severity[- ][123] (?:findings|defects)):\s*"),
    bracketed=pattern(r"(severity(?: level)? )\(([123])\)"),
    clause=re.compile(
        r"[,;:]\s+|(?<!\d)\s+[-\u2013\u2014]\s+|\s+[-\u2013\u2014]\s+(?!\d)"
        r"|\s+(?:and|while|but|whereas|versus|vs\.?|compared (?:to|with)|as opposed to)\s+|[()]"
    ),
    filler=pattern(r"\b(?:both|on|in|of|the|cameras?|class(?:es)?|at|for|also|then)\b|[\s*,:]+"),
    joints=re.compile(r",\s*(?:and\s+|or\s+)?|\s+(?:and|or|as well as)\s+|\s*[/&+]\s*"),
    over=" of ",
    first_before=pattern(
        r"\b(?:(?<!dates )(?<!dating )from|since|first(?: \w+){0,3} at|start(?:s|ed|ing)?(?: at)?"
        r"|beg[ai]n(?:s|ning)?(?: at)?|between|earliest"
        r"(?: \w+){0,2}(?: at)?)\s*$"
    ),
    first_after=pattern(r"\s*(?:onwards?)\b"),
    last_before=pattern(
        r"(?:\b(?:to|until|till|through|last(?: \w+){0,3} at|end(?:s|ed|ing)?(?: at)?|latest(?: \w+){0,2}(?: at)?)"
        r"|[-\u2013\u2014])\s*$"
    ),
    last_after=re.compile(r"(?!)"),
    whole=pattern(r"\b(?:total|overall|altogether|together|combined|in all|the line|all cameras|whole|window)\b"),
    share=pattern(
        r"\b(?:accounts? for|share|makes? up|proportion|of (?:the |all )?\d+|contribut\w+|represents?|constitutes?)\b"
        r"|(?:%|percent) of\b"
    ),
    each=pattern(r"\beach\b|\bper\b|\beither\b"),
    each_camera=pattern(r"\b(?:each|every|per) camera\b|\bcameras\b.*\b(?:apiece|each)\b"),
    than_after=pattern(r"\b(?:as|than)\b"),
    than_before=re.compile(r"(?!)"),
    pair=pattern(r"\s*(?:versus|vs\.?|compared (?:to|with)|as opposed to|against|to|:)\s*"),
    these=pattern(r"\bof (?:these|those) $"),
    aside=pattern(r"[(=]|\bor\b|\bi\.e\.|\bthat is\b|\bwhich is\b|\bequal to\b|^\s*,\s*$"),
    surely_share=pattern(
        rf"\s*(?:{NAME}\s*)?(?:{_FINDINGS})?\s*(?P<bracket>\()?,?\s*(?:(?:i\.e\.|or|that is|about)\s*)*$"
    ),
    in_words=re.compile(r"\((\d+(?:\.\d+)? ?%)\)(?= of\b)"),
    headings=(
        pattern(r"^\W*(?:first|earliest)(?: \w+){0,2}\s*:"),
        pattern(r"^\W*(?:last|latest|most recent)(?: \w+){0,2}\s*:"),
    ),
    afresh=re.compile(r";\s*$"),
    ahead=pattern(r"^\W*(?:with|at|having|despite)\b"),
    behind=pattern(r"^\s*(?:(?:seen|found|recorded|measured|reached) )?(?:for|on|by|of|from|at|with|in)\b"),
    whole_left=re.compile(rf"{NAME}'s $"),
    whole_right=pattern(rf"\s*{_PLAIN}(?:{NAME} ?)?(?:{_FINDINGS})?(?: (?:on|at|from|of) (?:camera )?{NAME})*"),
    severity=pattern(r"\bseverity[- ](?P<severity>[123])\b"),
    respective=pattern(r"\brespectively\b"),
    fractions=pattern(
        rf"\b(?P<part>{'|'.join(_SMALL[1:10])})(?:[- ]| out of | in )(?P<whole>{'|'.join(_WHOLES)}"
        rf"|(?<= (?:of|in) )(?:{'|'.join(_SMALL[2:11])})(?= of\b))\b"
    ),
    loose=pattern(r"\b(?:more than|over|less than|under|nearly|almost|at least|not quite)\s*$"),
    whole_of=lambda word: _WHOLES.get(word.lower()) or number_of(word),
    hedge=pattern(r"\b(?:about|around|roughly|approximately|nearly|almost|some|circa|close to)\s*$|[~≈]\s*$"),
    rest=pattern(r"\b(?:others?|rest|remaining|remainder|else|combined)\b"),
    rest_cameras=pattern(r"\bcameras?\b"),
    rest_classes=pattern(r"\b(?:class(?:es)?|types?|kinds?)\b"),
    words=pattern(
        rf"\b(?P<word>(?:{'|'.join(list(_TENS)[:-1])})(?:[- ](?:{'|'.join(_SMALL[1:10])}))?|hundred"
        rf"|{'|'.join((*_SMALL[:1], *_SMALL[2:]))}"
        rf"|one(?= (?:finding|defect|camera|class|frame|group|image)\b))\b(?![- ](?:{'|'.join(_WHOLES)})\b)"
    ),
    number_of=number_of,
    rules=RULES,
    regions=_REGIONS,
)
