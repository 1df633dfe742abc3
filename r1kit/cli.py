"""The command line: every command's options and help; the work is in the module of the command's name."""

import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from r1kit import __version__
from r1kit.engines.opening import EngineName
from r1kit.errors import UsageError, UserError
from r1kit.jail import Mode
from r1kit.jsonl import STDIO, read_records, write_records
from r1kit.prompts import PromptStyle
from r1kit.records import SearchName, VoteMethod

app = typer.Typer(
    help="Every stage of DeepSeek-R1 as one command: JSON Lines in, JSON Lines or a model out.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# one flag, one meaning
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
    str, typer.Option(help="Number format of the weights: float32, bfloat16, float16; auto: by the device.")
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
System = Annotated[str | None, typer.Option(help="System prompt, where a problem has none of its own.")]
Prefill = Annotated[
    str, typer.Option(help=r"Beginning of every completion, written for the model: '<think>\n', for instance.")
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
DEFAULT_REWARDS = "accuracy,format:0.2"


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    if version:
        typer.echo(f"r1kit {__version__}")
        raise typer.Exit


@app.command()
def data(
    source: Annotated[str, typer.Argument(help="Embedded set (arith, facts, functions), JSON Lines file, or -.")],
    output: Output = STDIO,
    split: Split = "train",
    limit: Annotated[int | None, typer.Option(min=0, help="At most so many problems.")] = None,
    rename: Annotated[list[str] | None, typer.Option("--map", metavar="NEW=OLD", help="Rename a field.")] = None,
) -> None:
    """Write problems: an embedded set, or a file whose records become problems.

    Reads JSON Lines, adds id where it is missing, streams.

    Examples:

        r1kit data arith --split test | r1kit rollout --model base -n 8 | r1kit reward | r1kit vote

        r1kit data gsm8k.jsonl --map prompt=question --limit 100
    """
    from r1kit.data import parse_renames, select_problems

    write_records(select_problems(source, split, parse_renames(rename or []), limit), output)


@app.command()
def rollout(
    model: ModelName,
    problems: Annotated[str, typer.Argument(help="Problems: JSON Lines file or -.")] = STDIO,
    output: Output = STDIO,
    n: N = 1,
    temperature: Temperature = 1.0,
    top_p: TopP = 1.0,
    top_k: TopK = 0,
    max_tokens: MaxTokens = 256,
    stop: Annotated[list[str] | None, typer.Option(help="Text that ends a completion; may be repeated.")] = None,
    seed: Seed = 0,
    prompt_style: Style = None,
    system: System = None,
    prefill: Prefill = "",
    few_shot: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Examples to show: prompts, each with completion or answer."),
    ] = None,
    show_prompt: Annotated[
        int, typer.Option(metavar="N", min=0, help="Show the exact prompts of the first N problems; draw nothing.")
    ] = 0,
    engine: Engine = "auto",
    url: Url = None,
    engine_args: EngineArgs = None,
    batch_size: BatchSize = None,
    dtype: Dtype = "auto",
    tensor_parallel_size: Annotated[int | None, typer.Option(min=1, help="GPUs that share the model (vLLM).")] = None,
    gpu_memory_utilization: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Share of the GPU's memory to use (vLLM).")
    ] = None,
    max_model_len: Annotated[int | None, typer.Option(min=1, help="Tokens of prompt and completion (vLLM).")] = None,
    enable_prefix_caching: Annotated[bool, typer.Option(help="Compute the beginnings of prompts once (vLLM).")] = True,
    logprobs: Annotated[bool, typer.Option("--logprobs", help="Add the log-probability of every token.")] = False,
    search: Search = None,
    prm: Annotated[str | None, typer.Option(help="Process reward model of the search: folder or hub name.")] = None,
    width: Annotated[int, typer.Option(min=1, help="Continuations of each step that is kept (M); N/M are kept.")] = 4,
    lookahead: Annotated[int, typer.Option(min=0, help="Greedy steps by which lookahead scores a step.")] = 1,
    aggregate: Annotated[
        str, typer.Option(help="Score of a solution from its steps': last, min, prod or mean.")
    ] = "last",
    separator: Annotated[str, typer.Option(help="What ends a step.")] = "\\n\\n",
    max_steps: Annotated[int, typer.Option(min=1, help="Steps of a search; the last one runs to the end.")] = 64,
    policy: Annotated[str | None, typer.Option(help="File of compute-optimal, for --search auto.")] = None,
    budget: Annotated[int | None, typer.Option(min=1, help="Most candidates of a problem with --search auto.")] = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
) -> None:
    """Sample n completions of each problem, or search for them under a process reward model.

    Reads problems, adds sample, completion, finish_reason, prompt_tokens and completion_tokens. Streams, in input
    order. A file given with -o can be resumed after any kind of end. A prompt that is longer than the model's window
    gives records with the finish_reason "error", and exit code 1 at the end.

    Examples:

        r1kit data arith --split test | r1kit rollout --model base -n 8 -o rollouts.jsonl

        r1kit rollout --model out/zero --temperature 0 problems.jsonl | jq -r .completion

        r1kit rollout --model Qwen/Qwen3-8B --engine openai --url http://localhost:8000/v1 problems.jsonl

        r1kit rollout --model base --search beam -n 16 --prm out/prm p.jsonl | r1kit vote --method best-of-n --by score
    """
    from r1kit.data import read_problems
    from r1kit.engines import Sampling
    from r1kit.engines.opening import EngineOptions, engine_settings
    from r1kit.prompts import read_examples
    from r1kit.rollout import RolloutPlan, RolloutRun, show_prompts, write_rollouts
    from r1kit.searching import search_options

    knobs = {
        "tensor_parallel_size": tensor_parallel_size,
        "gpu_memory_utilization": gpu_memory_utilization,
        "max_model_len": max_model_len,
        "enable_prefix_caching": None if enable_prefix_caching else False,
    }
    options = EngineOptions(engine, _dtype(dtype), batch_size, url, engine_settings(engine_args or [], knobs))
    examples = read_examples(few_shot) if few_shot else ()
    prompting = {"style": prompt_style, "system": system, "prefill": _unescape(prefill), "examples": examples}
    sampling = Sampling(temperature, top_p, max_tokens, seed, top_k, tuple(map(_unescape, stop or ())))
    run = RolloutRun(model, options, prompting, RolloutPlan(n, sampling, logprobs), None)
    if search is not None:
        searched = budget if search == "auto" else n
        shape = (searched, width, lookahead, aggregate, _unescape(separator), max_steps)
        run = replace(run, search=search_options(search, shape, prm, policy))
    if show_prompt:
        _say(show_prompts(read_problems(problems), run, show_prompt))
        return
    write_rollouts(read_problems(problems), run, output, resume, overwrite, lambda line: _say([line]))


