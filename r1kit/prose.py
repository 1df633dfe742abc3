"""R1's prose filters: what a chain of thought must not look like, to be worth imitating.

R1 kept only right completions, and of those dropped chains of thought with mixed languages, long paragraphs and code
blocks. The paper gives no numbers; the defaults here are r1kit's.
Source: DeepSeek-R1 (arXiv 2501.12948), section 2.3.3, "Reasoning data".
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from r1kit.errors import UserError
from r1kit.jsonl import Record
from r1kit.rewards.language import SCRIPTS, chain_of_thought, language_of, language_reward
from r1kit.rewards.repetition import repetition_reward
from r1kit.verdict import kind_of

LANGUAGE_SHARE = 0.9  # of the words; a name or a quoted word in another language is no mixture
PARAGRAPH_WORDS = 300  # about a page
REPEATED_WORDS = 20  # words of an n-gram whose return is a repetition
_UNSPACED = SCRIPTS["east asian"].letters
_WORD = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]+")
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)", re.MULTILINE)
_LAST_BLOCK = re.compile(r"^[ \t]*```(?:(?!^[ \t]*```).)*^[ \t]*```[ \t]*$(?!.*^[ \t]*```)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class ProseFilters:
    """Which chains of thought are dropped; None: no such limit."""

    mixed_language: float | None = LANGUAGE_SHARE  # least share of words in the right language
    max_paragraph: int | None = PARAGRAPH_WORDS  # words without a line break
    code_blocks: bool = False  # whether they may stand in the reasoning


NO_FILTERS = ProseFilters(None, None, True)


def prose_filters(on: bool, share: float | None, words: int | None, code_blocks: bool | None) -> ProseFilters:
    """Return R1's filters, or none, but for what is said: 0 is no limit."""
    usual = ProseFilters() if on else NO_FILTERS
    return ProseFilters(
        usual.mixed_language if share is None else share or None,
        usual.max_paragraph if words is None else words or None,
        usual.code_blocks if code_blocks is None else code_blocks,
    )


def reasoning_of(rollout: Mapping[str, Any]) -> str:
    """Return a rollout's chain of thought: what stands before </think>, else the whole.

    Where nothing tells reasoning from answer, the last fenced block of a completion to a code problem is the answer.
    """
    completion: str = rollout["completion"]
    if "</think>" in completion or kind_of(rollout) != "code":
        return chain_of_thought(completion)
    return _LAST_BLOCK.sub("", chain_of_thought(completion))


def words_of(text: str) -> list[str]:
    """Return the words of a text: what blanks divide; each Chinese character and each kana is one."""
    return text.split() if text.isascii() else _WORD.findall(text)


def longest_paragraph(reasoning: str) -> int:
    """Return the number of words of the longest paragraph: text without a line break."""
    return max((len(words_of(line)) for line in reasoning.split("\n")), default=0)


def has_code_block(reasoning: str) -> bool:
    """Tell whether a line opens or closes a fenced block."""
    return _FENCE.search(reasoning) is not None


def repeated_share(reasoning: str) -> float:
    """Return the share of 20-grams of words that have stood before."""
    return repetition_reward(reasoning, n=REPEATED_WORDS, max_penalty=-1.0) * -1.0


def language_share(rollout: Record) -> float | None:
    """Return the share of the reasoning's words in the problem's language, None where it has no words.

    A problem that names none is held to the language that most of the reasoning is in.

    Raises:
        UserError: the problem's language is not known.
    """
    reasoning = reasoning_of(rollout)
    try:
        return language_reward(reasoning, rollout.get("language") or language_of(reasoning))
    except ValueError as error:
        raise UserError(rollout.place, str(error), "name a known one, or say --mixed-language 0") from None
