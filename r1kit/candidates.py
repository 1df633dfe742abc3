"""What a search draws and finds: candidates, which are completions or the starts of them, and what they cost."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import fmean
from typing import Literal

from r1kit.errors import Ungradable
from r1kit.jsonl import Record

DIGITS = 6  # of a score: the float noise of batching seldom decides

Position = tuple[int, ...]  # where a candidate stands in the tree: 0.3.1 is child 1 of child 3 of first step 0
FinishReason = Literal["stop", "length", "error"]


@dataclass(frozen=True)
class Candidate:
    """A completion, or the start of one that ends with a step: a path from the root of a tree of steps."""

    position: Position
    text: str = ""
    token_ids: list[int] = field(default_factory=list)  # of the whole path, the end token included
    logprobs: list[float] = field(default_factory=list)  # nats, of each token
    completion_tokens: int = 0
    finish_reason: FinishReason | None = None  # None: it goes on
    error: str = ""  # why, where finish_reason is "error"
    step_scores: list[float] | None = None  # None without a scorer, and where it cannot score the candidate
    score: float | None = None  # higher is better; None: not scored, which ranks last

    @property
    def mean_logprob(self) -> float | None:
        """The mean log-probability of a token, None where none is known."""
        return round(fmean(self.logprobs), DIGITS) if self.logprobs and self.finish_reason != "error" else None


ROOT = Candidate(())


@dataclass(frozen=True)
class Seed:
    """A candidate to draw: at `position`, from where `parent` ends, up to the end of a step or the `whole` rest."""

    parent: Candidate
    position: Position
    whole: bool


@dataclass(frozen=True)
class Found:
    """What the search on one problem came to."""

    problem: Record
    prompt_tokens: int
    candidates: list[Candidate]  # finished ones, best first
    generated_tokens: int  # all that were drawn, those of dropped candidates and of lookahead included
    prm_tokens: int  # all that the scorer read


@dataclass
class SearchSummary:
    """What the searches add up to."""

    problems: int = 0
    generated_tokens: int = 0
    prm_tokens: int = 0
    unscored: Counter[str] = field(default_factory=Counter)  # candidates, by reason
    first: dict[str, str] = field(default_factory=dict)  # the place of the first of a reason

    def add(self, found: Found) -> None:
        """Count one problem."""
        self.problems += 1
        self.generated_tokens += found.generated_tokens
        self.prm_tokens += found.prm_tokens

    def add_unscored(self, problem: Record, why: Ungradable) -> None:
        """Count a candidate that the scorer cannot score."""
        self.unscored[str(why)] += 1
        self.first.setdefault(str(why), problem.place)

    def lines(self) -> list[str]:
        """Return the summary as text: what it cost, and a line for each reason not to score."""
        read = f", {self.prm_tokens} read by the process reward model" if self.prm_tokens else ""
        lines = [f"{self.problems} problems searched: {self.generated_tokens} tokens generated{read}"]
        for reason, count in self.unscored.most_common():
            lines.append(f"  {count} candidates not scored, so ranked last: {reason} (first: {self.first[reason]})")
        return lines


def best_first(candidates: list[Candidate]) -> list[Candidate]:
    """Return candidates by score, highest first; of equal scores the one that stands first in the tree."""
    return sorted(candidates, key=lambda c: (c.score is None, -(c.score or 0.0), c.position))


def found_rollouts(found: Found, method: str, budget: int, with_logprobs: bool) -> Iterator[Record]:
    """Yield what was found as rollouts, best first; each carries what the search on its problem cost."""
    for sample, candidate in enumerate(found.candidates):
        rollout = found.problem.derive(
            sample=sample,
            completion=candidate.text,
            finish_reason=candidate.finish_reason,
            prompt_tokens=found.prompt_tokens,
            completion_tokens=candidate.completion_tokens,
            score=candidate.score,
            search=method,
            budget=budget,
            generated_tokens=found.generated_tokens,
            prm_tokens=found.prm_tokens,
        )
        if candidate.step_scores is not None:
            rollout["step_scores"] = candidate.step_scores
        if candidate.error:
            rollout["error"] = candidate.error
        if with_logprobs:
            rollout["logprobs"] = [round(value, 6) for value in candidate.logprobs]
        yield rollout
