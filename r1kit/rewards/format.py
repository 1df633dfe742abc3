"""Format: is the reasoning where it belongs, and the answer?"""

import re

_STRICT = re.compile(r"\s*<think>(.+?)</think>\s*<answer>(.+?)</answer>\s*", re.DOTALL)
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)  # a backslash takes the brace behind it along
_TAGS = ("<think>", "</think>", "<answer>", "</answer>")


def format_reward(completion: str) -> float:
    """Return 1.0 where a completion is exactly <think>…</think> then <answer>…</answer>, else 0.0.

    Each tag must stand once, both blocks must hold text, and nothing may follow </answer>.
    Source: DeepSeek-R1 (arXiv 2501.12948), section 2.2.2 and table 1.
    """
    if any(completion.count(tag) != 1 for tag in _TAGS):  # first: the expression's time is linear only then
        return 0.0
    match = _STRICT.fullmatch(completion)
    return float(match is not None and all(block.strip() for block in match.groups()))


def boxed_format_reward(completion: str, *, prefilled: bool | None = None) -> float:
    r"""Return 1.0 where a completion is <think>…</think> then text with exactly one filled \boxed{…}, else 0.0.

    Text may stand around the box, whose braces must balance (\{ and \} aside) and hold more than blanks and braces.
    Boxes in the reasoning do not count, \fbox is none, and no <answer> tag may follow the reasoning. `prefilled` is as
    in `think_format_reward`.

    Source: DeepSeek-R1 (arXiv 2501.12948), section 2.2.2, whose mathematics ends in a box.
    """
    blocks = _think_and_rest(completion, prefilled)
    if blocks is None or "<answer>" in blocks[1] or "</answer>" in blocks[1]:
        return 0.0
    _, *boxes = blocks[1].split("\\boxed{")
    return float(len(boxes) == 1 and _is_filled(boxes[0]))


def think_format_reward(completion: str, *, prefilled: bool | None = None) -> float:
    """Return 1.0 where a completion is <think>…</think> and then text, else 0.0.

    Each tag must stand once, <think> first of all, and both parts must hold text. What follows is free.

    Args:
        prefilled: whether the prompt ends in <think>, as some chat templates make it, which the completion then lacks;
            None: either will do.
    """
    return float(_think_and_rest(completion, prefilled) is not None)


def _think_and_rest(completion: str, prefilled: bool | None) -> tuple[str, str] | None:
    """Return the reasoning and what follows it, both with text, each tag once; else None."""
    if prefilled is None:
        prefilled = "<think>" not in completion
    text = f"<think>{completion}" if prefilled else completion
    if text.count("<think>") != 1 or text.count("</think>") != 1 or not text.lstrip().startswith("<think>"):
        return None
    inside, _, rest = text.lstrip().removeprefix("<think>").partition("</think>")
    return (inside, rest) if inside.strip() and rest.strip() else None


def _is_filled(box: str) -> bool:
    """Tell whether the text behind an open brace closes it, with something in between."""
    depth = 1
    for brace in _BRACE.finditer(box):
        depth += {"{": 1, "}": -1}.get(brace.group(), 0)
        if depth == 0:
            return bool(box[: brace.start()].strip("{} \t\r\n"))
    return False
