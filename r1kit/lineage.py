"""Which model was made from which data and from which model: the graph that r1kit.json of each folder is a piece of."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from r1kit.model import EMBEDDED_MODELS
from r1kit.report_files import Folder
from r1kit.report_sources import DataHash, Source
from r1kit.run_folder import CHECKPOINTS

Link = Literal["weights", "data", "reward"]  # what a model has from another node


@dataclass
class Node:
    """A model or data.

    Attributes:
        came: of each node that it was made from its key, and what it has from there.
    """

    key: str
    label: str
    is_model: bool
    note: str = ""
    result: str = ""
    came: list[tuple[str, Link]] = field(default_factory=list)


class Lineage:
    """The models and the data of a report.

    Args:
        made_from: of files of examples, the labels of the rollouts that they were chosen from.
    """

    def __init__(self, folders: list[Folder], sources: list[Source], made_from: dict[Path, list[str]]):
        self._folders = {folder.path.resolve(): folder for folder in folders}
        self._sources, self._made_from = {source.label: source for source in sources}, made_from
        self._by_hash = {
            digest: source for source in reversed(sources) for digest in source.hashes
        }  # a copy is no source
        self.nodes: dict[str, Node] = {}
        for folder in folders:
            self._add_model(folder)
        for key, node in list(self.nodes.items()):
            if not node.is_model and key in self._sources:
                self._add_origin(node, self._sources[key])

    def name_of(self, model: str) -> str:
        """Return what the page calls a model that a command named: the label of its folder where it was found."""
        folder, path = self._find(model), Path(model)
        if folder is None:
            return model
        return f"{folder.label} {path.name}" if path.parent.name == CHECKPOINTS else folder.label

    def ordered(self) -> list[Node]:
        """Return the nodes, each after those that it came from; models in the order of their labels."""
        done: dict[str, Node] = {}

        def visit(key: str, path: tuple[str, ...]) -> None:
            if key not in done and key not in path:
                for before, _ in self.nodes[key].came:
                    visit(before, (*path, key))
                done[key] = self.nodes[key]

        for node in sorted(self.nodes.values(), key=lambda node: (not node.is_model, node.label)):
            visit(node.key, ())
        return list(done.values())

    def _find(self, model: str) -> Folder | None:
        """Return the folder that a command called `model`: where it is now, else the one whose path ends alike."""
        path = Path(model)
        if path.parent.name == CHECKPOINTS:
            path = path.parent.parent
        if (found := self._folders.get(path.resolve())) is not None:
            return found
        for length in range(len(path.parts), 0, -1) if model not in EMBEDDED_MODELS else ():
            tail = path.parts[-length:]
            alike = [folder for place, folder in self._folders.items() if place.parts[-length:] == tail]
            if len(alike) == 1:
                return alike[0]
        return None

    def _model(self, name: str) -> str:
        """Return the key of a model that a command named; a new node where it was not found."""
        folder = self._find(name)
        key = f"model {name}" if folder is None else f"model {folder.label}"
        if folder is None:
            self.nodes.setdefault(key, Node(key, name, True, "given"))
        return key

    def _add_model(self, folder: Folder) -> None:
        made = folder.card or folder.settings
        key = f"model {folder.label}"
        node = self.nodes[key] = Node(key, folder.label, True, _note(made, bool(folder.card)), result_of(made))
        if parent := made.get("parent", made.get("model")):
            node.came.append((self._model(str(parent)), "weights"))
        teacher = made.get("teacher")
        if teacher and not str(teacher).endswith(".jsonl"):  # a file of its traces is the data
            node.came.append((self._model(str(teacher)), "data"))
        for judge in _judges(made):
            node.came.append((self._model(judge), "reward"))
        if digest := made.get("data_hash"):
            node.came.append((self._data(str(digest)), "data"))

    def _data(self, digest: str) -> str:
        """Return the key of the data of a hash; a new node where there is none yet."""
        source = self._by_hash.get(digest)
        if source is not None:
            self.nodes.setdefault(source.label, Node(source.label, source.label, False, _rows(source)))
            return source.label
        name, rows = embedded_hashes().get(digest, (f"data {digest[:8]}", 0))
        note = f"embedded, {rows:,} rows" if rows else "of this hash; the file is not here"
        self.nodes.setdefault(name, Node(name, name, False, note))
        return name

    def _add_origin(self, node: Node, source: Source) -> None:
        """Say which rollouts data was chosen from, and whose they are."""
        for label in dict.fromkeys(self._made_from.get(source.found.path, ())):
            scored = self._sources[label]
            self.nodes.setdefault(label, Node(label, label, False, _rows(scored)))
            node.came.append((label, "data"))
            if scored.model is not None and not self.nodes[label].came:
                self.nodes[label].came.append((self._model(scored.model), "data"))


@cache
def embedded_hashes() -> dict[str, tuple[str, int]]:
    """Return what the embedded sets are called and how many rows they have, by their hashes."""
    from r1kit.data import EMBEDDED, EMBEDDED_PAIRS, SPLITS, embedded_file
    from r1kit.jsonl import read_records

    found = {}
    for name in (*EMBEDDED, *EMBEDDED_PAIRS):
        for split in SPLITS:
            hashed = DataHash("pairs" if name in EMBEDDED_PAIRS else "problems")
            for record in read_records(str(embedded_file(name, split))):
                hashed.add(record)
            for digest in hashed.digests():
                found[digest] = (f"{name} ({split})", hashed.count)
    return found


def _judges(made: dict[str, Any]) -> Iterable[str]:
    """Return the models that graded a run's completions."""
    for part in made.get("rewards") or ():
        kind, colon, folder = str(part.get("name", "")).partition(":")
        if colon and kind in ("model", "process"):
            yield folder


def _note(made: dict[str, Any], whole: bool) -> str:
    words = [str(made.get("command", "")), str(made.get("method") or ""), str(made.get("algorithm") or "")]
    note = " ".join(word for word in words if word)
    seed = f"seed {made['seed']}" if "seed" in made else ""
    return ", ".join(filter(None, [note, seed, "" if whole else "not ended"]))


def result_of(made: dict[str, Any]) -> str:
    """Return what a model came to, as text: pass@1 before and after, or the accuracy on held-out rows."""
    metrics = made.get("metrics") or {}
    values = [(metrics.get(when) or {}).get("pass@1") for when in ("before", "after")]
    shares = [f"{100 * value['value']:.1f}" for value in values if value]
    if shares:
        return f"pass@1 {' → '.join(shares)} %"
    accuracy = (metrics.get("held_out") or {}).get("accuracy")
    return f"held-out accuracy {100 * accuracy['value']:.1f} %" if accuracy else ""


def _rows(source: Source) -> str:
    what = {"scored": "scored rollouts", "pairs": "pairs", "steps": "stepwise rows"}.get(source.form, source.form)
    return f"{source.count:,} {what}"
