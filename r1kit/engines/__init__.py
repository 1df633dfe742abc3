"""Where completions come from: prompts as token ids in, completions with finish reason and log-probabilities out."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Sampling:
    """How completions are drawn."""

    temperature: float = 1.0  # 0 is greedy
    top_p: float = 1.0
    max_tokens: int = 256
    seed: int = 0


@dataclass(frozen=True)
class Completion:
    """One completion: its token ids (the end token included), their log-probabilities in nats, and why it ended."""

    token_ids: list[int]
    logprobs: list[float]
    finish_reason: Literal["stop", "length"]
