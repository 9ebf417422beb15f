"""Prose that the checker's rules were not made from: how much of what is true it flags, and what is false it misses.

Written in other words than ``test_prose.py``, each round before the checker was tried on it; its first try is the
measurement in docs/reports.md. After each round readings that were plainly wrong were mended, so that the sentences
stand here to keep them right. ``STILL_FLAGGED`` are true ones that it goes on sending back.
"""

from __future__ import annotations

import pytest

from gistline.domain import ImageSize, Language
from tests.support.prose import read
from tests.support.reporting import some_findings, window_data

DATA = window_data(some_findings(24, image=ImageSize(640, 640)))
TRUE = (
    "Eight findings each on `cam-0`, `cam-1` and `cam-2` make 24 in total.",
    "Out of the 24 defects, 7 were `open`, 7 `spur`, 6 `pin-hole` and 4 `short`.",
    "`cam-0` is dominated by `open` (7 out of 8).",
    "We count seven `open` defects at `cam-0`, first noticed at 08:00:39.",
    "The most recent `open` dates from 08:05:12.",
    "`spur` has been showing on `cam-1` since 08:00:13 and ended with the one at 08:04:46.",
    "Just 5 out of 120 frames ended as NG.",
    "A total of 11 severity-3 defects was recorded.",
    "`short` is rare: 4 pieces over three cameras.",
    "`cam-2` sees mostly `pin-hole`: 6 out of its 8 defects.",
    "Another two frames are up for re-inspection.",
    "Detector confidence on `open` runs up to 83%, averaging 62%.",
    "In the quarter hour from 08:00 to 08:15, 24 defects were logged on `line-1`.",
    "`cam-1`: seven times `spur`, once `short`.",
    "The pair of `short` on `cam-2` came at 08:01:05 and 08:04:20.",
    "Nothing but `pin-hole` and `short` on `cam-2`, 8 in all.",
    "29% of everything found was `open`.",
    "There are 3 cameras with 8 findings on each.",
    "Four classes were found, `open` and `spur` leading with 7 each.",
    "Severity 3 applies to 11 findings.",
    "Exactly one frame could not be inspected (1 failed).",
    "It took 273 seconds from the first to the last `open`.",
    "`cam-0` alone has 7 `open`, against none elsewhere.",
    "Highest confidence: 99% for `pin-hole` on `cam-2`.",
    "7 `open` plus 1 `short` make up the 8 findings of `cam-0`.",
)
FALSE = (
    "Nine findings each on `cam-0`, `cam-1` and `cam-2` make 24 in total.",
    "Out of the 24 defects, 7 were `open`, 7 `spur`, 5 `pin-hole` and 4 `short`.",
    "`cam-0` is dominated by `open` (6 out of 8).",
    "We count nine `open` defects at `cam-0`, first noticed at 08:00:39.",
    "The most recent `open` dates from 08:05:42.",
    "`spur` has been showing on `cam-1` since 08:00:31 and ended with the one at 08:04:46.",
    "Just 8 out of 120 frames ended as NG.",
    "A total of 14 severity-3 defects was recorded.",
    "`short` is rare: 6 pieces over three cameras.",
    "`cam-2` sees mostly `pin-hole`: 7 out of its 8 defects.",
    "Another four frames are up for re-inspection.",
    "Detector confidence on `open` runs up to 93%, averaging 62%.",
    "In the quarter hour from 08:00 to 08:15, 26 defects were logged on `line-1`.",
    "`cam-1`: eight times `spur`, once `short`.",
    "The pair of `short` on `cam-2` came at 08:01:05 and 08:04:50.",
    "Nothing but `pin-hole` and `short` on `cam-2`, 9 in all.",
    "39% of everything found was `open`.",
    "There are 3 cameras with 7 findings on each.",
    "Four classes were found, `open` and `spur` leading with 9 each.",
    "Severity 3 applies to 12 findings.",
    "Exactly three frames could not be inspected (3 failed).",
    "It took 173 seconds from the first to the last `open`.",
    "`cam-1` alone has 7 `open`, against none elsewhere.",
    "Highest confidence: 89% for `pin-hole` on `cam-2`.",
    "7 `open` plus 2 `short` make up the 8 findings of `cam-0`.",
)
TRUE_ZH = (
    "本时段一共发现24处缺陷，`cam-0`、`cam-1`、`cam-2`各占8处。",
    "24处缺陷里，`open`7处、`spur`7处、`pin-hole`6处、`short`4处。",
    "`cam-0`以`open`为主，8处中占了7处。",
    "`cam-0`累计7处`open`，最早一处在08:00:39。",
    "最近一次`open`发生在08:05:12。",
    "`cam-1`的`spur`自08:00:13起持续到08:04:46。",
    "120帧中只有5帧被判NG。",
    "严重度为3的缺陷合计11处。",
    "`short`较少，三台相机合计4处。",
    "`cam-2`多为`pin-hole`，占其8处缺陷中的6处。",
    "还有2帧等待复检。",
    "`open`的置信度最高83%，平均62%。",
    "08:00到08:15的一刻钟内，`line-1`记录了24处缺陷。",
    "`cam-1`有七处`spur`和一处`short`。",
    "`cam-2`的两处`short`分别在08:01:05和08:04:20。",
    "`cam-2`只有`pin-hole`和`short`，总共8处。",
    "全部缺陷的29%属于`open`。",
    "三台相机都有缺陷，每台8处。",
    "共有4类缺陷，`open`和`spur`最多，各7处。",
    "其中11处缺陷的严重度是3级。",
    "1帧未能检测。",
    "第一处与最后一处`open`相隔273秒。",
    "只有`cam-0`出现`open`，共计7处。",
    "`cam-2`的`pin-hole`置信度最高，为99%。",
    "`cam-0`的8处缺陷由7处`open`和1处`short`组成。",
)
FALSE_ZH = (
    "本时段一共发现24处缺陷，`cam-0`、`cam-1`、`cam-2`各占9处。",
    "24处缺陷里，`open`7处、`spur`7处、`pin-hole`5处、`short`4处。",
    "`cam-0`以`open`为主，8处中占了6处。",
    "`cam-0`累计9处`open`，最早一处在08:00:39。",
    "最近一次`open`发生在08:05:42。",
    "`cam-1`的`spur`自08:00:31起持续到08:04:46。",
    "120帧中只有8帧被判NG。",
    "严重度为3的缺陷合计14处。",
    "`short`较少，三台相机合计6处。",
    "`cam-2`多为`pin-hole`，占其8处缺陷中的7处。",
    "还有4帧等待复检。",
    "`open`的置信度最高93%，平均62%。",
    "08:00到08:15的一刻钟内，`line-1`记录了26处缺陷。",
    "`cam-1`有八处`spur`和一处`short`。",
    "`cam-2`的两处`short`分别在08:01:05和08:04:50。",
    "`cam-2`只有`pin-hole`和`short`，总共9处。",
    "全部缺陷的39%属于`open`。",
    "三台相机都有缺陷，每台7处。",
    "共有4类缺陷，`open`和`spur`最多，各9处。",
    "其中12处缺陷的严重度是3级。",
    "3帧未能检测。",
    "第一处与最后一处`open`相隔173秒。",
    "只有`cam-1`出现`open`，共计7处。",
    "`cam-2`的`pin-hole`置信度最高，为89%。",
    "`cam-0`的8处缺陷由7处`open`和2处`short`组成。",
)

