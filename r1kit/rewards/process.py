"""Process reward model: the probability that each step of a completion's reasoning is right."""

import re
from collections.abc import Mapping, Sequence
from math import isfinite, prod
from typing import TYPE_CHECKING, Any, Literal, get_args

from r1kit.classifier import load_classifier
from r1kit.errors import Ungradable, UsageError, UserError
from r1kit.model import read_card
from r1kit.rewards.model import (
    BATCH_TOKENS,
    filled_batches,
    final_text,
    forward,
    longest_input,
    single_prompt,
    within_limit,
)
from r1kit.rewards.score_cache import ScoreCache

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Aggregate = Literal["min", "last", "prod", "mean"]
SEPARATOR = "\n"  # TRL's PRMConfig.step_separator


class ProcessRewardModel:
    """A token-classification model with two labels, trained to say at the end of each step whether it is right (1).

    Steps are encoded as TRL's PRMTrainer encodes them (TRL has it up to 1.13): the tokenizer's bos token where it has
    one, the prompt, then the tokens of each step and of the separator, all without other special tokens; a step's
    label sits on the last token of its separator.
    """

    def __init__(
        self,
        folder: str,
        *,
        aggregate: Aggregate = "min",
        separator: str | None = None,
        batch_tokens: int = BATCH_TOKENS,
        dtype: str = "float32",
    ):
        r"""Load the model of a folder or hub name, on the GPU where there is one.

        aggregate: how `scores` makes one number of a completion's step scores.
        separator: what stands after each step; as r1kit.json says in "step_separator" where not given, else "\n".

        Raises:
            UserError: it is no token-classification model with two labels and safetensors weights.
        """
        self.folder, self.how, self.batch_tokens = folder, _checked(aggregate), batch_tokens
        self._model, self._tokenizer = load_classifier(folder, "token", 2, dtype)
        self._limit = longest_input(self._model, self._tokenizer)
        self.separator = read_card(folder).get("step_separator", SEPARATOR) if separator is None else separator
        self._known: ScoreCache[list[float] | Ungradable] = ScoreCache()
        self._separator_ids = separator_ids(self._tokenizer, self.separator, folder)

    def step_scores(self, prompt: str, steps: Sequence[str]) -> list[float]:
        """Return the probability (S,) that each of the steps is right.

        Raises:
            Ungradable: there are no steps, or they are longer than the model reads.
        """
        (scores,) = self.many_step_scores([(prompt, steps)])
        if isinstance(scores, Ungradable):
            raise scores
        return scores

    def many_step_scores(self, solutions: Sequence[tuple[str, Sequence[str]]]) -> list[list[float] | Ungradable]:
        """Return the step scores of each (prompt, steps), in order; an Ungradable stands where there are none.

        A solution is scored once in a run. Solutions of like length share a batch; the scores are those of one at a
        time within float tolerance. Which others are scored along changes none, on a CPU not in the last bit.
        """
        keys = [(prompt, *steps) for prompt, steps in solutions]
        return self._known.scores(keys, lambda places: self._read([solutions[place] for place in places]))

    def _read(self, solutions: Sequence[tuple[str, Sequence[str]]]) -> list[list[float] | Ungradable]:
        """Return the step scores of solutions, all of which the model reads."""
        results: dict[int, list[float] | Ungradable] = {}
        encoded: dict[int, tuple[list[int], list[int]]] = {}
        for row, (prompt, steps) in enumerate(solutions):
            try:
                ids, ends = self.encode(prompt, steps)
                encoded[row] = within_limit(ids, self._limit, self.folder), ends
            except Ungradable as why:
                results[row] = why
        lengths = {row: len(ids) for row, (ids, _) in encoded.items()}
        for width, rows in filled_batches(lengths, self._limit, self.batch_tokens):
            right = forward(self._model, [encoded[row][0] for row in rows], width).softmax(-1)[..., 1]
            for place, row in enumerate(rows):
                scores = right[place, encoded[row][1]].tolist()
                results[row] = scores if all(map(isfinite, scores)) else Ungradable("a step's score is no number")
        return [results[row] for row in range(len(solutions))]

    def count_tokens(self, prompt: str, steps: Sequence[str]) -> int:
        """Return how many tokens the model reads to score a solution.

        Raises:
            Ungradable: there are no steps.
        """
        return len(self.encode(prompt, steps)[0])

    def scores(self, rollouts: Sequence[Mapping[str, Any]]) -> list[float | Ungradable]:
        """Return the score in [0, 1] of each rollout, in order: its step scores, aggregated."""
        scored = self.rollout_step_scores(rollouts)
        return [steps if isinstance(steps, Ungradable) else aggregate(steps, self.how) for steps in scored]

    def rollout_step_scores(self, rollouts: Sequence[Mapping[str, Any]]) -> list[list[float] | Ungradable]:
        """Return the step scores of each rollout, its steps being `split_steps` of its completion."""
        solutions: list[tuple[str, list[str]]] = []
        refused: dict[int, Ungradable] = {}
        for row, rollout in enumerate(rollouts):
            try:
                solutions.append((single_prompt(rollout), split_steps(rollout["completion"])))
            except Ungradable as why:
                refused[row] = why
        rest = iter(self.many_step_scores(solutions))
        return [refused[row] if row in refused else next(rest) for row in range(len(rollouts))]

    def encode(self, prompt: str, steps: Sequence[str]) -> tuple[list[int], list[int]]:
        """Return token ids (T,), and the position (S,) on which each step's label sits.

        Raises:
            Ungradable: there are no steps.
        """
        return encode_steps(self._tokenizer, prompt, steps, self._separator_ids)


