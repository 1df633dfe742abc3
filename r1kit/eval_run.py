"""One model on one benchmark: drawn, graded, and kept.

FOLDER/problems/BENCHMARK.jsonl    the problems
FOLDER/MODEL/BENCHMARK.jsonl       the scored rollouts, without the tests of their problems, which are large
FOLDER/MODEL/BENCHMARK.json        how they were made, and how many seconds that took
"""

import hashlib
import json
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r1kit.benchmarks import TEMPERATURE, TOP_P, Task
from r1kit.engines import Engine, Sampling
from r1kit.engines.opening import EngineOptions
from r1kit.errors import UserError
from r1kit.grader import Grader
from r1kit.jail import Mode
from r1kit.journal import Journal
from r1kit.jsonl import Record
from r1kit.live import counting, say
from r1kit.model import fingerprint, versions
from r1kit.ordered import Placed
from r1kit.prompts import Prompting
from r1kit.reward import score_while_drawn
from r1kit.rollout import Policy, RolloutPlan, RolloutSummary, draw_rollouts
from r1kit.run_settings import refuse_changes, write_settings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PRIVATE = ("model_files", "seconds")  # of a card: what says nothing of the result
MAY_CHANGE = ("seconds", "versions", "grader")  # the card of a run says which ones it was made with


@dataclass(frozen=True)
class EvalPlan:
    """How models are measured; what is None is as the benchmark has it."""

    folder: Path
    options: EngineOptions
    prompting: dict[str, Any]  # the fields of Prompting; a style of None is the model's own, or asks for a box
    samples: int | None = None
    temperature: float = TEMPERATURE
    top_p: float = TOP_P
    max_tokens: int | None = None
    seed: int = 0
    limit: int | None = None  # problems of each benchmark; None: all
    sandbox: Mode = "auto"
    workers: int | None = None
    resume: bool = False
    overwrite: bool = False

    def rollout_plan(self, task: Task) -> RolloutPlan:
        """Return how the problems of a benchmark become rollouts."""
        longest = self.max_tokens or task.benchmark.max_tokens
        return RolloutPlan(
            self.samples or task.benchmark.samples, Sampling(self.temperature, self.top_p, longest, self.seed)
        )

    def scored_file(self, model: str, task: Task) -> Path:
        """Return where the scored rollouts of a model on a benchmark stand."""
        return self.folder / file_name(model) / f"{file_name(task.benchmark.name)}.jsonl"

    def problems_file(self, task: Task) -> Path:
        """Return where the problems of a benchmark stand."""
        return self.folder / "problems" / f"{file_name(task.benchmark.name)}.jsonl"


def file_name(name: str) -> str:
    """Return a name as one of a file or folder."""
    return re.sub(r"[^\w.=+-]+", "-", name).strip("-.") or "-"


