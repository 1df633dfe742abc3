"""A GRPO run as its flags say it, checked before anything heavy is loaded, and as TRL's settings."""

import json
from dataclasses import asdict, dataclass, field, fields
from difflib import get_close_matches
from importlib.util import find_spec
from typing import Any, Literal

from r1kit.algorithms import AlgorithmName, algorithm_of
from r1kit.errors import UsageError
from r1kit.jail import Mode
from r1kit.jsonl import Record
from r1kit.last_steps import LastSteps
from r1kit.parts import PARTS
from r1kit.processes import process_count
from r1kit.prompts import PromptStyle
from r1kit.records import content_hash
from r1kit.reward_spec import Options, RewardPart
from r1kit.trl_settings import TINY, check_installed, common_settings

FLAGS = {  # TRL's settings that are flags of ours
    "output_dir": "--output",
    "max_steps": "--steps",
    "num_generations": "--n",
    "per_device_train_batch_size": "--micro-batch-size",
    "gradient_accumulation_steps": "--batch-size",
    "gradient_checkpointing": "--gradient-checkpointing",
    "max_completion_length": "--max-tokens",
    "temperature": "--temperature",
    "learning_rate": "--learning-rate",
    "reward_weights": "--reward",
    "report_to": "--report-to",
    "seed": "--seed",
    "save_steps": "--save-every",
    "use_vllm": "--engine",
    "vllm_mode": "--server",
    "vllm_server_base_url": "--server",
    "vllm_gpu_memory_utilization": "--gpu-memory-utilization",
    "vllm_enable_sleep_mode": "--sleep",
}
CPU_BUDGET, GPU_BUDGET = 2048, 8192  # tokens of a pass
Engine = Literal["auto", "transformers", "vllm"]


@dataclass(frozen=True)
class GrpoPlan:
    """A run, as its flags say it."""

    model: str
    rewards: list[RewardPart]
    steps: int
    n: int  # completions of each prompt (the group)
    batch_size: int  # completions of each step
    micro_batch_size: int  # completions of each backward pass on one device
    learning_rate: float | None  # None: by the size of the model
    temperature: float
    max_tokens: int
    seed: int
    dtype: str
    style: PromptStyle | None  # None: the model's own
    eval_samples: int
    save_every: int
    samples_every: int
    algorithm: AlgorithmName | None = None
    token_budget: int | None = None  # tokens of each pass; None: by the device
    without: list[str] = field(default_factory=list)  # of PARTS
    dynamic_sampling: int | None = None  # None: the algorithm's
    last_steps: LastSteps = field(default_factory=dict)  # of the kinds that wait for them
    pass_rate: str | None = None
    lora_rank: int | None = None
    gradient_checkpointing: bool | None = None  # None: by the size of the model
    engine: Engine = "auto"
    server: str | None = None
    gpu_memory_utilization: float | None = None
    sleep: bool | None = None  # None: on a GPU
    report_to: list[str] = field(default_factory=list)
    reflection_words: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)  # --set: any field of TRL's GRPOConfig
    reward_options: Options = field(default_factory=dict)
    sandbox: Mode = "auto"

    def as_json(self, problems: list[Record]) -> dict[str, Any]:
        """Return the settings that run.json holds, with a hash of the problems and the number of processes.

        Of a kind that waits they hold the step that it is first drawn in: a run that is made longer keeps to it.
        """
        first_steps = {kind: self.steps - last + 1 for kind, last in self.last_steps.items()}
        return {
            "command": "grpo",
            "data_hash": content_hash(problems),
            "processes": process_count(),
            **{name: value for name, value in asdict(self).items() if name != "last_steps"},
            **({"first_steps": first_steps} if first_steps else {}),
        }

    @property
    def rounds(self) -> int:
        """How often groups without signal are replaced in a step, at most."""
        own = algorithm_of(self.algorithm).dynamic_sampling
        return own if self.dynamic_sampling is None else self.dynamic_sampling

    def budget(self, gpu: bool) -> int:
        """Return the tokens of a pass."""
        return self.token_budget or (GPU_BUDGET if gpu else CPU_BUDGET)

    def trl_settings(self, parameters: int, processes: int, gpu: bool, longest_prompt: int) -> dict[str, Any]:
        """Return the fields of TRL's GRPOConfig for a model of so many parameters: defaults, table, flags, --set.

        The default learning rate is R1's (arXiv 2501.12948); an adapter takes ten times that of a whole model (Schulman
        et al., LoRA Without Regret, 2025).
        """
        rate = (5e-4 if parameters < TINY else 3e-6) * (10 if self.lora_rank else 1)
        return {
            "lr_scheduler_type": "constant",
            **algorithm_of(self.algorithm).settings,
            "max_steps": self.steps,
            "per_device_train_batch_size": self.micro_batch_size,
            "gradient_accumulation_steps": self.batch_size // processes // self.micro_batch_size,
            "num_generations": self.n,
            "max_completion_length": self.max_tokens,
            "temperature": self.temperature,
            "learning_rate": rate if self.learning_rate is None else self.learning_rate,
            "reward_weights": [part.weight for part in self.rewards],
            **common_settings(self, parameters, gpu),
            **self._vllm_settings(gpu, longest_prompt),
            **self.settings,
        }

    def _vllm_settings(self, gpu: bool, longest_prompt: int) -> dict[str, Any]:
        if not self.draws_with_vllm(gpu):
            return {}
        held = {"vllm_gpu_memory_utilization": self.gpu_memory_utilization} if self.gpu_memory_utilization else {}
        return {
            "use_vllm": True,
            "vllm_mode": "server" if self.server else "colocate",
            "vllm_server_base_url": self.server,
            "vllm_enable_sleep_mode": (gpu and not self.server) if self.sleep is None else self.sleep,
            "vllm_max_model_length": longest_prompt + self.max_tokens,
            **held,
        }

    def draws_with_vllm(self, gpu: bool) -> bool:
        """Tell whether vLLM draws the completions."""
        return self.engine == "vllm" or (self.engine == "auto" and gpu and find_spec("vllm") is not None)


