"""The command `rollout`; the work is in r1kit/rollout.py and, of a search, in r1kit/searching.py."""

from typing import Annotated

import typer

from r1kit.commands import say
from r1kit.commands.options import (
    BatchSize,
    Dtype,
    Engine,
    EngineArgs,
    FewShot,
    GpuMemory,
    MaxModelLen,
    MaxTokens,
    ModelName,
    N,
    Output,
    Overwrite,
    Prefill,
    Resume,
    Search,
    Seed,
    Style,
    System,
    Temperature,
    TensorParallelSize,
    TopK,
    TopP,
    Url,
    unescape,
    unescape_or_none,
)
from r1kit.errors import UsageError
from r1kit.jsonl import STDIO, read_records


def rollout(
    model: ModelName,
    problems: Annotated[str, typer.Argument(help="Problems: a source as `r1kit data` has it, or -.")] = STDIO,
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
    few_shot: FewShot = None,
    show_prompt: Annotated[
        int, typer.Option(metavar="N", min=0, help="Show the exact prompts of the first N problems; draw nothing.")
    ] = 0,
    engine: Engine = "auto",
    url: Url = None,
    engine_args: EngineArgs = None,
    batch_size: BatchSize = None,
    dtype: Dtype = "auto",
    tensor_parallel_size: TensorParallelSize = None,
    gpu_memory_utilization: GpuMemory = None,
    max_model_len: MaxModelLen = None,
    enable_prefix_caching: Annotated[bool, typer.Option(help="Compute the beginnings of prompts once (vLLM).")] = True,
    logprobs: Annotated[bool, typer.Option("--logprobs", help="Add the log-probability of every token.")] = False,
    search: Search = None,
    prm: Annotated[str | None, typer.Option(help="Process reward model of the search: folder or hub name.")] = None,
    width: Annotated[int, typer.Option(min=1, help="Continuations of each step that is kept (M); N/M are kept.")] = 4,
    lookahead: Annotated[int, typer.Option(min=0, help="Greedy steps by which lookahead scores a step.")] = 1,
    aggregate: Annotated[
        str, typer.Option(help="Score of a solution from its steps': last, min, prod or mean.")
    ] = "last",
    separator: Annotated[
        str | None,
        typer.Option(
            callback=unescape_or_none,
            help="What ends a step; default: of a search an empty line (\\n\\n), of --from-steps as process:DIR cuts.",
        ),
    ] = None,
    max_steps: Annotated[int, typer.Option(min=1, help="Steps of a search; the last one runs to the end.")] = 64,
    policy: Annotated[str | None, typer.Option(help="File of compute-optimal, for --search auto.")] = None,
    budget: Annotated[int | None, typer.Option(min=1, help="Most candidates of a problem with --search auto.")] = None,
    from_steps: Annotated[
        bool,
        typer.Option("--from-steps", help="Read rollouts instead; continue each from the end of each of its steps."),
    ] = False,
    resume: Resume = False,
    overwrite: Overwrite = False,
) -> None:
    """Sample n completions of each problem, or search for them under a process reward model.

    Reads problems, adds sample, completion, finish_reason, prompt_tokens and completion_tokens. Streams, in input
    order. A file given with -o can be resumed after any kind of end. A prompt that is longer than the model's window
    gives records with the finish_reason "error", and exit code 1 at the end. With --from-steps, an input is a chain of
    steps; each of its beginnings is continued n times as a problem of its own, and the chain itself follows.

    Examples:

        r1kit data arith --split test | r1kit rollout --model base -n 8 -o rollouts.jsonl

        r1kit rollout --model out/zero --temperature 0 problems.jsonl | jq -r .completion

        r1kit rollout --model Qwen/Qwen3-8B --engine openai --url http://localhost:8000/v1 problems.jsonl

        r1kit rollout --model base --search beam -n 16 --prm out/prm p.jsonl | r1kit vote --method best-of-n --by score

        r1kit rollout --model base --from-steps -n 8 chains.jsonl | r1kit reward -o continued.jsonl
    """
    from r1kit.data import read_problems
    from r1kit.engines import Sampling
    from r1kit.engines.opening import EngineOptions, engine_settings
    from r1kit.from_steps import FromSteps
    from r1kit.prompts import read_examples
    from r1kit.rollout import RolloutPlan, RolloutRun, show_prompts, write_rollouts
    from r1kit.searching import search_options

    if from_steps and (search or prefill):
        what = "chains are continued as they are, from beginnings of their own"
        raise UsageError("--from-steps", what, "leave --search and --prefill out")
    knobs = {
        "tensor_parallel_size": tensor_parallel_size,
        "gpu_memory_utilization": gpu_memory_utilization,
        "max_model_len": max_model_len,
        "enable_prefix_caching": None if enable_prefix_caching else False,
    }
    options = EngineOptions(engine, dtype, batch_size, url, engine_settings(engine_args or [], knobs))
    examples = read_examples(few_shot) if few_shot else ()
    prompting = {"style": prompt_style, "system": system, "prefill": prefill, "examples": examples}
    sampling = Sampling(temperature, top_p, max_tokens, seed, top_k, tuple(map(unescape, stop or ())))
    ends = "\n\n" if separator is None else separator
    shape = (budget if search == "auto" else n, width, lookahead, aggregate, ends, max_steps)
    searched = search_options(search, shape, prm, policy) if search else None
    steps = FromSteps(separator) if from_steps else None
    run = RolloutRun(model, options, prompting, RolloutPlan(n, sampling, logprobs), searched, steps)
    asked = steps.problems(read_records(problems)) if steps else read_problems(problems)
    if show_prompt:
        say(show_prompts(asked, run, show_prompt))
        return
    write_rollouts(asked, run, output, resume, overwrite, lambda line: say([line]))
