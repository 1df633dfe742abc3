"""The grader of a run: the rewards of a sum, loaded once; rollouts graded side by side, in order."""

import inspect
import os
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from r1kit.errors import Ungradable, UserError
from r1kit.jail import Mode
from r1kit.jsonl import Record
from r1kit.parallel import map_in_order
from r1kit.reward_spec import Options, RewardPart, check_options, function_of, said_options
from r1kit.rewards import COUNTED, JUDGED, REWARDS
from r1kit.rewards.process import ProcessRewardModel, aggregate
from r1kit.sandbox import Sandbox
from r1kit.verdict import Outcome, judge_rollout, kind_of
from r1kit.workers import pool

JUDGE_THREADS = 16  # requests to a judge at a time
BATCH = 256  # rollouts that a reward model is given at a time, at most


@dataclass
class Graded:
    """A rollout and what is known of its rewards."""

    record: Record
    outcome: Outcome
    values: dict[RewardPart, float | None] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)  # why a reward is null, by its name
    seconds: dict[str, float] = field(default_factory=dict)  # by reward


class Grader:
    """Grades rollouts by the parts of a sum.

    Args:
        options: of the rewards, by reward.
        workers: rollouts graded at a time; None is the number of cores.
        sandbox: where programs run; it is started with the first of them.

    Raises:
        UserError: a reward cannot be loaded, or lacks an option.
    """

    def __init__(
        self,
        parts: list[RewardPart],
        options: Options | None = None,
        workers: int | None = None,
        sandbox: Mode = "auto",
    ):
        self.parts, self.options, self.mode = parts, options or {}, sandbox
        check_options(parts, self.options)
        self.workers = workers or os.cpu_count() or 1
        pool.resize(self.workers)
        self.functions = {part: self._function(part) for part in parts if part.reward not in ("model", "process")}
        self.models = self._load_models()
        self.lock = threading.Lock()
        self._sandbox: Sandbox | None = None

    def grade(self, rollouts: Iterable[Record]) -> Iterator[Graded]:
        """Yield rollouts with their rewards, in order, while later ones are awaited and graded.

        Raises:
            UserError: a rollout lacks a field, a reward raises, or programs cannot be run here.
        """
        threads = max(self.workers, JUDGE_THREADS if any(p.reward == "judge" for p in self.parts) else 0)
        for batch in map_in_order(self._grade_alone, rollouts, threads, BATCH):
            self._ask_models(batch)
            yield from map(self._finish, batch)

    def sandbox(self) -> Sandbox:
        """Return the sandbox, started where it is not yet.

        Raises:
            UserError: it does not work here; names the remedy.
        """
        with self.lock:
            self._sandbox = self._sandbox or Sandbox(self.mode, self.workers)
            return self._sandbox

    def close(self) -> None:
        """End what runs in the sandbox."""
        if self._sandbox:
            self._sandbox.close()

    def warnings(self) -> list[str]:
        """Return what the user should know of how programs ran."""
        if self._sandbox and self._sandbox.mode == "none":
            return ["programs ran without walls (--sandbox none): they could read, change and send whatever you can"]
        return []

    def parts_for(self, record: Record) -> list[RewardPart]:
        """Return the parts that grade a problem's or rollout's kind."""
        return [part for part in self.parts if part.kind in (None, kind_of(record))]

    def _grade_alone(self, rollout: Record) -> Graded:
        """Judge a rollout and take the rewards that are functions of it alone."""
        rollout.need("completion", "run r1kit rollout first")
        parts = self.parts_for(rollout)
        if rollout.get("finish_reason") == "error":
            why = "there is no completion (finish_reason error)"
            graded = Graded(rollout.derive(extracted=None, verdict=None), Outcome(None, None, why))
            graded.values, graded.reasons = dict.fromkeys(parts), {part.name: why for part in parts}
            return graded
        judged = any(part.reward in JUDGED for part in parts)
        started = time.perf_counter()
        outcome = judge_rollout(rollout, self.sandbox if judged else None, self._partial)
        fields: dict[str, Any] = {"extracted": outcome.extracted, "verdict": outcome.verdict}
        fields |= {} if outcome.passed is None else {"passed": outcome.passed}
        graded = Graded(rollout.derive(**fields), outcome)
        graded.seconds["accuracy"] = time.perf_counter() - started
        for part in parts:
            if part in self.functions:
                self._take(graded, part, self.functions[part])
                if graded.values[part] is None and part.reward in JUDGED:
                    graded.reasons[part.name] = outcome.reason or "it is not judged"
        return graded

    @property
    def _partial(self) -> bool:
        return bool(self.options.get("accuracy", {}).get("partial"))

    def _take(self, graded: Graded, part: RewardPart, function: Callable[[Record], Any]) -> None:
        record = graded.record
        if part.reward in COUNTED:
            record.need("completion_tokens", "run r1kit rollout first")
        started = time.perf_counter()
        try:
            value = function(record)
        except Ungradable as reason:
            graded.values[part], graded.reasons[part.name] = None, str(reason)
            return
        except UserError:
            raise
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            what = f"the reward {part.name} raised {type(error).__name__}: {error} ({frame.filename}:{frame.lineno})"
            raise UserError(record.place, what, "mend the record or the reward") from error
        if value is not None and not (isinstance(value, int | float) and isfinite(value)):
            raise UserError(record.place, f"the reward {part.name} returned {value!r}", "return a number or None")
        graded.values[part] = None if value is None else float(value)
        graded.seconds[part.name] = graded.seconds.get(part.name, 0.0) + time.perf_counter() - started
        if value is None:
            graded.reasons[part.name] = "nothing to grade"

    def _ask_models(self, batch: list[Graded]) -> None:
        for part, model in self.models.items():
            rows = [g for g in batch if part in self.parts_for(g.record) and part not in g.values]
            started = time.perf_counter()
            for graded, (score, fields) in zip(rows, _scores(model, [g.record for g in rows]), strict=True):
                graded.seconds[part.name] = (time.perf_counter() - started) / len(rows)
                graded.record = graded.record.derive(**fields)
                graded.values[part] = None if isinstance(score, Ungradable) else score
                if isinstance(score, Ungradable):
                    graded.reasons[part.name] = str(score)

    def _finish(self, graded: Graded) -> Graded:
        """Set the rewards and their weighted sum; a reward of None is left out of it, and all None sum to None.

        Those of weight 0 are only measured: what has none but them is not graded, unless all have that weight.
        """
        parts = self.parts_for(graded.record)
        summed = [part for part in parts if part.weight] or parts
        values = [part.weight * value for part in summed if (value := graded.values[part]) is not None]
        record = graded.record
        fields = {key: record[key] for key in ("extracted", "verdict", "passed", "step_scores") if key in record}
        rest = {key: value for key, value in record.items() if key not in fields}
        rewards = {part.name: graded.values[part] for part in parts}
        graded.record = Record(
            {**rest, "rewards": rewards, "reward": sum(values) if values else None, **fields}, record.place
        )
        return graded

    def _function(self, part: RewardPart) -> Callable[[Record], Any]:
        function, options = function_of(part), said_options(part, self.options)
        if part.reward in REWARDS:
            arguments = REWARDS[part.reward].arguments
            return lambda record: function(*arguments(record), **options)
        if part.reward == "judge":
            return function(**options)
        return lambda record: function(**fields_for(function, record, part.name), **options)

    def _load_models(self) -> dict[RewardPart, Any]:
        """Return the models of the parts; one that grades several kinds is loaded once."""
        parts = {part.name: part for part in self.parts if part.reward in ("model", "process")}
        models = {
            name: function_of(part)(part.argument, **said_options(part, self.options)) for name, part in parts.items()
        }
        return {part: models[part.name] for part in self.parts if part.name in models}


def _scores(model: Any, rollouts: list[Record]) -> list[tuple[float | Ungradable, dict[str, Any]]]:
    """Return the score that a model gives each rollout, and the fields that it adds."""
    if not rollouts:
        return []
    if not isinstance(model, ProcessRewardModel):
        return [(score, {}) for score in model.scores(rollouts)]
    return [
        (steps, {}) if isinstance(steps, Ungradable) else (aggregate(steps, model.how), {"step_scores": steps})
        for steps in model.rollout_step_scores(rollouts)
    ]


def fields_for(function: Callable[..., Any], record: Record, name: str) -> dict[str, Any]:
    """Return the fields of a record that a function's parameters name.

    Raises:
        UserError: the record lacks one that has no default.
    """
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL):
            continue
        if parameter.kind is parameter.VAR_KEYWORD:
            return {**record, **fields}
        if parameter.name in record:
            fields[parameter.name] = record[parameter.name]
        elif parameter.default is parameter.empty:
            raise UserError(record.place, f'no "{parameter.name}"', f"the reward {name} asks for it")
    return fields
