"""GRPO: R1-Zero, and both reinforcement-learning stages of R1.

Source: DeepSeek-R1 (arXiv 2501.12948), section 2.2; GRPO itself: DeepSeekMath (arXiv 2402.03300), section 4.1.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r1kit.data import EMBEDDED, read_problem_list
from r1kit.engines import Sampling
from r1kit.errors import UsageError, UserError
from r1kit.evaluate import MEASURED, Metrics, format_table, measure
from r1kit.grader import Grader
from r1kit.jail import Mode
from r1kit.jsonl import Record, read_records, write_records
from r1kit.live import RunView, draw_curves, say
from r1kit.prompts import Prompting, PromptStyle, render_prompt
from r1kit.records import content_hash
from r1kit.reward import score_windows
from r1kit.reward_spec import Options, RewardPart
from r1kit.rewards import JUDGED, REWARDS
from r1kit.rollout import RolloutPlan, loaded_policy, sample_rollouts, style_of
from r1kit.run_folder import CHECKPOINTS, read_log
from r1kit.verdict import judge_rollout, kind_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from r1kit.trainer import ReasoningTrainer, RolloutGrader


FLAGS = {  # TRL's settings that are flags of ours
    "output_dir": "--output",
    "max_steps": "--steps",
    "num_generations": "--n",
    "per_device_train_batch_size": "--micro-batch-size",
    "gradient_accumulation_steps": "--batch-size",
    "max_completion_length": "--max-tokens",
    "temperature": "--temperature",
    "learning_rate": "--learning-rate",
    "reward_weights": "--reward",
    "seed": "--seed",
    "save_steps": "--save-every",
}


@dataclass(frozen=True)
class GrpoPlan:
    """A run, as its flags say it."""

    model: str
    rewards: list[RewardPart]
    steps: int
    n: int  # completions of each prompt (the group)
    batch_size: int  # completions of each step
    micro_batch_size: int  # completions of each backward pass on one device
    learning_rate: float | None  # None: by the size of the model
    temperature: float
    max_tokens: int
    seed: int
    dtype: str
    style: PromptStyle | None  # None: the model's own
    eval_samples: int
    save_every: int
    samples_every: int
    settings: dict[str, Any] = field(default_factory=dict)  # --set: any field of TRL's GRPOConfig
    reward_options: Options = field(default_factory=dict)
    sandbox: Mode = "auto"

    def as_json(self, problems: list[Record]) -> dict[str, Any]:
        """Return the settings that run.json holds, with a hash of the problems."""
        return {"command": "grpo", "data_hash": content_hash(problems), **asdict(self)}


def parse_settings(pairs: list[str]) -> dict[str, Any]:
    """Return {key: value} of "KEY=VALUE" pairs; a value is read as JSON where it is JSON, else as text.

    Raises:
        UsageError: a pair of another form, a key that TRL's GRPOConfig lacks, or one that has a flag of its own.
    """
    settings: dict[str, Any] = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not (key and separator):
            raise UsageError("--set", f'"{pair}" is not KEY=VALUE', "write --set beta=0.001, for instance")
        if key in FLAGS:
            raise UsageError("--set", f"{key} has a flag of its own", f"say {FLAGS[key]}")
        try:
            settings[key] = json.loads(value)
        except ValueError:
            settings[key] = value
    if settings:
        from trl import GRPOConfig

        known = [f.name for f in fields(GRPOConfig)]
        for key in settings.keys() - set(known):
            nearest = get_close_matches(key, known, 1, 0)[0]
            raise UsageError("--set", f'TRL has no setting "{key}"', f"the nearest is {nearest}")
    return settings


def check_batch(batch_size: int, n: int, micro_batch_size: int | None) -> int:
    """Return the micro-batch size: as said, else the whole batch.

    Raises:
        UsageError: the sizes do not divide; names the nearest that do.
    """
    if n < 2:
        raise UsageError("--n", "a group of one has no advantage", "say -n 2 or more")
    if batch_size % n:
        nearest = max(n, round(batch_size / n) * n)
        raise UsageError("--batch-size", f"{batch_size} is no multiple of -n {n}", f"the nearest is {nearest}")
    micro = micro_batch_size or batch_size
    if batch_size % micro:
        nearest = min((m for m in range(1, batch_size + 1) if batch_size % m == 0), key=lambda m: abs(m - micro))
        raise UsageError("--micro-batch-size", f"{micro} does not divide {batch_size}", f"the nearest is {nearest}")
    return micro


def check_gradable(problems: list[Record], grader: Grader) -> None:
    """Refuse rewards that can grade none of the problems, before a model is loaded.

    Raises:
        UserError: names the reward; or the sandbox, which the programs of the problems' completions would run in.
    """
    for part in grader.parts:
        mine = [problem for problem in problems if part in grader.parts_for(problem)]
        if not mine:
            what = f"no problem is of the kind {part.kind}, which {part.name} grades"
            raise UserError(problems[0].place, what, "set kind, or give another --reward")
        needs = REWARDS[part.reward].needs if part.reward in REWARDS else ()
        useful = [problem for problem in mine if not needs or any(problem.get(need) is not None for need in needs)]
        if not any(part.reward not in JUDGED or _can_be_judged(problem, grader) for problem in useful):
            what = f"the reward {part.name} can grade none of the {len(mine)} problems"
            raise UserError(mine[0].place, what, "give gold answers, or other rewards by --reward")
        if part.reward in JUDGED and any(kind_of(problem) == "code" for problem in mine):
            grader.sandbox()


def _can_be_judged(problem: Record, grader: Grader) -> bool:
    verdict = judge_rollout(problem.derive(completion=""), grader.sandbox).verdict
    return verdict not in (None, "gold_unparseable")


def default_held_out(source: str, held_out: str | None) -> list[Record]:
    """Return the problems to measure on: those of `held_out`, else the test split of an embedded set, else none."""
    chosen = held_out or (source if source in EMBEDDED else None)
    return read_problem_list(chosen, "test") if chosen else []


def train_grpo(
    problems: list[Record],
    held_out: list[Record],
    plan: GrpoPlan,
    rewards: Grader,
    folder: Path,
    checkpoint: Path | None,
) -> None:
    """Train a model by GRPO on `problems` and save it into `folder`; measure it before and after on `held_out`.

    Args:
        rewards: the grader of the plan's rewards.
        checkpoint: where a run that was stopped goes on from, None for a new one.

    Raises:
        KeyboardInterrupt: after Ctrl-C; the step is finished and a checkpoint saved first.
    """
    from r1kit.callbacks import RunCallback
    from r1kit.model import end_token_ids, load_model, save_model
    from r1kit.trainer import RolloutGrader

    model, tokenizer = load_model(plan.model, plan.dtype)
    style = plan.style or style_of(plan.model, tokenizer)
    prompting = Prompting(style)
    card = _card(problems, style, plan)

    def evaluate(name: str) -> list[Record]:
        if not held_out:
            return []
        say(f"measuring on {len(held_out)} held-out problems, {plan.eval_samples} samples each")
        return list(_evaluate(folder / name, held_out, model, tokenizer, style, plan))

    groups = plan.batch_size // plan.n
    say(f"{plan.steps} steps of {groups} prompts, {plan.n} completions each, out of {len(problems)} problems; {folder}")
    before = evaluate("eval-before.jsonl")
    (folder / "eval-after.jsonl").unlink(missing_ok=True)  # of a run that is made longer
    prompts = [render_prompt(problem, prompting, tokenizer) for problem in problems]
    ids = tokenizer(prompts, add_special_tokens=not prompting.is_chat)["input_ids"]
    counted = [p.derive(prompt_tokens=len(i)) for p, i in zip(problems, ids, strict=True)]
    grader = RolloutGrader(counted, rewards, plan.n, set(end_token_ids(model, tokenizer).tolist()))
    trainer = new_trainer(model, tokenizer, prompts, style, grader, plan, folder)
    view = RunView(f"grpo {plan.model}", plan.steps)
    callback = RunCallback(folder, view, lambda: grader.last, plan.samples_every, card)
    trainer.add_callback(callback)
    with callback.watching():
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if callback.interrupted:
        say(f"stopped after step {trainer.state.global_step}; go on with --resume")
        raise KeyboardInterrupt

    say(*rewards.warnings())
    model.eval()
    after = evaluate("eval-after.jsonl")
    metrics = {"before": measure(before), "after": measure(after)} if held_out else {}
    save_model(model, tokenizer, folder, {**card, "metrics": {k: m.as_json() for k, m in metrics.items()}})
    _report(folder, metrics, before, after)


def new_trainer(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    prompts: list[str],
    style: PromptStyle,
    grader: "RolloutGrader",
    plan: GrpoPlan,
    folder: Path,
) -> "ReasoningTrainer":
    """Return the trainer of a run, with TRL's settings made from the plan."""
    import torch
    from datasets import Dataset
    from transformers.trainer_callback import PrinterCallback
    from trl import GRPOConfig

    from r1kit.trainer import ReasoningTrainer

    parameters = model.num_parameters()
    default_rate = 5e-4 if parameters < 10_000_000 else 3e-6
    settings = {
        "output_dir": str(folder / CHECKPOINTS),
        "max_steps": plan.steps,
        "per_device_train_batch_size": plan.micro_batch_size,
        "gradient_accumulation_steps": plan.batch_size // plan.micro_batch_size,
        "num_generations": plan.n,
        "max_completion_length": plan.max_tokens,
        "temperature": plan.temperature,
        "learning_rate": default_rate if plan.learning_rate is None else plan.learning_rate,
        "lr_scheduler_type": "constant",
        "reward_weights": [part.weight for part in plan.rewards],
        "seed": plan.seed,
        "bf16": plan.dtype == "bfloat16",
        "gradient_checkpointing": parameters > 100_000_000,
        "use_cpu": not torch.cuda.is_available(),
        "remove_unused_columns": False,
        "logging_steps": 1,
        "save_steps": plan.save_every,
        "save_total_limit": 2,
        "report_to": "none",
        "disable_tqdm": True,
        **plan.settings,
    }
    trainer = ReasoningTrainer(
        model=model,
        reward_funcs=grader.functions(),
        args=GRPOConfig(**settings),
        train_dataset=Dataset.from_dict({"prompt": prompts, "index": list(range(len(prompts)))}),
        processing_class=tokenizer,
        add_special_tokens=not Prompting(style).is_chat,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _card(problems: list[Record], style: PromptStyle, plan: GrpoPlan) -> dict[str, Any]:
    """Return what r1kit.json says of the run's models."""
    return {
        "command": "grpo",
        "parent": plan.model,
        "prompt_style": style,
        "seed": plan.seed,
        "data_hash": content_hash(problems),
        "rewards": [asdict(part) for part in plan.rewards],
    }


def _evaluate(
    path: Path,
    problems: list[Record],
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    style: PromptStyle,
    plan: GrpoPlan,
) -> Iterator[Record]:
    """Yield scored rollouts of the held-out problems, from `path` where an earlier start of the run left them."""
    if not path.exists():
        sampling = Sampling(plan.temperature, 1.0, plan.max_tokens, plan.seed)
        policy = loaded_policy(model, tokenizer, style)
        rollouts = sample_rollouts(problems, policy, RolloutPlan(plan.eval_samples, sampling))
        grader = Grader(MEASURED, sandbox=plan.sandbox)
        write_records(score_windows(rollouts, grader), str(path))
    yield from read_records(str(path))


def _report(folder: Path, metrics: dict[str, Metrics], before: list[Record], after: list[Record]) -> None:
    """Print curves, the table before → after, and one problem answered by both models, on stderr."""
    draw_curves(read_log(folder))
    if metrics:
        say("", f"held out: {metrics['after'].problems} problems, 95 % intervals over problems", *format_table(metrics))
        chosen = max(range(len(after)), key=lambda i: (after[i]["reward"] or 0) - (before[i]["reward"] or 0))
        say("", f"{after[chosen]['prompt']}   (answer: {after[chosen].get('answer')})")
        say(f"  before: {before[chosen]['completion'].strip()}", f"  after:  {after[chosen]['completion'].strip()}")
    say("", f"the model is in {folder}; r1kit rollout --model {folder} samples from it")
