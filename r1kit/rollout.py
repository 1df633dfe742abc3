"""Problems to rollouts: n completions of each prompt, as records, with the place of each in the output."""

import copy
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r1kit.engines import Completion, Engine, Prompt, Request, Sampling
from r1kit.engines.opening import EngineOptions, choose_engine, open_engine
from r1kit.errors import UsageError, UserError
from r1kit.from_steps import Drawn, FromSteps, Prefix
from r1kit.journal import Journal
from r1kit.jsonl import Record, is_stream, write_records
from r1kit.model import fingerprint, load_tokenizer, read_card
from r1kit.ordered import Placed, in_order
from r1kit.prompts import (
    Prompting,
    PromptStyle,
    chat_messages,
    default_style,
    encode_prefix,
    encode_prompt,
    plain_prompt,
)
from r1kit.records import unique_problems

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from r1kit.searching import SearchOptions


@dataclass(frozen=True)
class RolloutPlan:
    """How problems become rollouts."""

    n: int = 1  # completions of each problem
    sampling: Sampling = field(default_factory=Sampling)
    with_logprobs: bool = False


@dataclass
class RolloutSummary:
    """What could not be drawn."""

    rollouts: int = 0
    errors: int = 0
    first_error: str = ""
    count: Callable[[int], None] = lambda tokens: None  # shows how many there are

    def watch(self, placed: Iterable[Placed]) -> Iterator[Placed]:
        """Yield rollouts, and count them."""
        for item in placed:
            self.rollouts += 1
            self.count(item.record.get("completion_tokens") or 0)  # of a chain that was there maybe none
            if item.record.get("finish_reason") == "error":
                self.first_error = self.first_error or f'"{item.record["id"]}": {item.record["error"]}'
                self.errors += 1
            yield item

    def check(self) -> None:
        """Raise a UserError where completions could not be drawn."""
        if self.errors:
            what = f"{self.errors} of {self.rollouts} completions could not be drawn, the first of {self.first_error}"
            raise UserError("rollouts", what, 'their records say finish_reason "error" and why')


@dataclass(frozen=True)
class Policy:
    """A model in an engine, with the way it is prompted: what completions are drawn from."""

    engine: Engine
    tokenizer: "PreTrainedTokenizerBase | None"  # None: a server has it
    prompting: Prompting

    def prompt(self, problem: Record) -> Prompt:
        """Return what the engine is to continue.

        Raises:
            UserError: the style does not fit the problem or the model, or there is nothing to continue.
        """
        return self.begin(problem)[0]

    def begin(self, problem: Record) -> tuple[Prompt, str]:
        """Return what the engine is to continue, and the text at its end that begins the completions.

        Raises:
            UserError: as `prompt` does.
        """
        beginning = self.prompting.prefill
        if isinstance(problem, Prefix):
            # a server's tokens are not known, but most join the blanks before a word to that word
            beginning = problem.chain[: problem.length].rstrip(" \t")
        prompting = replace(self.prompting, prefill=beginning)
        prompt: Prompt
        if self.tokenizer is not None and isinstance(problem, Prefix):
            prompt, beginning = encode_prefix(problem, problem.chain, problem.length, prompting, self.tokenizer)
        elif self.tokenizer is not None:
            prompt = encode_prompt(problem, prompting, self.tokenizer)
        elif prompting.is_chat:
            prefill = {"role": "assistant", "content": prompting.prefill}
            prompt = chat_messages(problem, prompting) + ([prefill] if prefill["content"] else [])  # type: ignore[list-item]
        else:
            prompt = plain_prompt(problem, prompting)
        if not prompt:
            raise UserError(problem.place, "the prompt is empty", "give the problem a prompt")
        return prompt, beginning

    def reader(self) -> "Policy":
        """Return a copy whose tokenizer another thread may use."""
        return replace(self, tokenizer=copy.deepcopy(self.tokenizer))

    def room_after(self, prompt: Prompt) -> int | None:
        """Return how many tokens the model's window holds after a prompt, None where that is not known."""
        known = self.engine.window is not None and self.tokenizer is not None
        return self.engine.window - len(prompt) if known else None  # type: ignore[operator]


