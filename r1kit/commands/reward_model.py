"""The command `reward-model`; the work is in r1kit/reward_model.py and r1kit/process_model.py."""

from pathlib import Path
from typing import Annotated

import typer

from r1kit.commands.options import (
    ChatTemplate,
    Dtype,
    Epochs,
    EvalEvery,
    GradientCheckpointing,
    LoraRank,
    MaxLength,
    ModelName,
    Overwrite,
    ReportTo,
    Resume,
    SaveEvery,
    Seed,
    SetConfig,
    Steps,
    TokenBudget,
    unescape,
)
from r1kit.jsonl import STDIO
from r1kit.reward_plan import RewardStyle

LEARNING_RATE_HELP = (
    "Initial rate, which falls to a tenth; default: by size, 1e-3 for a model under 10M parameters, 2e-5 up to 3B, "
    "1e-5 up to 10B, 6e-6 above; of an adapter ten times that."
)


def reward_model(
    model: ModelName,
    pairs: Annotated[
        list[str] | None,
        typer.Argument(help="Pairs, or stepwise rows: files, folders, data sets of the hub, preferences, or -."),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Run folder; default rm-MODEL.")] = None,
    process: Annotated[
        bool, typer.Option("--process", help="Train a process reward model: a score at the end of each step.")
    ] = False,
    held_out: Annotated[
        str | None, typer.Option("--eval", help="Rows to measure on; default: --held-out-share of the others.")
    ] = None,
    held_out_share: Annotated[
        float, typer.Option(min=0.0, max=0.5, help="Share of the prompts whose rows are measured on.")
    ] = 0.05,
    margin: Annotated[
        float,
        typer.Option(
            min=0.0,
            help="How many times its margin a pair's rewards shall differ: its field margin, else score_chosen - "
            "score_rejected. 0: not at all; TRL's is 1.",
        ),
    ] = 0.0,
    centring: Annotated[
        float | None,
        typer.Option(
            "--center-rewards-coefficient",
            min=0.0,
            help="Weight of the squared sum of a pair's rewards, which keeps their mean at 0; 0.01 is usual.",
        ),
    ] = None,
    separator: Annotated[
        str, typer.Option(callback=unescape, help="What stands after each step, with --process; TRL's is a line end.")
    ] = "\\n",
    last_step_only: Annotated[
        bool, typer.Option("--last-step-only", help="With --process: only the label of the last step counts.")
    ] = False,
    epochs: Epochs = 1.0,
    steps: Steps = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Rows of each step.")] = 64,
    token_budget: TokenBudget = None,
    max_length: MaxLength = None,
    learning_rate: Annotated[float | None, typer.Option(min=0.0, help=LEARNING_RATE_HELP)] = None,
    lora_rank: LoraRank = None,
    gradient_checkpointing: GradientCheckpointing = None,
    prompt_style: Annotated[
        RewardStyle | None,
        typer.Option(
            help="How texts are read: in the chat template, or as they stand; default: as the model's card says."
        ),
    ] = None,
    chat_template: ChatTemplate = None,
    eval_every: EvalEvery = None,
    seed: Seed = 0,
    dtype: Dtype = "float32",
    save_every: SaveEvery = 100,
    report_to: ReportTo = None,
    settings: SetConfig = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
) -> None:
    """Train a reward model on preference pairs, or with --process one that scores every step.

    Reads pairs (prompt, chosen, rejected; texts or messages, as TRL publishes them) or stepwise rows (prompt,
    completions, labels), writes a run folder: the classifier, log.jsonl (a line a step), examples.json (what the rows
    came to), report.json (held-out accuracy, what length alone explains, calibration), checkpoints. A pair's prompt is
    computed once, and no row is padded.

    Examples:

        r1kit reward-model --model base preferences --eval preferences -o out/rm

        r1kit reject-sample --pairs scored.jsonl | r1kit reward-model --model base - --epochs 3

        r1kit reward-model --model Qwen/Qwen2.5-7B trl-lib/ultrafeedback_binarized --dtype bfloat16 --lora-rank 16

        r1kit reward --reward model:out/rm rollouts.jsonl
    """
    from r1kit.grpo_plan import parse_settings
    from r1kit.model import resolve_model
    from r1kit.reward_plan import FLAGS, RewardPlan

    # fmt: off
    plan = RewardPlan(
        model=model, process=process, held_out=held_out, epochs=epochs, steps=steps, batch_size=batch_size,
        token_budget=token_budget, max_length=max_length, learning_rate=learning_rate, margin=margin, centring=centring,
        separator=separator, last_step_only=last_step_only,
        lora_rank=lora_rank, gradient_checkpointing=gradient_checkpointing, seed=seed, dtype=dtype, style=prompt_style,
        chat_template=chat_template, held_out_share=held_out_share, eval_every=eval_every, save_every=save_every,
        report_to=report_to or [], settings=parse_settings(settings or [], "RewardConfig", FLAGS),
    )
    # fmt: on
    resolve_model(model)
    from r1kit.reward_model import read_sources, train_reward_model

    folder = output or Path(("prm-" if process else "rm-") + Path(model).name)
    rows = read_sources(*(pairs or [STDIO]))
    if process:
        from r1kit.process_model import train_process_model

        train_process_model(rows, plan, folder, resume, overwrite)
    else:
        train_reward_model(rows, plan, folder, resume, overwrite)
