"""Distillation: what a teacher can do, passed down to a student.

traces     R1's: the teacher's chains of thought, sampled, graded, chosen, and imitated by SFT
logits     the teacher's distribution at every token of such chains (Hinton et al., arXiv 1503.02531)
on-policy  the teacher's distribution at every token that the student itself draws (GKD, arXiv 2306.13649)

Source: DeepSeek-R1 (arXiv 2501.12948), section 2.4, for the first, which the paper finds better than RL on the student.
"""

import gc
import time
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r1kit.distill_plan import DistillPlan, check_distill_plan
from r1kit.engines import Sampling
from r1kit.errors import UserError
from r1kit.grader import Grader
from r1kit.jsonl import Record, read_records
from r1kit.live import say
from r1kit.processes import is_main, join, process_count, share
from r1kit.prompts import Prompting, PromptStyle, encode_prompt
from r1kit.records import content_hash
from r1kit.reject_plan import RejectPlan
from r1kit.reject_sample import RejectRun, RowPlan
from r1kit.replay import write_replayed
from r1kit.reward import RewardSummary, score_rollouts
from r1kit.rollout import RolloutPlan, RolloutRun, write_rollouts
from r1kit.row_files import open_rows, remove_rows
from r1kit.run_folder import CHECKPOINTS, claim_folder, read_log
from r1kit.sft import fine_tune, new_test, open_student, train_and_save, write_examples
from r1kit.training_plan import check_training_plan
from r1kit.training_run import adapter, check_trainer

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from r1kit.distill_trainer import TeacherTrainer

TRACES = "traces"  # of a run folder: what the teacher wrote, stage by stage
ROLLOUTS, SCORED, EXAMPLES = "rollouts.jsonl", "scored.jsonl", "examples.jsonl"


def train_distill(
    problems: list[Record],
    held_out: list[Record],
    plan: DistillPlan,
    folder: Path,
    resume: bool = False,
    overwrite: bool = False,
) -> None:
    """Train a student to do what its teacher does, and save it into `folder`; measure it before and after.

    Every stage leaves its file in the folder, and a run that goes on begins where it stopped.

    Raises:
        KeyboardInterrupt: after Ctrl-C.
    """
    check_training_plan(plan.student)
    check_distill_plan(plan)
    join()
    data_hash = content_hash(problems)
    settings = plan.as_json(data_hash)
    checkpoint = claim_folder(folder, settings, resume, overwrite) if is_main() else None
    started = time.perf_counter()
    card = {"command": "distill", "method": plan.method, "teacher": plan.teacher}
    if plan.method == "on-policy":
        match_on_policy(problems, held_out, plan, folder, checkpoint, {**card, "data_hash": data_hash})
    else:
        if is_main():
            write_traces(problems, plan, folder / TRACES)
        share(None)  # the examples are there
        examples = read_records(str(folder / TRACES / EXAMPLES))
        if plan.method == "traces":
            fine_tune(examples, held_out, plan.student, folder, checkpoint, card)
        else:
            match_traces(examples, held_out, plan, folder, checkpoint, card)
    if is_main():
        say(cost_line(folder, time.perf_counter() - started))


# --- what the teacher writes


def write_traces(problems: list[Record], plan: DistillPlan, folder: Path) -> None:
    """Make examples of the teacher's chains of thought: sample, grade and choose, each where it is not done yet.

    Traces that are given may be rollouts, scored rollouts, or examples.

    Raises:
        UserError: a file of traces that is given holds none.
    """
    rollouts, scored, examples = (folder / name for name in (ROLLOUTS, SCORED, EXAMPLES))
    if examples.exists():
        return
    source = iter(read_records(plan.trace_file)) if plan.trace_file else iter(())
    first = list(islice(source, 1))
    if plan.trace_file and not first:
        raise UserError(plan.trace_file, "holds no traces", "give another file")
    folder.mkdir(exist_ok=True)
    given = chain(first, source)
    is_scored, is_rollout = (bool(first) and name in first[0] for name in ("rewards", "finish_reason"))
    if first and not is_scored and not is_rollout:  # examples; reject-sample leaves them their sample and reward
        _finish(examples, given, {})
        return
    if not first and not rollouts.exists():
        _sample_teacher(problems, plan, str(rollouts))
    if not is_scored and not scored.exists():
        summary = RewardSummary()
        graded = score_rollouts(given if first else read_records(str(rollouts)), Grader(plan.rewards), summary)
        _finish(scored, graded, {})
        say(*summary.lines())
    run = RejectRun(RejectPlan(plan.keep, threshold=plan.threshold), RowPlan(form="prompt-completion"))
    _finish(examples, run.records(given if is_scored else read_records(str(scored))), run.settings())
    say(*run.lines())


def _finish(path: Path, records: Iterable[Record], settings: dict[str, Any]) -> None:
    """Write the file of a stage, or finish it."""
    if not path.exists():
        write_replayed(iter(records), str(path), settings, resume=True, overwrite=False)


