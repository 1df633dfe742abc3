"""Search: completions that are drawn step by step, and pruned on the way by a process reward model.

`search_methods` says what a round draws; here the rounds of many problems are made side by side.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from time import sleep
from typing import TYPE_CHECKING, Protocol

from r1kit.candidates import DIGITS, ROOT, Candidate, FinishReason, Found, SearchSummary, Seed
from r1kit.engines import Completion, Engine, Request, Sampling
from r1kit.engines.feed import Feed
from r1kit.errors import Ungradable, UsageError
from r1kit.jsonl import Record
from r1kit.rewards.model import single_prompt
from r1kit.rewards.process import aggregate
from r1kit.search_methods import SearchPlan, Strategy, strategy

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

GATHER = 0.05  # seconds in which the first problems come together: one alone would take a round of its own


class StepScorer(Protocol):
    """What `ProcessRewardModel` offers to a search."""

    def many_step_scores(self, solutions: Sequence[tuple[str, Sequence[str]]]) -> list[list[float] | Ungradable]:
        """Return the score in [0, 1] of each step of each (prompt, steps); an Ungradable stands where there is none."""
        ...

    def count_tokens(self, prompt: str, steps: Sequence[str]) -> int:
        """Return how many tokens it reads to score a solution."""
        ...


def search_problems(
    problems: Iterable[tuple[Record, list[int]]],
    engine: Engine,
    tokenizer: "PreTrainedTokenizerBase",
    sampling: Sampling,
    plan: SearchPlan,
    scorer: StepScorer | None,
    summary: SearchSummary,
    prefill: str = "",
) -> Iterator[Found]:
    """Yield what the search on each problem finds, in input order; count it in `summary`.

    problems: each with the token ids of its prompt; every id once. Read in a thread, up to `plan.batch` ahead; what
    reading raises is raised once those before it are done.
    prefill: the text that ends the prompts and begins the completions.
    scorer: None ranks candidates by their mean log-probability; self-consistency uses none.

    Searches advance side by side, a round at a time: all that they draw in a round is one call to the engine (one
    more for each step of lookahead, and one for last steps, which do not end at the separator), all that they score
    one call to the scorer. Where a search is done, the next problem enters.

    Random numbers depend on (seed, key), and the key on the place in the tree: "ID/SAMPLE" of whole completions, as
    rollout draws them without search, "ID/0.3.1" of the second child of the fourth child of the first step.

    Raises:
        UsageError: dvts and lookahead without a scorer.
    """
    if plan.method in ("dvts", "lookahead") and scorer is None:
        raise UsageError("--search", f"{plan.method} needs a process reward model", "say --prm DIR")
    rounds = _Rounds(engine, tokenizer, sampling, plan, scorer, summary, prefill)
    return _side_by_side(problems, rounds, plan, summary)


def _side_by_side(
    problems: Iterable[tuple[Record, list[int]]], rounds: "_Rounds", plan: SearchPlan, summary: SearchSummary
) -> Iterator[Found]:
    feed = Feed(problems, plan.batch)
    active: list[_Search] = []
    waiting: deque[_Search] = deque()  # not yet yielded, in input order
    try:
        while active or not feed.ended:
            entering = [_Search(*taken, strategy(plan, taken[0])) for taken in _take(feed, plan.batch, len(active))]
            waiting.extend(entering)
            active = rounds.advance(active + entering)
            while waiting and (found := waiting[0].found) is not None:
                waiting.popleft()
                summary.add(found)
                yield found
        feed.close()
    finally:
        feed.stop()


def _take(feed: Feed[tuple[Record, list[int]]], batch: int, active: int) -> list[tuple[Record, list[int]]]:
    """Return the problems that enter the next round; wait for them only where none is active."""
    first = [] if active else feed.take(1, wait=True)
    if first and not feed.ended:
        sleep(GATHER)
    return first + feed.take(batch - active - len(first), wait=False)


class _Search:
    """The search on one problem: what it draws next, what it cost so far, and what it found."""

    def __init__(self, problem: Record, prompt: list[int], method: Strategy):
        self.problem, self.prompt, self._method = problem, prompt, method
        self.seeds = next(method)
        self.prompt_tokens = self.generated_tokens = self.prm_tokens = 0
        self.found: Found | None = None

    def key(self, seed: Seed) -> str:
        """Return what, with the sampling's seed, the random numbers depend on."""
        return f"{self.problem['id']}/{'.'.join(map(str, seed.position))}"

    def grow(self, candidates: list[Candidate]) -> None:
        """Take what grew from the seeds: there are new ones, or the search is done."""
        try:
            self.seeds = self._method.send(candidates)
        except StopIteration as end:
            cost = self.generated_tokens, self.prm_tokens
            self.found = Found(self.problem, self.prompt_tokens, end.value, *cost)


