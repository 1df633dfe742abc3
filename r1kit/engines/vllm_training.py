"""vLLM beside a trainer: what must be set before TRL opens its engine, and what cannot run, said before it tries.

TRL's VLLMGeneration, whose engine is opened here with more than TRL asks for, is no public API: tests/test_grpo_vllm.py
holds to it.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import urlopen

from r1kit.errors import UsageError, UserError
from r1kit.processes import is_main, process_count

if TYPE_CHECKING:
    from accelerate import Accelerator
    from transformers import PreTrainedModel
    from trl import GRPOConfig

    from r1kit.grpo_plan import GrpoPlan

SERVE = "VLLM_SERVER_DEV_MODE=1 vllm serve MODEL --logprobs-mode processed_logprobs --weight-transfer-config"
NCCL = """'{"backend": "nccl"}'"""
CPU_CACHE = 2  # GiB for keys and values
SECONDS = 10.0  # for a server to answer


def prepare_vllm(plan: "GrpoPlan") -> None:
    """Set the environment of a run whose completions vLLM draws, before vLLM or TRL is imported.

    Raises:
        UsageError: flags do not fit the place where vLLM runs.
        UserError: the server is not there, or takes no weights; or there is no GPU to send them from.
    """
    from torch import cuda

    gpu = cuda.is_available()
    if not plan.draws_with_vllm(gpu):
        return
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")
    if plan.server is not None:
        _check_server_run(plan, plan.server, gpu)
    elif plan.sleep and not gpu:
        raise UsageError("--sleep", "vLLM has no sleep mode on a CPU", "leave it out")
    elif not gpu and plan.gpu_memory_utilization is None:
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", str(CPU_CACHE))


def _check_server_run(plan: "GrpoPlan", url: str, gpu: bool) -> None:
    for flag, value in (("--sleep", plan.sleep), ("--gpu-memory-utilization", plan.gpu_memory_utilization)):
        if value:
            raise UsageError(flag, "a server's memory is not this command's", "say it when the server is started")
    if is_main():
        check_server(url)
    if not gpu:
        what = "the weights of each step go to a server by NCCL, and there is no GPU here"
        raise UserError("--server", what, "leave it out, and vLLM runs in this process")


def check_server(url: str) -> None:
    """Ask a vLLM server whether it is there and takes weights.

    Raises:
        UserError: it does not answer, or was started without what TRL needs.
    """
    if not url.startswith(("http://", "https://")) or url.endswith(("/", "/v1")):
        raise UsageError("--server", f'"{url}" is not the root of a server', "say --server http://HOST:PORT")
    try:
        _get(f"{url}/health")
    except (OSError, ValueError) as error:
        why = str(getattr(error, "reason", error))
        raise UserError("--server", f"no vLLM server answers at {url} ({why})", f"start it: {SERVE} {NCCL}") from None
    try:
        transfer = json.loads(_get(f"{url}/server_info?config_format=json"))["vllm_config"]["weight_transfer_config"]
    except (OSError, ValueError, KeyError, TypeError):
        transfer = None
    if transfer is None:
        raise UserError("--server", f"the server at {url} takes no weights", f"start it anew: {SERVE} {NCCL}")


def _get(url: str) -> bytes:
    try:
        with urlopen(url, timeout=SECONDS) as reply:
            return reply.read()
    except HTTPError as error:
        error.close()
        raise


@contextmanager
def engine_as_trained(model: "PreTrainedModel", config: "GRPOConfig") -> Iterator[None]:
    """Have the engine that TRL opens while the block runs serve the weights' own precision, from a seed of the run's.

    TRL opens it without a dtype, which vLLM takes for bfloat16 where the weights are float32, and with the process's
    number as the seed, whatever the run's seed is.

    On a CPU there is no oneDNN, since weights that are packed for it cannot be loaded over, and no compiling, which
    takes 20 seconds and draws no faster.
    """
    if not config.use_vllm or config.vllm_mode != "colocate":
        yield
        return
    from trl.generation import vllm_generation
    from vllm import SamplingParams, _custom_ops
    from vllm.platforms import current_platform

    llm, cpu = vllm_generation.LLM, current_platform.is_cpu()

    def open_engine(**asked: Any) -> Any:
        own = {"dtype": model.dtype, "seed": config.seed * process_count() + asked["seed"], "use_tqdm_on_load": False}
        try:
            opened = llm(**asked | own, **({"enforce_eager": True} if cpu else {}))
            if cpu:  # says only at the first token what its attention lacks
                opened.generate({"prompt_token_ids": [0]}, SamplingParams(temperature=0, max_tokens=1), use_tqdm=False)
        except (TypeError, ValueError, RuntimeError, OSError) as error:
            why = str(error).strip().splitlines() or [type(error).__name__]
            raise UserError("--engine", f"vLLM cannot open the model ({why[0]})", "say --engine transformers") from None
        return opened

    if cpu:
        _custom_ops._supports_onednn = False
    vllm_generation.LLM = open_engine
    try:
        yield
    finally:
        vllm_generation.LLM = llm


def level(prompts: list[list[int]], accelerator: "Accelerator", filler: int) -> list[list[int]]:
    """Return prompts (B, T), with ones of the token `filler` after them up to the longest list of any process.

    TRL shares out what a server or a group of GPUs completes as if all processes had asked for the same number.
    """
    if accelerator.num_processes == 1:
        return prompts
    import torch

    count = torch.tensor(len(prompts), device=accelerator.device)
    return prompts + [[filler]] * (int(accelerator.gather(count).max()) - len(prompts))
