"""GRPO by r1kit against TRL's GRPOTrainer: the same model, problems, prompts, rewards, seeds, settings and algorithm.

    python tests/bench/grpo.py a [--trained DIR]      steps of `r1kit grpo --model base`, by phase
    python tests/bench/grpo.py b --model DIR          steps of a larger model: 200-token prompts, 8 to 256 tokens drawn
    python tests/bench/grpo.py parts --model DIR      what each of r1kit's speed-ups adds
    python tests/bench/grpo.py curve [--seeds 0 1 2]  rewards and accuracy by step and by wall time

Every run of a trainer is a process of its own (grpo_runs.py); the two take turns, and the first step of a run of
several warms up and is not counted. In a both start from the same checkpoint and take the same number of steps: from
the base and from --trained, its child, which is trained where it is absent. Lengths grow while they learn, so the ratio
of seconds a drawn token stands beside that of seconds a step. In b completions end at the same lengths for both.
TRL trains on rows --rows at a time; ratios are to its best. All figures are seconds of a step, or a quotient of two.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import mean, median, stdev
from tempfile import TemporaryDirectory, gettempdir

RUNS = Path(__file__).with_name("grpo_runs.py")
COLUMNS = ("step", "generate", "grade", "train", "other", "tokens", "GB")
WINDOWS, TIMES = 3, (0.25, 0.5, 0.75, 1.0)  # of a curve: parts of its steps, and of the slower one's wall time


def say(line: str = "") -> None:
    """Write one line."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def run(**fields):
    """Return what a run took, in a process of its own."""
    fields = {name: str(value) if isinstance(value, Path) else value for name, value in fields.items()}
    done = subprocess.run([sys.executable, RUNS, json.dumps(fields)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{done.stderr[-4000:]}\n{fields} failed")
    return json.loads(done.stdout.splitlines()[-1])


def a_step(found):
    """Return the mean of a run's steps."""
    steps = found["steps"][1:] or found["steps"]
    means = {name: mean(step[name] for step in steps) for name in steps[0]}
    means["other"] = means["step"] - means["generate"] - means["grade"] - means["train"]
    return {**means, "GB": found["memory"] / 1e9, "difference": found.get("difference")}


def take_turns(contestants, rounds, **fields):
    """Return {name: [a step of each round]}; who goes first takes turns, and each round has a seed of its own."""
    found = {name: [] for name in contestants}
    for number in range(rounds):
        for name in list(contestants)[:: -1 if number % 2 else 1]:
            own = {key: value for key, value in contestants[name].items() if key != "against" or not number}
            found[name].append(a_step(run(**{**fields, "seed": number, **own})))
    return found


def show(found) -> None:
    """Print the medians of rounds."""
    width = max(map(len, found)) + 2
    say(" " * (width + 2) + "".join(f"{column:>10}" for column in COLUMNS))
    for name, steps in found.items():
        values = [median(step[column] for step in steps) for column in COLUMNS]
        formatted = (f"{v:10.0f}" if c == "tokens" else f"{v:10.3g}" for c, v in zip(COLUMNS, values, strict=True))
        say(f"  {name:<{width}}" + "".join(formatted))


def quotient(theirs, mine, of) -> str:
    """Return the median and the range of the rounds' quotients."""
    pairs = [of(one) / of(other) for one, other in zip(theirs, mine, strict=True)]
    return f"{median(pairs):.2f} ({min(pairs):.2f} to {max(pairs):.2f})"


def ratios(found, theirs: str, mine: str) -> None:
    """Print how many times r1kit is faster than one of TRL's, and what share of each one's memory it takes."""
    pair = found[theirs], found[mine]
    a_token = quotient(*pair, lambda s: s["step"] / s["tokens"])
    say(f"  {theirs} / {mine}:")
    say(f"    step {quotient(*pair, lambda s: s['step'])}, a token {a_token}")
    say(f"    generate {quotient(*pair, lambda s: s['generate'])}, train {quotient(*pair, lambda s: s['train'])}")
    for name in (name for name in found if name.startswith("TRL")):
        say(f"    of the memory of {name}: {quotient(found[mine], found[name], lambda s: s['GB'])}")
    for difference in (step["difference"] for step in found[mine] if step["difference"] is not None):
        say(f"    gradient on the rollouts of TRL's: {difference:.1e} from TRL's, relative")


def best(found) -> str:
    """Return the faster of TRL's."""
    return min((name for name in found if name.startswith("TRL")), key=lambda name: median_step(found[name]))


def median_step(steps) -> float:
    """Return the median seconds of a step."""
    return median(step["step"] for step in steps)


def case_a(args) -> None:
    """Compare steps from the base, and from its trained child."""
    if not args.quick and not (args.trained / "config.json").exists():
        command = [sys.executable, "-m", "r1kit", "grpo", "--model", "base", "--overwrite", "-o", args.trained]
        subprocess.run(command, check=True, capture_output=True)
    contestants = {f"TRL, {rows} rows": {"trainer": "trl", "rows": rows} for rows in args.rows or [128]}
    contestants["r1kit"] = {"trainer": "r1kit"}
    for model in ("base",) if args.quick else ("base", args.trained):
        found = take_turns(contestants, args.rounds, case="a", model=model, steps=args.steps)
        say(f"(a) 16 prompts x 8 completions from {model}, medians of {args.rounds} rounds of {args.steps} steps")
        show(found)
        ratios(found, best(found), "r1kit")


def larger(args, **fields):
    """Return the fields of a run of case b."""
    size = {"groups": args.groups, "longest": 32 if args.quick else 256, "signal": args.groups // 2}
    return {"case": "b", "model": args.model, "token_budget": args.token_budget, **size, **fields}


def case_b(args) -> None:
    """Compare steps of a larger model. TRL trains on all rows: what it takes does not depend on their advantages."""
    few, many = args.rows or [4, 8]
    with TemporaryDirectory() as folder:
        half, whole = Path(folder, "half"), Path(folder, "whole")
        found = take_turns(
            {
                f"TRL, {few} rows": {"trainer": "trl", "rows": few, "save": half},
                f"TRL, {many} rows": {"trainer": "trl", "rows": many, "save": whole, "signal": args.groups},
                "r1kit, half without signal": {"trainer": "r1kit", "against": half},
                "r1kit, none without signal": {"trainer": "r1kit", "against": whole, "signal": args.groups},
            },
            args.rounds,
            **larger(args),
        )
    say(f"(b) {args.groups} prompts x 8 completions, {args.model}, budget {args.token_budget}; {args.rounds} round(s)")
    show(found)
    for mine in list(found)[2:]:
        ratios(found, best(found), mine)
    if args.checkpointing:
        rows = int(best(found).split()[1])
        contestants = {f"TRL, {rows} rows": {"trainer": "trl", "rows": rows}, "r1kit, half": {"trainer": "r1kit"}}
        found = take_turns(contestants, args.rounds, **larger(args, checkpointing=True))
        say("(b) with gradient checkpointing, half of the groups without signal")
        show(found)
        ratios(found, *found)


def parts(args) -> None:
    """Show the training pass with one speed-up after another, and sampling and grading without theirs."""
    say(f"(b) training pass, {args.groups} prompts x 8 completions, half of the groups without signal")
    say(f"  {'':<28}{'train':>10}{'to TRL':>10}{'to last':>10}{'GB':>10}{'gradient':>10}")
    with TemporaryDirectory() as folder:
        rollouts = Path(folder, "rollouts")
        rows = (args.rows or [8])[-1]
        trl = a_step(run(trainer="trl", rows=rows, save=rollouts, **larger(args)))
        last = trl["train"]
        say(f"  {f'TRL, {rows} rows':<28}{last:>10.3g}{1:>10}{1:>10}{trl['GB']:>10.3g}")
        off = ["drop", "head", "share"]
        for name in ("budget", "drop", "head", "share"):
            off = [part for part in off if part != name]
            found = run(trainer="r1kit", steps=0, against=rollouts, without=off, **larger(args))
            took = found["pass"]
            row = f"{took:>10.3g}{trl['train'] / took:>10.2f}{last / took:>10.2f}{found['memory'] / 1e9:>10.3g}"
            say(f"  {'r1kit, + ' + name:<28}{row}{found['difference']:>10.1e}")
            last = took
    contestants = {
        "TRL, 128 rows": {"trainer": "trl", "rows": 128},
        "r1kit without engine": {"trainer": "r1kit", "without": ["engine"]},
        "r1kit without overlap": {"trainer": "r1kit", "without": ["overlap"]},
        "r1kit": {"trainer": "r1kit"},
    }
    say(f"(a) from the base, medians of {args.rounds} rounds of {args.steps} steps")
    show(take_turns(contestants, args.rounds, case="a", model="base", steps=args.steps))


def reward_at(steps, seconds: float) -> str:
    """Return the mean reward of the last 5 steps that ended by then; `=` once all have."""
    ended, total = [], 0.0
    for step in steps:
        total += step["step"]
        ended += [step["reward"]] if total <= seconds else []
    return f"{mean(ended[-5:]):.2f}" + ("=" if len(ended) == len(steps) else "") if ended else "-"


def curve(args) -> None:
    """Compare rewards over steps and over wall time, from the base."""
    trainers = {"TRL": {"trainer": "trl", "rows": (args.rows or [128])[-1]}, "r1kit": {"trainer": "r1kit"}}
    found = {name: [] for name in trainers}
    for seed in args.seeds:
        for name, own in trainers.items():
            found[name].append(run(case="a", model="base", steps=args.steps, seed=seed, **own)["steps"])
        longest = max(sum(step["step"] for step in runs[-1]) for runs in found.values())
        say(f"seed {seed}: mean reward of the 5 steps before a time (=: all {args.steps} steps are done)")
        say(f"  {'':<8}" + "".join(f"{share * longest:>8.0f} s" for share in TIMES) + f"{'total':>12}")
        for name, runs in found.items():
            rewards = "".join(f"{reward_at(runs[-1], share * longest + 1e-6):>10}" for share in TIMES)
            say(f"  {name:<8}{rewards}{sum(step['step'] for step in runs[-1]):>10.0f} s")
    say(f"means over {len(args.seeds)} seeds, their standard deviation, and the gap in standard errors")
    size = max(1, args.steps // WINDOWS)
    for value in ("reward", "accuracy"):
        for top in range(0, args.steps - size + 1, size):
            sides = [[mean(step[value] for step in steps[top : top + size]) for steps in found[n]] for n in trainers]
            told = "   ".join(f"{n} {mean(s):.3f} ± {spread(s):.3f}" for n, s in zip(trainers, sides, strict=True))
            error = (sum(spread(side) ** 2 for side in sides) / len(args.seeds)) ** 0.5
            gap = f"{(mean(sides[1]) - mean(sides[0])) / error:+.1f}" if error else "-"
            say(f"  {value:<9} steps {top + 1:>3} to {top + size:<4} {told}   {gap}")


def spread(values) -> float:
    """Return the standard deviation (n - 1), 0 of one value."""
    return stdev(values) if len(values) > 1 else 0.0


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=("a", "b", "parts", "curve"))
    parser.add_argument("--model", default="smollm2", help="folder of SmolLM2-135M (b, parts)")
    parser.add_argument("--trained", type=Path, default=Path(gettempdir(), "r1kit-bench-trained"))
    parser.add_argument("--rounds", type=int, help="default: 3; b: 1")
    parser.add_argument("--steps", type=int, help="of each run; default: 4; curve: 30")
    parser.add_argument("--rows", type=int, nargs="+", help="of TRL's passes; default: 128; b: 4 8")
    parser.add_argument("--groups", type=int, default=4, help="of a step (b, parts)")
    parser.add_argument("--token-budget", type=int, default=2048, help="of a pass of r1kit's (b, parts)")
    parser.add_argument("--checkpointing", action="store_true", help="also with gradient checkpointing (b)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--quick", action="store_true", help="as little as shows that it runs")
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.steps, args.groups, args.seeds = args.rounds or 1, args.steps or 2, 2, args.seeds[:1]
    args.rounds = args.rounds or (1 if args.mode == "b" else 3)
    args.steps = args.steps or (30 if args.mode == "curve" else 4)
    {"a": case_a, "b": case_b, "parts": parts, "curve": curve}[args.mode](args)


if __name__ == "__main__":
    main()
