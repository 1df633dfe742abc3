"""Length: a schedule that makes short right answers and long wrong ones worth more, and a penalty near the limit."""

from math import cos, pi


def cosine_length_reward(
    completion_tokens: int,
    correct: bool | None,
    *,
    max_tokens: int,
    correct_short: float = 2.0,
    correct_long: float = 1.0,
    wrong_short: float = -10.0,
    wrong_long: float = 0.0,
    exceeded: float = -10.0,
) -> float | None:
    """Return a reward that runs along half a cosine from its value at length 0 to that at `max_tokens`.

    Right answers fall from `correct_short` to `correct_long`, wrong ones rise from `wrong_short` to `wrong_long`; a
    completion that reaches `max_tokens` has `exceeded`. None where it is not known whether the answer is right.
    Lengths are tokens.

    Source: Yeo et al. 2025, "Demystifying Long Chain-of-Thought Reasoning in LLMs" (arXiv 2502.03373), section 4.2,
    whose values are the defaults.
    """
    if correct is None:
        return None
    if completion_tokens >= max_tokens:
        return exceeded
    short, long = (correct_short, correct_long) if correct else (wrong_short, wrong_long)
    return long + 0.5 * (short - long) * (1.0 + cos(pi * completion_tokens / max_tokens))


def overlong_reward(completion_tokens: int, *, max_tokens: int, buffer: int | None = None) -> float:
    """Return 0 up to `max_tokens` - `buffer` tokens, then a straight line down to -1 at `max_tokens`, and -1 beyond.

    `buffer` is a fifth of `max_tokens` where it is not said, as in the paper (4,096 of 20,480).

    Source: DAPO (arXiv 2503.14476), equation 13.
    """
    width = max_tokens // 5 if buffer is None else buffer
    over = completion_tokens - (max_tokens - width)
    if over <= 0:
        return 0.0
    return -1.0 if over > width or width == 0 else -over / width
