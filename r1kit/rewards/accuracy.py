"""Accuracy: is the final answer right, does the program pass its tests?"""


def accuracy_reward(verdict: str | None, passed: float | None = None, *, partial: bool = False) -> float | None:
    """Return 1.0 where the verdict on a completion is "correct", else 0.0; None where there is no such verdict.

    Args:
        passed: of a program, the share of its tests that it passes.
        partial: give a program that share, and not all or nothing.

    Source: DeepSeek-R1 (arXiv 2501.12948), section 2.2.2.
    """
    if verdict in (None, "gold_unparseable"):
        return None
    if partial and passed is not None:
        return passed
    return float(verdict == "correct")
