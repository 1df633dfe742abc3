"""Accuracy: is the final answer right?"""

from r1kit.answer import answer_part, equal_answers


def accuracy_reward(completion: str, answer: str | None, kind: str = "math") -> float | None:
    """Return 1.0 where the completion's answer equals the gold answer, else 0.0; None where that cannot be graded.

    It cannot where there is no gold answer, where math-verify reads none in it, and for kinds other than math.
    Source: DeepSeek-R1 (arXiv 2501.12948), section 2.2.2.
    """
    if answer is None or kind != "math":
        return None
    equal = equal_answers(str(answer), answer_part(completion))
    return None if equal is None else float(equal)
