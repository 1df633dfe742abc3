"""Problems that a run is measured on and not trained on."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from r1kit.data import EMBEDDED, read_problem_list
from r1kit.grader import Grader
from r1kit.jail import Mode
from r1kit.jsonl import Record, read_records, write_records
from r1kit.live import say
from r1kit.metrics import MEASURED
from r1kit.ordered import in_order
from r1kit.processes import gather, is_main, process_count, process_number, share
from r1kit.prompts import PromptStyle
from r1kit.reward import score_while_drawn
from r1kit.rollout import RolloutPlan, draw_rollouts, loaded_policy

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def default_held_out(source: str, held_out: str | None) -> list[Record]:
    """Return the problems to measure on: those of `held_out`, else the test split of an embedded set, else none."""
    chosen = held_out or (source if source in EMBEDDED else None)
    return read_problem_list(chosen, "test") if chosen else []


@dataclass(frozen=True)
class HeldOut:
    """The held-out problems of a run, and how its model is prompted and sampled on them."""

    problems: list[Record]
    tokenizer: "PreTrainedTokenizerBase"
    style: PromptStyle
    plan: RolloutPlan
    sandbox: Mode
    folder: Path

    def measure(self, name: str, model: "PreTrainedModel") -> list[Record]:
        """Return scored rollouts, from the folder's file `name` where an earlier start of the run left them there.

        Each process samples its share of the problems, and has all of the rollouts in the end.
        """
        if not self.problems:
            return []
        path = self.folder / name
        if not share(path.exists()):
            say(f"measuring on {len(self.problems)} held-out problems, {self.plan.n} samples each")
            parts = gather(self._sample(model, self.problems[process_number() :: process_count()]))
            place = {problem["id"]: number for number, problem in enumerate(self.problems)}
            rollouts = sorted((r for part in parts for r in part), key=lambda r: (place[r["id"]], r["sample"]))
            if is_main():
                write_records(iter(rollouts), str(path))
            share(None)  # the file is there
        return list(read_records(str(path)))

    def forget(self, name: str) -> None:
        """Remove an earlier measurement."""
        if is_main():
            (self.folder / name).unlink(missing_ok=True)

    def _sample(self, model: "PreTrainedModel", problems: list[Record]) -> list[Record]:
        policy = loaded_policy(model, self.tokenizer, self.style)
        training = model.training
        drawn = draw_rollouts(problems, policy, self.plan)
        scored = list(in_order(score_while_drawn(drawn, Grader(MEASURED, sandbox=self.sandbox))))
        model.train(training)
        return scored
