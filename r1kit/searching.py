"""What `rollout --search` does: problems to rollouts by a search, with the place of each in the output."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from r1kit.auto import PolicySearch
from r1kit.candidates import Found, SearchSummary, found_rollouts
from r1kit.compute_optimal import read_policy
from r1kit.errors import UsageError
from r1kit.jsonl import Record
from r1kit.model import fingerprint
from r1kit.ordered import Placed
from r1kit.records import unique_problems
from r1kit.rollout import Policy, RolloutPlan
from r1kit.search import StepScorer, search_problems
from r1kit.search_methods import SearchPlan

SHAPE = ("n", "width", "lookahead", "aggregate", "separator", "max_steps")  # the flags of a search


@dataclass(frozen=True)
class SearchOptions:
    """How to search, and under which process reward model."""

    plan: SearchPlan
    prm: str | None = None  # folder or hub name
    policy: str | None = None  # file of `compute-optimal`: it chooses the method, and n up to the plan's
    summary: SearchSummary = field(default_factory=SearchSummary)

    def settings(self) -> dict[str, Any]:
        """Return what decides the rollouts, by the names of the flags."""
        said: dict[str, Any] = {"search": self.name, "prm": self.prm, "policy": self.policy}
        if self.prm:
            said["prm_files"] = fingerprint(self.prm)
        shape = asdict(self.plan)
        return {**said, **{key: shape[key] for key in SHAPE}}

    @property
    def name(self) -> str:
        """The method that the user named."""
        return "auto" if self.policy else self.plan.method

    def draw(
        self, problems: Iterable[Record], policy: Policy, plan: RolloutPlan, done: Callable[[str], set[int]]
    ) -> Iterator[Placed]:
        """Yield the rollouts that the searches find, those of a problem together, without those that are `done`.

        Raises:
            UsageError: the model is on a server.
        """
        numbers: dict[str, int] = {}
        reader = policy.reader()  # problems are read in a thread of their own

        def asked() -> Iterator[tuple[Record, list[int]]]:
            for number, problem in enumerate(unique_problems(problems)):
                if not done(problem["id"]):
                    numbers[problem["id"]] = number
                    yield problem, reader.prompt(problem)  # type: ignore[misc]

        for found, extra in self._search(asked(), policy, plan):
            rollouts = list(found_rollouts(found, self.name, self.plan.n, plan.with_logprobs))
            for sample, rollout in enumerate(rollouts):
                rollout.update(extra)
                yield Placed(numbers[found.problem["id"]], sample, len(rollouts), rollout)

    def _search(
        self, asked: Iterator[tuple[Record, list[int]]], policy: Policy, plan: RolloutPlan
    ) -> Iterator[tuple[Found, dict[str, Any]]]:
        """Yield what is found, and what else its rollouts say."""
        if policy.tokenizer is None:
            raise UsageError("--search", "a server's tokens are out of reach", "use --engine transformers or vllm")
        scorer, prefill = self._scorer(), policy.prompting.prefill
        model = (policy.engine, policy.tokenizer, plan.sampling)
        if self.policy is None:
            found = search_problems(asked, *model, self.plan, scorer, self.summary, prefill)
            yield from ((one, {}) for one in found)
            return
        chosen = PolicySearch(read_policy(self.policy), self.plan, *model, scorer, self.summary, prefill)
        for one, choice in chosen.run(asked):
            yield one, {"vote": {"method": choice.method, "by": choice.by}}

    def _scorer(self) -> StepScorer | None:
        if self.prm is None:
            return None
        from r1kit.rewards.process import ProcessRewardModel

        return ProcessRewardModel(self.prm)


def search_options(search: str, shape: tuple, prm: str | None, policy: str | None) -> SearchOptions:
    """Return how to search, as the flags say; shape: the values of SHAPE, of which n may be None.

    Raises:
        UsageError: the flags do not go together.
    """
    fields: dict[str, Any] = dict(zip(SHAPE, shape, strict=True))
    if (search == "auto") != (policy is not None):
        raise UsageError("--search", "auto and --policy go together", "say both, or neither")
    if fields["n"] is None:
        raise UsageError("--search", "auto needs a budget", "say --budget 64, for instance")
    method = "best-of-n" if search == "auto" else search  # the policy replaces it
    return SearchOptions(SearchPlan(method, **fields), prm, policy)  # type: ignore[arg-type]