SECOND_TRUE = (
    "The tally for `cam-0`: 7 `open`, 1 `short`.",
    "There have been 24 findings in this window.",
    "`spur` is found 7 times, always on `cam-1`.",
    "Seven of `cam-1`'s 8 findings are `spur`.",
    "The last `spur` was recorded at 08:04:46.",
    "More than a quarter (29%) of the findings are `open`.",
    "2 of the 4 `short` findings come from `cam-2`.",
    "Line `line-1` inspected 120 frames, and 5 came out NG.",
    "`pin-hole` is minor (severity 1), yet it makes 6 of 24 findings.",
    "Since 08:00:39 `cam-0` has delivered 7 `open` findings.",
    "Confidence for `open` averages 62% and peaks at 83%.",
    "With 6 `pin-hole` and 2 `short`, `cam-2` matches the 8 findings of the others.",
    "Four classes occurred on three cameras.",
    "Inspect the mask of `cam-0` first: `open` recurs there, 7 times in 273 seconds.",
    "1 frame failed, 2 frames wait for re-inspection.",
)
SECOND_FALSE = (
    "The tally for `cam-0`: 7 `open`, 3 `short`.",
    "There have been 29 findings in this window.",
    "`spur` is found 9 times, always on `cam-1`.",
    "Five of `cam-1`'s 8 findings are `spur`.",
    "The last `spur` was recorded at 08:04:06.",
    "More than a quarter (27%) of the findings are `open`.",
    "3 of the 4 `short` findings come from `cam-2`.",
    "Line `line-1` inspected 120 frames, and 6 came out NG.",
    "`pin-hole` is minor (severity 2), yet it makes 6 of 24 findings.",
    "Since 08:02:39 `cam-0` has delivered 7 `open` findings.",
    "Confidence for `open` averages 72% and peaks at 83%.",
    "With 5 `pin-hole` and 2 `short`, `cam-2` matches the 8 findings of the others.",
    "Six classes occurred on three cameras.",
    "Inspect the mask of `cam-0` first: `open` recurs there, 7 times in 473 seconds.",
    "1 frame failed, 7 frames wait for re-inspection.",
)
SECOND_TRUE_ZH = (
    "`cam-0`统计：`open`7处，`short`1处。",
    "本窗口内检出缺陷24处。",
    "`spur`出现7次，均在`cam-1`。",
    "`cam-1`的8处缺陷里有7处`spur`。",
    "最后一处`spur`记录于08:04:46。",
    "超过四分之一（29%）的缺陷是`open`。",
    "4处`short`中有2处来自`cam-2`。",
    "`line-1`检测了120帧，NG为5帧。",
    "`pin-hole`严重度为1，但占24处缺陷中的6处。",
    "自08:00:39以来，`cam-0`已有7处`open`。",
    "`open`置信度平均62%，最高83%。",
    "`cam-2`有6处`pin-hole`、2处`short`，合计8处。",
    "3台相机上出现4类缺陷。",
    "请先检查`cam-0`的掩膜：`open`在273秒内出现7次。",
    "失败1帧，待复检2帧。",
)
SECOND_FALSE_ZH = (
    "`cam-0`统计：`open`7处，`short`3处。",
    "本窗口内检出缺陷29处。",
    "`spur`出现9次，均在`cam-1`。",
    "`cam-1`的8处缺陷里有5处`spur`。",
    "最后一处`spur`记录于08:04:06。",
    "超过四分之一（27%）的缺陷是`open`。",
    "4处`short`中有3处来自`cam-2`。",
    "`line-1`检测了120帧，NG为6帧。",
    "`pin-hole`严重度为2，但占24处缺陷中的6处。",
    "自08:02:39以来，`cam-0`已有7处`open`。",
    "`open`置信度平均72%，最高83%。",
    "`cam-2`有5处`pin-hole`、2处`short`，合计8处。",
    "3台相机上出现6类缺陷。",
    "请先检查`cam-0`的掩膜：`open`在473秒内出现7次。",
    "失败1帧，待复检7帧。",
)
STILL_FLAGGED = {
    "7 `open` plus 1 `short` make up the 8 findings of `cam-0`.",
    "With 6 `pin-hole` and 2 `short`, `cam-2` matches the 8 findings of the others.",
    "`cam-2`有6处`pin-hole`、2处`short`，合计8处。",
}


@pytest.mark.parametrize(
    ("said", "language"),
    [(TRUE + SECOND_TRUE, Language.ENGLISH), (TRUE_ZH + SECOND_TRUE_ZH, Language.CHINESE)],
)
def test_what_is_true_passes_but_for_what_is_known(said: tuple[str, ...], language: Language) -> None:
    flagged = {one for one in said if read(one, DATA, language).unsupported}
    assert flagged == STILL_FLAGGED & set(said)


@pytest.mark.parametrize(
    ("said", "language"),
    [(FALSE + SECOND_FALSE, Language.ENGLISH), (FALSE_ZH + SECOND_FALSE_ZH, Language.CHINESE)],
)
def test_no_lie_passes(said: tuple[str, ...], language: Language) -> None:
    assert [one for one in said if not read(one, DATA, language).unsupported] == []
