"""Search methods: which candidates a round draws, given what the round before came to.

Sources: Snell et al. 2024, "Scaling LLM Test-Time Compute Optimally" (arXiv 2408.03314), section 5 and appendix, for
best-of-n, beam and lookahead; Beeching et al. 2024, "Scaling test-time compute with open models" (search-and-learn),
for dvts, diverse verifier tree search; Li et al. 2024, "Escape Sky-high Cost" (arXiv 2401.10480), for self-consistency
that stops early.

Where this departs from them: a finished candidate keeps its place in the beam until better ones take it, so that a
search ends once nothing better is being drawn; dvts finds one candidate a subtree, and leaves out the siblings of the
last step, which search-and-learn adds. Candidates with the same text are candidates of their own, as in Snell et al.
(search-and-learn can drop them): their children differ.
"""

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Literal, get_args

from r1kit.candidates import DIGITS, ROOT, Candidate, Seed, best_first
from r1kit.errors import UsageError
from r1kit.jsonl import Record
from r1kit.rewards.process import Aggregate
from r1kit.vote import Poll, VotePlan

SearchMethod = Literal["best-of-n", "beam", "dvts", "lookahead", "self-consistency"]
TREES = ("beam", "dvts", "lookahead")

# the seeds of a round out, the scored candidates that grew from them in; in the end, what was found
Strategy = Generator[list[Seed], list[Candidate], list[Candidate]]


@dataclass(frozen=True)
class SearchPlan:
    """How to search. N and M are the letters of Snell et al.

    Raises:
        UsageError: a value that cannot be.
    """

    method: SearchMethod
    n: int  # N, the budget: candidates of each problem
    width: int = 4  # M: continuations of each of the N/M candidates that are kept; of self-consistency, its window
    lookahead: int = 1  # k: greedy steps ahead, by which lookahead scores a step
    aggregate: Aggregate = "last"
    separator: str = "\n\n"  # ends a step
    max_steps: int = 64  # the last one runs to the end of the completion
    batch: int = 32  # problems searched side by side
    first: int = 0  # of best-of-n: the sample to begin with, where those before it are drawn already

    def __post_init__(self) -> None:
        for said, known in [(self.method, get_args(SearchMethod)), (self.aggregate, get_args(Aggregate))]:
            if said not in known:
                raise UsageError("--search", f'"{said}" is none', f"say {', '.join(known)}")
        for name in ("n", "width", "max_steps", "batch"):
            if getattr(self, name) < 1:
                raise UsageError("--search", f"{name} {getattr(self, name)} is too few", "say 1 or more")
        if self.method in TREES and self.n % self.width:
            what = f"{self.method} of {self.n} candidates cannot keep one in {self.width}"
            raise UsageError("--search", what, f"say a multiple of {self.width}")
        if self.method == "self-consistency" and self.width < 2:
            raise UsageError("--search", "a window of one sample always agrees", "say a width of 2 or more")
        if self.method == "lookahead" and self.lookahead < 0:
            raise UsageError("--search", f"lookahead {self.lookahead} is too few", "say 0 or more")
        if not self.separator:
            raise UsageError("--search", "an empty separator ends no step", "say another separator")


def strategy(plan: SearchPlan, problem: Record) -> Strategy:
    """Return the search on one problem, by the plan's method."""
    if plan.method == "best-of-n":
        return _best_of_n(plan)
    if plan.method == "self-consistency":
        return _self_consistency(plan, problem)
    return _tree(plan)


def _best_of_n(plan: SearchPlan) -> Strategy:
    """Draw N completions."""
    return best_first((yield [Seed(ROOT, (sample,), True) for sample in range(plan.first, plan.n)]))


def _tree(plan: SearchPlan) -> Strategy:
    """Draw N first steps; then, round by round, M continuations of each of the N/M best that are not finished.

    beam, lookahead: the best of all; found are the N best that finished, whenever they did.
    dvts: the best of each of N/M subtrees, which have M first steps each; found is the best that finished of each.
    """
    trees, places = (plan.n // plan.width, 1) if plan.method == "dvts" else (1, plan.n // plan.width)
    kept: list[list[Candidate]] = [[] for _ in range(trees)]
    finished: list[list[Candidate]] = [[] for _ in range(trees)]
    seeds = [_seed(ROOT, first, plan) for first in range(plan.n)]
    while seeds:
        grown: list[list[Candidate]] = [[c for c in tree if c.finish_reason] for tree in kept]
        for candidate in (yield seeds):
            tree = candidate.position[0] * trees // plan.n
            grown[tree].append(candidate)
            if candidate.finish_reason:
                finished[tree].append(candidate)
        kept = [best_first(tree)[:places] for tree in grown]
        going_on = [candidate for tree in kept for candidate in tree if not candidate.finish_reason]
        seeds = [_seed(candidate, child, plan) for candidate in going_on for child in range(plan.width)]
    most = 1 if plan.method == "dvts" else plan.n
    return best_first([candidate for tree in finished for candidate in best_first(tree)[:most]])


def _seed(parent: Candidate, child: int, plan: SearchPlan) -> Seed:
    position = (*parent.position, child)
    return Seed(parent, position, whole=len(position) == plan.max_steps)


def _self_consistency(plan: SearchPlan, problem: Record) -> Strategy:
    """Draw completions a window of M at a time, until one window agrees, no vote to come can matter, or there are N.

    Found are all that were drawn; the score of each is the share of the votes that its answer has.
    """
    drawn: list[Candidate] = []
    poll = Poll(problem, VotePlan(), plan.n)
    while len(drawn) < plan.n and poll.decided_at is None:
        window = range(len(drawn), min(len(drawn) + plan.width, plan.n))
        drawn += yield [Seed(ROOT, (sample,), True) for sample in window]
        for candidate in drawn[window.start :]:
            poll.cast(problem.derive(completion=candidate.text, finish_reason=candidate.finish_reason))
        said = {ballot.answer for ballot in poll.ballots[window.start :]}
        if len(said) == 1 and None not in said:
            break
    votes = poll.totals()
    shares = [0.0 if said is None else votes[said] / sum(votes.values()) for said, _ in poll.ballots]
    return best_first([replace(c, score=round(share, DIGITS)) for c, share in zip(drawn, shares, strict=True)])
