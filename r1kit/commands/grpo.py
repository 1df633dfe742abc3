"""The command `grpo`; the work is in r1kit/grpo.py."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from r1kit.algorithms import AlgorithmName, algorithm_of
from r1kit.commands.options import (
    DEFAULT_REWARDS,
    Dtype,
    EvalSamples,
    GpuMemory,
    GradientCheckpointing,
    LoraRank,
    MaxTokens,
    ModelName,
    N,
    ReportTo,
    RewardArgs,
    Rewards,
    SandboxMode,
    SaveEvery,
    ScoreText,
    Seed,
    Style,
    Temperature,
    Workers,
)
from r1kit.errors import UsageError


def grpo(
    model: ModelName,
    problems: Annotated[str, typer.Argument(help="Problems: a source as `r1kit data` has it, or -.")] = "arith",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Run folder; default grpo-MODEL.")] = None,
    held_out: Annotated[
        str | None, typer.Option("--eval", help="Problems to measure on; default: an embedded set's test split.")
    ] = None,
    algo: Annotated[
        AlgorithmName | None, typer.Option(help="Settings of a published algorithm; default: r1kit's own.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps.")] = 80,
    n: N = 8,
    batch_size: Annotated[
        int | None, typer.Option(min=2, help="Completions of each step; default: 16 groups of n.")
    ] = None,
    micro_batch_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Completions of each backward pass on one device; default: all of a step, cut by the token budget.",
        ),
    ] = None,
    token_budget: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Tokens of one forward and backward pass on one device; lower it when memory runs out; default: 2048 "
            "on a CPU, 8192 on a GPU.",
        ),
    ] = None,
    without: Annotated[
        str,
        typer.Option(
            metavar="PART,…", help="Exact speed-ups to switch off: drop, budget, head, share, engine, overlap."
        ),
    ] = "",
    dynamic_sampling: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="Replace groups without signal by fresh ones, at most N times a step; 0: never; default: the "
            "algorithm's.",
        ),
    ] = None,
    pass_rate: Annotated[
        str | None,
        typer.Option(
            metavar="LOW:HIGH",
            help="Train on problems whose share of right rollouts lies within; PROBLEMS is then a scored file.",
        ),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Of AdamW; default 3e-6 (R1's), 5e-4 for a model under 10M parameters; of an adapter ten times that.",
        ),
    ] = None,
    lora_rank: LoraRank = None,
    gradient_checkpointing: GradientCheckpointing = None,
    temperature: Temperature = 1.0,
    max_tokens: MaxTokens = 128,
    engine: Annotated[
        Literal["auto", "transformers", "vllm"],
        typer.Option(
            help="What draws completions; auto: vllm where it is installed and there is a GPU, else transformers."
        ),
    ] = "auto",
    server: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Address of a running `vllm serve` that takes weights; only with --engine vllm."
        ),
    ] = None,
    gpu_memory_utilization: GpuMemory = None,
    sleep: Annotated[
        bool | None,
        typer.Option(
            "--sleep/--no-sleep",
            help="Free vLLM's memory while the model trains (its sleep mode); default: on a GPU that trains and draws.",
        ),
    ] = None,
    rewards: Rewards = DEFAULT_REWARDS,
    reward_args: RewardArgs = None,
    score_text: ScoreText = None,
    last_steps: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND:N",
            help="Draw problems of a kind in the last N steps alone, as R1 did those of its preference model; may be "
            "repeated.",
        ),
    ] = None,
    workers: Workers = None,
    sandbox: SandboxMode = "auto",
    seed: Seed = 0,
    prompt_style: Style = None,
    dtype: Dtype = "float32",
    eval_samples: EvalSamples = 16,
    save_every: SaveEvery = 50,
    samples_every: Annotated[int, typer.Option(min=1, help="Steps between samples in samples.jsonl.")] = 10,
    report_to: ReportTo = None,
    reflection_words: Annotated[
        list[str] | None,
        typer.Option(
            "--reflection-word", metavar="WORD", help="Word to count as reflection, beside r1kit's; may be repeated."
        ),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any field of TRL's GRPOConfig.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's last checkpoint.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run in the folder.")] = False,
) -> None:
    """Train a model by reinforcement learning with verifiable rewards (R1-Zero).

    Reads problems, writes a run folder: the model, log.jsonl (a line a step), samples.jsonl, checkpoints. Shows the run
    on stderr; at the end the held-out numbers before and after.

    Examples:

        r1kit grpo --model base

        r1kit grpo --model base problems.jsonl --eval test.jsonl --steps 300 -o out/zero

        r1kit grpo --model base problems.jsonl --reward math=accuracy general=model:out/rm --last-steps general:40

        r1kit grpo --model base --algo dapo --dynamic-sampling 4 --set beta=0.001

        r1kit rollout --model base -n 16 problems.jsonl | r1kit reward | r1kit grpo --model base - --pass-rate 0.1:0.9
    """
    from r1kit.grader import Grader
    from r1kit.grpo import check_gradable, read_train_problems, train_grpo
    from r1kit.grpo_plan import GrpoPlan, check_batch, parse_parts, parse_settings
    from r1kit.held_out import default_held_out
    from r1kit.last_steps import check_last_steps, parse_last_steps
    from r1kit.model import resolve_model
    from r1kit.processes import process_count
    from r1kit.reward_spec import parse_options, parse_rewards

    if server and engine != "vllm":
        raise UsageError("--server", f"--engine {engine} asks no server", "say --engine vllm")
    parts = algorithm_of(algo).add_rewards(parse_rewards(rewards))
    batch_size = batch_size or 16 * n
    # fmt: off
    plan = GrpoPlan(
        model=model, dtype=dtype, style=prompt_style, seed=seed, steps=steps, algorithm=algo,
        n=n, batch_size=batch_size, micro_batch_size=check_batch(batch_size, n, micro_batch_size, process_count()),
        token_budget=token_budget, without=parse_parts(without), dynamic_sampling=dynamic_sampling, pass_rate=pass_rate,
        learning_rate=learning_rate, lora_rank=lora_rank, gradient_checkpointing=gradient_checkpointing,
        temperature=temperature, max_tokens=max_tokens,
        engine=engine, server=server, gpu_memory_utilization=gpu_memory_utilization, sleep=sleep,
        last_steps=parse_last_steps(last_steps or [], steps),
        rewards=parts, reward_options=parse_options(reward_args or [], parts, score_text, max_tokens), sandbox=sandbox,
        eval_samples=eval_samples, save_every=save_every, samples_every=samples_every,
        report_to=report_to or [], reflection_words=reflection_words or [], settings=parse_settings(settings or []),
    )
    # fmt: on
    resolve_model(model)
    train, test = read_train_problems(problems, pass_rate), default_held_out(problems, held_out)
    grader = Grader(parts, plan.reward_options, workers, sandbox)
    check_gradable(train, grader)
    check_last_steps(train, plan.last_steps, steps)
    folder = output or Path("grpo-" + Path(model).name)
    train_grpo(train, test, plan, grader, folder, resume, overwrite)
