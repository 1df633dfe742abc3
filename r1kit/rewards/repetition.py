"""Repetition: a penalty for saying the same again and again."""

import re

_TOKEN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]|[^\s\u3400-\u4dbf\u4e00-\u9fff]+")


def repetition_reward(completion: str, *, n: int = 3, max_penalty: float = -1.0) -> float:
    """Return `max_penalty` times the share of n-grams of words that have stood before; 0 where there are less than two.

    Words are what blanks divide, in lower case; a Chinese character is a word.

    Source: Yeo et al. 2025, "Demystifying Long Chain-of-Thought Reasoning in LLMs" (arXiv 2502.03373), whose
    penalty falls on the repeating tokens; here it is one number for the completion.
    """
    words = _TOKEN.findall(completion.lower())
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    if len(grams) < 2:
        return 0.0
    repeated = len(grams) - len(set(grams))
    return max_penalty * repeated / len(grams) if repeated else 0.0
