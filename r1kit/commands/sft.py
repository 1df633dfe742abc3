"""The command `sft`; the work is in r1kit/sft.py."""

from pathlib import Path
from typing import Annotated

import typer

from r1kit.commands.options import (
    BatchExamples,
    ChatTemplate,
    Dtype,
    Epochs,
    EvalEvery,
    EvalSamples,
    GradientCheckpointing,
    HeldOutProblems,
    HeldOutShare,
    LearningRate,
    LoraRank,
    MaxLength,
    MaxTokens,
    ModelName,
    Overwrite,
    ReportTo,
    Resume,
    SaveEvery,
    Seed,
    SetConfig,
    Steps,
    Style,
    Temperature,
    TokenBudget,
    TooLongRows,
)
from r1kit.jsonl import STDIO


def sft(
    model: ModelName,
    examples: Annotated[list[str] | None, typer.Argument(help="Examples: JSON Lines files or -.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Run folder; default sft-MODEL.")] = None,
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
    temperature: Temperature = 1.0,
    max_tokens: MaxTokens = 128,
    seed: Seed = 0,
    dtype: Dtype = "float32",
    save_every: SaveEvery = 100,
    report_to: ReportTo = None,
    settings: SetConfig = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
) -> None:
    """Fine-tune a model on examples: messages, or prompt and completion; the loss is on the assistant's tokens alone.

    Reads examples, writes a run folder: the model, log.jsonl (a line a step), examples.json (what the examples came
    to), checkpoints. Examples go to disk as tokens first and are checked; what usually goes wrong is said before the
    first step. They are trained on without padding, and none sees another.

    Examples:

        r1kit sft --model base sft.jsonl --eval arith -o out/cold-start

        r1kit reject-sample scored.jsonl | r1kit sft --model base - --epochs 3

        r1kit sft --model Qwen/Qwen2.5-1.5B traces.jsonl --max-length 16384 --dtype bfloat16
    """
    from r1kit.grpo_plan import parse_settings
    from r1kit.held_out import default_held_out
    from r1kit.jsonl import read_records
    from r1kit.model import resolve_model
    from r1kit.sft import train_sft
    from r1kit.sft_plan import FLAGS, SftPlan

    # fmt: off
    plan = SftPlan(
        model=model, epochs=epochs, steps=steps, batch_size=batch_size, token_budget=token_budget,
        max_length=max_length, too_long=too_long, learning_rate=learning_rate, lora_rank=lora_rank,
        gradient_checkpointing=gradient_checkpointing, seed=seed, dtype=dtype, style=prompt_style,
        chat_template=chat_template, held_out_share=held_out_share, eval_every=eval_every, eval_samples=eval_samples,
        temperature=temperature, max_tokens=max_tokens, save_every=save_every, report_to=report_to or [],
        settings=parse_settings(settings or [], "SFTConfig", FLAGS),
    )
    # fmt: on
    resolve_model(model)
    test = default_held_out("", held_out)
    folder = output or Path("sft-" + Path(model).name)
    train_sft(read_records(*(examples or [STDIO])), test, plan, folder, resume, overwrite)
