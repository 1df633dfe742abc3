"""The line that a training step leaves in log.jsonl."""

from collections.abc import Iterable, Sequence
from math import isfinite
from statistics import fmean
from typing import Any

from r1kit.jsonl import Record
from r1kit.reflection import reflection_share
from r1kit.reward_spec import RewardPart
from r1kit.rewards.accuracy import accuracy_reward
from r1kit.verdict import kind_of

Line = dict[str, Any]

# seconds: of sampling, of waiting for rewards, of old and reference log-probabilities, and of training
PHASES = ("generate", "grade", "score", "train")
COUNTED_PHASES = ("generate", "train")  # tokens
TIMED = ("seconds", "tokens_per_second")  # what differs between two runs that are the same
EQUAL = 1e-6  # rewards that differ by less are the same but for rounding
# the trainer's name: ours; not every algorithm has them
WHERE_THERE = {
    "kl": "kl",
    "clip_ratio/low_mean": "clip_low",
    "clip_ratio/high_mean": "clip_high",
    "cispo_clip_ratio": "clip_high",  # CISPO clips nothing from below
    "logprob_difference": "logprob_difference",
    "sampling/importance_sampling_ratio/mean": "importance_ratio",
    "rows/trained": "trained",
}


def log_line(
    step: int, logs: Line, rollouts: Sequence[Record], parts: Iterable[RewardPart], words: Iterable[str] = ()
) -> Line:
    """Return a step's line of log.jsonl.

    Lengths are in tokens; entropy, KL and difference of log-probabilities in nats a token; shares from 0 to 1. A value
    is null where there is nothing to take it from (no rollout is judged, none is right), or where it is not finite.

    Args:
        logs: the trainer's own log of the step.
        rollouts: the scored rollouts that it trained on, groups together.
        parts: of the sum of rewards.
        words: of reflection, beside the known ones.
    """
    return {
        "step": step,
        **_reward_fields(rollouts, parts),
        **_length_fields(rollouts),
        "entropy": _finite(logs["entropy"]),
        **{ours: _finite(logs[theirs]) for theirs, ours in WHERE_THERE.items() if theirs in logs},
        **_signal_fields(rollouts),
        "resampled": int(logs.get("resampled", 0)),
        "reflection": reflection_share([rollout["completion"] for rollout in rollouts], words),
        **{name: _finite(logs[name]) for name in ("loss", "grad_norm", "learning_rate")},
        **_speed_fields(logs),
    }


def mean_of_known(values: Iterable[float | None]) -> float | None:
    """Return the mean of those that are not None."""
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def column_name(part: RewardPart) -> str:
    """Return what a part of the sum is called in a log: by its name, "KIND=NAME" where it grades one kind only."""
    return part.name if part.kind is None else f"{part.kind}={part.name}"


def zero_signal_share(rollouts: Sequence[Record]) -> float:
    """Return the share of groups whose rewards are all equal, to rounding: they teach nothing.

    TRL's own share asks for a standard deviation of 0, which rounding keeps it from.
    """
    return fmean(not has_signal(group) for group in _groups(rollouts))


def has_signal(group: Iterable[Record]) -> bool:
    """Tell whether the rewards of a group differ, by more than rounding."""
    rewards = [rollout["reward"] for rollout in group if rollout["reward"] is not None]
    return bool(rewards) and max(rewards) - min(rewards) >= EQUAL


def _groups(rollouts: Sequence[Record]) -> list[list[Record]]:
    """Return the rollouts by group; a problem may have two of them."""
    groups: list[list[Record]] = []
    for rollout in rollouts:
        if rollout["sample"] == 0:
            groups.append([])
        groups[-1].append(rollout)
    return groups


def _reward_fields(rollouts: Sequence[Record], parts: Iterable[RewardPart]) -> Line:
    columns = {
        column_name(part): mean_of_known(r["rewards"][part.name] for r in rollouts if part.kind in (None, kind_of(r)))
        for part in parts
    }
    kinds = sorted({kind_of(rollout) for rollout in rollouts})
    return {
        "reward": mean_of_known(rollout["reward"] for rollout in rollouts),
        "rewards": columns,
        "accuracy": _accuracy(rollouts),
        "accuracies": {kind: _accuracy(r for r in rollouts if kind_of(r) == kind) for kind in kinds},
    }


def _accuracy(rollouts: Iterable[Record]) -> float | None:
    return mean_of_known(accuracy_reward(rollout["verdict"]) for rollout in rollouts)


def _length_fields(rollouts: Sequence[Record]) -> Line:
    def length(*accuracies: float | None) -> float | None:
        return mean_of_known(r["completion_tokens"] for r in rollouts if accuracy_reward(r["verdict"]) in accuracies)

    return {
        "length": length(1.0, 0.0, None),
        "length_right": length(1.0),
        "length_wrong": length(0.0),
        "truncated": fmean(rollout["finish_reason"] == "length" for rollout in rollouts),
    }


def _signal_fields(rollouts: Sequence[Record]) -> Line:
    """Return how many groups teach nothing, and which problems were solved by all or by none of a group's rollouts."""
    judged = [(g[0]["id"], {accuracy_reward(r["verdict"]) for r in g} - {None}) for g in _groups(rollouts)]
    return {
        "zero_signal": zero_signal_share(rollouts),
        "always_right": list(dict.fromkeys(problem for problem, seen in judged if seen == {1.0})),
        "never_right": list(dict.fromkeys(problem for problem, seen in judged if seen == {0.0})),
    }


def _speed_fields(logs: Line) -> Line:
    """Return tokens and seconds by phase; `sync`, of handing weights to vLLM, stands there where it happened."""
    seconds = {phase: logs.get(f"seconds/{phase}", 0.0) for phase in PHASES}
    seconds |= {"sync": logs["seconds/sync"]} if "seconds/sync" in logs else {}
    tokens = {phase: int(logs.get(f"tokens/{phase}", 0)) for phase in COUNTED_PHASES}
    speed = {phase: round(tokens[phase] / seconds[phase], 1) if seconds[phase] else None for phase in COUNTED_PHASES}
    return {
        "tokens": tokens,
        "tokens_per_second": speed,
        "seconds": {phase: round(value, 3) for phase, value in seconds.items()},
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and isfinite(value) else None