def separator_ids(tokenizer: "PreTrainedTokenizerBase", separator: str, name: str) -> list[int]:
    """Return the tokens that stand after each step.

    Raises:
        UserError: there are none; names the model.
    """
    ids = tokenizer(separator, add_special_tokens=False)["input_ids"]
    if not ids:
        raise UserError(name, f"no token stands for the separator {separator!r}", "say another separator")
    return ids


def encode_steps(
    tokenizer: "PreTrainedTokenizerBase", prompt: str, steps: Sequence[str], separator: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Return token ids (T,) of a prompt and S steps, and the position (S,) on which each step's label sits.

    separator: the tokens that stand after each step.

    Raises:
        Ungradable: there are no steps.
    """
    if not steps:
        raise Ungradable("no steps of reasoning")
    bos = tokenizer.bos_token_id
    asked, *rest = tokenizer([prompt, *steps], add_special_tokens=False)["input_ids"]
    ids, ends = ([] if bos is None else [bos]) + asked, []
    for step in rest:
        ids += [*step, *separator]
        ends.append(len(ids) - 1)
    return ids, ends


def split_steps(completion: str) -> list[str]:
    """Return the steps of a completion's reasoning: its paragraphs, or its lines where it is one paragraph.

    The reasoning is what stands before the last </think> and after a <think> at its start; where that is nothing, the
    rest of the completion. Steps are stripped; empty ones are none.
    """
    before, _, after = completion.rpartition("</think>")
    text = (before or after).strip().removeprefix("<think>").strip() or final_text(completion)
    paragraphs = [part for part in re.split(r"\n[ \t\r]*\n", text) if part.strip()]
    parts = paragraphs if len(paragraphs) > 1 else text.split("\n")
    return [part.strip() for part in parts if part.strip()]


def aggregate(scores: Sequence[float], how: Aggregate = "min") -> float:
    """Return one score in [0, 1] for a solution, from its step scores (S,), S ≥ 1.

    min: the weakest step, the default. prod: the probability that every step is right, which falls with their number.
    Both fit labels that say whether the step itself is right. last: fits labels estimated by sampling on from the
    step (Math-Shepherd), where the last score has seen all. mean: for comparison.
    Source: Zhang et al. 2025 (arXiv 2501.07301), section 3.2.4, on which fits which labels; prod and min: Lightman et
    al. 2023 (arXiv 2305.20050), section 2.6 and appendix F; last: Snell et al. 2024 (arXiv 2408.03314), section 5.1,
    and search-and-learn's default.
    """
    if _checked(how) == "last":
        return scores[-1]
    if how == "mean":
        return sum(scores) / len(scores)
    return min(scores) if how == "min" else prod(scores)


def _checked(how: Aggregate) -> Aggregate:
    if how not in get_args(Aggregate):
        raise UsageError("process.aggregate", f'"{how}" is none', f"say {', '.join(get_args(Aggregate))}")
    return how
