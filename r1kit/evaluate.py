"""Metrics of scored rollouts: pass@1 over k samples, cons@k, format rate and length, each with a 95 % interval."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from r1kit.data import read_problems
from r1kit.engines.opening import EngineOptions
from r1kit.errors import UserError
from r1kit.estimates import Estimate, estimate_mean, percent, with_interval
from r1kit.grader import Grader
from r1kit.jsonl import Record, read_records
from r1kit.model import versions
from r1kit.records import groups_of_rollouts
from r1kit.reward import score_windows
from r1kit.reward_spec import RewardPart
from r1kit.rollout import RolloutPlan, open_policy, sample_rollouts
from r1kit.vote import count_votes, is_correct, read_answer

MEASURED = [RewardPart("accuracy"), RewardPart("format")]  # the rewards that the metrics are made of


@dataclass(frozen=True)
class Metrics:
    """What the rollouts of a benchmark come to. An estimate is None where nothing could be graded."""

    problems: int
    samples: int  # k, rollouts of each problem; the fewest where they differ
    pass_at_1: Estimate | None
    cons_at_k: Estimate | None
    format_rate: Estimate | None
    mean_length: Estimate  # tokens

    def as_json(self) -> dict[str, object]:
        """Return the metrics as JSON fields, under the field's usual names."""
        named = {
            "pass@1": self.pass_at_1,
            f"cons@{self.samples}": self.cons_at_k,
            "format": self.format_rate,
            "mean_length": self.mean_length,
        }
        estimates = {name: estimate and estimate.as_json() for name, estimate in named.items()}
        return {"problems": self.problems, "samples": self.samples, **estimates}


def measure(scored: Iterable[Record]) -> Metrics:
    """Return the metrics of scored rollouts (those of one problem together).

    Raises:
        UserError: a rollout is not scored, the rollouts of a problem do not stand together, or there are none.
    """
    counts: list[int] = []
    passes: list[float] = []
    consensus: list[float] = []
    formats: list[float] = []
    lengths: list[float] = []
    for members in groups_of_rollouts(scored):
        counts.append(len(members))
        lengths.append(fmean(m.need("completion_tokens", "run r1kit rollout first") for m in members))
        passes += _mean_reward(members, "accuracy")
        formats += _mean_reward(members, "format")
        consensus += _consensus(members)
    length = estimate_mean(lengths, low=0)
    if length is None:
        raise UserError("input", "no rollouts to measure", "give scored rollouts, or --model and --on")
    return Metrics(
        problems=len(counts),
        samples=min(counts),
        pass_at_1=estimate_mean(passes, 0, 1),
        cons_at_k=estimate_mean(consensus, 0, 1),
        format_rate=estimate_mean(formats, 0, 1),
        mean_length=length,
    )


def _mean_reward(members: list[Record], name: str) -> list[float]:
    """Return the mean of one reward over a problem's rollouts as a list of one, empty where none could be graded."""
    graded = [v for m in members if (v := m.need("rewards", "run r1kit reward first").get(name)) is not None]
    return [fmean(graded)] if graded else []


def _consensus(members: list[Record]) -> list[float]:
    gold = members[0].get("answer")
    if gold is None or members[0]["rewards"].get("accuracy") is None:
        return []
    votes = count_votes([read_answer(member) for member in members])
    correct = is_correct(str(gold), max(votes, key=votes.__getitem__, default=None))
    return [] if correct is None else [float(correct)]


@dataclass(frozen=True)
class Row:
    """What was measured of a model on a benchmark, or of a file."""

    name: str
    about: dict[str, object]
    metrics: Metrics

    def as_json(self) -> dict[str, object]:
        """Return the row as a record."""
        return {**self.about, **self.metrics.as_json()}


def evaluate_files(paths: list[str]) -> Iterator[Row]:
    """Yield the metrics of each file of scored rollouts."""
    for path in paths:
        yield Row(path, {"file": path}, measure(read_records(path)))


def evaluate_models(
    models: list[str], benchmarks: list[str], options: EngineOptions, prompting: dict[str, Any], plan: RolloutPlan
) -> Iterator[Row]:
    """Yield the metrics of each model on each benchmark: an embedded set's test split, or a file.

    prompting: as in `open_policy`.
    """
    sets = {name: list(read_problems(name, "test")) for name in benchmarks}
    grader = Grader(MEASURED)
    for model_name in models:
        policy = open_policy(model_name, options, prompting)
        for name, problems in sets.items():
            rollouts = sample_rollouts(problems, policy, plan)
            metrics = measure(score_windows(rollouts, grader))
            about = {"model": model_name, "benchmark": name, **asdict(plan.sampling), "versions": versions()}
            yield Row(f"{model_name} on {name}", about, metrics)


def format_table(rows: dict[str, Metrics]) -> list[str]:
    """Return a table of metrics as text: a line a row, with the name first."""
    k = next(iter(rows.values())).samples
    titles = ("pass@1", f"cons@{k}", "format", "length")
    width = max(map(len, rows), default=0)
    lines = [" " * width + "".join(f"  {title:>20}" for title in titles)]
    for name, m in rows.items():
        shares = [percent(estimate) for estimate in (m.pass_at_1, m.cons_at_k, m.format_rate)]
        lines.append(f"{name:<{width}}" + "".join(f"  {cell:>20}" for cell in (*shares, with_interval(m.mean_length))))
    return lines
