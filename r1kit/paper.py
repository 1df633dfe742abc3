"""Published values of models on benchmarks, to stand beside those that are measured."""

from typing import NamedTuple


class Published(NamedTuple):
    """What a publication says of a model on a benchmark, in percent."""

    model: str  # the last part of its name on the hub
    benchmark: str
    metric: str
    value: float
    source: str


R1 = "DeepSeek-R1 (arXiv 2501.12948), tables 2 to 6"
FROM_SCRATCH = "github.com/rasbt/reasoning-from-scratch, greedy"
ITS = "arXiv 2502.01618"

# model: AIME 2024 pass@1 and cons@64, MATH-500, GPQA Diamond and LiveCodeBench pass@1
_R1_COLUMNS = (
    ("aime24", "pass@1"),
    ("aime24", "cons@64"),
    ("math500", "pass@1"),
    ("gpqa-diamond", "pass@1"),
    ("livecodebench", "pass@1"),
)
_R1_ROWS: dict[str, tuple[float | None, ...]] = {
    "DeepSeek-R1-Zero": (71.0, 86.7, 95.9, 73.3, 50.0),
    "DeepSeek-R1": (79.8, None, 97.3, 71.5, 65.9),
    "DeepSeek-R1-Distill-Qwen-1.5B": (28.9, 52.7, 83.9, 33.8, 16.9),
    "DeepSeek-R1-Distill-Qwen-7B": (55.5, 83.3, 92.8, 49.1, 37.6),
    "DeepSeek-R1-Distill-Qwen-14B": (69.7, 80.0, 93.9, 59.1, 53.1),
    "DeepSeek-R1-Distill-Qwen-32B": (72.6, 83.3, 94.3, 62.1, 57.2),
    "DeepSeek-R1-Distill-Llama-8B": (50.4, 80.0, 89.1, 49.0, 39.6),
    "DeepSeek-R1-Distill-Llama-70B": (70.0, 86.7, 94.5, 65.2, 57.5),
    "DeepSeek-R1-Zero-Qwen-32B": (47.0, 60.0, 91.6, 55.0, 40.2),
    "QwQ-32B-Preview": (50.0, 60.0, 90.6, 54.5, 41.9),
}
PUBLISHED = (
    *(
        Published(model, benchmark, metric, value, R1)
        for model, values in _R1_ROWS.items()
        for (benchmark, metric), value in zip(_R1_COLUMNS, values, strict=True)
        if value is not None
    ),
    Published("Qwen3-0.6B-Base", "math500", "pass@1", 15.2, FROM_SCRATCH),
    Published("Llama-3.2-1B-Instruct", "math500", "pass@1", 26.8, ITS),
)


def published(model: str, benchmark: str) -> dict[str, float]:
    """Return the published values of a model (a folder or a hub name, known by its last part), by metric."""
    name = model.rstrip("/").rpartition("/")[2].lower()
    found = (p for p in PUBLISHED if (p.model.lower(), p.benchmark) == (name, benchmark))
    return {p.metric: p.value for p in found}
