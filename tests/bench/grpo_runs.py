"""One run of one trainer, which grpo.py starts in a process of its own, so that its peak memory is its own.

    python tests/bench/grpo_runs.py '{"trainer": "trl", "case": "a", "model": "base", "steps": 4}'

Prints what it took as one JSON object. Case a is what `r1kit grpo --model base` runs. In case b completions end at
lengths that depend on step and row alone, so that both trainers draw and train on equally many tokens; the learning
rate is 0, so that all steps are alike; and AdamW's state is there from the start, as it is in all steps but the first.
"""

import json
import random
import resource
import sys
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import StoppingCriteria, StoppingCriteriaList, TrainerCallback
from trl import GRPOTrainer

import r1kit.drawing
import r1kit.trainer
from r1kit.data import read_problem_list
from r1kit.engines.transformers import TransformersEngine
from r1kit.grader import Grader
from r1kit.grpo import new_trainer
from r1kit.grpo_plan import GrpoPlan
from r1kit.jsonl import Record
from r1kit.model import load_model
from r1kit.reward_spec import parse_rewards
from r1kit.rollout import style_of

PROMPT, SHORTEST = 200, 8  # tokens, in case b
NO_END = [-1]  # instead of the ids that end a completion


@dataclass
class Run:
    """What to run.

    Attributes:
        rows: of each backward pass of TRL's.
        groups: of a step, in case b.
        signal: of these groups, how many have rewards that differ.
        save: the file for the last step's rollouts and gradient (TRL's).
        against: such a file, to hold a training pass of r1kit's to.
    """

    trainer: str
    case: str
    model: str
    steps: int = 1
    seed: int = 0
    rows: int = 8
    groups: int = 16
    signal: int = 0
    longest: int = 256
    without: list[str] = field(default_factory=list)
    token_budget: int = 4096
    checkpointing: bool = False
    save: str | None = None
    against: str | None = None

    def lengths(self, step: int) -> list[int]:
        """Return the lengths in tokens of the completions of a step of case b."""
        chance = random.Random(f"{self.seed}/{step}")
        return [chance.randint(SHORTEST, self.longest) for _ in range(self.groups * 8)]

    def problems(self, tokenizer) -> list[Record]:
        """Return the problems: those of the embedded set, or in case b questions one after another, cut to length."""
        problems = read_problem_list("arith", "train")
        if self.case == "a":
            return problems
        ids = tokenizer(" ".join(problem["prompt"] for problem in problems))["input_ids"]
        texts = [tokenizer.decode(ids[top : top + PROMPT]) for top in range(0, len(ids), PROMPT)]
        texts = [text for text in texts if len(tokenizer(text)["input_ids"]) == PROMPT][: self.groups]
        assert len(texts) == self.groups
        fields = {"answer": "1", "kind": "math"}
        return [
            Record({"id": str(i), "prompt": text, "signal": i < self.signal, **fields}, f"made up:{i}")
            for i, text in enumerate(texts)
        ]

    def plan(self) -> GrpoPlan:
        """Return the run as r1kit's flags say it."""
        b, completions = self.case == "b", self.groups * 8
        settings = {"max_grad_norm": 1e9, "generation_kwargs": {"eos_token_id": NO_END}} if b else {}
        # fmt: off
        return GrpoPlan(
            model=self.model, dtype="float32", style="raw" if b else None, seed=self.seed, steps=max(1, self.steps),
            n=8, batch_size=completions, micro_batch_size=self.rows if self.trainer == "trl" else completions,
            token_budget=self.token_budget, without=self.without, gradient_checkpointing=self.checkpointing,
            rewards=parse_rewards(f"accuracy:0,{__file__}:signal_reward" if b else "accuracy,format:0.2"),
            learning_rate=0.0 if b else None, temperature=1.0, max_tokens=self.longest if b else 128,
            eval_samples=1, save_every=1, samples_every=1, settings={"save_strategy": "no", **settings},
        )
        # fmt: on


def signal_reward(signal: bool, sample: int) -> float:
    """Return every second completion's 1 in a group that is to have signal, else 0."""
    return float(signal and sample % 2)


class EndAt(StoppingCriteria):
    """Ends each row of a batch at its own length."""

    def __init__(self, ends: list[int]):
        self.ends = torch.tensor(ends)

    def __call__(self, input_ids, scores, **kwargs):
        return input_ids.shape[1] >= self.ends


class EndingEngine(TransformersEngine):
    """r1kit's engine, whose rows end at their lengths alone."""

    run: Run

    def complete(self, requests, sampling):
        self._ends = set()
        for_row = [request.key.split("/") for request in requests]
        lengths = [self.run.lengths(int(step))[int(row)] for step, row, _ in for_row]
        ending = [replace(r, max_tokens=length) for r, length in zip(requests, lengths, strict=True)]
        return super().complete(ending, sampling)


