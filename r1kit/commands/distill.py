"""The command `distill`; the work is in r1kit/distill.py."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from r1kit.commands.options import (
    DEFAULT_REWARDS,
    BatchExamples,
    BatchSize,
    ChatTemplate,
    Dtype,
    Engine,
    EngineArgs,
    Epochs,
    EvalEvery,
    EvalSamples,
    GpuMemory,
    GradientCheckpointing,
    HeldOutProblems,
    HeldOutShare,
    LearningRate,
    LoraRank,
    MaxLength,
    MaxTokens,
    N,
    Overwrite,
    ReportTo,
    Resume,
    Rewards,
    SaveEvery,
    Seed,
    SetConfig,
    Steps,
    Style,
    Temperature,
    TokenBudget,
    TooLongRows,
    Url,
)
from r1kit.errors import UsageError


def distill(
    problems: Annotated[str, typer.Argument(help="Problems: embedded set, file or -.")] = "arith",
    teacher: Annotated[str, typer.Option(help="Model (folder, hub name), or a file of its traces.")] = "",
    student: Annotated[str, typer.Option(help="Model to train: folder, hub name, base, or student (embedded).")] = "",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Run folder; default distill-STUDENT.")] = None,
    method: Annotated[
        Literal["traces", "logits", "on-policy"],
        typer.Option(
            help="traces: SFT on what the teacher writes, as R1 did; logits: its distribution over these tokens; "
            "on-policy: its distribution over the tokens that the student draws."
        ),
    ] = "traces",
    traces: Annotated[
        str | None, typer.Option(metavar="FILE", help="The teacher's rollouts, scored or not, or examples.")
    ] = None,
    n: N = 4,
    keep: Annotated[int, typer.Option(min=1, help="Rows of each problem at most.")] = 1,
    threshold: Annotated[
        str, typer.Option(metavar="correct|NAME=NUMBER,…", help="What a rollout must reach, as in reject-sample.")
    ] = "correct",
    rewards: Rewards = DEFAULT_REWARDS,
    beta: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Divergence: 0 forward KL (default of logits), 1 reverse KL (default of on-policy), between them "
            "generalised Jensen-Shannon.",
        ),
    ] = None,
    temperature: Temperature = 1.0,
    max_tokens: MaxTokens = 128,
    engine: Engine = "auto",
    url: Url = None,
    engine_args: EngineArgs = None,
    gpu_memory_utilization: GpuMemory = None,
    sample_batch_size: BatchSize = None,
    held_out: HeldOutProblems = None,
    epochs: Epochs = 2.0,
    steps: Steps = None,
    batch_size: BatchExamples = 64,
    token_budget: TokenBudget = None,
    max_length: MaxLength = None,
    too_long: TooLongRows = "drop",
    learning_rate: LearningRate = None,
    lora_rank: LoraRank = None,
    gradient_checkpointing: GradientCheckpointing = None,
    prompt_style: Style = None,
    chat_template: ChatTemplate = None,
    held_out_share: HeldOutShare = 0.02,
    eval_every: EvalEvery = None,
    eval_samples: EvalSamples = 16,
    seed: Seed = 0,
    dtype: Dtype = "float32",
    save_every: SaveEvery = 100,
    report_to: ReportTo = None,
    settings: SetConfig = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
) -> None:
    """Pass what a teacher can do down to a smaller student.

    Reads problems, writes a run folder: the student, log.jsonl, checkpoints, and in traces/ what the teacher wrote,
    stage by stage: rollouts, scored rollouts, examples. logits and on-policy need one vocabulary for both models.

    Examples:

        r1kit distill --teacher out/r1 --student student --eval arith

        r1kit distill --teacher traces.jsonl --student Qwen/Qwen2.5-1.5B --max-length 16384 --dtype bfloat16

        r1kit distill --teacher out/r1 --student student --method on-policy --steps 200 problems.jsonl
    """
    for flag, value in (("--teacher", teacher), ("--student", student)):
        if not value:
            raise UsageError(flag, "is not said", "say --teacher MODEL --student MODEL")
    from r1kit.data import read_problem_list
    from r1kit.distill import train_distill
    from r1kit.distill_plan import DISTILL_FLAGS, DistillPlan
    from r1kit.engines.opening import EngineOptions, engine_settings
    from r1kit.grpo_plan import parse_settings
    from r1kit.held_out import default_held_out
    from r1kit.reward_spec import parse_rewards
    from r1kit.sft_plan import FLAGS, SftPlan
    from r1kit.thresholds import parse_threshold

    config, flags = ("SFTConfig", FLAGS) if method == "traces" else ("DistillationConfig", DISTILL_FLAGS)
    # fmt: off
    training = SftPlan(
        model=student, epochs=epochs, steps=steps, batch_size=batch_size, token_budget=token_budget,
        max_length=max_length, too_long=too_long, learning_rate=learning_rate, lora_rank=lora_rank,
        gradient_checkpointing=gradient_checkpointing, seed=seed, dtype=dtype, style=prompt_style,
        chat_template=chat_template, held_out_share=held_out_share, eval_every=eval_every, eval_samples=eval_samples,
        temperature=temperature, max_tokens=max_tokens, save_every=save_every, report_to=report_to or [],
        settings=parse_settings(settings or [], config, flags),
    )
    # fmt: on
    knobs = {"gpu_memory_utilization": gpu_memory_utilization}
    options = EngineOptions(engine, "auto", sample_batch_size, url, engine_settings(engine_args or [], knobs))
    plan = DistillPlan(
        method, teacher, training, traces, n, keep, parse_threshold(threshold), parse_rewards(rewards), options, beta
    )
    needs_problems = method == "on-policy" or plan.trace_file is None
    asked = read_problem_list(problems, "train") if needs_problems else []
    folder = output or Path("distill-" + Path(student).name)
    train_distill(asked, default_held_out("", held_out), plan, folder, resume, overwrite)