@app.command()
def reward(
    rollouts: Annotated[str, typer.Argument(help="Rollouts: JSON Lines file or -.")] = STDIO,
    output: Output = STDIO,
    rewards: Rewards = DEFAULT_REWARDS,
    reward_args: RewardArgs = None,
    score_text: ScoreText = None,
    workers: Workers = None,
    sandbox: SandboxMode = "auto",
    explain: Annotated[
        str | None, typer.Option(metavar="ID[/SAMPLE]", help="Say on stderr how one rollout was graded; write none.")
    ] = None,
) -> None:
    """Grade completions: mathematics by equality, code by its tests in a sandbox, format, language, length, and more.

    Reads rollouts, adds rewards, reward (their weighted sum), extracted and verdict. Streams, in input order. null
    means that a record cannot be graded; how many and why is on stderr. Rewards: accuracy, format, boxed, think, tags,
    language, length, overlong, repetition, judge, model:DIR, process:DIR, and your own FILE.py:FUNCTION.

    Examples:

        r1kit rollout --model base -n 8 problems.jsonl | r1kit reward -o scored.jsonl

        r1kit reward --reward accuracy rollouts.jsonl | jq -c '[.id, .extracted, .reward]'

        r1kit reward --reward math=accuracy,format:0.2 code=accuracy --reward-arg accuracy.partial=true rollouts.jsonl

        r1kit reward --explain arith-test-1/3 rollouts.jsonl
    """
    from r1kit.explain import explain_rollout
    from r1kit.grader import Grader
    from r1kit.reward import RewardSummary, score_rollouts
    from r1kit.reward_spec import parse_options, parse_rewards

    parts = parse_rewards(rewards)
    grader = Grader(parts, parse_options(reward_args or [], parts, score_text), workers, sandbox)
    if explain:
        _say(explain_rollout(read_records(rollouts), explain, grader))
        return
    summary = RewardSummary()
    write_records(score_rollouts(read_records(rollouts), grader, summary), output)
    _say([*summary.lines(), *grader.warnings()])


