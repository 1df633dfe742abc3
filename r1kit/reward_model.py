"""Reward models: a score for an answer, learnt from pairs of which one answer is preferred.

Source: Bradley and Terry 1952; Ouyang et al. 2022 (arXiv 2203.02155), section 3.5; DeepSeek-R1 (arXiv 2501.12948),
section "Model-based Rewards" of the RL for all scenarios.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from r1kit.data import EMBEDDED_PAIRS, HUB_NAME, Request
from r1kit.data import open_rows as open_source
from r1kit.jsonl import Record
from r1kit.judge_run import Measured, claim, open_judge, train_and_save
from r1kit.model import window_of
from r1kit.preference_rows import PairEncoder, write_pairs
from r1kit.reward_plan import RewardPlan
from r1kit.reward_report import report_on
from r1kit.row_files import ROWS, keep_rows, open_rows
from r1kit.training_run import new_row_trainer

if TYPE_CHECKING:
    from datasets import Dataset

    from r1kit.preference_trainer import PreferenceTrainer
    from r1kit.reward_report import LengthRule


def read_sources(*sources: str, split: str | None = None) -> Iterator[Record]:
    """Yield the rows of files, folders, embedded sets or data sets of the hub, one source after another.

    split: of the sources that have splits; None: the first.

    Raises:
        UserError: there is no such source, or it cannot be read.
    """
    for source in sources:
        has_splits = source in EMBEDDED_PAIRS or Path(source).is_dir() or bool(HUB_NAME.fullmatch(source))
        yield from open_source(Request(source, split if has_splits else None))[1]


def held_out_rows(plan: RewardPlan) -> Iterator[Record] | None:
    """Return the rows that a plan measures on, None where that is a share of the others."""
    return None if plan.held_out is None else read_sources(plan.held_out, split="test")


def train_reward_model(
    pairs: Iterable[Record], plan: RewardPlan, folder: Path, resume: bool = False, overwrite: bool = False
) -> None:
    """Train a reward model on preference pairs and save it into `folder`; measure it on pairs that are held out.

    Args:
        resume: go on from the folder's newest checkpoint.
        overwrite: replace the run that the folder holds.

    Raises:
        KeyboardInterrupt: after Ctrl-C; the step is finished and a checkpoint saved first.
    """
    checkpoint = claim(plan, folder, resume, overwrite)
    model, tokenizer, style = open_judge(plan, "sequence", 1)
    longest, held_out = plan.window(window_of(model)), held_out_rows(plan)
    encoder = PairEncoder(tokenizer, style, plan.margin)
    found = keep_rows(
        lambda: write_pairs(pairs, held_out, encoder, folder / ROWS, longest, plan.held_out_share, plan.seed),
        lambda report: report.lines(longest, plan.margin),
        folder,
    )
    train, test = open_rows(folder)
    from trl import RewardConfig

    from r1kit.preference_trainer import PreferenceTrainer

    own = {"center_rewards_coefficient": plan.centring, "max_length": None}
    trainer = new_row_trainer(PreferenceTrainer, RewardConfig, model, tokenizer, train, plan, folder, own, "SEQ_CLS")
    rule: LengthRule = "longer" if found["chosen_longer"] >= found["chosen_shorter"] else "shorter"
    card = {"command": "reward-model", "parent": plan.model, "prompt_style": style}
    made = {"seed": plan.seed, "data_hash": found["data_hash"]}
    train_and_save(trainer, tokenizer, lambda: measure(trainer, test, rule), plan, folder, card | made, checkpoint)


def measure(trainer: "PreferenceTrainer", pairs: "Dataset", rule: "LengthRule") -> Measured | None:
    """Return loss, accuracy and report of held-out pairs, None where there are none."""
    if not len(pairs):
        return None
    scores = trainer.score_pairs(pairs)
    report = report_on(scores, rule)
    return Measured(trainer.held_out_loss(pairs, scores), report.accuracy.value, report)
