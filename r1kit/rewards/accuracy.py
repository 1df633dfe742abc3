"""Accuracy: is the final answer right?"""

from r1kit.answer import answer_part, judge


def accuracy_reward(completion: str, answer: str | None, kind: str = "math") -> float | None:
    """Return 1.0 where the completion's answer equals the gold answer, else 0.0; None where that cannot be graded.

    It cannot where there is no gold answer, where math-verify reads none in it, and for kinds other than math. What
    math-verify cannot decide within the limits is not right.
    Source: DeepSeek-R1 (arXiv 2501.12948), section 2.2.2.
    """
    if answer is None or kind != "math":
        return None
    verdict = judge(str(answer), answer_part(completion)).verdict
    return None if verdict == "gold_unparseable" else float(verdict == "correct")
