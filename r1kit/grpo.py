"""GRPO: R1-Zero, and both reinforcement-learning stages of R1.

Source: DeepSeek-R1 (arXiv 2501.12948), section 2.2; GRPO itself: DeepSeekMath (arXiv 2402.03300), section 4.1.
"""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r1kit.curves import CURVES, draw_png
from r1kit.data import read_problem_list
from r1kit.engines import Sampling
from r1kit.engines.vllm_training import prepare_vllm
from r1kit.errors import UserError
from r1kit.grader import Grader
from r1kit.grpo_plan import GrpoPlan, check_plan
from r1kit.held_out import HeldOut
from r1kit.jsonl import Record, read_records
from r1kit.last_steps import WaitingKinds
from r1kit.live import GRPO_READINGS, RunView, draw_curves, say
from r1kit.metrics import Metrics, measure
from r1kit.parts import PARTS
from r1kit.pass_rate import parse_pass_rate, problems_within
from r1kit.processes import gather, is_main, process_count, share
from r1kit.prompts import Prompting, PromptStyle, render_prompt
from r1kit.records import content_hash
from r1kit.rewards import JUDGED, REWARDS
from r1kit.rollout import RolloutPlan, style_of
from r1kit.run_folder import CHECKPOINTS, claim_folder, read_log
from r1kit.training_run import (
    adapter,
    check_trainer,
    end_where_interrupted,
    measurable,
    report_change,
    take_steps,
    trained_model,
    watch,
)
from r1kit.verdict import judge_rollout, kind_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from r1kit.callbacks import RunCallback
    from r1kit.rollout_grader import RolloutGrader
    from r1kit.trainer import ReasoningTrainer


def read_train_problems(source: str, pass_rate: str | None) -> list[Record]:
    """Return the problems to train on: those of a source, or with a pass rate those of a scored file that have it.

    Raises:
        UserError: there are none.
    """
    if pass_rate is None:
        return read_problem_list(source, "train")
    problems, count = problems_within(read_records(source), *parse_pass_rate(pass_rate))
    if not problems:
        raise UserError(source, f"none of {count} problems has a pass rate within {pass_rate}", "widen --pass-rate")
    say(f"{len(problems)} of {count} problems have a pass rate within {pass_rate}")
    return problems


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


def train_grpo(
    problems: list[Record],
    held_out: list[Record],
    plan: GrpoPlan,
    rewards: Grader,
    folder: Path,
    resume: bool = False,
    overwrite: bool = False,
) -> None:
    """Train a model by GRPO on `problems` and save it into `folder`; measure it before and after on `held_out`.

    Args:
        rewards: the grader of the plan's rewards.
        resume: go on from the folder's newest checkpoint.
        overwrite: replace the run that the folder holds.

    Raises:
        KeyboardInterrupt: after Ctrl-C; the step is finished and a checkpoint saved first.
    """
    check_plan(plan, process_count())
    prepare_vllm(plan)
    settings = plan.as_json(problems)
    checkpoint = claim_folder(folder, settings, resume, overwrite) if is_main() else None

    from r1kit.model import load_model, save_model

    model, tokenizer = load_model(plan.model, plan.dtype)
    style = plan.style or style_of(plan.model, tokenizer)
    card = _card(problems, style, plan)
    trainer, grader = new_trainer(model, tokenizer, problems, rewards, style, plan, folder)
    checkpoint = share(checkpoint)
    held_out = measurable(held_out, trainer)
    sampling = Sampling(plan.temperature, 1.0, plan.max_tokens, plan.seed)
    test = HeldOut(held_out, tokenizer, style, RolloutPlan(plan.eval_samples, sampling), plan.sandbox, folder)
    groups = plan.batch_size // plan.n
    say(f"{plan.steps} steps of {groups} prompts, {plan.n} completions each, out of {len(problems)} problems; {folder}")
    before = test.measure("eval-before.jsonl", model)
    test.forget("eval-after.jsonl")  # of a run that is made longer
    callback = _watch(trainer, grader, plan, folder, card)
    take_steps(trainer, callback, checkpoint, plan.steps)
    if is_main():
        draw_png(read_log(folder), folder / CURVES)
    end_where_interrupted(trainer, callback)

    say(*rewards.warnings())
    trained, weights = trained_model(trainer)
    after = test.measure("eval-after.jsonl", trained)
    metrics = {"before": measure(before), "after": measure(after)} if held_out else {}
    if is_main():
        found = {name: metric.as_json() for name, metric in metrics.items()}
        save_model(trained, tokenizer, folder, {**card, "metrics": found}, weights)
        _report(folder, metrics, before, after)


