"""Which engine, and the model in it."""

import json
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from r1kit.engines import Engine
from r1kit.errors import UsageError, UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

EngineName = Literal["auto", "transformers", "vllm", "openai"]


@dataclass(frozen=True)
class EngineOptions:
    """Where a model runs, and how."""

    engine: EngineName = "auto"
    dtype: str = "auto"  # bfloat16 on a GPU, float32 on a CPU
    batch_size: int | None = None  # completions side by side
    url: str | None = None  # of the openai engine's server
    settings: dict[str, Any] = field(default_factory=dict)  # arguments of vLLM's LLM, or of each request to a server


def choose_engine(name: EngineName) -> tuple[EngineName, str]:
    """Return the engine to use, and why in one line, "" where the user said so himself."""
    if name != "auto":
        return name, ""
    from torch import cuda

    installed, device = find_spec("vllm") is not None, cuda.is_available()
    if installed and device:
        return "vllm", "vLLM is installed and there is a GPU"
    return "transformers", "there is no GPU" if not device else "vLLM is not installed; pip install 'r1kit[vllm]'"


def engine_settings(pairs: list[str], knobs: dict[str, Any]) -> dict[str, Any]:
    """Return an engine's arguments: the knobs that are not None, and KEY=VALUE pairs, whose values are JSON or text.

    Raises:
        UsageError: a pair is not of that form.
    """
    settings = {name: value for name, value in knobs.items() if value is not None}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not (key and separator):
            raise UsageError("--engine-arg", f'"{pair}" is not KEY=VALUE', "write --engine-arg enforce_eager=true")
        try:
            settings[key.replace("-", "_")] = json.loads(value)
        except json.JSONDecodeError:
            settings[key.replace("-", "_")] = value
    return settings


def open_engine(
    model: str, options: EngineOptions, tokenizer: "PreTrainedTokenizerBase | None", with_logprobs: bool
) -> Engine:
    """Return a model in an engine.

    Args:
        tokenizer: the model's; a server has its own.
        with_logprobs: whether vLLM or a server is asked for log-probabilities; the transformers engine has them anyway.

    Raises:
        UserError: the engine is not there, or cannot open the model.
    """
    if options.engine == "openai":
        from r1kit.engines.openai import OpenAIEngine

        if options.url is None:
            raise UsageError("--engine", "openai needs the address of a server", "say --url http://HOST:PORT/v1")
        return OpenAIEngine(
            options.url,
            model,
            concurrency=options.batch_size or 64,
            with_logprobs=with_logprobs,
            extra=options.settings,
        )
    assert tokenizer is not None
    if options.engine == "vllm":
        if find_spec("vllm") is None:
            raise UserError("--engine", "vLLM is not installed", "pip install 'r1kit[vllm]', or --engine transformers")
        from r1kit.engines.vllm import VllmEngine

        most = {"max_num_seqs": options.batch_size} if options.batch_size else {}
        return VllmEngine(model, tokenizer, options.dtype, {**most, **options.settings}, with_logprobs)
    if options.settings:
        what = f"the transformers engine takes no {next(iter(options.settings))}"
        raise UsageError("--engine-arg", what, "use --engine vllm or openai")
    from r1kit.engines.transformers import TransformersEngine
    from r1kit.model import load_model

    return TransformersEngine(load_model(model, options.dtype)[0], tokenizer, options.batch_size or 256)


def replace_engine(
    engine: Engine, model: str, options: EngineOptions, tokenizer: "PreTrainedTokenizerBase | None"
) -> Engine:
    """Return a model in an engine in the place of another: in the same one where it can, else that one is closed.

    Raises:
        UserError: as `open_engine` does.
    """
    if options.engine == "vllm":
        from r1kit.engines.vllm import VllmEngine

        if isinstance(engine, VllmEngine) and tokenizer is not None and engine.serve(model, tokenizer):
            return engine
    engine.close()
    return open_engine(model, options, tokenizer, with_logprobs=False)