@dataclass(frozen=True)
class RolloutRun:
    """A model, how it is run and prompted, and what is drawn from it."""

    model: str
    options: EngineOptions
    prompting: dict[str, Any]  # the fields of Prompting; a style of None is the model's own
    plan: RolloutPlan
    search: "SearchOptions | None" = None  # None: n completions of each problem
    from_steps: FromSteps | None = None  # what the problems are made by, where they are prefixes of chains

    def settings(self) -> dict[str, Any]:
        """Return what decides the rollouts, by the names of the flags."""
        return {
            "model": self.model,
            "model_files": fingerprint(self.model) if self.options.engine != "openai" else None,
            "engine": self.options.engine,
            "dtype": self.options.dtype,
            "engine_arg": self.options.settings,
            **self.prompting,
            **asdict(self.plan.sampling),
            "n": self.plan.n,
            "logprobs": self.plan.with_logprobs,
            **(self.search.settings() if self.search else {}),
            **(self.from_steps.settings() if self.from_steps else {}),
        }

    def draw(
        self, problems: Iterable[Record], done: Callable[[str], set[int]], opened: Callable[[], None]
    ) -> Iterator[Placed]:
        """Yield rollouts as they are made. Once the first problem is read, the model is loaded and `opened` called."""
        stream = iter(problems)
        first = list(islice(stream, 1))
        if first:
            ranked = self.search is not None and self.search.prm is None
            policy = open_policy(self.model, self.options, self.prompting, self.plan.with_logprobs or ranked)
            opened()
            drawing = draw_rollouts if self.search is None else self.search.draw
            for item in drawing(chain(first, stream), policy, self.plan, done):
                there = isinstance(item.record, Drawn)
                yield item if there else item._replace(record=item.record.derive(model=self.model))


def write_rollouts(
    problems: Iterable[Record], run: RolloutRun, output: str, resume: bool, overwrite: bool, say: Callable[[str], None]
) -> None:
    """Write the rollouts of problems to a stream ("-" is stdout), or to a file that can be resumed.

    Raises:
        UserError: the run cannot be done or resumed, or some completions could not be drawn; the others are written.
    """
    if resume and is_stream(output):
        raise UsageError("--resume", "what was written to a stream is gone", "name a file with -o")
    if resume and Path(output).is_file() and not Path(f"{output}.part").exists():
        say(f"{output} is whole; without --resume it is made anew")
        return
    from r1kit.live import counting

    engine, why = choose_engine(run.options.engine)
    run = replace(run, options=replace(run.options, engine=engine))
    summary = RolloutSummary()

    def opened() -> None:
        if why:
            say(f"engine {engine}: {why}")

    if is_stream(output):
        write_records(in_order(summary.watch(run.draw(problems, lambda _: set(), opened))), output)
    else:
        journal = Journal(output, run.settings(), resume, overwrite, whole_groups=run.search is not None)
        with counting("rollouts") as summary.count:
            journal.write(summary.watch(run.draw(journal.watch(problems), journal.done, opened)))
    for line in (run.search.summary.lines() if run.search else []) + (run.from_steps.lines() if run.from_steps else []):
        say(line)
    summary.check()


def show_prompts(problems: Iterable[Record], run: RolloutRun, count: int) -> Iterator[str]:
    """Yield the exact prompts of the first `count` problems, each under a line that says whose it is."""
    tokenizer, prompting = open_prompting(run.model, run.options, run.prompting)
    for problem in islice((problem for problem in problems if not isinstance(problem, Drawn)), count):
        prompt = Policy(None, tokenizer, prompting).prompt(problem)  # type: ignore[arg-type]
        if isinstance(prompt, list) and tokenizer is not None:
            yield f"--- {problem['id']}: {len(prompt)} tokens"
            yield tokenizer.decode(prompt)
        else:
            yield f"--- {problem['id']}: as a server gets it"
            yield prompt if isinstance(prompt, str) else json.dumps(prompt, ensure_ascii=False, indent=2)


def open_policy(model: str, options: EngineOptions, prompting: dict[str, Any], with_logprobs: bool = False) -> Policy:
    """Return the policy of a model.

    Args:
        prompting: the fields of `Prompting`; a style of None is the model's own.
    """
    tokenizer, written = open_prompting(model, options, prompting)
    return Policy(open_engine(model, options, tokenizer, with_logprobs), tokenizer, written)


