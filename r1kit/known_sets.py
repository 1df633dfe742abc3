"""The sets that have a name of their own: where the hub keeps them, and what their columns are called.

How a row becomes a problem is in r1kit/row_forms.py, by its columns, so that a copy of a set is read the same.
"""

from typing import Any, NamedTuple


class KnownSet(NamedTuple):
    """A set of the Hugging Face hub."""

    name: str
    hub: str
    kind: str
    splits: tuple[str, ...]  # the first is the one that is read unless another is asked for
    rows: int | None  # of the first split, as its card says
    licence: str  # as its card says
    config: str | None = None
    id: str | None = None  # the column that names a row; without one its content does
    columns: dict[str, str] = {}  # noqa: RUF012 (theirs: ours, where r1kit does not understand theirs anyway)
    no_answer: tuple[str, ...] = ()  # what stands for an answer where there is none
    files: str | None = None  # JSON Lines files of the repository, where it is no data set that loads by itself
    gated: bool = False
    note: str = ""

    def line(self) -> str:
        """Return what there is to say of it, as one line of text."""
        rows = "" if self.rows is None else f"{self.rows:,} rows"
        place = self.hub + (f" ({self.config})" if self.config else "")
        notes = [self.licence, "gated: log in with `hf auth login`" if self.gated else "", self.note]
        return f"{self.kind:<8}{rows:>13}  {place} [{', '.join(self.splits)}]; " + "; ".join(filter(None, notes))

    def problem_id(self, row: dict[str, Any]) -> str | None:
        """Return the id that a row states, made unique beyond its set where it is a number."""
        value = row.get(self.id) if self.id else None
        if value is None:
            return None
        return f"{self.name}-{value}" if str(value).isdecimal() else str(value)


_SETS = (
    KnownSet("gsm8k", "openai/gsm8k", "math", ("test", "train"), 1319, "MIT", config="main"),
    KnownSet("math500", "HuggingFaceH4/MATH-500", "math", ("test",), 500, "no licence stated", id="unique_id"),
    KnownSet("aime24", "HuggingFaceH4/aime_2024", "math", ("train",), 30, "no licence stated", id="id"),
    KnownSet("aime25", "math-ai/aime25", "math", ("test",), 30, "Apache-2.0", id="id"),
    KnownSet("amc23", "math-ai/amc23", "math", ("test",), 40, "no licence stated", id="id"),
    KnownSet("minerva-math", "math-ai/minervamath", "math", ("test",), 272, "no licence stated"),
    KnownSet(
        "gpqa-diamond",
        "Idavidrein/gpqa",
        "math",
        ("train",),
        198,
        "CC-BY-4.0",
        config="gpqa_diamond",
        id="Record ID",
        gated=True,
        note="options shuffled by --seed and the row; the answer is a letter",
    ),
    KnownSet("mmlu", "cais/mmlu", "math", ("test", "validation", "dev"), 14042, "MIT", config="all"),
    KnownSet("mmlu-pro", "TIGER-Lab/MMLU-Pro", "math", ("test", "validation"), 12032, "MIT", id="question_id"),
    KnownSet("openr1-math", "open-r1/OpenR1-Math-220k", "math", ("train",), 93733, "Apache-2.0", config="default"),
    KnownSet(
        "deepmath",
        "zwhe99/DeepMath-103K",
        "math",
        ("train",),
        103022,
        "MIT",
        columns={"final_answer": "answer"},
    ),
    KnownSet(
        "numinamath",
        "AI-MO/NuminaMath-1.5",
        "math",
        ("train",),
        896215,
        "Apache-2.0",
        no_answer=("proof", "notfound"),
        note="proofs have no answer",
    ),
    KnownSet("big-math", "SynthLabsAI/Big-Math-RL-Verified", "math", ("train",), 251122, "Apache-2.0", gated=True),
    KnownSet(
        "countdown",
        "Jiayi-Pan/Countdown-Tasks-3to4",
        "general",
        ("train",),
        490364,
        "no licence stated",
        note="graded by reasoning-gym's countdown: any expression that uses each number once",
    ),
    KnownSet("humaneval", "openai/openai_humaneval", "code", ("test",), 164, "MIT", id="task_id"),
    KnownSet(
        "mbpp",
        "google-research-datasets/mbpp",
        "code",
        ("test", "train", "validation", "prompt"),
        500,
        "CC-BY-4.0",
        config="full",
        id="task_id",
    ),
    KnownSet(
        "livecodebench",
        "livecodebench/code_generation_lite",
        "code",
        ("test",),
        1055,
        "CC",
        id="question_id",
        files="test*.jsonl",
        note="all releases up to v6, 4.5 GB; --config test6 for the newest alone",
    ),
    KnownSet(
        "codeforces",
        "open-r1/codeforces",
        "code",
        ("test", "train"),
        None,
        "CC-BY-4.0",
        config="verifiable",
        id="id",
        note="official tests; none where a checker is needed",
    ),
)
KNOWN_SETS = {known.name: known for known in _SETS}
_BY_HUB = {known.hub.lower(): known for known in _SETS}


def find_known_set(name: str) -> KnownSet | None:
    """Return the set of a name, its own or the hub's, None where it is not known."""
    return KNOWN_SETS.get(name.lower()) or _BY_HUB.get(name.lower())
