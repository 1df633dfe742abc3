"""reasoning-gym: the score that a task gives an answer to a problem it has made."""


def reasoning_gym_reward(score: float | None) -> float | None:
    """Return the score of the task's own `score_answer`, in [0, 1]; None where the problem is none of reasoning-gym.

    Many tasks give a part of it to an answer that is near the right one or in another form, and some 0.01 to any;
    `accuracy` is 1.0 where this is 1.0.
    """
    return score
