"""The command `eval`; the work is in r1kit/evaluate.py."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    Output,
    Overwrite,
    Prefill,
    Resume,
    SandboxMode,
    Seed,
    Style,
    System,
    Temperature,
    TensorParallelSize,
    TopP,
    Url,
    Workers,
)
from r1kit.errors import UsageError
from r1kit.jsonl import STDIO, write_records

if TYPE_CHECKING:
    from r1kit.evaluate import Row


def evaluate(
    scored: Annotated[list[str] | None, typer.Argument(help="Scored rollouts to measure, instead of models.")] = None,
    model: Annotated[list[str] | None, typer.Option("--model", help="Model to measure; may be repeated.")] = None,
    on: Annotated[
        list[str] | None,
        typer.Option("--on", metavar="NAME,…", help="Benchmarks: names, NAME=FILE, or what `r1kit data` takes."),
    ] = None,
    output: Output = STDIO,
    output_dir: Annotated[str, typer.Option(help="Folder of the problems and scored rollouts.")] = "eval",
    samples: Annotated[
        int | None, typer.Option(min=1, help="Samples of each problem (k); default: as R1 has it, else 4.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Measure on the first so many problems.")] = None,
    temperature: Temperature = 0.6,
    top_p: TopP = 0.95,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="Longest completion, in tokens; default 32768, 256 on embedded sets.")
    ] = None,
    seed: Seed = 0,
    prompt_style: Style = None,
    system: System = None,
    prefill: Prefill = "",
    few_shot: FewShot = None,
    engine: Engine = "auto",
    url: Url = None,
    engine_args: EngineArgs = None,
    batch_size: BatchSize = None,
    dtype: Dtype = "auto",
    tensor_parallel_size: TensorParallelSize = None,
    gpu_memory_utilization: GpuMemory = None,
    max_model_len: MaxModelLen = None,
    workers: Workers = None,
    sandbox: SandboxMode = "auto",
    paper: Annotated[bool, typer.Option("--paper", help="Show published values of the models beside these.")] = False,
    resume: Resume = False,
    overwrite: Overwrite = False,
) -> None:
    """Measure models on benchmarks: pass@1 over k samples, pass@k, cons@k and more, with 95 % intervals.

    Takes models and benchmarks, draws and grades as `data | rollout | reward` do, and keeps problems and scored
    rollouts in a folder; or takes scored rollouts that were saved. Writes one record per model and benchmark; the
    tables and the paired comparison with the first model go to stderr. A model that fails leaves the others measured.

    Benchmarks: aime24, aime25, amc23, math500, minerva-math, gsm8k, gpqa-diamond, mmlu, mmlu-pro, humaneval, mbpp,
    livecodebench, arith, facts, functions.

    Examples:

        r1kit eval --model base --model grpo-base --on arith

        r1kit eval --model Qwen/Qwen3-8B --on aime24,math500,gpqa-diamond --paper -o metrics.jsonl

        r1kit eval eval/base/arith.jsonl eval/grpo-base/arith.jsonl
    """
    if (scored and (model or on)) or (not scored and not (model and on)):
        raise UsageError("eval", "nothing to measure, or too much", "give scored rollouts, or --model and --on")
    from r1kit.eval_tables import result_tables
    from r1kit.evaluate import Evaluation, evaluate_files

    measured: list[Row] = []
    if scored:
        write_records(keep(evaluate_files(scored, samples), measured, paper), output)
        say(result_tables(measured, paper))
        return
    from r1kit.engines.opening import EngineOptions, engine_settings
    from r1kit.eval_run import EvalPlan
    from r1kit.prompts import read_examples

    knobs = {
        "tensor_parallel_size": tensor_parallel_size,
        "gpu_memory_utilization": gpu_memory_utilization,
        "max_model_len": max_model_len,
    }
    options = EngineOptions(engine, dtype, batch_size, url, engine_settings(engine_args or [], knobs))
    examples = read_examples(few_shot) if few_shot else ()
    prompting = {"style": prompt_style, "system": system, "prefill": prefill, "examples": examples}
    drawing = (samples, temperature, top_p, max_tokens, seed, limit)
    plan = EvalPlan(Path(output_dir), options, prompting, *drawing, sandbox, workers, resume, overwrite)
    evaluation = Evaluation(model or [], on or [], plan)
    evaluation.prepare()
    write_records(keep(evaluation.run(), measured, paper), output)
    say(result_tables(measured, paper))
    evaluation.check()


def keep(rows: "Iterator[Row]", measured: "list[Row]", paper: bool) -> Iterator[dict[str, Any]]:
    """Yield rows as records, and keep them for the tables."""
    for row in rows:
        measured.append(row)
        yield row.as_json(paper)
