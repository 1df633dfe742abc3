"""What --reward and --reward-arg say: which rewards, for which kind of problem, with which weights and options."""

import inspect
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from math import isfinite
from pathlib import Path
from typing import Any

from r1kit.errors import UsageError
from r1kit.rewards import COUNTED, EVERY_REWARD, MODELS, REWARDS

KINDS = ("math", "code", "general")
Options = dict[str, dict[str, Any]]  # of each reward, by its first name, and of one of several by its whole name


@dataclass(frozen=True)
class RewardPart:
    """One reward of a sum."""

    name: str  # what its value is called in a record's `rewards`
    weight: float = 1.0
    kind: str | None = None  # of the problems that it grades; None: of all

    @property
    def reward(self) -> str:
        """Return which reward it is: a key of REWARDS, one of MODELS, or a file."""
        return self.name.partition(":")[0]

    @property
    def argument(self) -> str:
        """Return what stands after the colon: a folder, or a function of a file."""
        return self.name.partition(":")[2]


def parse_rewards(text: str) -> list[RewardPart]:
    """Return the parts of "[KIND=]NAME[:WEIGHT],… [KIND=]…"; a weight that is not said is 1.

    NAME is a key of REWARDS, judge, model:DIR, process:DIR, or FILE.py:FUNCTION.

    Raises:
        UsageError: an unknown name or kind, a weight that is no number, or a reward said twice for a kind.
    """
    parts: list[RewardPart] = []
    for word in text.split():
        kind, said, names = word.rpartition("=")
        if said and kind not in KINDS:
            raise UsageError("--reward", f'unknown kind "{kind}"', f"the known ones are {', '.join(KINDS)}")
        for name in names.strip(",").split(","):
            part = _parse_part(name, kind or None)
            if any(
                part.name == other.name and (part.kind is None or other.kind in (None, part.kind)) for other in parts
            ):
                raise UsageError("--reward", f'"{part.name}" stands twice', "name each reward once")
            parts.append(part)
    if not parts:
        raise UsageError("--reward", "names no reward", f"the known ones are {', '.join(EVERY_REWARD)}")
    return parts


def _parse_part(text: str, kind: str | None) -> RewardPart:
    reward, *rest = text.split(":")
    takes_argument = reward.endswith(".py") or reward in ("model", "process")
    if not takes_argument and reward not in REWARDS and reward not in MODELS:
        raise UsageError("--reward", f'unknown reward "{reward}"', f"the known ones are {', '.join(EVERY_REWARD)}")
    if takes_argument and not (rest and rest[0]):
        raise UsageError("--reward", f'"{text}" lacks what follows the colon', f"write {reward}:NAME")
    name = f"{reward}:{rest.pop(0)}" if takes_argument else reward
    if len(rest) > 1:
        raise UsageError("--reward", f'"{text}" has too many colons', f"write {name}:0.5, for instance")
    try:
        weight = float(rest[0] if rest else 1)
    except ValueError:
        weight = float("nan")
    if not isfinite(weight):
        raise UsageError("--reward", f'"{rest[0]}" is no weight', f"write {name}:0.5, for instance")
    return RewardPart(name, weight, kind)


def parse_options(
    pairs: Iterable[str], parts: list[RewardPart], score_text: str | None = None, max_tokens: int | None = None
) -> Options:
    """Return the options of "REWARD.KEY=VALUE" pairs; a value is read as JSON where it is JSON, else as text.

    REWARD is the first name of rewards ("model"), or the whole name of one of them ("model:DIR"), which goes before.

    Args:
        score_text: the option `text` of reward models, where it is said.
        max_tokens: the longest completion of a run, for the rewards that have this option and leave it out.

    Raises:
        UsageError: a pair of another form, a reward that is not asked for, or an option that it does not have.
    """
    options: Options = {}
    if score_text:
        pairs = [*pairs, f"model.text={score_text}"]
    for pair in pairs:
        name, separator, value = pair.partition("=")
        reward, dot, key = name.rpartition(".")
        if not (separator and dot):
            raise UsageError("--reward-arg", f'"{pair}" is not REWARD.KEY=VALUE', "write length.max_tokens=4096")
        part = next((part for part in parts if reward in (part.reward, part.name)), None)
        if part is None:
            raise UsageError("--reward-arg", f'"{reward}" is none of the rewards', "name it in --reward too")
        known = options_of(part)
        if key not in known:
            raise UsageError("--reward-arg", f'{reward} has no option "{key}"', f"it has {', '.join(known) or 'none'}")
        try:
            options.setdefault(reward, {})[key] = json.loads(value)
        except ValueError:
            options.setdefault(reward, {})[key] = value
    for part in parts if max_tokens else []:
        if part.reward in COUNTED:
            options.setdefault(part.reward, {}).setdefault("max_tokens", max_tokens)
    return options


def said_options(part: RewardPart, options: Options) -> dict[str, Any]:
    """Return the options that are said of a reward."""
    return {**options.get(part.reward, {}), **options.get(part.name, {})}


def check_options(parts: list[RewardPart], options: Options) -> None:
    """Refuse rewards whose options are not all said.

    Raises:
        UsageError: names the option.
    """
    for part in parts:
        for key, default in options_of(part).items():
            if default is inspect.Parameter.empty and key not in said_options(part, options):
                raise UsageError(f"--reward {part.name}", f"needs {key}", f"say --reward-arg {part.reward}.{key}=VALUE")


def options_of(part: RewardPart) -> dict[str, Any]:
    """Return the options of a reward with their defaults (inspect.Parameter.empty: there is none)."""
    parameters = inspect.signature(function_of(part)).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def function_of(part: RewardPart) -> Callable[..., Any]:
    """Return the function of a reward, or the class of one that is given by a model."""
    if part.reward in REWARDS:
        return REWARDS[part.reward].function
    if part.reward == "judge":
        from r1kit.rewards.judge import Judge

        return Judge
    if part.reward == "model":
        from r1kit.rewards.model import RewardModel

        return RewardModel
    if part.reward == "process":
        from r1kit.rewards.process import ProcessRewardModel

        return ProcessRewardModel
    return load_function(part.reward, part.argument)


@cache
def load_function(file: str, name: str) -> Callable[..., Any]:
    """Return a function of a Python file, which is run for it.

    Raises:
        UsageError: there is no such file or function, or the file does not run.
    """
    spec = spec_from_file_location(Path(file).stem, file)
    if spec is None or spec.loader is None or not Path(file).is_file():
        raise UsageError(f"--reward {file}:{name}", "no such file", "write FILE.py:FUNCTION")
    module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UsageError(
            f"--reward {file}:{name}", f"the file does not run ({type(error).__name__}: {error})"
        ) from None
    function = getattr(module, name, None)
    if not callable(function):
        raise UsageError(f"--reward {file}:{name}", "no such function in the file", "write FILE.py:FUNCTION")
    return function