class EvalRun:
    """One model on one benchmark."""

    def __init__(
        self,
        model: str,
        task: Task,
        plan: EvalPlan,
        tokenizer: "PreTrainedTokenizerBase | None",
        prompting: Prompting,
    ):
        self.model, self.task, self.plan = model, task, plan
        self.policy = Policy(None, tokenizer, prompting)  # type: ignore[arg-type]
        self.scored = plan.scored_file(model, task)
        self.card = self.scored.with_suffix(".json")
        self.settings = self._settings(prompting)

    def _settings(self, prompting: Prompting) -> dict[str, Any]:
        """Return what decides the rollouts, and what graded them."""
        options, plan = self.plan.options, self.plan.rollout_plan(self.task)
        libraries = versions() | ({"vllm": version("vllm")} if options.engine == "vllm" else {})
        return {
            "model": self.model,
            "benchmark": self.task.benchmark.name,
            "samples": plan.n,
            "seed": plan.sampling.seed,
            "temperature": plan.sampling.temperature,
            "top_p": plan.sampling.top_p,
            "max_tokens": plan.sampling.max_tokens,
            "engine": options.engine,
            "dtype": options.dtype,
            "engine_arg": options.settings,
            "prompt_style": prompting.style,
            "system": prompting.system,
            "prefill": prompting.prefill,
            "prompt_hash": _hash_of_prompts(self.policy, self.task.problems),
            "data_hash": self.task.data_hash,
            "grader": self.task.grader,
            "versions": libraries,
            "model_files": fingerprint(self.model) if options.engine != "openai" else None,
        }

    def is_whole(self) -> bool:
        """Tell whether all of it was done before, with the same settings.

        Raises:
            UserError: with others.
        """
        begun = Path(f"{self.scored}.part").exists()
        if not self.scored.exists() or begun or self.plan.overwrite:
            return False
        if not self.card.exists():
            raise UserError(str(self.scored), f"has no {self.card.name} beside it", "say --overwrite")
        refuse_changes(self.card, self.scored, self.settings, MAY_CHANGE)
        say(f"{self.model} on {self.task.benchmark.name}: {self.scored} is whole")
        return True

    def draw(self, engine: Engine, grader: Grader) -> None:
        """Draw and grade what is not done yet; the files are whole in the end.

        Raises:
            UserError: the run is one of other settings, or the engine fails.
        """
        plan, summary = self.plan.rollout_plan(self.task), RolloutSummary()
        self.scored.parent.mkdir(parents=True, exist_ok=True)
        settings = {key: value for key, value in self.settings.items() if key not in MAY_CHANGE}
        journal = Journal(str(self.scored), settings, self.plan.resume, self.plan.overwrite)
        done = sum(len(journal.done(problem["id"])) for problem in self.task.problems)
        _, before = (read_card_of(self.scored) if done else None) or (None, 0.0)
        write_settings(self.card, {**self.settings, "seconds": before})
        owed = len(self.task.problems) * plan.n - done
        title = f"{self.model} on {self.task.benchmark.name}"
        say(f"{title}: {len(self.task.problems)} problems, {plan.n} samples each" + (f", {done} done" if done else ""))
        problems = journal.watch(Record(_without_tests(p), p.place) for p in self.task.problems)
        started = time.monotonic()
        try:
            with counting(title, owed) as summary.count:
                drawn = draw_rollouts(problems, replace(self.policy, engine=engine), plan, journal.done)
                journal.write(self._score(summary.watch(drawn), grader))
        finally:
            seconds = (before or 0.0) + time.monotonic() - started
            write_settings(self.card, {**self.settings, "seconds": round(seconds, 3)})
        if summary.errors:
            say(f"{summary.errors} completions could not be drawn, the first of {summary.first_error}")

    def _score(self, drawn: Iterable[Placed], grader: Grader) -> Iterator[Placed]:
        """Yield rollouts scored: with the tests of their problems while they are graded."""
        tests = {problem["id"]: problem["tests"] for problem in self.task.problems if "tests" in problem}

        def with_tests() -> Iterator[Placed]:
            for item in drawn:
                found = tests.get(item.record["id"])
                yield item if found is None else item._replace(record=item.record.derive(tests=found))

        for item in score_while_drawn(with_tests(), grader):
            yield item._replace(record=Record(_without_tests(item.record), item.record.place))


def _without_tests(record: Record) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != "tests"}


def _hash_of_prompts(policy: Policy, problems: list[Record]) -> str:
    """Return 16 hex digits that depend on what the model is to continue alone."""
    digest = hashlib.blake2b(digest_size=8)
    for problem in problems:
        digest.update(json.dumps(policy.prompt(problem)).encode())
    return digest.hexdigest()


def read_card_of(scored: Path) -> tuple[dict[str, Any], float | None] | None:
    """Return what the card beside scored rollouts says of them, and the seconds they took; None without a card."""
    path = scored.with_suffix(".json")
    if path == scored or not path.is_file():
        return None
    card = json.loads(path.read_text(encoding="utf-8"))
    if not (isinstance(card, dict) and {"model", "benchmark", "data_hash"} <= card.keys()):
        return None  # it is no card
    return {key: value for key, value in card.items() if key not in PRIVATE}, card.get("seconds")
