"""Process reward models: the probability that a step of reasoning is right, learnt from labelled steps.

Source: Lightman et al. 2023 (arXiv 2305.20050); Wang et al. 2023, "Math-Shepherd" (arXiv 2312.08935), whose labels
`rollout --from-steps` and `reject-sample --step-labels` make.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from r1kit.jsonl import Record
from r1kit.judge_run import Measured, RewardLines, claim, keep_rows, new_trainer, open_judge, train_and_save
from r1kit.process_report import Scored, mean_loss, report_on
from r1kit.processes import is_main
from r1kit.reward_plan import RewardPlan
from r1kit.sft import ROWS, open_rows, remove_rows, steps_of
from r1kit.step_rows import StepEncoder, write_steps

if TYPE_CHECKING:
    from datasets import Dataset

    from r1kit.step_trainer import StepTrainer


def train_process_model(
    rows: Iterable[Record], plan: RewardPlan, folder: Path, resume: bool = False, overwrite: bool = False
) -> None:
    """Train a process reward model on stepwise rows and save it into `folder`; measure it on rows that are held out.

    Args:
        resume: go on from the folder's newest checkpoint.
        overwrite: replace the run that the folder holds.

    Raises:
        KeyboardInterrupt: after Ctrl-C; the step is finished and a checkpoint saved first.
    """
    checkpoint = claim(plan, folder, resume, overwrite)
    model, tokenizer, _ = open_judge(plan, "token", 2)
    longest = plan.window(getattr(model.config.get_text_config(), "max_position_embeddings", None))
    encoder = StepEncoder(tokenizer, plan.separator, plan.last_step_only, plan.model)
    found = keep_rows(
        lambda: write_steps(rows, _held_out(plan), encoder, folder / ROWS, longest, plan.held_out_share, plan.seed),
        lambda report: report.lines(longest),
        folder,
    )
    train, test = open_rows(folder)
    from transformers import TrainingArguments

    from r1kit.step_trainer import StepTrainer

    trainer = new_trainer(StepTrainer, TrainingArguments, model, tokenizer, train, plan, folder, "TOKEN_CLS", {})
    lines = RewardLines(lambda: measure(trainer, test), plan.eval_every, steps_of(trainer))
    card = {"command": "reward-model --process", "parent": plan.model, "step_separator": plan.separator}
    made = {"seed": plan.seed, "data_hash": found["data_hash"]}
    train_and_save(trainer, tokenizer, lines, plan, folder, card | made, checkpoint)
    if is_main():
        remove_rows(folder)


def measure(trainer: "StepTrainer", rows: "Dataset") -> Measured | None:
    """Return loss, accuracy and report of held-out rows, None where there are none."""
    if not len(rows):
        return None
    found = map(Scored, rows["labels"], trainer.score_steps(rows), rows["prompt"])
    scored = list(found)
    report = report_on(scored)
    return Measured(mean_loss(scored), report.accuracy.value, report)


def _held_out(plan: RewardPlan) -> Iterable[Record] | None:
    if plan.held_out is None:
        return None
    from r1kit.reward_model import read_sources

    return read_sources(plan.held_out, split="test")