def open_prompting(
    model: str, options: EngineOptions, prompting: dict[str, Any]
) -> tuple["PreTrainedTokenizerBase | None", Prompting]:
    """Return a model's tokenizer, None where a server has it, and how the model is prompted."""
    tokenizer = None if options.engine == "openai" else load_tokenizer(model)
    style = prompting["style"] or style_of(model, tokenizer)
    written = Prompting(**{**prompting, "style": style})
    if tokenizer is not None and written.is_chat and tokenizer.chat_template is None:
        what = f"{style} needs a chat template, which the model lacks"
        raise UserError("--prompt-style", what, "use r1-zero or raw")
    return tokenizer, written


def style_of(model: str, tokenizer: "PreTrainedTokenizerBase | None") -> PromptStyle:
    """Return the style that a model is prompted in where none is said; of a server's model, chat."""
    return "chat" if tokenizer is None else default_style(read_card(model), tokenizer)


def loaded_policy(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", style: PromptStyle, batch_size: int = 256
) -> Policy:
    """Return the policy of a model that is loaded already, in the transformers engine."""
    from r1kit.engines.transformers import TransformersEngine

    return Policy(TransformersEngine(model, tokenizer, batch_size), tokenizer, Prompting(style))


def sample_rollouts(problems: Iterable[Record], policy: Policy, plan: RolloutPlan) -> Iterator[Record]:
    """Yield the rollouts of problems, in order."""
    return in_order(draw_rollouts(problems, policy, plan))


def draw_rollouts(
    problems: Iterable[Record], policy: Policy, plan: RolloutPlan, done: Callable[[str], set[int]] = lambda _: set()
) -> Iterator[Placed]:
    """Yield the rollouts of problems as their completions finish, without the samples of a problem that are `done`.

    A prompt that leaves no room in the model's window gives rollouts with the finish reason "error".
    """
    owners: dict[str, tuple[Placed, str]] = {}  # with the text that begins the completion
    ready: deque[Placed] = deque()  # rollouts that need no drawing
    reader = policy.reader()  # requests are read in a thread of their own

    def requests() -> Iterator[Request]:
        for number, problem in enumerate(unique_problems(problems)):
            if isinstance(problem, Drawn):
                ready.append(Placed(number, 0, 1, problem))
                continue
            owed = sorted(set(range(plan.n)) - done(problem["id"]))
            prompt, beginning = reader.begin(problem) if owed else ("", "")
            room = reader.room_after(prompt)
            for sample in owed:
                owner = Placed(number, sample, plan.n, problem)
                if room is not None and room < 1:
                    ready.append(owner._replace(record=_refuse(problem, sample, len(prompt), policy.engine.window)))
                    continue
                key = f"{problem['id']}/{sample}"
                owners[key] = (owner, beginning)
                most = plan.sampling.max_tokens
                yield Request(key, prompt, most if room is None else min(most, room))

    for request, completion in policy.engine.complete(requests(), plan.sampling):
        while ready:
            yield ready.popleft()
        owner, beginning = owners.pop(request.key)
        rollout = as_rollout(owner.record, owner.sample, completion, beginning, plan.with_logprobs)
        yield owner._replace(record=rollout)
    yield from ready


def as_rollout(problem: Record, sample: int, completion: Completion, beginning: str, with_logprobs: bool) -> Record:
    """Return the rollout record of a completion that follows a beginning."""
    rollout = problem.derive(
        sample=sample,
        completion=beginning + completion.text,
        finish_reason=completion.finish_reason,
        prompt_tokens=completion.prompt_tokens,
        completion_tokens=completion.completion_tokens,
    )
    if completion.error:
        rollout["error"] = completion.error
    if with_logprobs:
        rollout["logprobs"] = [round(value, 6) for value in completion.logprobs]
    return rollout


def _refuse(problem: Record, sample: int, prompt_tokens: int, window: int | None) -> Record:
    why = f"{prompt_tokens} prompt tokens leave no room in the model's window of {window}"
    return as_rollout(problem, sample, Completion("", "error", [], [], prompt_tokens, 0, why), "", False)