@app.command()
def vote(
    rollouts: Annotated[str, typer.Argument(help="Rollouts, scored or not: JSON Lines file or -.")] = STDIO,
    output: Output = STDIO,
    method: Annotated[
        VoteMethod,
        typer.Option(
            help="majority: the answer most often given, of equals the first; weighted: the one whose rollouts weigh "
            "most together; best-of-n: that of the rollout that ranks highest."
        ),
    ] = "majority",
    by: Annotated[
        str | None,
        typer.Option(
            metavar="reward|logprob|FIELD",
            help="What weighs or ranks: reward (the default), the mean log-probability of a token (its exp weighs), or "
            "a number field (score, rewards.accuracy).",
        ),
    ] = None,
    early: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Of N rollouts each, decide a majority once no other could change it."),
    ] = None,
) -> None:
    """Let the completions of each problem vote on its answer.

    Reads rollouts, those of one problem together; writes one record per problem with prediction, votes, n, correct,
    decided_at and generated_tokens. Equal is what math-verify calls equal; programs are where they are the same text.
    A completion without an answer, or one whose weight is null, does not vote. Buffers one problem. On stderr: the
    accuracy that 1, 2, 4, … rollouts would have had, over all subsets of those that are there.

    Examples:

        r1kit rollout --model base -n 16 problems.jsonl | r1kit vote

        r1kit vote --method weighted --by logprob rollouts.jsonl | jq -c 'select(.correct == false)'
    """
    from r1kit.vote import VotePlan, VoteSummary, hold_votes

    plan, summary = VotePlan(method, by, early), VoteSummary()
    write_records(hold_votes(read_records(rollouts), plan, summary), output)
    _say(summary.lines())


@app.command("eval")
def evaluate(
    scored: Annotated[list[str] | None, typer.Argument(help="Scored rollouts to measure, instead of models.")] = None,
    model: Annotated[list[str] | None, typer.Option("--model", help="Model to measure; may be repeated.")] = None,
    on: Annotated[list[str] | None, typer.Option("--on", help="Benchmark: embedded set or JSON Lines file.")] = None,
    output: Output = STDIO,
    samples: Annotated[int, typer.Option(min=1, help="Samples of each problem (k).")] = 16,
    temperature: Temperature = 1.0,
    top_p: TopP = 1.0,
    max_tokens: MaxTokens = 256,
    seed: Seed = 0,
    prompt_style: Style = None,
    system: System = None,
    prefill: Prefill = "",
    engine: Engine = "auto",
    url: Url = None,
    engine_args: EngineArgs = None,
    batch_size: BatchSize = None,
    dtype: Dtype = "auto",
) -> None:
    """Measure models: pass@1 over k samples, cons@k, format rate and mean length, with 95 % intervals.

    Takes models and benchmarks (embedded sets by their test split), or scored rollouts that were saved. Writes one
    record per model and benchmark; the table goes to stderr.

    Examples:

        r1kit eval --model base --model grpo-base --on arith

        r1kit eval scored.jsonl
    """
    from r1kit.engines import Sampling
    from r1kit.engines.opening import EngineOptions, engine_settings
    from r1kit.evaluate import Row, evaluate_files, evaluate_models, format_table
    from r1kit.rollout import RolloutPlan

    if (scored and (model or on)) or (not scored and not (model and on)):
        raise UsageError("eval", "nothing to measure, or too much", "give scored rollouts, or --model and --on")
    if scored:
        rows = evaluate_files(scored)
    else:
        options = EngineOptions(engine, _dtype(dtype), batch_size, url, engine_settings(engine_args or [], {}))
        prompting = {"style": prompt_style, "system": system, "prefill": _unescape(prefill)}
        plan = RolloutPlan(samples, Sampling(temperature, top_p, max_tokens, seed))
        rows = evaluate_models(model or [], on or [], options, prompting, plan)
    measured: dict[str, Row] = {}
    write_records((measured.setdefault(row.name, row).as_json() for row in rows), output)
    _say(format_table({name: row.metrics for name, row in measured.items()}))


@app.command("compute-optimal")
def compute_optimal(
    votes: Annotated[list[str], typer.Argument(help="Files of vote records, of several methods and budgets.")],
    pilot: Annotated[str, typer.Option(help="Rollouts of the same problems, whose agreement says how hard they are.")],
    output: Output = STDIO,
    pilot_n: Annotated[int, typer.Option(min=1, help="How many rollouts of each problem are asked to agree.")] = 4,
    bins: Annotated[int, typer.Option(min=1, help="Bins of difficulty; fewer where many problems agree alike.")] = 4,
) -> None:
    """Say which method and budget to use for which difficulty, from votes that were saved.

    Reads vote records with correct and generated_tokens, and pilot rollouts. Writes a policy: a record per difficulty
    and method with accuracy and cost, chosen where it is the best that its budget can buy. Keeps a number per problem.
    On stderr: a table, what the choices are worth on problems they were not made on, and a plot.

    Examples:

        r1kit compute-optimal majority-4.jsonl majority-16.jsonl beam-16.jsonl --pilot rollouts.jsonl -o policy.jsonl
    """
    from r1kit.compute_optimal import draw_measured, format_measured, measure_votes
    from r1kit.difficulty import read_difficulty

    measured = measure_votes(votes, read_difficulty(pilot, pilot_n, bins))
    write_records(measured.records(), output)
    _say([*format_measured(measured), *draw_measured(measured)])


