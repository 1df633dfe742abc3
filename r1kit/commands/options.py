"""The options that commands share: one flag, one meaning, one help text."""

from typing import Annotated, Literal

import typer

from r1kit.engines.opening import EngineName
from r1kit.errors import UsageError
from r1kit.jail import Mode
from r1kit.prompts import PromptStyle
from r1kit.records import SearchName

DEFAULT_REWARDS = "accuracy,format:0.2"
DTYPES = ("auto", "float32", "bfloat16", "float16")


def known_dtype(name: str) -> str:
    """Return the name of a number format.

    Raises:
        UsageError: there is none of this name.
    """
    if name not in DTYPES:
        raise UsageError("--dtype", f'unknown number format "{name}"', f"the known ones are {', '.join(DTYPES)}")
    return name


def unescape(text: str) -> str:
    r"""Return a text with \n and \t as the characters they stand for: a shell passes them on as they are."""
    return text.replace("\\n", "\n").replace("\\t", "\t")


def unescape_or_none(text: str | None) -> str | None:
    """Return a text with its escapes read, None where there is none."""
    return None if text is None else unescape(text)


Output = Annotated[str, typer.Option("--output", "-o", help="File to write; - is stdout.")]
ModelName = Annotated[str, typer.Option("--model", help="Model folder, hub name, or base (the embedded model).")]
N = Annotated[int, typer.Option("--n", "-n", min=1, help="Completions of each prompt.")]
Temperature = Annotated[float, typer.Option(min=0.0, help="Sampling temperature; 0 is greedy.")]
TopP = Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of probability that is sampled from.")]
MaxTokens = Annotated[int, typer.Option(min=1, help="Longest completion, in tokens.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed: the same seed, input and flags give the same output.")]
Style = Annotated[
    PromptStyle | None,
    typer.Option("--prompt-style", help="How a prompt is written; the model's own where it is not said."),
]
TopK = Annotated[int, typer.Option(min=0, help="How many of the likeliest tokens are sampled from; 0: all.")]
Dtype = Annotated[
    str,
    typer.Option(
        callback=known_dtype, help="Number format of the weights: float32, bfloat16, float16; auto: by the device."
    ),
]
Engine = Annotated[
    EngineName,
    typer.Option(help="What runs the model; auto: vllm where it is installed and there is a GPU, else transformers."),
]
Url = Annotated[str | None, typer.Option(help="Address of the openai engine's server: http://HOST:PORT/v1.")]
EngineArgs = Annotated[
    list[str] | None,
    typer.Option("--engine-arg", metavar="KEY=VALUE", help="Any argument of vLLM's LLM, or of a request to a server."),
]
GpuMemory = Annotated[
    float | None,
    typer.Option("--gpu-memory-utilization", min=0.0, max=1.0, help="Share of the GPU's memory to use (vLLM)."),
]
TensorParallelSize = Annotated[int | None, typer.Option(min=1, help="GPUs that share the model (vLLM).")]
MaxModelLen = Annotated[int | None, typer.Option(min=1, help="Tokens of prompt and completion (vLLM).")]
FewShot = Annotated[
    str | None, typer.Option(metavar="FILE", help="Examples to show: prompts, each with completion or answer.")
]
System = Annotated[str | None, typer.Option(help="System prompt, where a problem has none of its own.")]
Prefill = Annotated[
    str,
    typer.Option(
        callback=unescape, help=r"Beginning of every completion, written for the model: '<think>\n', for instance."
    ),
]
Rewards = Annotated[
    str,
    typer.Option(
        "--reward",
        metavar="[KIND=]NAME[:WEIGHT],…",
        help="Rewards and their weights, for all kinds of problem or some: accuracy,format:0.2 or "
        "math=accuracy,format:0.2 code=accuracy general=model:DIR.",
    ),
]
RewardArgs = Annotated[
    list[str] | None,
    typer.Option("--reward-arg", metavar="REWARD.KEY=VALUE", help="Option of a reward: accuracy.partial=true."),
]
Workers = Annotated[int | None, typer.Option(min=1, help="Rollouts graded at a time; default: the cores.")]
SandboxMode = Annotated[
    Mode, typer.Option("--sandbox", help="Where programs run; auto: bubblewrap, else Landlock; none: without walls.")
]
ScoreText = Annotated[
    str | None,
    typer.Option(metavar="whole|final", help="What reward models read: all, or what follows the reasoning."),
]
Split = Annotated[str, typer.Option(help="Split of an embedded set: train or test.")]
BatchSize = Annotated[
    int | None,
    typer.Option(min=1, help="Completions side by side; default 256, in flight to a server 64, vLLM's own in vLLM."),
]
Search = Annotated[
    SearchName | None,
    typer.Option(help="Search for N candidates instead of sampling them; auto: as --policy says for each problem."),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with what was done before.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Begin anew where a run did not end.")]
HeldOutProblems = Annotated[
    str | None, typer.Option("--eval", help="Problems to measure on, before and after: embedded set or file.")
]
EvalEvery = Annotated[
    int | None, typer.Option(min=1, help="Steps between measurements of held-out loss and accuracy; default: the end.")
]
EvalSamples = Annotated[int, typer.Option(min=1, help="Samples of each held-out problem.")]
HeldOutShare = Annotated[
    float, typer.Option(min=0.0, max=0.5, help="Share of the examples that the held-out loss is measured on.")
]
Epochs = Annotated[float, typer.Option(min=0.0, help="Times that the examples are gone through.")]
Steps = Annotated[int | None, typer.Option(min=1, help="Optimiser steps; default: by --epochs.")]
BatchExamples = Annotated[int, typer.Option("--batch-size", min=1, help="Examples of each step.")]
TokenBudget = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Tokens of one forward and backward pass on one device; lower it when memory runs out; default: 2048 on a "
        "CPU, 16384 on a GPU.",
    ),
]
MaxLength = Annotated[
    int | None, typer.Option(min=2, help="Most tokens of an example; default: the model's window, 32768 at most.")
]
TooLongRows = Annotated[
    Literal["drop", "cut"],
    typer.Option("--too-long", help="What happens to longer examples: dropped, or cut, so that they do not end."),
]
LearningRate = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        help="Initial rate, which falls to a tenth; default: R1-Distill's by size, 1e-3 for a model under 10M "
        "parameters; of an adapter ten times that.",
    ),
]
LoraRank = Annotated[
    int | None, typer.Option(min=1, help="Train an adapter of this rank (LoRA), merged into the model at the end.")
]
GradientCheckpointing = Annotated[
    bool | None,
    typer.Option(
        "--gradient-checkpointing/--no-gradient-checkpointing",
        help="Compute activations twice instead of keeping them; default: by the model's size.",
    ),
]
ChatTemplate = Annotated[
    str | None, typer.Option(metavar="FILE", help="Chat template (Jinja) that takes the place of the model's.")
]
SaveEvery = Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")]
ReportTo = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Tracker to log to as well: tensorboard, wandb, trackio, any of transformers'; may be repeated.",
    ),
]
SetConfig = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any field of TRL's configuration.")
]
