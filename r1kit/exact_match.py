"""Exact match: a short answer in words is right where it is the gold answer as text, but for how it is written.

Source: Rajpurkar et al. 2016 (arXiv 1606.05250), section 6.1, which ignores punctuation and articles. Here punctuation
within words stays, as do a minus sign, the percent of a number, and an article that ends the text ("vitamin A").
"""

import re
import unicodedata

from r1kit.answer import answer_part, short_answer

LONGEST = 80  # characters of a gold answer that is compared as text
ARTICLES = {"a", "an", "the"}
MEANINGFUL = "%#&@"  # punctuation that is part of a word: 5 %, C#
SIGNED = re.compile(r"[-.]+(?=\d)")  # how a number may begin
THOUSANDS = re.compile(r"-?\d{1,3}(,\d{3})+(\.\d+)?")
SAID = re.compile(  # what stands before the answer in a sentence that says no more than it
    r"(?:\b(?i:the\s+(?:(?:final|correct|right)\s+)?answer\s+is|answer\s*:)|答案\s*(?:应该)?(?:是|为|：|:))"
    r"[\s*_:：]*(?=[^\s*_:：,.;!?，。；！？])"
)


def is_short(gold: str) -> bool:
    """Tell whether a gold answer is one that can be asked for word by word."""
    return len(gold) <= LONGEST and "\n" not in gold


def equal_texts(gold: str, answer: str) -> bool:
    """Tell whether an answer is the gold answer as text."""
    return normal_text(gold) == normal_text(answer)


def normal_text(text: str) -> str:
    """Return a text as it is compared: NFKC, no case, words without punctuation at their edges, and no articles.

    A number has no commas between thousands. Where nothing would be left, it is the text without case.
    """
    plain = unicodedata.normalize("NFKC", text).casefold().replace("\N{MINUS SIGN}", "-")
    words = [word for part in plain.split() if (word := _bare(part))]
    last = words[-1:]
    kept = [word for word in words[:-1] if word not in ARTICLES] + last
    return " ".join(kept or plain.split())


def _bare(word: str) -> str:
    """Return a word without the punctuation at its edges."""
    start, end = 0, len(word)
    while start < end and _is_edge(word[start]) and not SIGNED.match(word, start):
        start += 1
    while end > start and _is_edge(word[end - 1]):
        end -= 1
    word = word[start:end]
    return word.replace(",", "") if THOUSANDS.fullmatch(word) else word


def _is_edge(character: str) -> bool:
    return unicodedata.category(character).startswith("P") and character not in MEANINGFUL


def stated_text(completion: str) -> str:
    r"""Return the answer that a completion states as text, "" where it states none.

    What its last <answer> holds, of that the last \boxed{…}; where it has neither, what follows "the answer is" in its
    last line; else all of the part after the reasoning.
    """
    short, part = short_answer(completion), answer_part(completion)
    tagged = 0 <= completion.find("<answer>") < completion.rfind("</answer>")
    if tagged or short != part:
        return short
    said = list(SAID.finditer(part, part.rfind("\n") + 1))
    return part[said[-1].end() :].strip("*_ \t.!。！") if said else part