@app.command()
def grpo(
    model: ModelName,
    problems: Annotated[str, typer.Argument(help="Problems: embedded set, JSON Lines file or -.")] = "arith",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Run folder; default grpo-MODEL.")] = None,
    held_out: Annotated[
        str | None, typer.Option("--eval", help="Problems to measure on; default: an embedded set's test split.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps.")] = 80,
    n: N = 8,
    batch_size: Annotated[int, typer.Option(min=2, help="Completions of each step.")] = 128,
    micro_batch_size: Annotated[int | None, typer.Option(min=1, help="Completions of each backward pass.")] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(min=0.0, help="Of AdamW; default 3e-6 (R1's), and 5e-4 for a model under 10M parameters."),
    ] = None,
    temperature: Temperature = 1.0,
    max_tokens: MaxTokens = 128,
    rewards: Rewards = DEFAULT_REWARDS,
    reward_args: RewardArgs = None,
    score_text: ScoreText = None,
    workers: Workers = None,
    sandbox: SandboxMode = "auto",
    seed: Seed = 0,
    prompt_style: Style = None,
    dtype: Dtype = "float32",
    eval_samples: Annotated[int, typer.Option(min=1, help="Samples of each held-out problem.")] = 16,
    save_every: Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")] = 50,
    samples_every: Annotated[int, typer.Option(min=1, help="Steps between samples in samples.jsonl.")] = 10,
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
    """
    from r1kit.data import read_problem_list
    from r1kit.grader import Grader
    from r1kit.grpo import GrpoPlan, check_batch, check_gradable, default_held_out, parse_settings, train_grpo
    from r1kit.model import resolve_model
    from r1kit.reward_spec import parse_options, parse_rewards
    from r1kit.run_folder import claim_folder

    parts = parse_rewards(rewards)
    plan = GrpoPlan(
        model=model,
        rewards=parts,
        reward_options=parse_options(reward_args or [], parts, score_text, max_tokens),
        sandbox=sandbox,
        steps=steps,
        n=n,
        batch_size=batch_size,
        micro_batch_size=check_batch(batch_size, n, micro_batch_size),
        learning_rate=learning_rate,
        temperature=temperature,
        max_tokens=max_tokens,
        seed=seed,
        dtype=_dtype(dtype),
        style=prompt_style,
        eval_samples=eval_samples,
        save_every=save_every,
        samples_every=samples_every,
        settings=parse_settings(settings or []),
    )
    resolve_model(model)
    train, test = read_problem_list(problems, "train"), default_held_out(problems, held_out)
    grader = Grader(parts, plan.reward_options, workers, sandbox)
    check_gradable(train, grader)
    folder = output or Path("grpo-" + Path(model).name)
    train_grpo(train, test, plan, grader, folder, claim_folder(folder, plan.as_json(train), resume, overwrite))


def _dtype(name: str) -> str:
    known = ("auto", "float32", "bfloat16", "float16")
    if name not in known:
        raise UsageError("--dtype", f'unknown number format "{name}"', f"the known ones are {', '.join(known)}")
    return name


def _unescape(text: str) -> str:
    r"""Return a text with \n and \t as the characters they stand for: a shell passes them on as they are."""
    return text.replace("\\n", "\n").replace("\\t", "\t")


def _say(lines: Iterable[str]) -> None:
    for line in lines:
        typer.echo(line, err=True)


def join_rewards(words: list[str]) -> list[str]:
    """Return the words of a command line with all that follow --reward and start with KIND= joined to its value."""
    joined: list[str] = []
    for word in words:
        follows = len(joined) > 1 and (joined[-2] == "--reward" or joined[-1].startswith("--reward="))
        if follows and word.startswith(("math=", "code=", "general=")):
            joined[-1] += f" {word}"
        else:
            joined.append(word)
    return joined


def main() -> None:
    """Run the command line; exit codes: 0 done, 1 data or I/O error, 2 usage, 130 interrupted."""
    try:
        app(args=join_rewards(sys.argv[1:]))
    except UserError as error:
        command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
        typer.echo(f"r1kit {command}: error: {error}", err=True)
        sys.exit(error.exit_code)
