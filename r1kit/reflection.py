"""Words of reflection: does a completion doubt, check or start over? Their share is how the "aha moment" is followed.

Source: DeepSeek-R1 (Nature 645, 2025, and arXiv 2501.12948v2), the supplement's study of reasoning behaviours, which
counts the ten English words; the Chinese ones say the same.
"""

import re
from collections.abc import Iterable, Sequence
from functools import cache

ENGLISH = ("wait", "mistake", "however", "but", "retry", "error", "verify", "wrong", "evaluate", "check")
CHINESE = (
    "等等", "等一下", "且慢", "然而", "但是", "不过", "错误", "错了", "不对", "有误", "重试", "重新", "再想想", "验证",
    "验算", "检验", "检查", "核对", "评估",
)  # fmt: skip
# what a Chinese word is no reflection in: "and so on" at the end of a list, "asymmetric"
NOT_AFTER = {"等等": r"(?<![\w、」”）])"}
NOT_BEFORE = {"不对": "(?![称等应齐])"}
SPACED = "[^\\W_\u3040-\u9fff]"  # letters and digits of words that blanks divide: not kana, not Chinese


def reflection_share(completions: Sequence[str], words: Iterable[str] = ()) -> float | None:
    """Return the share of completions that hold a reflection word, None of no completions.

    Case does not matter. A word of letters that are divided by blanks stands alone ("but" is not in "button"); Chinese
    is written without blanks, and a Chinese word counts wherever it stands.

    Args:
        words: others that count too, beside the English and Chinese ones.
    """
    pattern = _pattern(tuple(words))
    return sum(bool(pattern.search(text)) for text in completions) / len(completions) if completions else None


def first_reflection(completion: str) -> re.Match[str] | None:
    """Return where the first of the known words of reflection stands in a completion, None where there is none."""
    return _pattern(()).search(completion)


@cache
def _pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(_alternative, (*ENGLISH, *CHINESE, *words))), re.IGNORECASE)


def _alternative(word: str) -> str:
    before = NOT_AFTER.get(word) or (f"(?<!{SPACED})" if re.match(SPACED, word[0]) else "")
    after = NOT_BEFORE.get(word) or (f"(?!{SPACED})" if re.match(SPACED, word[-1]) else "")
    return before + re.escape(word) + after
