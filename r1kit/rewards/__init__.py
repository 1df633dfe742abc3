"""Rewards: one a file, small functions of strings and numbers to a float, or None ("cannot be graded")."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from r1kit.rewards.accuracy import accuracy_reward
from r1kit.rewards.format import boxed_format_reward, format_reward, think_format_reward
from r1kit.rewards.language import language_reward
from r1kit.rewards.length import cosine_length_reward, overlong_reward
from r1kit.rewards.reasoning_gym import reasoning_gym_reward
from r1kit.rewards.repetition import repetition_reward
from r1kit.rewards.tags import tag_count_reward


class Reward(NamedTuple):
    """A reward, and what of a rollout it is a function of; its keyword-only arguments are its options."""

    function: Callable[..., float | None]
    arguments: Callable[[Mapping[str, Any]], tuple[Any, ...]]
    needs: tuple[str, ...] = ()  # fields of a problem, one of which there must be


def _completion(rollout: Mapping[str, Any]) -> tuple[str]:
    return (rollout["completion"],)


def _correct(rollout: Mapping[str, Any]) -> bool | None:
    accuracy = accuracy_reward(rollout["verdict"])
    return None if accuracy is None else accuracy == 1.0


def _score(rollout: Mapping[str, Any]) -> float | None:
    return rollout.get("passed") if rollout.get("reasoning_gym") is not None else None


GRADABLE = ("answer", "tests", "reasoning_gym")  # what a verdict can be passed by
REWARDS = {
    "accuracy": Reward(accuracy_reward, lambda r: (r["verdict"], r.get("passed")), GRADABLE),
    "format": Reward(format_reward, _completion),
    "boxed": Reward(boxed_format_reward, _completion),
    "think": Reward(think_format_reward, _completion),
    "tags": Reward(tag_count_reward, _completion),
    "language": Reward(language_reward, lambda r: (r["completion"], r.get("language")), ("language",)),
    "length": Reward(cosine_length_reward, lambda r: (r["completion_tokens"], _correct(r)), GRADABLE),
    "overlong": Reward(overlong_reward, lambda r: (r["completion_tokens"],)),
    "repetition": Reward(repetition_reward, _completion),
    "reasoning-gym": Reward(reasoning_gym_reward, lambda r: (_score(r),), ("reasoning_gym",)),
}
JUDGED = {"accuracy", "length", "reasoning-gym"}  # those that are functions of the verdict
COUNTED = {"length", "overlong"}  # those that are functions of completion_tokens
MODELS = ("judge", "model", "process")  # rewards given by models; loaded once for a run
EVERY_REWARD = (*REWARDS, "judge", "model:DIR", "process:DIR", "FILE.py:FUNCTION")
