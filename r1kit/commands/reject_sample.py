"""The command `reject-sample`; the work is in r1kit/reject_sample.py."""

from collections import deque
from typing import Annotated

import typer

from r1kit.commands import say
from r1kit.commands.options import Output, Overwrite, Resume, Seed, unescape_or_none
from r1kit.errors import UsageError
from r1kit.jsonl import STDIO, read_records
from r1kit.records import DedupScope, ExampleFormat, SelectName
from r1kit.replay import write_replayed
from r1kit.steps import StepLabels


def parse_keep(text: str) -> str:
    """Return how many are kept, as it is said.

    Raises:
        UsageError: it is neither a number from 1 on nor all.
    """
    if text != "all" and not (text.isascii() and text.isdigit() and int(text) > 0):
        raise UsageError("--keep", f'"{text}" is neither a number from 1 on nor all', "write --keep 4, for instance")
    return text


def reject_sample(
    scored: Annotated[list[str] | None, typer.Argument(help="Scored rollouts: JSON Lines files or -.")] = None,
    output: Output = STDIO,
    keep: Annotated[
        str, typer.Option(callback=parse_keep, metavar="N|all", help="Rows of each problem (of --pairs, pairs).")
    ] = "1",
    select: Annotated[
        SelectName,
        typer.Option(
            help="Which of those that pass: best: by reward, then the shortest; random: by --seed and id; diverse: the "
            "best, then always the one whose reasoning differs most from what is kept."
        ),
    ] = "best",
    threshold: Annotated[
        str | None,
        typer.Option(
            metavar="correct|NUMBER|NAME=NUMBER,…",
            help="What a rollout must reach, all of it: correct (the default; its verdict, or accuracy 1), a number of "
            "its reward, of one of its rewards, or of a field: correct,format=1.",
        ),
    ] = None,
    pass_rate: Annotated[
        str | None,
        typer.Option(metavar="LOW:HIGH", help="Only problems whose share of right rollouts is within these bounds."),
    ] = None,
    max_per_problem: Annotated[
        int | None,
        typer.Option(min=1, help="Rows of each prompt's text at most, where it comes under several ids."),
    ] = None,
    min_tokens: Annotated[int | None, typer.Option(min=0, help="Shortest completion, in tokens.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Longest completion, in tokens.")] = None,
    truncated: Annotated[
        bool, typer.Option("--truncated", help="Keep completions that were cut off at the length limit, too.")
    ] = False,
    r1_filters: Annotated[
        bool | None,
        typer.Option(
            "--r1-filters/--no-r1-filters",
            help="Drop what R1 dropped: mixed languages, long paragraphs, code blocks in the reasoning; default: on, "
            "off with --steps.",
        ),
    ] = None,
    mixed_language: Annotated[
        float | None,
        typer.Option(
            min=0.0, max=1.0, help="Least share of the reasoning's words in the problem's language; 0: any. [0.9]"
        ),
    ] = None,
    max_paragraph: Annotated[
        int | None, typer.Option(min=0, help="Most words of the reasoning without a line break; 0: any. [300]")
    ] = None,
    code_blocks: Annotated[
        bool | None,
        typer.Option("--code-blocks/--no-code-blocks", help="Keep reasoning with fenced code, or drop it. [drop]"),
    ] = None,
    max_repetition: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Largest share of the reasoning's 20-grams of words that stood before."),
    ] = None,
    dedup: Annotated[
        DedupScope,
        typer.Option(
            help="Keep a chain of thought once: for a prompt's text, whatever its ids (prompt); in all; none: any time."
        ),
    ] = "prompt",
    form: Annotated[
        ExampleFormat | None,
        typer.Option("--format", help="messages (the default): chat; prompt-completion: texts exactly as sampled."),
    ] = None,
    repair: Annotated[
        bool,
        typer.Option(help="Of messages: mend tags, and put a <think> back that the prompt held; nothing is lost."),
    ] = True,
    mix: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE:SHARE", help="Examples that make such a share of the output; may be repeated."),
    ] = None,
    pairs: Annotated[bool, typer.Option("--pairs", help="Write preference pairs: best against worst.")] = False,
    margin: Annotated[float, typer.Option(min=0.0, help="Least difference in reward of a pair.")] = 0.0,
    steps: Annotated[
        bool, typer.Option("--steps", help="Write labelled steps, of up to --keep right rollouts and as many wrong.")
    ] = False,
    separator: Annotated[
        str | None,
        typer.Option(
            callback=unescape_or_none, help="What ends a step; default: as the reward process:DIR cuts the reasoning."
        ),
    ] = None,
    step_threshold: Annotated[float, typer.Option(help="Least of step_scores that is a right step.")] = 0.5,
    step_labels: Annotated[
        StepLabels | None,
        typer.Option(
            help="Of rollout --from-steps: label a step by the share of its continuations that end right (soft), or by "
            "whether any does (hard)."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only report; write nothing.")] = False,
    seed: Seed = 0,
    resume: Resume = False,
    overwrite: Overwrite = False,
) -> None:
    """Make training examples of the rollouts that are worth imitating.

    Reads scored rollouts, those of one problem together; writes TRL's columns: messages, or prompt and completion;
    prompt, chosen and rejected with --pairs; prompt, completions and labels with --steps. Buffers one problem. What
    was cut off or could not be graded is dropped. On stderr: what each filter dropped. Labels are those of step_scores
    where a rollout has them, else all of them say whether its answer is right; --step-labels takes them from the
    continuations of its steps.

    Examples:

        r1kit rollout --model out/zero -n 16 problems.jsonl | r1kit reward | r1kit reject-sample -o sft.jsonl

        r1kit reject-sample scored.jsonl --threshold correct,format=1 --mix general.jsonl:0.25 -o sft.jsonl

        r1kit reject-sample --pairs --keep 4 --margin 0.5 scored.jsonl -o pairs.jsonl

        r1kit reject-sample --steps --step-labels soft --keep all continued.jsonl -o steps.jsonl

        r1kit reject-sample --dry-run --pass-rate 0.1:0.9 --max-paragraph 100 scored.jsonl
    """
    from r1kit.mixing import parse_mix
    from r1kit.pass_rate import parse_pass_rate
    from r1kit.prose import prose_filters
    from r1kit.reject_plan import RejectPlan
    from r1kit.reject_sample import RejectRun, RowPlan
    from r1kit.steps import StepPlan
    from r1kit.thresholds import parse_threshold

    rows = RowPlan(
        "steps" if steps else "pairs" if pairs else "examples",
        form,
        repair,
        tuple(parse_mix(mix or [])),
        margin,
        StepPlan(separator, step_threshold, step_labels),
    )
    if steps and (pairs or threshold):
        what = "stepwise rows hold wrong rollouts too, and no pairs"
        raise UsageError("--steps", what, "leave --pairs and --threshold out")
    if step_labels and not steps:
        raise UsageError("--step-labels", "only stepwise rows have them", "say --steps")
    plan = RejectPlan(
        keep=None if keep == "all" else int(keep),
        select=select,
        threshold=parse_threshold(threshold or "correct"),
        pass_rate=None if pass_rate is None else parse_pass_rate(pass_rate),
        max_per_problem=max_per_problem,
        min_tokens=min_tokens,
        max_tokens=max_tokens,
        truncated=truncated,
        prose=prose_filters(
            not steps if r1_filters is None else r1_filters, mixed_language, max_paragraph, code_blocks
        ),
        max_repetition=max_repetition,
        dedup=dedup,
        seed=seed,
    )
    run = RejectRun(plan, rows)
    records = run.records(read_records(*(scored or [STDIO])))
    if dry_run:
        deque(records, maxlen=0)
    else:
        write_replayed(records, output, run.settings(), resume, overwrite)
    say(run.lines())