def new_trainer(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    problems: list[Record],
    rewards: Grader,
    style: PromptStyle,
    plan: GrpoPlan,
    folder: Path,
) -> "tuple[ReasoningTrainer, RolloutGrader]":
    """Return the trainer of a run, with TRL's settings made from the plan, and the grader of its rollouts."""
    import torch
    from datasets import Dataset
    from trl import GRPOConfig

    from r1kit.model import end_token_ids
    from r1kit.rollout_grader import RolloutGrader
    from r1kit.trainer import ReasoningTrainer

    prompting = Prompting(style)
    prompts = [render_prompt(problem, prompting, tokenizer) for problem in problems]
    ids = tokenizer(prompts, add_special_tokens=not prompting.is_chat)["input_ids"]
    counted = [p.derive(prompt_tokens=len(i)) for p, i in zip(problems, ids, strict=True)]
    grader = RolloutGrader(counted, rewards, plan.n, set(end_token_ids(model, tokenizer).tolist()))
    longest = max(map(len, ids))
    gpu = torch.cuda.is_available()
    settings = plan.trl_settings(model.num_parameters(), process_count(), gpu, longest)
    trainer = ReasoningTrainer(
        model=model,
        reward_funcs=grader.functions(),
        args=GRPOConfig(output_dir=str(folder / CHECKPOINTS), **settings),
        train_dataset=Dataset.from_dict({"prompt": prompts, "index": list(range(len(prompts)))}),
        processing_class=tokenizer,
        peft_config=adapter(plan.lora_rank),
        rollouts=grader,
        add_special_tokens=not prompting.is_chat,
        dynamic_sampling=plan.rounds,
        waiting=WaitingKinds([kind_of(p) for p in problems], plan.last_steps, plan.steps, plan.seed)
        if plan.last_steps
        else None,
        token_budget=plan.budget(gpu),
        parts=PARTS.keys() - set(plan.without),
    )
    check_trainer(trainer)
    if trainer.is_fsdp_enabled and not trainer.use_vllm and "engine" in trainer.parts:
        what = "under FSDP no process can draw alone"
        raise UserError("--engine transformers", what, "say --engine vllm, or --without engine")
    return trainer, grader


def _watch(
    trainer: "ReasoningTrainer", grader: "RolloutGrader", plan: GrpoPlan, folder: Path, card: dict[str, Any]
) -> "RunCallback":
    from r1kit.callbacks import RewardedSteps

    def newest() -> list[Record]:
        return [scored for part in gather(grader.last) for scored in part]

    steps = RewardedSteps(folder, newest, plan.rewards, plan.samples_every, plan.reflection_words, is_main())
    view = RunView(f"grpo {plan.model}", plan.steps, GRPO_READINGS)
    return watch(trainer, view, steps.line, card, folder)


def _card(problems: list[Record], style: PromptStyle, plan: GrpoPlan) -> dict[str, Any]:
    """Return what r1kit.json says of the run's models."""
    return {
        "command": "grpo",
        "parent": plan.model,
        "algorithm": plan.algorithm,
        "prompt_style": style,
        "seed": plan.seed,
        "data_hash": content_hash(problems),
        "rewards": [asdict(part) for part in plan.rewards],
    }


def _report(folder: Path, metrics: dict[str, Metrics], before: list[Record], after: list[Record]) -> None:
    """Print curves, the table before → after, and one problem answered by both models, on stderr."""
    log = read_log(folder)
    draw_curves(log, "mean reward of a step", {name: ("rewards", name) for name in (log[0]["rewards"] if log else ())})
    draw_curves(log, "mean completion length (tokens)", {"length": ("length",)})
    report_change(metrics, before, after, folder)