def _sample_teacher(problems: list[Record], plan: DistillPlan, output: str) -> None:
    own = plan.student
    sampling = Sampling(own.temperature, 1.0, own.max_tokens, own.seed)
    prompting = {"style": None, "system": None, "prefill": "", "examples": ()}
    run = RolloutRun(plan.teacher, plan.options, prompting, RolloutPlan(plan.n, sampling), None)
    say(f"the teacher draws {plan.n} completions of each of {len(problems)} problems")
    write_rollouts(iter(problems), run, output, True, False, say)
    gc.collect()  # an engine that holds a GPU's memory


# --- the teacher's distribution


def match_traces(
    examples: Iterator[Record],
    held_out: list[Record],
    plan: DistillPlan,
    folder: Path,
    checkpoint: Path | None,
    card: dict[str, Any],
) -> None:
    """Train the student to have its teacher's distribution at every token of the teacher's chains."""
    model, tokenizer, style = open_student(plan.student)
    found = write_examples(examples, model, tokenizer, Prompting(style), plan.student, folder)
    rows, _ = open_rows(folder)
    trainer = new_teacher_trainer(model, tokenizer, rows, found["longest"], plan, folder)
    card["data_hash"] = found["data_hash"]
    _match(trainer, tokenizer, style, held_out, plan, folder, checkpoint, card)
    if is_main():
        remove_rows(folder)


def match_on_policy(
    problems: list[Record],
    held_out: list[Record],
    plan: DistillPlan,
    folder: Path,
    checkpoint: Path | None,
    card: dict[str, Any],
) -> None:
    """Train the student to have its teacher's distribution at every token that it draws itself."""
    from datasets import Dataset

    model, tokenizer, style = open_student(plan.student)
    prompts = [encode_prompt(problem, Prompting(style), tokenizer) for problem in problems]
    longest = max(map(len, prompts)) + plan.student.max_tokens
    rows = Dataset.from_dict({"prompt_ids": prompts})
    trainer = new_teacher_trainer(model, tokenizer, rows, longest, plan, folder)
    _match(trainer, tokenizer, style, held_out, plan, folder, checkpoint, card)


def _match(
    trainer: "TeacherTrainer",
    tokenizer: "PreTrainedTokenizerBase",
    style: PromptStyle,
    held_out: list[Record],
    plan: DistillPlan,
    folder: Path,
    checkpoint: Path | None,
    card: dict[str, Any],
) -> None:
    own = plan.student
    card = {**card, "parent": own.model, "prompt_style": style, "seed": own.seed, "beta": plan.divergence}
    test = new_test(held_out, trainer, tokenizer, style, own, folder)
    train_and_save(trainer, tokenizer, test, (), own, folder, card, checkpoint)


def new_teacher_trainer(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    rows: "Dataset",
    longest: int,
    plan: DistillPlan,
    folder: Path,
) -> "TeacherTrainer":
    """Return the trainer of a run, with TRL's settings made from the plan; rows have `longest` tokens at most."""
    import torch
    from trl import DistillationConfig

    from r1kit.distill_trainer import TeacherTrainer
    from r1kit.model import load_model

    gpu, own = torch.cuda.is_available(), plan.student
    teacher, _ = load_model(plan.teacher, own.dtype)
    settings = own.trl_settings(model.num_parameters(), process_count(), gpu)
    mine = _whole_batch(settings["per_device_train_batch_size"], len(rows))
    most = max(1, own.budget(gpu) // longest)
    settings["per_device_train_batch_size"] = next(k for k in range(min(most, mine), 0, -1) if mine % k == 0)
    trainer = TeacherTrainer(
        model=model,
        teacher_model=teacher,
        args=DistillationConfig(
            output_dir=str(folder / CHECKPOINTS),
            gradient_accumulation_steps=mine // settings["per_device_train_batch_size"],
            max_completion_length=own.max_tokens,
            temperature=own.temperature,
            beta=plan.divergence,
            **settings,
        ),
        train_dataset=rows,
        processing_class=tokenizer,
        peft_config=adapter(own.lora_rank),
    )
    check_trainer(trainer)
    return trainer


def _whole_batch(rows: int, count: int) -> int:
    """Return how many rows of a step each process takes: fewer where all `count` do not make a batch for TRL."""
    most = max(1, count // process_count())
    if most < rows:
        say(f"warning: there are {count} rows to train on, so that a step takes {most * process_count()}")
    return min(rows, most)


def cost_line(folder: Path, seconds: float) -> str:
    """Return what a run cost: tokens that the teacher and the student drew, tokens trained on, seconds."""
    rollouts = folder / TRACES / ROLLOUTS
    teacher = sum(r["completion_tokens"] for r in read_records(str(rollouts))) if rollouts.exists() else 0
    log = read_log(folder)
    student = sum(line["tokens"].get("generate", 0) for line in log)
    trained = sum(line["tokens"]["train"] for line in log)
    return (
        f"cost: {teacher:,} tokens drawn by the teacher, {student:,} by the student, {trained:,} read in training, "
        f"{seconds:.0f} s"
    )
