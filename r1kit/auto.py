"""Search by a policy: a few pilot completions say how hard a problem is, and the policy says what that is worth.

Source: Snell et al. 2024 (arXiv 2408.03314), section 3: the compute-optimal strategy.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from r1kit.candidates import Candidate, Found, SearchSummary, best_first
from r1kit.compute_optimal import Choice, Policy
from r1kit.difficulty import agreement
from r1kit.engines import Engine, Sampling
from r1kit.engines.feed import Feed
from r1kit.jsonl import Record
from r1kit.search import StepScorer, search_problems
from r1kit.search_methods import SearchPlan

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Asked = tuple[Record, list[int]]  # a problem and the token ids of its prompt


@dataclass(frozen=True)
class PolicySearch:
    """A search whose method and budget a policy chooses for each problem."""

    policy: Policy
    plan: SearchPlan  # what the policy leaves open (width, separator and so on), and the largest n it may choose
    engine: Engine
    tokenizer: "PreTrainedTokenizerBase"
    sampling: Sampling
    scorer: StepScorer | None
    summary: SearchSummary
    prefill: str

    def run(self, problems: Iterable[Asked]) -> Iterator[tuple[Found, Choice]]:
        """Yield what is found for each problem, and how, in input order; the cost of its pilot is in it.

        Problems are searched `plan.batch` at a time, those with the same choice side by side.
        """
        feed = Feed(problems, self.plan.batch)
        try:
            while batch := feed.take(self.plan.batch, wait=True):
                yield from self._run_batch(batch)
            feed.close()
        finally:
            feed.stop()

    def _run_batch(self, batch: list[Asked]) -> Iterator[tuple[Found, Choice]]:
        pilots = list(self._search(batch, Choice(None, "majority", self.policy.pilot_n), 0))
        chosen = [self.policy.choose(_agreement(pilot), self.plan.n) for pilot in pilots]
        found: dict[str, Found] = {}
        for choice in dict.fromkeys(chosen):
            asked = [(pair, pilot) for pair, pilot, c in zip(batch, pilots, chosen, strict=True) if c == choice]
            for (_, pilot), result in zip(asked, self._apply(choice, asked), strict=True):
                found[pilot.problem["id"]] = result
        for pilot, choice in zip(pilots, chosen, strict=True):
            self.summary.add(found[pilot.problem["id"]])
            yield found[pilot.problem["id"]], choice

    def _apply(self, choice: Choice, asked: list[tuple[Asked, Found]]) -> Iterator[Found]:
        """Yield what a choice finds for problems whose pilots are drawn, their cost included."""
        pairs, drawn = [pair for pair, _ in asked], self.policy.pilot_n
        if choice.search is not None:
            results = list(self._search(pairs, choice, 0))
            for (_, pilot), result in zip(asked, results, strict=True):
                yield replace(result, generated_tokens=result.generated_tokens + pilot.generated_tokens)
            return
        rest = list(self._search(pairs, choice, drawn)) if choice.n > drawn else [None] * len(pairs)
        for (_, pilot), more in zip(asked, rest, strict=True):
            kept = [candidate for candidate in pilot.candidates if candidate.position[0] < choice.n]
            if more is None:
                yield replace(pilot, candidates=kept)
            else:
                tokens = pilot.generated_tokens + more.generated_tokens
                yield replace(pilot, candidates=best_first(kept + more.candidates), generated_tokens=tokens)

    def _search(self, pairs: list[Asked], choice: Choice, first: int) -> Iterator[Found]:
        """Yield what a choice finds; plain sampling is best-of-n that nobody scores, from sample `first` on."""
        method, scorer = choice.search or "best-of-n", self.scorer if choice.search else None
        plan = replace(self.plan, method=method, n=choice.n, first=first)  # type: ignore[arg-type]
        counted = SearchSummary(unscored=self.summary.unscored, first=self.summary.first)
        where = (self.engine, self.tokenizer, self.sampling, plan, scorer, counted, self.prefill)
        return search_problems(pairs, *where)


def _agreement(pilot: Found) -> float:
    ordered: list[Candidate] = sorted(pilot.candidates, key=lambda candidate: candidate.position)
    said = [pilot.problem.derive(completion=c.text, finish_reason=c.finish_reason) for c in ordered]
    return agreement(said)