def parse_settings(pairs: list[str], config: str = "GRPOConfig", flags: dict[str, str] = FLAGS) -> dict[str, Any]:
    """Return {key: value} of "KEY=VALUE" pairs; a value is read as JSON where it is JSON, else as text.

    Args:
        config: the name of TRL's configuration.
        flags: its fields that are flags of ours.

    Raises:
        UsageError: a pair of another form, a key that the configuration lacks, or one that has a flag of its own.
    """
    settings: dict[str, Any] = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not (key and separator):
            raise UsageError("--set", f'"{pair}" is not KEY=VALUE', "write --set beta=0.001, for instance")
        if key in flags:
            raise UsageError("--set", f"{key} has a flag of its own", f"say {flags[key]}")
        try:
            settings[key] = json.loads(value)
        except ValueError:
            settings[key] = value
    if settings:
        import trl

        known = [f.name for f in fields(getattr(trl, config))]
        for key in settings.keys() - set(known):
            nearest = get_close_matches(key, known, 1, 0)[0]
            raise UsageError("--set", f'TRL has no setting "{key}"', f"the nearest is {nearest}")
    return settings


def parse_parts(text: str) -> list[str]:
    """Return the speed-ups that "drop,share" names.

    Raises:
        UsageError: one is unknown.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    for part in parts:
        if part not in PARTS:
            raise UsageError("--without", f'unknown part "{part}"', f"the known ones are {', '.join(PARTS)}")
    return parts


def check_batch(batch_size: int, n: int, micro_batch_size: int | None, processes: int = 1) -> int:
    """Return the micro-batch size: as said, else all completions of a process.

    Raises:
        UsageError: the sizes do not divide; names the nearest that do.
    """
    if n < 2:
        raise UsageError("--n", "a group of one has no advantage", "say -n 2 or more")
    if batch_size % n or batch_size % processes:
        each = next(k for k in range(n, n * processes + 1, n) if k % processes == 0)
        nearest = max(each, round(batch_size / each) * each)
        what = f"is no multiple of -n {n}" if batch_size % n else f"cannot be shared by {processes} processes"
        raise UsageError("--batch-size", f"{batch_size} {what}", f"the nearest is {nearest}")
    mine = batch_size // processes
    micro = micro_batch_size or mine
    if mine % micro:
        nearest = min((m for m in range(1, mine + 1) if mine % m == 0), key=lambda m: abs(m - micro))
        raise UsageError("--micro-batch-size", f"{micro} does not divide {mine}", f"the nearest is {nearest}")
    return micro


def check_plan(plan: GrpoPlan, processes: int) -> None:
    """Refuse what cannot run, before a model is loaded.

    Raises:
        UserError: something is not installed.
        UsageError: flags do not fit together.
    """
    needed = {"--lora-rank": ("peft", "r1kit[lora]")} if plan.lora_rank else {}
    needed |= {"--engine": ("vllm", "r1kit[vllm]")} if plan.engine == "vllm" else {}
    check_installed(needed, plan.report_to)
    if plan.rounds and (plan.batch_size // processes) % plan.n:
        mine = plan.batch_size // processes
        what = f"a process has {mine} completions, no whole groups of {plan.n}"
        remedy = f"say --batch-size {-(-mine // plan.n) * plan.n * processes}, or --dynamic-sampling 0"
        raise UsageError("--dynamic-sampling", what, remedy)
    if plan.lora_rank and {**algorithm_of(plan.algorithm).settings, **plan.settings}.get("sync_ref_model"):
        what = f"--algo {plan.algorithm} replaces its reference model, which an adapter does not have"
        raise UsageError("--lora-rank", what, "say --set sync_ref_model=false, or another --algo")
