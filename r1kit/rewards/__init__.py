"""Rewards: one a file, small functions from strings to a float or None ("cannot be graded")."""

from collections.abc import Callable, Mapping
from typing import Any

from r1kit.rewards.accuracy import accuracy_reward
from r1kit.rewards.format import format_reward

# name: the reward of a rollout record
REWARDS: dict[str, Callable[[Mapping[str, Any]], float | None]] = {
    "accuracy": lambda rollout: accuracy_reward(
        rollout["completion"], rollout.get("answer"), rollout.get("kind") or "math"
    ),
    "format": lambda rollout: format_reward(rollout["completion"]),
}
