"""How numbers are spoken of in Chinese; see :mod:`gistline.reports.lexicon`."""

from __future__ import annotations

import re

from gistline.reports.draft import Measure
from gistline.reports.lexicon import NAME, Lexicon, Relation, pattern, rule
from gistline.reports.regions import Region

_IN = Region
_REGIONS = {
    "左上": frozenset({_IN.UPPER_LEFT}),
    "右上": frozenset({_IN.UPPER_RIGHT}),
    "左下": frozenset({_IN.LOWER_LEFT}),
    "右下": frozenset({_IN.LOWER_RIGHT}),
    "左侧": frozenset({_IN.UPPER_LEFT, _IN.LEFT, _IN.LOWER_LEFT}),
    "右侧": frozenset({_IN.UPPER_RIGHT, _IN.RIGHT, _IN.LOWER_RIGHT}),
}

_DIGITS = "零〇一二两三四五六七八九十百千"
_UNITS = {"十": 10, "百": 100, "千": 1000}

_PERCENT = r"\s*%"
_NOUN = r"(?:缺陷|发现|检出|问题|瑕疵|检测结果|结果)"
_MEASURE_WORD = r"(?:处|个|次|条|项|例|件|起)"
_LEVEL = r"严重(?:度|程度|性|等级)"
_HAS = r"(?:一共|总共|共计|共有|共|合计|总计|累计|各有|有|为|是|达|占|:|：)*\s*"
_FRAME = r"\s*(?:帧|张|幅)(?:图像|图片|画面|照片)?"
_SOME_FRAME = r"\s*(?:帧|张|幅)?(?:图像|图片|画面)?"
_CAMERA = r"(?:相机|摄像头|摄像机)"
_AMONG = r"(?:中|里|之中|当中)"
_AT = r"(?:的)?(?:平均|约|大约|近|出现|发现|检出|有|为|达)*\s*"
_ENDS = (
    rf"(?:$|\s*(?:[。，,；;：:！!？?）)|\]、]|{NAME}|位于|在|均|都|全部|来自|是|为|属于|分布|集中|出现|发生|被|中|其|与|和|及|以|"
    r"置信|最|平均|从|自|仅|只|多|可能|超过|占))"
)
RULES = (
    rule(Measure.COUNT, rf"每(?:个)?(?:小时|钟头){_AT}", relation=Relation.RATE, scale=3600),
    rule(Measure.COUNT, rf"每分钟{_AT}", relation=Relation.RATE, scale=60),
    rule(Measure.COUNT, right=rf"\s*{_MEASURE_WORD}\s*(?:/|每)\s*(?:小时|h\b)", relation=Relation.RATE, scale=3600),
    rule(Measure.SECONDS, r"每(?:隔)?(?:约|大约)?\s*", r"\s*(?:秒|s\b)", relation=Relation.INTERVAL),
    rule(Measure.SECONDS, r"每(?:隔)?(?:约|大约)?\s*", r"\s*(?:分钟|min\b)", relation=Relation.INTERVAL, scale=60),
    rule(Measure.COUNT, right=r"\s*倍", relation=Relation.RATIO),
    rule(Measure.COUNT, r"(?:至少|不少于)(?:各)?(?:有|为)?\s*", rf"\s*{_MEASURE_WORD}", relation=Relation.AT_LEAST),
    rule(Measure.COUNT, r"(?:超过|多于)\s*", rf"\s*{_MEASURE_WORD}", relation=Relation.OVER),
    rule(Measure.COUNT, r"比.*多(?:出|了)?(?:约)?\s*", rf"\s*{_MEASURE_WORD}", relation=Relation.MORE),
    rule(Measure.COUNT, r"比.*少(?:了)?(?:约)?\s*", rf"\s*{_MEASURE_WORD}", relation=Relation.FEWER),
    rule(
        Measure.COUNT,
        r"第\s*",
        rf"(?!\s*(?:\d|台|帧|张|页|{_MEASURE_WORD}))\s*(?:名|位|多)?",
        relation=Relation.RANK,
    ),
    rule(Measure.SEVERITY, rf"(?:没有|无|未发现|未出现)[^，。；\d]*{_LEVEL}(?:为|是|达)?\s*", relation=Relation.ABSENT),
    rule(Measure.COUNT, rf"{_LEVEL}(?:为|是)?\s*(?P<severity>[123])\s*级?的?{_NOUN}?{_HAS}"),
    rule(Measure.COUNT, rf"(?<!\d)(?P<severity>[123])\s*级的?{_NOUN}?{_HAS}"),
    rule(Measure.COUNT, right=rf"\s*{_MEASURE_WORD}?{_NOUN}?的?{_LEVEL}(?:均?为|都?是)?\s*(?P<severity>[123])"),
    rule(Measure.COUNT, right=rf"\s*{_MEASURE_WORD}(?:严重|致命)(?:缺陷|问题)", level=3),
    rule(Measure.COUNT, right=rf"\s*{_MEASURE_WORD}?外观(?:缺陷|问题|瑕疵)", level=1),
    rule(Measure.SEVERITY, rf"{_LEVEL}(?:均|都)?(?:为|是|达|:|：)?\s*"),
    rule(Measure.SEVERITY, r"", r"\s*级"),
    rule(Measure.NG, r"(?:不合格|不良|NG)率[^\d%]*", _PERCENT, relation=Relation.OF_FRAMES),
    rule(Measure.COUNT, right=rf"{_PERCENT}\s*{_MEASURE_WORD}"),
    rule(Measure.HIGHEST, r"(?:最高|高达|最大|至多|最可信|不超过|不高于)[^\d%]*", _PERCENT),
    rule(Measure.MEAN, r"(?:平均|均值)[^\d%]*", _PERCENT),
    rule(Measure.SHARE, r"(?:占|比例|份额)[^\d%]*", _PERCENT),
    rule(Measure.SHARE, rf"\d\s*{_MEASURE_WORD}?{_NOUN}?的\s*", _PERCENT),
    rule(Measure.SHARE, right=rf"{_PERCENT}\s*的?(?:缺陷|发现|来自|属于|是|为)"),
    rule(Measure.CONFIDENCE, r"置信度?[^\d%]*", _PERCENT),
    rule(Measure.CONFIDENCE, right=_PERCENT, firm=False),
    rule(Measure.PIXELS, right=r"\s*(?:像素|px)"),
    rule(Measure.PIXELS, r"(?<![a-z])x\s*(?:为|约|[=:])?\s*", axis="x"),
    rule(Measure.PIXELS, r"(?<![a-z])y\s*(?:为|约|[=:])?\s*", axis="y"),
    rule(Measure.SECONDS, right=r"\s*(?:秒|s\b)"),
    rule(Measure.SECONDS, right=r"\s*(?:分钟|min\b)", scale=60),
    rule(Measure.SECONDS, right=r"\s*(?:个?(?:小时|钟头)|h\b)", scale=3600),
    rule(Measure.NG, r"(?:NG|不合格|不良)(?:的)?(?:帧|图像)?(?:共|有|为|[:：(（])*\s*", r"(?!\s*(?:帧|张|幅)?复检)"),
    rule(Measure.NG, right=rf"{_SOME_FRAME}(?:被?判?定?为|被判|是|属于)?\s*(?:NG|不合格|不良)"),
    rule(Measure.REINSPECT, r"(?:复检|复查|重检)(?:的)?(?:帧|图像)?(?:共|有|为|[:：(（])*\s*"),
    rule(
        Measure.REINSPECT,
        right=rf"{_SOME_FRAME}(?:还|仍)?(?:需要?|等?待|要|应)?(?:复检|复查|重检|(?:再次|重新|人工)(?:检查|检验|确认))",
    ),
    rule(Measure.REINSPECT, r"(?:复检|复查)[^\d，。；、]{0,4}", r"\s*(?:帧|张|幅)"),
    rule(Measure.FAILED, r"(?:丢失|漏检|未检测)的?(?:帧|图像)?(?:共|有|为)*\s*", plus=(Measure.EXPIRED,)),
    rule(Measure.FAILED, r"失败(?:的)?(?:帧|图像)?(?:共|有|为|[:：(（])*\s*"),
    rule(Measure.FAILED, right=rf"{_SOME_FRAME}(?:检测|处理)?失败"),
    rule(Measure.FAILED, right=rf"{_SOME_FRAME}(?:未能|无法|没能)(?:被)?检测"),
    rule(Measure.FAILED, right=rf"{_FRAME}(?:(?:未|没有)(?:被)?检测|无法使用|不可用)", plus=(Measure.EXPIRED,)),
    rule(Measure.EXPIRED, r"(?:过期|超时)(?:的)?(?:帧|图像)?(?:共|有|为|[:：(（])*\s*"),
    rule(Measure.EXPIRED, right=rf"{_SOME_FRAME}(?:已)?(?:过期|超时)"),
    rule(
        Measure.FRAMES,
        right=rf"{_FRAME}(?:均|都|全部)?(?:判?为|是)?\s*(?:OK|合格|正常|良品|无缺陷|没有缺陷)",
        less=(Measure.NG, Measure.REINSPECT),
    ),
    rule(Measure.FRAMES, right=_FRAME),
    rule(Measure.CAMERAS, right=rf"\s*(?:台|个|部|路)?(?:不同的?)?{_CAMERA}{_AMONG}", of_all=True),
    rule(Measure.CAMERAS, right=rf"\s*(?:台|个|部|路)(?:不同的?)?{_CAMERA}"),
    rule(Measure.CAMERAS, right=r"\s*台"),
    rule(Measure.CLASSES, right=rf"\s*(?:类|种|个类别)(?:不同的?)?(?:缺陷|问题|类型|类别)?{_AMONG}", of_all=True),
    rule(Measure.CLASSES, right=r"\s*(?:类|种|个类别)(?:不同的?)?(?:缺陷|问题|类型|类别)?"),
    rule(Measure.GROUPS, right=r"\s*个?组"),
    rule(Measure.COUNT, right=rf"\s*{_MEASURE_WORD}?\s*{_NOUN}?(?:中|里|之中|当中|由)", of_all=True),
    rule(Measure.COUNT, right=rf"\s*(?:{_MEASURE_WORD}\s*{_NOUN}?|{_NOUN})的\s*\d", of_all=True),
    rule(Measure.COUNT, right=rf"\s*{_MEASURE_WORD}?\s*{NAME}{_AMONG}", of_all=True),
    rule(Measure.COUNT, right=r"\s*[x×]"),
    rule(Measure.COUNT, right=rf"\s*{_MEASURE_WORD}?\s*{_NOUN}"),
    rule(Measure.COUNT, right=rf"\s*{_MEASURE_WORD}?{_ENDS}"),
)


