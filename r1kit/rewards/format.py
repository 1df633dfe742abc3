"""Format: is the reasoning in <think> tags and the answer in <answer> tags?"""

import re

_STRICT = re.compile(r"\s*<think>(.+?)</think>\s*<answer>(.+?)</answer>\s*", re.DOTALL)
_TAGS = ("<think>", "</think>", "<answer>", "</answer>")


def format_reward(completion: str) -> float:
    """Return 1.0 where a completion is exactly <think>…</think> then <answer>…</answer>, else 0.0.

    Each tag must stand once, both blocks must hold text, and nothing may follow </answer>.
    Source: DeepSeek-R1 (arXiv 2501.12948), section 2.2.2 and table 1.
    """
    match = _STRICT.fullmatch(completion)
    if match is None or any(completion.count(tag) != 1 for tag in _TAGS):
        return 0.0
    return float(all(block.strip() for block in match.groups()))
