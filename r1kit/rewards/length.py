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
    completion that reaches `max_tokens` has `exceeded`, right or wrong. None where it is not known whether the answer
    is right. Lengths are tokens.

    Raises:
        ValueError: `max_tokens` is below 1.

    Source: Yeo et al. 2025, "Demystifying Long Chain-of-Thought Reasoning in LLMs" (arXiv 2502.03373), section 4.2,
    whose values are the defaults; their code has `exceeded` from 16 tokens before the limit. open-r1's cosine reward
    counts characters, has no `exceeded`, and lets the cosine rise again beyond the limit.
    """
    if max_tokens < 1:
        raise ValueError(f"max_tokens is {max_tokens}; say how many tokens a completion may have")
    if correct is None:
        return None
    if completion_tokens >= max_tokens:
        return exceeded
    short, long = (correct_short, correct_long) if correct else (wrong_short, wrong_long)
    return long + 0.5 * (short - long) * (1.0 + cos(pi * completion_tokens / max_tokens))


def overlong_reward(completion_tokens: int, *, max_tokens: int, buffer: int | None = None) -> float:
    """Return 0 up to `max_tokens` - `buffer` tokens, then a straight line down to -1 at `max_tokens`, and -1 beyond.

    Args:
        buffer: tokens; a fifth of `max_tokens` where it is not said, as in the paper (4,096 of 20,480). 0 punishes only
            what is longer than `max_tokens`.

    Raises:
        ValueError: `max_tokens` is below 1, or `buffer` is below 0 or above `max_tokens`.

    Source: DAPO (arXiv 2503.14476), equation 13.
    """
    width = max_tokens // 5 if buffer is None else buffer
    if max_tokens < 1 or not 0 <= width <= max_tokens:
        raise ValueError(f"max_tokens is {max_tokens} and buffer {width}; buffer must lie between 0 and max_tokens")
    over = completion_tokens - (max_tokens - width)
    if over <= 0:
        return 0.0
    return -1.0 if over > width else -over / width