class _Rounds:
    """Draws and scores the candidates of many searches together."""

    def __init__(
        self,
        engine: Engine,
        tokenizer: "PreTrainedTokenizerBase",
        sampling: Sampling,
        plan: SearchPlan,
        scorer: StepScorer | None,
        summary: SearchSummary,
        prefill: str,
    ):
        self._engine, self._tokenizer, self._sampling, self._plan = engine, tokenizer, sampling, plan
        self._scorer = None if plan.method == "self-consistency" else scorer
        self._summary, self._prefill = summary, prefill

    def advance(self, searches: list[_Search]) -> list[_Search]:
        """Make a round of each search; return those that go on."""
        owners = [search for search in searches for _ in search.seeds]
        drawn = self._draw(owners, [seed for search in searches for seed in search.seeds], self._sampling)
        scored = iter(self._score(owners, drawn, self._look_ahead(owners, drawn)))
        for search in searches:
            search.grow(list(islice(scored, len(search.seeds))))
        return [search for search in searches if search.found is None]

    def _draw(self, owners: list[_Search], seeds: list[Seed], sampling: Sampling) -> list[Candidate]:
        """Return what grows from each seed; owners: the search of each."""
        asked = {owner.key(seed): (owner, seed) for owner, seed in zip(owners, seeds, strict=True)}
        drawn = {}
        for whole, stop in [(False, (*sampling.stop, self._plan.separator)), (True, sampling.stop)]:
            some = {key: pair for key, pair in asked.items() if pair[1].whole is whole}
            for key, completion in self._complete(some, replace(sampling, stop=stop)):
                drawn[key] = self._grown(*asked[key], completion)
        return [drawn[key] for key in asked]

    def _complete(self, asked: dict[str, tuple[_Search, Seed]], sampling: Sampling) -> Iterator[tuple[str, Completion]]:
        """Yield the completion of each key; an error stands where the prompt leaves no room in the model's window."""
        requests = []
        for key, (owner, seed) in asked.items():
            path = seed.parent.token_ids
            if (left := self._room(owner) - len(path)) > 0:
                requests.append(Request(key, owner.prompt + path, left))
            else:
                why = f"{len(owner.prompt)} prompt tokens fill the model's window of {self._engine.window}"
                yield key, Completion("", "error", [], [], len(owner.prompt), 0, why)
        if requests:
            for request, completion in self._engine.complete(requests, sampling):
                yield request.key, completion

    def _room(self, owner: _Search) -> int:
        """Return the most tokens that a completion may have."""
        most, window = self._sampling.max_tokens, self._engine.window
        return most if window is None else min(most, window - len(owner.prompt))

    def _grown(self, owner: _Search, seed: Seed, completion: Completion) -> Candidate:
        """Return a seed's candidate. It goes on where what was drawn ends with the separator, and there is room."""
        parent, ids = seed.parent, seed.parent.token_ids + completion.token_ids
        owner.generated_tokens += completion.completion_tokens
        if parent is ROOT:
            owner.prompt_tokens = completion.prompt_tokens
        reason: FinishReason | None = completion.finish_reason
        if reason == "stop" and not seed.whole and self._plan.separator in self._decode(completion.token_ids):
            reason = None if len(ids) < self._room(owner) else "length"
        return Candidate(
            position=seed.position,
            text=self._prefill + self._decode(ids),
            token_ids=ids,
            logprobs=parent.logprobs + completion.logprobs,
            completion_tokens=parent.completion_tokens + completion.completion_tokens,
            finish_reason=reason,
            error=completion.error,
        )

    def _decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=True)

    def _look_ahead(self, owners: list[_Search], drawn: list[Candidate]) -> list[Candidate]:
        """Return candidates with k greedy steps after them: what lookahead scores in their place."""
        ahead = list(drawn)
        for _ in range(self._plan.lookahead if self._plan.method == "lookahead" else 0):
            rows = [row for row, candidate in enumerate(ahead) if candidate.finish_reason is None]
            seeds = [Seed(ahead[row], ahead[row].position, whole=False) for row in rows]
            grown = self._draw([owners[row] for row in rows], seeds, replace(self._sampling, temperature=0))
            for row, candidate in zip(rows, grown, strict=True):
                ahead[row] = candidate
        return ahead

    def _score(self, owners: list[_Search], drawn: list[Candidate], ahead: list[Candidate]) -> list[Candidate]:
        """Return candidates with the scores of those `ahead`; without a scorer, their mean log-probability."""
        if self._scorer is None:
            return [replace(candidate, score=candidate.mean_logprob) for candidate in drawn]
        scored = list(drawn)
        solutions: dict[int, tuple[str, list[str]]] = {}
        for row, candidate in enumerate(ahead):
            if candidate.finish_reason == "error":
                continue
            try:
                solutions[row] = single_prompt(owners[row].problem), cut_steps(candidate.text, self._plan.separator)
            except Ungradable as why:
                self._summary.add_unscored(owners[row].problem, why)
        scores = self._scorer.many_step_scores(list(solutions.values()))
        for (row, solution), steps in zip(solutions.items(), scores, strict=True):
            if isinstance(steps, Ungradable):
                self._summary.add_unscored(owners[row].problem, steps)
                continue
            owners[row].prm_tokens += self._scorer.count_tokens(*solution)
            score = round(aggregate(steps, self._plan.aggregate), DIGITS)
            scored[row] = replace(drawn[row], step_scores=[round(step, DIGITS) for step in steps], score=score)
        return scored


def cut_steps(text: str, separator: str) -> list[str]:
    """Return the steps of a completion, stripped; empty ones are none, nor is a <think> at the start."""
    steps = text.strip().removeprefix("<think>").split(separator)
    return [step.strip() for step in steps if step.strip()]
