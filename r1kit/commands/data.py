"""The command `data`; the work is in r1kit/data.py."""

from typing import Annotated, Literal

import typer

from r1kit.commands.options import Output, Resume, Seed
from r1kit.errors import UsageError
from r1kit.jsonl import STDIO
from r1kit.records import DedupName
from r1kit.replay import write_replayed


def data(
    source: Annotated[
        str,
        typer.Argument(
            help="Embedded set (arith, facts, functions); known set (gsm8k, see --list), NAME=FILE for a copy of it; "
            "file (.jsonl, .json, .csv, .parquet) or folder; ORG/NAME of the Hugging Face hub; reasoning-gym:TASK; -.",
        ),
    ] = STDIO,
    output: Output = STDIO,
    split: Annotated[
        str | None, typer.Option(help="Split; default: train, of a known benchmark the one it is measured on.")
    ] = None,
    config: Annotated[str | None, typer.Option(help="Configuration (subset) of a Hugging Face data set.")] = None,
    limit: Annotated[int | None, typer.Option(min=0, help="At most so many problems.")] = None,
    shuffle: Annotated[
        bool, typer.Option("--shuffle", help="Shuffle by --seed; a hub's data set in windows of 10,000.")
    ] = False,
    seed: Seed = 0,
    rename: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="NEW=OLD", help="Rename a field; OLD may be a path: answer=extra_info.answer."),
    ] = None,
    kind: Annotated[
        Literal["math", "code", "general"] | None, typer.Option(help="Kind of the problems that do not say theirs.")
    ] = None,
    language: Annotated[
        str | None,
        typer.Option(help="Language of the problems that do not say theirs: en, zh, …; auto: as their prompt is."),
    ] = None,
    n: Annotated[
        int | None, typer.Option("--n", "-n", min=1, help="Problems that reasoning-gym makes; default 1000.")
    ] = None,
    task_args: Annotated[
        list[str] | None,
        typer.Option("--task-arg", metavar="KEY=VALUE", help="Setting of a reasoning-gym task: max_terms=4."),
    ] = None,
    known: Annotated[bool, typer.Option("--list", help="Say which sets and tasks are known, and stop.")] = False,
    dedup: Annotated[
        DedupName | None,
        typer.Option(
            help="Keep only the first of problems with the same words and numbers (case, blanks, punctuation do not "
            "count), or of those with the same numbers and nearly the same words."
        ),
    ] = None,
    benchmarks: Annotated[
        list[str] | None,
        typer.Option(
            "--decontaminate",
            metavar="SOURCE",
            help="Take out what a benchmark holds: any source (file, embedded or known set), of its test split; may be "
            "repeated.",
        ),
    ] = None,
    ngram: Annotated[int, typer.Option(min=2, help="Words in a row that a benchmark's prompt shares.")] = 13,
    any_numbers: Annotated[
        bool,
        typer.Option("--any-numbers", help="Take out problems whose numbers are not the benchmark's, too, as open-r1."),
    ] = False,
    removed: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Where what is taken out goes; of -o OUT.jsonl the default is OUT.removed.jsonl."
        ),
    ] = None,
    resume: Resume = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a file that is there, or begin a run anew.")
    ] = False,
) -> None:
    """Write problems: of an embedded or known set, a file, a Hugging Face data set, or made by reasoning-gym.

    Reads records of any columns, makes problems of them (other projects' names mapped to ours, gold answers cleaned,
    tests put into one form), adds id where it is missing, streams.

    Examples:

        r1kit data arith --split test | r1kit rollout --model base -n 8 | r1kit reward | r1kit vote

        r1kit data gsm8k=gsm8k_test.jsonl --limit 100

        r1kit data open-r1/OpenR1-Math-220k --shuffle --limit 5000 -o problems.jsonl

        r1kit data reasoning-gym:chain_sum -n 200 --seed 1 | jq -r .prompt

        r1kit data train.jsonl --dedup near --decontaminate gsm8k --decontaminate math500 -o clean.jsonl
    """
    from r1kit.data import Request, known_sources, parse_renames, parse_task_args, select_problems
    from r1kit.sift import Sifting, plan_outputs, write_sifted

    if known:
        typer.echo("\n".join(known_sources()))
        return
    renames = parse_renames(rename or [])
    request = Request(source, split, config, seed, shuffle, n, parse_task_args(task_args or []))
    settings = {**request.as_json(), "map": renames, "limit": limit, "kind": kind, "language": language}
    sifting = Sifting(dedup, tuple(benchmarks or ()), ngram, any_numbers)
    if not sifting:
        if removed:
            raise UsageError("--removed", "nothing is taken out", "say --dedup or --decontaminate")
        write_replayed(select_problems(request, renames, limit, kind, language), output, settings, resume, overwrite)
        return
    problems = select_problems(request, renames, kind=kind, language=language)
    report = write_sifted(problems, sifting, limit, plan_outputs(output, removed, resume, overwrite), settings)
    typer.echo("\n".join(report.lines()), err=True)
