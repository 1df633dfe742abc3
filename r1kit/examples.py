"""How training examples are written: TRL's columns, made of rollouts or of other examples.

Every row of a file has the same columns, so that `datasets` reads it whatever its first rows are.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from r1kit.errors import UserError
from r1kit.jsonl import Record
from r1kit.records import ExampleFormat, Message, content_hash
from r1kit.rewards.format import think_format_reward
from r1kit.verdict import kind_of

_LOOSE_TAG = re.compile(r"<\s*(/?)\s*(think|answer)\s*>", re.IGNORECASE)


class Question(NamedTuple):
    """What is asked: a text and the system prompt, or a conversation that holds both."""

    prompt: str | list[Message]
    system: str  # "" where there is none, or the conversation holds it

    def messages(self) -> list[Message]:
        """Return it as a conversation."""
        if not isinstance(self.prompt, str):
            return self.prompt
        system: list[Message] = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, {"role": "user", "content": self.prompt}]


def question_of(record: Record) -> Question:
    """Return what a problem asks: a text and a system prompt where these say the same as its messages.

    Raises:
        UserError: there is no prompt, or it is neither text nor messages.
    """
    prompt, system = record.need("prompt", "run r1kit data first"), record.get("system") or ""
    if isinstance(prompt, str):
        return Question(prompt, system)
    messages = list(_checked(record, prompt))
    if messages[0]["role"] == "system":
        system = system or messages[0]["content"]
        messages = messages[1:]
    if [message["role"] for message in messages] == ["user"]:
        return Question(messages[0]["content"], system)
    return Question([{"role": "system", "content": system}, *messages] if system else messages, "")


def _checked(record: Record, messages: Any) -> list[Message]:
    is_list = isinstance(messages, list) and messages and all(isinstance(message, dict) for message in messages)
    if not (is_list and all(isinstance(message.get(key), str) for message in messages for key in ("role", "content"))):
        remedy = 'write a text, or [{"role": …, "content": …}, …] with texts'
        raise UserError(record.place, "the prompt or messages are no list of messages", remedy)
    return messages


class Exchange(NamedTuple):
    """A question and what is said to it."""

    question: Question
    completion: str


def exchange_of(row: Record) -> Exchange:
    """Return what a row in TRL's columns says: messages, or prompt and completion.

    Raises:
        UserError: it has neither, or does not end with what the assistant says.
    """
    messages = row.get("messages")
    if messages is None:
        if row.get("prompt") is None or row.get("completion") is None:
            what = 'neither "messages" nor "prompt" and "completion"'
            raise UserError(row.place, what, "mix in examples as TRL has them, or rollouts")
        if isinstance(row["completion"], str):
            return Exchange(question_of(row), row["completion"])
        asked = row["prompt"]
        asked = [{"role": "user", "content": asked}] if isinstance(asked, str) else _checked(row, asked)
        messages = [*asked, *_checked(row, row["completion"])]
    *asked, said = _checked(row, messages)
    if said["role"] != "assistant" or not asked:
        raise UserError(row.place, "does not end with an answer of the assistant", "end each example with one")
    return Exchange(question_of(row.derive(prompt=asked)), said["content"])


def repair_format(completion: str) -> str | None:
    """Return a completion as well-formed <think>…</think> and then text, None where it is so or no repair is lossless.

    Blanks and capitals within tags are mended, and an opening <think> that the prompt held is put back. Nothing else
    is written or left out, and nothing at all where the result would not be well-formed.
    """
    if think_format_reward(completion, prefilled=False):
        return None
    text = _LOOSE_TAG.sub(lambda tag: f"<{tag.group(1)}{tag.group(2).lower()}>", completion)
    if "<think>" not in text:
        text = ("<think>" if text.startswith(("\n", " ")) else "<think>\n") + text
    return text if think_format_reward(text, prefilled=False) else None


class ExampleWriter:
    """Makes rows of one form: chat messages, whose answers have no blanks around them, or texts as they were sampled.

    A text is left exactly as the model wrote it, and so is the prompt, since the prompt style (and with it what a
    completion begins with) belongs to the model.
    """

    def __init__(self, form: ExampleFormat = "messages", repair: bool = True):
        self.form, self.repair = form, repair
        self.examples = self.repaired = self.well_formed = 0
        self._text_prompts: bool | None = None  # whether the prompts of texts so far are such

    def example(self, rollout: Record) -> Record:
        """Return a rollout as an example of SFT."""
        said = self._said(rollout)
        better = repair_format(said) if self.repair and self.form == "messages" else None
        said = said if better is None else better
        self.examples += 1
        self.repaired += better is not None
        self.well_formed += think_format_reward(said, prefilled=False) == 1
        return self._row(rollout, Exchange(question_of(rollout), said), _origin(rollout))

    def other_example(self, row: Record) -> Record:
        """Return an example of another file in this form; its text, sample and reward stay as they are."""
        exchange = exchange_of(row)
        name = row.get("id")
        name = content_hash([exchange.question.messages(), exchange.completion]) if name is None else str(name)
        sample, reward = row.get("sample"), row.get("reward")
        origin = {
            "id": name,
            "sample": sample if isinstance(sample, int) else None,
            "reward": reward if isinstance(reward, int | float) else None,
            "kind": str(row.get("kind") or "general"),
        }
        return self._row(row, exchange, origin)

    def pair(self, chosen: Record, rejected: Record, margin: float) -> Record:
        """Return a preference pair; neither side is repaired, since the format may be what they differ in."""
        asked = self._asked(chosen, question_of(chosen))
        sides = {"chosen": self._said(chosen), "rejected": self._said(rejected)}
        answers = {name: said if isinstance(asked["prompt"], str) else _answer(said) for name, said in sides.items()}
        fields = {**asked, **answers, **_origin(chosen), "rejected_sample": rejected.get("sample"), "margin": margin}
        return Record(fields, chosen.place)

    def steps(self, rollout: Record, steps: list[str], labels: list[bool] | list[float]) -> Record:
        """Return a stepwise example.

        Raises:
            UserError: the prompt is no text.
        """
        question = question_of(rollout)
        if not isinstance(question.prompt, str):
            what = f"a prompt of {len(question.prompt)} messages is no text, which stepwise rows need"
            raise UserError(rollout.place, what, "leave such problems out")
        fields = {"prompt": question.prompt, "completions": steps, "labels": labels, **_origin(rollout)}
        return Record(fields, rollout.place)

    def lines(self) -> list[str]:
        """Return what is to be said of the examples."""
        if not self.examples:
            return []
        repaired = f", {self.repaired} of them by repair of their tags" if self.repaired else ""
        return [f"  <think>…</think> and then text: {self.well_formed} of {self.examples} rows{repaired}"]

    def _row(self, record: Record, exchange: Exchange, origin: dict[str, Any]) -> Record:
        question, said = exchange
        if self.form == "messages":
            return Record({"messages": [*question.messages(), *_answer(said)], **origin}, record.place)
        asked = self._asked(record, question)
        return Record(
            {**asked, "completion": said if isinstance(asked["prompt"], str) else _answer(said), **origin}, record.place
        )

    def _asked(self, record: Record, question: Question) -> dict[str, Any]:
        """Return the columns of a prompt.

        Raises:
            UserError: some prompts of texts are such and others are not, which no reader of columns takes.
        """
        if self.form == "messages":
            return {"prompt": question.messages()}
        is_text = isinstance(question.prompt, str)
        if self._text_prompts not in (None, is_text):
            raise UserError(record.place, "some prompts are conversations and others are not", "say --format messages")
        self._text_prompts = is_text
        return {"prompt": question.prompt, "system": question.system, "language": record.get("language") or ""}

    def _said(self, rollout: Record) -> str:
        completion: str = rollout["completion"]
        return completion.strip() if self.form == "messages" else completion


def _answer(said: str) -> list[Message]:
    return [{"role": "assistant", "content": said}]


def _origin(rollout: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns that lead from an example back to its rollout."""
    reward = rollout["reward"]
    fields = {"id": str(rollout["id"]), "sample": rollout.get("sample")}
    return {**fields, "reward": None if reward is None else float(reward), "kind": kind_of(rollout)}