def number_of(word: str) -> int:
    """The value of a number that is written in signs.

    Raises:
        ValueError: it is none.

    """
    total, digit = 0, 0
    for sign in word:
        if sign in _UNITS:
            total += (digit or 1) * _UNITS[sign]
            digit = 0
        elif sign not in "零〇":
            digit = 2 if sign == "两" else "一二三四五六七八九".index(sign) + 1
    return total + digit


CHINESE = Lexicon(
    sentence=re.compile(r"(?<=[。!?！？])\**|\n+"),
    kept=re.compile(rf"({_LEVEL}[为是]?\s*[123]\s*级?的?(?:缺陷|发现))[:：]\s*"),
    bracketed=re.compile(rf"({_LEVEL})\s*[（(]([123])[)）]"),
    clause=re.compile(
        r"(?<!\d)[,:]\s*|[,:](?!\d)\s*|[，；;：、]\s*|\s*(?:以及|并且|而且|(?<!之)和|与|及|而|并)|[()（）]"
    ),
    filler=re.compile(r"(?:相机|摄像头|摄像机|类别|类|在|的|位于|上|中|其中|分别)|[\s*,，:：、]+"),
    joints=re.compile(r"\s*(?:、|以及|和|与|及|/)\s*"),
    over="/",
    first_before=re.compile(r"(?:从|自|始于|首次[^\d]{0,6}|最早[^\d]{0,8}|起始[^\d]{0,4}|介于)\s*$"),
    first_after=re.compile(r"\s*(?:UTC)?\s*(?:起|开始|以来)"),
    last_before=re.compile(r"(?:到|至|直到|止于|最晚[^\d]{0,8}|最后[^\d]{0,8}|末次[^\d]{0,6}|[-\u2013\u2014~])\s*$"),
    last_after=re.compile(r"\s*(?:UTC)?\s*(?:止|为止|结束)"),
    whole=re.compile(r"共|总计|合计|总数|全部|整条|产线|全线|所有|窗口"),
    share=re.compile("占|比例|份额"),
    each=re.compile(r"各|均为|都有|均有|每台"),
    each_camera=re.compile("[每各](?:台|个)?(?:相机|摄像头|摄像机)|每台|(?:相机|摄像头|摄像机)各"),
    than_after=re.compile(r"(?!)"),
    than_before=re.compile(r"比|是|为|达"),
    pair=pattern(rf"\s*{_MEASURE_WORD}?\s*(?:对比|对|比|相比|vs\.?|:)\s*"),
    these=re.compile(r"[这那]\s*$"),
    aside=re.compile(r"[(（=]|即|也就是|占|^\s*(?:[，,]|[帧处个]的)\s*$"),
    surely_share=re.compile(rf"\s*{_MEASURE_WORD}{_NOUN}?\s*(?:(?P<bracket>[(（])|[，,])\s*(?:占|即|约)*$"),
    in_words=re.compile(r"[（(](\d+(?:\.\d+)?\s*%)[)）](?=的)"),
    headings=(
        re.compile(r"^\W*(?:首次|最早|最先)[^，。：\d]{0,8}[：:]"),
        re.compile(r"^\W*(?:最后|最近|最晚|末次)[^，。：\d]{0,8}[：:]"),
    ),
    afresh=re.compile(r"[；;]\s*$"),
    ahead=re.compile(r"(?!)"),
    behind=re.compile(r"^\s*(?:来自|出现在|见于|属于|发生在)"),
    whole_left=re.compile(rf"(?:{NAME}[上]?的?)*{NAME}上?的\s*$"),
    whole_right=re.compile(rf"\s*{_MEASURE_WORD}?\s*{NAME}?"),
    severity=re.compile(rf"{_LEVEL}(?:为|是)?\s*(?P<severity>[123])"),
    respective=re.compile(r"分别|依次"),
    fractions=re.compile(rf"(?P<whole>[{_DIGITS}]+)分之(?P<part>[{_DIGITS}]+)"),
    loose=re.compile(r"(?:超过|多于|不到|不足|近|将近|接近|至少)\s*$"),
    whole_of=number_of,
    hedge=re.compile(r"(?:约|大约|近|将近|接近|大概|差不多)\s*$"),
    rest=re.compile("其余|其他|其它|剩下|剩余|另外"),
    rest_cameras=re.compile(_CAMERA),
    rest_classes=re.compile("类"),
    words=re.compile(
        rf"(?:(?<![第同每任某几早晚后近首末{_DIGITS}])|(?<=近)(?=[{_DIGITS}]+(?:个)?(?:小时|分钟)))"
        rf"(?P<word>(?:[二两三四五六七八九十百千零〇][{_DIGITS}]*|一[十百千][{_DIGITS}]*|(?<![的是])(?<!分钟)(?<!小时)(?<!秒)一(?=处|台)))"
        r"(?=\s*(?:处|个|次|条|项|例|件|起|台|张|帧|类|种|秒|分钟|小时|像素|组|级))"
    ),
    number_of=number_of,
    rules=RULES,
    regions=_REGIONS,
)
