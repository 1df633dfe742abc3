"""Process reward models: the probability that a step of reasoning is right, learnt from labelled steps.

Source: Lightman et al. 2023 (arXiv 2305.20050); Wang et al. 2023, "Math-Shepherd" (arXiv 2312.08935), whose labels
`rollout --from-steps` and `reject-sample --step-labels` make.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from r1kit.jsonl import Record
from r1kit.judge_run import Measured, claim, open_judge, train_and_save
from r1kit.model import window_of
from r1kit.process_report import Scored, mean_loss, report_on
from r1kit.reward_model import held_out_rows
from r1kit.reward_plan import RewardPlan
from r1kit.row_files import ROWS, keep_rows, open_rows
from r1kit.step_rows import StepEncoder, write_steps
from r1kit.training_run import new_row_trainer

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
    longest, held_out = plan.window(window_of(model)), held_out_rows(plan)
    encoder = StepEncoder(tokenizer, plan.separator, plan.last_step_only, plan.model)
    found = keep_rows(
        lambda: write_steps(rows, held_out, encoder, folder / ROWS, longest, plan.held_out_share, plan.seed),
        lambda report: report.lines(longest),
        folder,
    )
    train, test = open_rows(folder)
    from transformers import TrainingArguments

    from r1kit.step_trainer import StepTrainer

    trainer = new_row_trainer(StepTrainer, TrainingArguments, model, tokenizer, train, plan, folder, {}, "TOKEN_CLS")
    card = {"command": "reward-model --process", "parent": plan.model, "step_separator": plan.separator}
    made = {"seed": plan.seed, "data_hash": found["data_hash"]}
    train_and_save(trainer, tokenizer, lambda: measure(trainer, test), plan, folder, card | made, checkpoint)


def measure(trainer: "StepTrainer", rows: "Dataset") -> Measured | None:
    """Return loss, accuracy and report of held-out rows, None where there are none."""
    if not len(rows):
        return None
    found = map(Scored, rows["labels"], trainer.score_steps(rows), rows["prompt"])
    scored = list(found)
    report = report_on(scored)
    return Measured(mean_loss(scored), report.accuracy.value, report)
