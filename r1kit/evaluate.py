"""Models on benchmarks: what `data | rollout | reward` gives, with its metrics."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r1kit.benchmarks import Task, read_task, split_names
from r1kit.comparison import Comparison, compare
from r1kit.engines import Engine
from r1kit.engines.opening import choose_engine, open_engine, replace_engine
from r1kit.errors import UsageError, UserError
from r1kit.eval_run import EvalPlan, EvalRun, read_card_of
from r1kit.grader import Grader
from r1kit.jsonl import read_records, write_records
from r1kit.live import say
from r1kit.metrics import MEASURED, Metrics, measure
from r1kit.model import read_card, resolve_model
from r1kit.paper import published
from r1kit.rollout import open_prompting
from r1kit.verdict import grading_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Row:
    """What was measured of a model on a benchmark, or of a file."""

    about: dict[str, Any]
    metrics: Metrics
    seconds: float | None = None  # that drawing and grading took
    against: str | None = None  # the model that it is compared with
    comparison: Comparison | None = None

    @property
    def model(self) -> str:
        """Return the model's name, or the file's."""
        return str(self.about.get("model", self.about.get("file")))

    @property
    def benchmark(self) -> str:
        """Return the benchmark's name, "" where that is not known."""
        return str(self.about.get("benchmark", ""))

    def as_json(self, paper: bool = False) -> dict[str, Any]:
        """Return the row as a record; with `paper`, the published values of the model in it, in percent."""
        row = {**self.about, **self.metrics.as_json()}
        if self.comparison is not None:
            row["against"] = {"model": self.against, **self.comparison.as_json()}
        values = published(self.model, self.benchmark) if paper else {}
        return {**row, "paper": values} if values else row


def evaluate_files(paths: list[str], samples: int | None = None) -> Iterator[Row]:
    """Yield the metrics of each file of scored rollouts, of the first `samples` of each problem."""
    rows: list[Row] = []
    for path in paths:
        rows.append(_against(_row_of(path, samples), rows))
        yield rows[-1]


def _row_of(path: str, samples: int | None = None) -> Row:
    about, seconds = read_card_of(Path(path)) or ({"file": path}, None)
    return Row(about, measure(read_records(path), samples), seconds)


def _against(row: Row, earlier: list[Row]) -> Row:
    """Return a row with its comparison to the first one of the same benchmark."""
    for first in earlier:
        same = first.benchmark == row.benchmark
        if same and (found := compare(first.metrics.by_problem, row.metrics.by_problem)) is not None:
            return replace(row, against=first.model, comparison=found)
    return row


@dataclass
class Evaluation:
    """Models, one after the other, on all benchmarks. A model that fails keeps none of the others from being measured.

    Args:
        sources: benchmarks, as `split_names` takes them.
    """

    models: list[str]
    sources: list[str]
    plan: EvalPlan
    tasks: list[Task] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)  # models
    rows: list[Row] = field(default_factory=list)
    _engine: Engine | None = None
    _model: str = ""  # that is in it

    def prepare(self) -> None:
        """Read the problems and write them down, and look whether all can be done, before hours are spent.

        Raises:
            UserError: a benchmark cannot be read, results are there and nobody said what to do with them, or problems
                that are others.
        """
        self.tasks = [read_task(source, self.plan.limit) for source in split_names(self.sources)]
        engine, why = choose_engine(self.plan.options.engine)
        self.plan = replace(self.plan, options=replace(self.plan.options, engine=engine))
        if why:
            say(f"engine {engine}: {why}")
        paths = [self.plan.scored_file(model, task) for model in self.models for task in self.tasks]
        for number, path in enumerate(paths):
            if path in paths[:number]:
                raise UsageError("eval", f"two results would be {path}", "name each model and benchmark once")
            if path.exists() and not (self.plan.resume or self.plan.overwrite):
                remedy = "say --resume to keep what is whole and go on, --overwrite, or another --output-dir"
                raise UserError(str(path), "is there", remedy)
        for task in self.tasks:
            self._write_problems(task)
        self.grader = Grader(MEASURED, workers=self.plan.workers, sandbox=self.plan.sandbox)
        for model in self.models if self.plan.options.engine != "openai" else ():
            try:
                resolve_model(model)
            except UserError as error:
                self._fail(model, error)

    def _write_problems(self, task: Task) -> None:
        path = self.plan.problems_file(task)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not self.plan.overwrite and list(read_records(str(path))) != task.problems:
            remedy = "say --overwrite, or another --output-dir"
            raise UserError(str(path), f"holds other problems than {task.source} has now", remedy)
        write_records(iter(task.problems), str(path))

    def _fail(self, model: str, error: UserError) -> None:
        say(f"r1kit eval: error: {error}")
        self.failed.append(model)

    def run(self) -> Iterator[Row]:
        """Yield a row for each model and benchmark; what fails is said, and noted in `failed`."""
        try:
            for model in [model for model in self.models if model not in self.failed]:
                try:
                    for row in self._measure_model(model):
                        self.rows.append(_against(row, self.rows))
                        yield self.rows[-1]
                except UserError as error:
                    self._fail(model, error)
        finally:
            self.grader.close()
            if self._engine is not None:
                self._engine.close()

    def check(self) -> None:
        """Raise a UserError where a model could not be measured."""
        if self.failed:
            what = f"{len(self.failed)} of {len(self.models)} models could not be measured: {', '.join(self.failed)}"
            raise UserError("--model", what, "what went wrong is said above; the others' results are kept")

    def _measure_model(self, model: str) -> Iterator[Row]:
        tokenizer, prompting = open_prompting(model, self.plan.options, self.plan.prompting)
        stated = self.plan.prompting["style"] or (tokenizer is not None and read_card(model).get("prompt_style"))
        for task in self.tasks:
            boxed = prompting.style == "chat" and not stated and _wants_box(task)
            asked = replace(prompting, style="boxed") if boxed else prompting
            run = EvalRun(model, task, self.plan, tokenizer, asked)
            if not run.is_whole():
                run.draw(self._engine_of(model, tokenizer), self.grader)
            yield _row_of(str(run.scored))

    def _engine_of(self, model: str, tokenizer: "PreTrainedTokenizerBase | None") -> Engine:
        """Return a model in the engine that the models before it ran in, or a new one."""
        if self._engine is None:
            self._engine = open_engine(model, self.plan.options, tokenizer, with_logprobs=False)
        elif self._model != model:
            earlier, self._engine = self._engine, None  # it is gone where the next cannot be opened
            self._engine = replace_engine(earlier, model, self.plan.options, tokenizer)
        self._model = model
        return self._engine


def _wants_box(task: Task) -> bool:
    r"""Tell whether a chat model is told to put its answer in \boxed{…}: for mathematics."""
    return all(grading_of(problem) == "math" for problem in task.problems)