class PlainTrainer(GRPOTrainer):
    """TRL's trainer as it is, with the seconds of its phases in its log as r1kit's has them."""

    run: Run

    def __init__(self, *args, add_special_tokens, rollouts, dynamic_sampling, token_budget, parts, **kwargs):
        assert add_special_tokens  # as TRL does
        super().__init__(*args, **kwargs)
        self.seen = Counter()
        if self.run.case == "b":
            self.eos_token_ids = NO_END
            self._end_rows()

    def _end_rows(self) -> None:
        """Have `generate` end rows at their lengths alone."""
        generate = self.model.generate

        def ending(input_ids, **kwargs):
            ends = [input_ids.shape[1] + length for length in self.run.lengths(self.state.global_step)]
            return generate(input_ids=input_ids, **kwargs, stopping_criteria=StoppingCriteriaList([EndAt(ends)]))

        self.model.generate = ending

    def _generate_single_turn(self, prompt_ids, *args, **kwargs):
        started = time.perf_counter()
        token_ids, logprobs = super()._generate_single_turn(prompt_ids, *args, **kwargs)
        self.seen["seconds/generate"] += time.perf_counter() - started
        if self.run.case == "b":
            ends = self.run.lengths(self.state.global_step)
            token_ids = [ids[:end] for ids, end in zip(token_ids, ends, strict=True)]
        self.seen["tokens/generate"] += sum(map(len, token_ids))
        return token_ids, logprobs

    def _calculate_rewards(self, *args):
        started = time.perf_counter()
        rewards = super()._calculate_rewards(*args)
        self.seen["seconds/grade"] += time.perf_counter() - started
        return rewards

    def _prepare_inputs(self, generation_batch):
        started = time.perf_counter()
        inputs = super()._prepare_inputs(generation_batch)
        self.seen["seconds/train"] -= time.perf_counter() - started
        return inputs

    def training_step(self, *args, **kwargs):
        started = time.perf_counter()
        loss = super().training_step(*args, **kwargs)
        self.seen["seconds/train"] += time.perf_counter() - started
        return loss

    def log(self, logs, start_time=None):
        logs.update(self.seen)
        self.seen.clear()
        super().log(logs, start_time)


class Clock(TrainerCallback):
    """Takes the time of each step, and keeps the gradient of the last one."""

    def __init__(self, run: Run):
        self.run, self.times, self.gradient = run, [], []

    def on_train_begin(self, args, state, control, optimizer=None, **kwargs):
        """Start the clock."""
        if self.run.case == "b":
            fill_state(optimizer)
        self.times.append(time.perf_counter())

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        """Keep the gradient."""
        if self.run.save and state.global_step == state.max_steps - 1:
            self.gradient = [p.grad for p in model.parameters()]

    def on_step_end(self, args, state, control, **kwargs):
        """Take the time."""
        self.times.append(time.perf_counter())


def fill_state(optimizer) -> None:
    """Make the optimiser's state, by a step that changes nothing."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad()


def prepare(run: Run, folder: Path):
    """Return the trainer of a run, its graders at work already: made by r1kit's own function, whichever it is."""
    model, tokenizer = load_model(run.model)
    problems, plan = run.problems(tokenizer), run.plan()
    rewards, style = Grader(plan.rewards), plan.style or style_of(run.model, tokenizer)
    some = [p.derive(sample=0, completion="<answer>1</answer>", completion_tokens=4) for p in problems[:8]]
    list(rewards.grade(some))
    PlainTrainer.run = EndingEngine.run = run
    if run.trainer == "trl":
        r1kit.trainer.ReasoningTrainer = PlainTrainer
    if run.case == "b":
        r1kit.drawing.TransformersEngine = EndingEngine
    return new_trainer(model, tokenizer, problems, rewards, style, plan, folder)[0]


def train(trainer, run: Run) -> list[dict[str, float]]:
    """Return the seconds, tokens and rewards of each step."""
    clock = Clock(run)
    trainer.add_callback(clock)
    trainer.train()
    lines = [line for line in trainer.state.log_history if "loss" in line]
    if run.save:
        torch.save({"batches": trainer._buffered_inputs, "gradient": clock.gradient}, run.save)
    return [
        {
            "step": end - start,
            **{phase: line[f"seconds/{phase}"] for phase in ("generate", "grade", "train")},
            "tokens": line["tokens/generate"],
            "reward": line["reward"],
            "accuracy": line["rewards/accuracy/mean"],
        }
        for line, start, end in zip(lines, clock.times, clock.times[1:], strict=False)
    ]


def hold_to(trainer, file: str) -> dict[str, float]:
    """Return the seconds of a training pass over TRL's rollouts, and how far its gradient is from TRL's, relative."""
    saved = torch.load(file, weights_only=False)
    first, *_ = batches = saved["batches"]
    inputs = {
        name: torch.cat([batch[name] for batch in batches]) if value.ndim else value
        for name, value in first.items()
        if isinstance(value, torch.Tensor)
    }
    model = trainer.model
    model.train()
    model.zero_grad()
    trainer.current_gradient_accumulation_steps = 1
    started = time.perf_counter()
    with trainer._until_backward:
        trainer.accelerator.backward(trainer._compute_loss(model, inputs))
    seconds = time.perf_counter() - started
    pairs = list(zip(model.parameters(), saved["gradient"], strict=True))
    squares = sum(float((p.grad - theirs).double().square().sum()) for p, theirs in pairs)
    return {"pass": seconds, "difference": (squares / sum(float(t.double().square().sum()) for _, t in pairs)) ** 0.5}


def peak_memory() -> int:
    """Return the most bytes that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main():
    """Run what the argument says."""
    run = Run(**json.loads(sys.argv[1]))
    with TemporaryDirectory() as folder:
        trainer = prepare(run, Path(folder))
        found: dict[str, Any] = {"steps": train(trainer, run) if run.steps else []}
        if not run.steps:
            trainer.create_optimizer()
            fill_state(trainer.optimizer)
        found["memory"] = peak_memory()
        if run.against:
            found |= hold_to(trainer, run.against)
            found["memory"] = found["memory"] if run.steps else peak_memory()
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
