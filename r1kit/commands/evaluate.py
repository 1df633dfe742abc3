"""The command `eval`; the work is in r1kit/evaluate.py."""

from typing import Annotated

import typer

from r1kit.commands import say
from r1kit.commands.options import (
    BatchSize,
    Dtype,
    Engine,
    EngineArgs,
    MaxTokens,
    Output,
    Prefill,
    Seed,
    Style,
    System,
    Temperature,
    TopP,
    Url,
)
from r1kit.errors import UsageError
from r1kit.jsonl import STDIO, write_records


def evaluate(
    scored: Annotated[list[str] | None, typer.Argument(help="Scored rollouts to measure, instead of models.")] = None,
    model: Annotated[list[str] | None, typer.Option("--model", help="Model to measure; may be repeated.")] = None,
    on: Annotated[list[str] | None, typer.Option("--on", help="Benchmark: a source as `r1kit data` has it.")] = None,
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
        options = EngineOptions(engine, dtype, batch_size, url, engine_settings(engine_args or [], {}))
        prompting = {"style": prompt_style, "system": system, "prefill": prefill}
        plan = RolloutPlan(samples, Sampling(temperature, top_p, max_tokens, seed))
        rows = evaluate_models(model or [], on or [], options, prompting, plan)
    measured: dict[str, Row] = {}
    write_records((measured.setdefault(row.name, row).as_json() for row in rows), output)
    say(format_table({name: row.metrics for name, row in measured.items()}))
