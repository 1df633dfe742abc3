r"""What a text says, whatever its case, blanks and punctuation; the numbers and signs in it are never dropped.

"What is 3+4?" and "what is $3 + 4$" are the same, "What is 3+5?" is another problem.
"""

import re
import unicodedata
from collections.abc import Iterable

from r1kit.jsonl import Record

_UNSPACED = "\u3005-\u3007\u3041-\u3096\u30a1-\u30fa\u30fc\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # Chinese, kana
_PUNCTUATION = (  # but ASCII's: quotes, dashes, ellipses, full stops of other scripts
    "\u00a1\u00a7\u00ab\u00b6\u00b7\u00bb\u00bf\u0589\u05be\u05c3\u060c\u061b\u061f\u06d4\u0964\u0965\u2010-\u2027"
    "\u2030-\u2043\u2045-\u205e\u3001-\u3004\u3008-\u303f\u30fb\ufe30-\ufe4f"
)
_SIGNS = "\u00ac\u00b0\u00b1\u2190-\u2bff"  # but ASCII's
_SPACED = (
    r"\\[a-z]+|\d+(?:\.\d+)*|\.\d+"
    rf"|[^\s\d!-/:-@\[-`{{-~{_PUNCTUATION}{_SIGNS}{_UNSPACED}]+"
    rf"|[#%&()*+\-/<=>@\[\\\]^_{{|}}~{_SIGNS}]"
    r"|(?<=\d):(?=\d)|(?:(?<=[\d)])|(?<=\b[^\W\d_]))(?:!|'+)"  # 3:5, n!, f'
)
_TOKEN = re.compile(rf"{_SPACED}|[{_UNSPACED}]")
_WORD = re.compile(rf"(?:{_SPACED})+|[{_UNSPACED}]")
_RAISED = re.compile("([\u00b2\u00b3\u00b9\u2070\u2074-\u207f]+)|[\u00bc-\u00be\u2150-\u215e]")  # 10² is not 102
_SAME_SIGNS = str.maketrans(
    {**dict.fromkeys("\u2010\u2011\u2012\u2013\u2212", "-"), **dict.fromkeys("\u00d7\u00b7\u2219\u22c5", "*")}
    | {"\u00f7": "/", "\u2044": "/"}
    | dict.fromkeys("\u2018\u2019\u02bc\u2032", "'")
)
_DELIMITER = re.compile(r"\\?\$|\\[()\[\]]|\\(?=[%&#])")  # of formulas; of amounts
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:(?:,|\{,\}|\\,)\d{3})+(?![\d,])")
_INNER = re.compile(r"(?<=[^\W\d_]{2})(?:'(?=[^\W\d_])|(\s*-+\s*)(?=[^\W\d_]{2}))")  # don't; well-known, done - and


_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_OTHERS = "dozen hundred thousand million billion half third quarter once twice thrice double triple quadruple"
_NUMERALS = {
    **{word: str(number) for number, word in enumerate(_UNITS.split())},
    **{word: str(number) for number, word in zip(range(20, 100, 10), _TENS.split(), strict=True)},
    **{word: word for word in (*_OTHERS.split(), *"〇一二两三四五六七八九十百千万亿半")},
}


def prompt_text(problem: Record) -> str:
    """Return what a prompt says: of a conversation, all messages but the system's."""
    prompt = problem["prompt"]
    if isinstance(prompt, str):
        return prompt
    return "\n".join(str(message.get("content", "")) for message in prompt if message.get("role") != "system")


def normalise(text: str) -> str:
    """Return a text's tokens with a blank between two: equal for texts that say the same."""
    return " ".join(tokens(text))


def tokens(text: str) -> list[str]:
    r"""Return the words, numbers, signs and LaTeX commands of a text, each Chinese character and kana by itself.

    Case goes, and so do blanks, quotes, full stops, commas and the like, the delimiters of formulas, the commas of
    thousands, hyphens and apostrophes within words, and what NFKC does away with (wide letters, ligatures). What
    mathematics needs stays: decimal points, signs, brackets, factorials, primes, ratios, raised digits (as ^2).
    """
    return _TOKEN.findall(_plain(text))


def blank_divided(text: str) -> list[str]:
    """Return the tokens of a text, those joined that have neither blank nor punctuation between them: f(x)=3x-2."""
    return _WORD.findall(_plain(text))


def _plain(text: str) -> str:
    if not text.isascii():
        text = _RAISED.sub(lambda match: f"{'^' if match.group(1) else ' '}{match.group()} ", text)
        text = unicodedata.normalize("NFKC", text.translate(_SAME_SIGNS)).translate(_SAME_SIGNS)
    text = text.casefold()
    if "$" in text or "\\" in text:
        text = _DELIMITER.sub(" ", text)
    if "," in text:
        text = _THOUSANDS.sub(lambda match: re.sub(r"\D", "", match.group()), text)
    if "'" in text or "-" in text:
        text = _INNER.sub(lambda match: " " if match.group(1) else "", text)
    return text


def numbers(words: Iterable[str]) -> list[str]:
    """Return the numbers among tokens, in order; three and 3 are the same."""
    return [_NUMERALS.get(word, word) for word in words if word in _NUMERALS or word[-1].isdigit()]


def figures(words: Iterable[str]) -> list[str]:
    """Return the numbers, signs and LaTeX commands among tokens, in order: all but words."""
    return [_NUMERALS.get(word, word) for word in words if word in _NUMERALS or not word[0].isalpha()]
