"""vLLM's offline engine, fed and drained as a stream: completions leave while others run and requests still come."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r1kit.engines import Completion, Request, Sampling, seed_of
from r1kit.engines.feed import Feed
from r1kit.errors import UserError
from r1kit.model import refuse_classifier, resolve_model

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase
    from vllm import RequestOutput, SamplingParams

AHEAD = 2  # times as many requests as run side by side are in the engine, so that it never waits for one


class VllmEngine:
    """Completes prompts of token ids by vLLM.

    Each completion has a seed of its own, made of (seed, key). What else runs beside it can change the last bits of its
    logits, and so, rarely, a token.
    """

    def __init__(
        self,
        model: str,
        tokenizer: "PreTrainedTokenizerBase",
        dtype: str = "auto",
        settings: dict[str, Any] | None = None,
        with_logprobs: bool = False,
    ):
        """Load a model; `settings` are arguments of vLLM's `LLM`.

        Log-probabilities are those that the tokens were drawn from: at the temperature, after top-k and top-p.

        Raises:
            UserError: vLLM cannot open the model, or does not know a setting.
        """
        path = resolve_model(model)
        refuse_classifier(model)
        from vllm import LLM
        from vllm.platforms import current_platform

        usual = {"dtype": dtype, "load_format": "safetensors", "enable_prefix_caching": True}
        if current_platform.is_cpu():  # there, a prompt in chunks ends the engine where a request has a seed (0.32)
            usual["enable_chunked_prefill"] = False
        if with_logprobs:
            usual["logprobs_mode"] = "processed_logprobs"
        try:
            self.llm = LLM(model=path, **{**usual, **(settings or {})})
        except (TypeError, ValueError, RuntimeError, OSError) as error:
            why = str(error).strip().splitlines() or [type(error).__name__]
            raise UserError(model, f"vLLM cannot open it ({why[0]})", "see what it says above") from None
        self.path, self.tokenizer, self.with_logprobs = path, tokenizer, with_logprobs
        self._engine = self.llm.llm_engine
        config = self._engine.vllm_config
        self.window: int | None = config.model_config.max_model_len
        self._most = AHEAD * config.scheduler_config.max_num_seqs
        self._number = 0

    def complete(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[tuple[Request, Completion]]:
        """Yield completions as they finish."""
        feed = Feed(requests, self._most)
        asked: dict[str, Request] = {}
        try:
            while True:
                for request in feed.take(self._most - len(asked), wait=not asked):
                    self._add(request, sampling, asked)
                if not asked:
                    break
                for output in self._engine.step():
                    if output.finished:
                        yield asked.pop(output.request_id), self._completion(output)  # type: ignore[arg-type]
            feed.close()
        finally:
            feed.stop()
            if asked:
                self._engine.abort_request(list(asked))

    def serve(self, model: str, tokenizer: "PreTrainedTokenizerBase") -> bool:
        """Take the weights of another model in place of the present ones; tell whether that can be.

        It takes no time, where an engine takes a minute to start. The folders must differ in their weights alone. On a
        CPU in float32, packed weights would silently stay (0.32).
        """
        from vllm.platforms import current_platform

        path = resolve_model(model)
        packed = current_platform.is_cpu() and str(self._engine.model_config.dtype) == "torch.float32"
        if packed or not _differ_in_weights_alone(Path(self.path), Path(path)):
            return False
        self.llm.collective_rpc("reload_weights", kwargs={"weights_path": path})
        self.llm.reset_prefix_cache()
        self.path, self.tokenizer = path, tokenizer
        return True

    def close(self) -> None:
        """End vLLM's processes, which gives the memory back."""
        self._engine.engine_core.shutdown()
        del self._engine, self.llm

    def _add(self, request: Request, sampling: Sampling, asked: dict[str, Request]) -> None:
        name = str(self._number)
        self._number += 1
        asked[name] = request
        prompt = {"prompt_token_ids": request.prompt}
        self._engine.add_request(name, prompt, self._parameters(request, sampling))  # type: ignore[arg-type]

    def _parameters(self, request: Request, sampling: Sampling) -> "SamplingParams":
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        return SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            max_tokens=sampling.max_tokens if request.max_tokens is None else request.max_tokens,
            seed=seed_of(sampling.seed, request.key, 7),
            stop=list(sampling.stop),
            include_stop_str_in_output=True,
            detokenize=bool(sampling.stop),
            logprobs=0 if self.with_logprobs else None,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    def _completion(self, output: "RequestOutput") -> Completion:
        drawn = output.outputs[0]
        tokens = list(drawn.token_ids)
        text = self.tokenizer.decode(tokens, skip_special_tokens=True)
        places = zip(drawn.logprobs or (), tokens, strict=False)
        logprobs = [place[token].logprob for place, token in places if place is not None]
        count = len(output.prompt_token_ids or ())
        if drawn.finish_reason not in ("stop", "length"):
            why = f"vLLM ended it: {drawn.finish_reason}"
            return Completion(text, "error", tokens, logprobs, count, len(tokens), why)
        return Completion(text, drawn.finish_reason, tokens, logprobs, count, len(tokens))  # type: ignore[arg-type]


def _differ_in_weights_alone(one: Path, other: Path) -> bool:
    """Tell whether two folders hold models of the same configuration, not quantized, with the same tokenizer."""
    configs = [_read_json(folder / "config.json") for folder in (one, other)]
    if None in configs or any("quantization_config" in config for config in configs if config):
        return False
    settings = [_read_json(folder / "generation_config.json") for folder in (one, other)]
    tokenizers = [_read_json(folder / "tokenizer.json") for folder in (one, other)]
    return configs[0] == configs[1] and settings[0] == settings[1] and tokenizers[0] == tokenizers[1] is not None


def _read_json(path: Path) -> dict[str, Any] | None:
    """Return what a file of a model folder says, but for the versions that wrote it; None where it is not there."""
    if not path.is_file():
        return None
    fields = json.loads(path.read_text(encoding="utf-8"))
    return {key: value for key, value in fields.items() if key not in ("transformers_version", "_name_or_path")}
