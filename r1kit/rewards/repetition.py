"""Repetition: a penalty for saying the same again and again."""

import re

_UNSPACED = "\u3005-\u3007\u3041-\u3096\u30a1-\u30fa\u30fc\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # Chinese, kana
_WORD = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]+")


def repetition_reward(completion: str, *, n: int = 3, max_penalty: float = -1.0) -> float:
    """Return `max_penalty` times the share of n-grams of words that have stood before; 0 where there are less than two.

    Words are what blanks divide, in lower case; each Chinese character and each kana is a word, so that Chinese is not
    one word. Long texts repeat some 3-grams in all innocence: the paper's runs take n = 40.

    Raises:
        ValueError: `n` is below 1 or `max_penalty` above 0.

    Source: Yeo et al. 2025, "Demystifying Long Chain-of-Thought Reasoning in LLMs" (arXiv 2502.03373), appendix C.2,
    where the penalty falls on the repeating tokens; as one number for the completion it is in their code for wrong
    answers, and in open-r1 and TRL, whose n = 3 is the default here. TRL takes the tokenizer's tokens as words.
    """
    if n < 1 or max_penalty > 0:
        raise ValueError(f"n is {n} and max_penalty {max_penalty:g}; n must be 1 or more, max_penalty 0 or less")
    words = _WORD.findall(completion.lower())
    total = len(words) - n + 1
    if total < 2:
        return 0.0
    repeated = total - len(set(zip(*(words[start:] for start in range(n)), strict=False)))
    return max_penalty * repeated / total if repeated else 0.0
