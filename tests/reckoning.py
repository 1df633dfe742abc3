"""Hours, memory and disk of a recipe, reckoned from the command lines that it runs.

A completion is taken for three tenths of --max-tokens long. How many rows a file has follows from the commands that
make it; of files that jq makes it is said in `rows`.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from r1kit.benchmarks import find_benchmark
from r1kit.budget import GB, SHAPES, Draws, Gpu, Place, Shape, grpo_memory, grpo_seconds
from r1kit.known_sets import find_known_set

LENGTH = 0.3  # of --max-tokens
PROMPT = 200  # tokens
PAIR = 700  # tokens of both sides of a preference pair
KEPT = 0.5  # of rollouts are worth imitating
DDP = 8192  # tokens of a pass of grpo on a GPU, unless said; of the others 16384


class Reckoned(NamedTuple):
    """What a recipe needs."""

    seconds: float
    memory: float  # bytes of each GPU that training takes; of sampling, vLLM takes what there is
    disk: float  # bytes, with the models that it downloads


def shape_of(model: str) -> Shape:
    """Return the shape of a model of the hub, by its name."""
    name = model.rpartition("/")[2].replace("DeepSeek-R1-Distill-Qwen", "Qwen2.5").replace("-Base", "")
    return SHAPES[name]


@dataclass
class Reckoning:
    """Goes through the commands of a recipe; keeps what each file and each model is."""

    gpu: Gpu
    rows: dict[str, int]  # of files, by the last part of their name
    models: dict[str, Shape] = field(default_factory=dict)  # that were trained
    lengths: dict[str, float] = field(default_factory=dict)  # tokens of a file's rows
    downloaded: dict[str, Shape] = field(default_factory=dict)
    seconds: float = 0.0
    memory: float = 0.0
    disk: float = 0.0

    def shape(self, model: str) -> Shape:
        """Return the shape of a model: a folder that a command made, a checkpoint in it, or one of the hub."""
        for folder in (model, *map(str, Path(model).parents)):
            if folder in self.models:
                return self.models[folder]
        return self.downloaded.setdefault(model, shape_of(model))

    def count(self, source: str) -> int:
        """Return how many rows a source has."""
        known = find_known_set(source)
        count = self.rows.get(Path(source).name, known.rows if known else None)
        assert count, f"how many rows has {source}? say so in ROWS"
        return count

    def note(self, output: str | Path | None, rows: float, length: float = PROMPT) -> None:
        """Keep what a file has."""
        self.rows[Path(str(output)).name] = int(rows)
        self.lengths[Path(str(output)).name] = length

    def draw(self, draws: Draws, shape: Shape, values: dict[str, Any]) -> None:
        """Add sampling."""
        together = values["tensor_parallel_size"] or 1
        share = values["gpu_memory_utilization"]
        memory = (0.9 if share is None else share) * self.gpu.memory
        self.seconds += draws.seconds(shape, self.gpu, together, memory, together)
        self.disk += draws.disk

    # each command, by its name

    def data(self, values: dict[str, Any], processes: int) -> None:
        source = values["source"]
        if source == "-" and Path(values["output"]).name in self.rows:
            return
        self.note(values["output"], values["n"] or values["limit"] or self.count(source))

    def rollout(self, values: dict[str, Any], processes: int) -> None:
        n, most = values["n"], values["max_tokens"]
        draws = Draws(self.count(values["problems"]) * n, LENGTH * most, most, PROMPT, n)
        self.draw(draws, self.shape(values["model"]), values)
        self.note(values["output"], draws.count, draws.mean)

    def reward(self, values: dict[str, Any], processes: int) -> None:
        source = Path(values["rollouts"]).name
        self.note(values["output"], self.rows[source], self.lengths[source])

    def reject_sample(self, values: dict[str, Any], processes: int) -> None:
        source = Path(values["scored"][0]).name
        self.note(values["output"], KEPT * self.rows[source], self.lengths[source])

    def eval(self, values: dict[str, Any], processes: int) -> None:
        for model in values["model"] or []:
            for source in ",".join(values["on"]).split(","):
                benchmark = find_benchmark(source)
                n, most = values["samples"] or benchmark.samples, values["max_tokens"] or benchmark.max_tokens
                draws = Draws((values["limit"] or self.count(source)) * n, LENGTH * most, most, PROMPT, n)
                self.draw(draws, self.shape(model), values)

    def grpo(self, values: dict[str, Any], processes: int) -> None:
        shape, place = self.shape(values["model"]), self.place(values, processes, DDP)
        most, share = values["max_tokens"], values["gpu_memory_utilization"] or 0.3
        draws = Draws(values["batch_size"] or 16 * values["n"], LENGTH * most, most, PROMPT, values["n"])
        kl = any(setting.startswith("beta=") for setting in values["settings"] or [])
        self.seconds += values["steps"] * grpo_seconds(shape, place, draws, share, 1 + kl)
        self.memory = max(self.memory, grpo_memory(shape, place, most + PROMPT, share, kl))
        self.keep_model(values, shape, place, values["steps"])

    def sft(self, values: dict[str, Any], processes: int) -> None:
        source = Path(values["examples"][0]).name
        self.imitate(values, processes, values["model"], self.rows[source], self.lengths.get(source, 1500))

    def distill(self, values: dict[str, Any], processes: int) -> None:
        source = Path(values["teacher"]).name
        self.imitate(values, processes, values["student"], self.rows[source], self.lengths[source])

    def reward_model(self, values: dict[str, Any], processes: int) -> None:
        rows = values["steps"] * values["batch_size"] if values["steps"] else self.count(values["pairs"][0])
        self.imitate(values, processes, values["model"], rows, PAIR)

    def imitate(self, values: dict[str, Any], processes: int, model: str, rows: int, length: float) -> None:
        """Add training on rows of about such a length."""
        shape, place, row = self.shape(model), self.place(values, processes, 2 * DDP), length + PROMPT
        self.seconds += place.training_seconds(shape, rows * row * values["epochs"], row)
        self.memory = max(self.memory, place.memory(shape).total)
        self.keep_model(values, shape, place, int(rows * values["epochs"] / values["batch_size"]))

    def place(self, values: dict[str, Any], processes: int, budget: int) -> Place:
        number = 4 if values["dtype"] == "float32" else 2
        sharded = processes > 1  # by recipes/fsdp2.yaml
        return Place(self.gpu, processes, number, values["token_budget"] or budget, values["lora_rank"], sharded)

    def keep_model(self, values: dict[str, Any], shape: Shape, place: Place, steps: int) -> None:
        """Add a run folder."""
        self.models[str(values["output"])] = shape
        self.disk += place.disk(shape, min(2, max(1, steps // values["save_every"])))


def reckon(commands: list[tuple[str, dict[str, Any], int]], gpu: Gpu, rows: dict[str, int]) -> Reckoned:
    """Return what commands need on GPUs of a kind: each its name, its values, and how many processes it runs in."""
    going = Reckoning(gpu, dict(rows))
    for name, values, processes in commands:
        if step := getattr(going, name.replace("-", "_"), None):
            step(values, processes)
    models = sum(2 * shape.parameters for shape in going.downloaded.values())
    return Reckoned(going.seconds, going.memory, going.disk + models)


def sentence(scale: str, found: dict[str, Reckoned]) -> str:
    """Return what a recipe's header says of a scale, by kind of GPU."""
    gpus = scale.removesuffix("gpu")
    hours = ", ".join(f"{one.seconds / 3600:.2g} hours on {gpus} {kind}" for kind, one in found.items())
    most = next(iter(found.values()))
    memory = f"{most.memory / GB:.0f} GB of a GPU's memory in training"
    disk = float(f"{most.disk / GB:.2g}")
    return f"{scale} reckoned: {hours}; {memory}, {disk:g} GB of disk."
