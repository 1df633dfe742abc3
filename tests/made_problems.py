"""Word problems made by chance, and what can be done to their texts."""

from random import Random
from typing import Any

WORDS = """
name: Ann Ben Carla Dmitri Elena Farid Grace Hugo Ines Jonas Keiko Liam Maria Nadia Omar Priya Quinn Rosa Samir Tessa
thing: apples books candles coins dolls eggs flowers hats jars keys lamps marbles pencils shells stamps tiles toys vases
place: market school farm bakery library station garden museum harbour workshop village theatre
adjective: red small old shiny wooden cheap heavy broken round painted plain rare
time: morning afternoon evening Monday Tuesday Friday weekend summer winter holiday
spare: quite really also again today usually nearly always perhaps certainly soon still
"""
CHOICES = {kind: words.split() for kind, _, words in (line.partition(": ") for line in WORDS.strip().splitlines())}
OPENINGS = (
    "{name} has {a} {adjective} {thing}.",
    "{name} buys {a} {adjective} {thing} at the {place}.",
    "On {time}, {name} counts {a} {thing} in the {place}.",
    "There are {a} {adjective} {thing} in the {place}, and {name} looks after them.",
    "The {place} sells {a} {thing} every {time}, as {name} noted down.",
    "{name} and {other} share {a} {adjective} {thing}.",
)
MIDDLES = (
    "{other} gives {name} {b} more {thing} on {time}.",
    "Then {b} of the {thing} are lost near the {place}.",
    "Each of the {thing} costs {b} dollars at the {place}.",
    "In the {time}, {other} takes {b} {adjective} {thing} away.",
    "A box from the {place} holds {b} {thing}, and {other} opens {c} boxes.",
    "Every {time} {name} paints {b} {adjective} {thing} for {other}.",
    "{other} has {b} times as many {thing} as {name} had at the {place}.",
    "Nobody at the {place} knows where the other {adjective} {thing} went.",
    "It takes {b} minutes to carry {c} {thing} to the {place}.",
    "After the {time}, {name} walks {b} miles to the {place} with {other}.",
)
QUESTIONS = (
    "How many {thing} does {name} have now?",
    "How many {thing} are left at the {place}?",
    "What do all the {thing} cost together, in dollars?",
    "Find the number of {adjective} {thing} that {other} needs.",
    "If ${x} + {b} = {c}{x}$, what is ${x}$?",
    "How much longer does {other} have to work in the {place}?",
)


def make_problem(chance: Random) -> str:
    """Return a problem of three to six sentences."""
    name, other = chance.sample(CHOICES["name"], 2)
    words = {"name": name, "other": other, "thing": chance.choice(CHOICES["thing"]), "x": chance.choice("xyzn")}
    told = [chance.choice(OPENINGS), *chance.sample(MIDDLES, chance.randint(1, 4)), chance.choice(QUESTIONS)]
    return " ".join(sentence.format(**words, **_fillers(chance)) for sentence in told)


def _fillers(chance: Random) -> dict[str, Any]:
    words = {kind: chance.choice(CHOICES[kind]) for kind in ("place", "adjective", "time")}
    return {**words, **{letter: chance.randint(2, 99) for letter in "abc"}}


def near_copy(text: str, chance: Random) -> str:
    """Return a copy that says the same in other words or in another order, case and punctuation changed as well."""
    edit = chance.choice((change_words, leave_out, add_words, move_sentence))
    return restyle(edit(text, chance), chance)


def restyle(text: str, chance: Random) -> str:
    """Return a text in other case and punctuation."""
    text = chance.choice((str, str.upper, str.lower, str.title))(text)
    text = chance.choice((text, text.replace(". ", "\u2014"), text.replace(". ", ";  "), text.replace(",", "")))
    return chance.choice((text, f"  {text}\n", text.replace(" ", "  "), text.removesuffix("?") + "..."))


def change_words(text: str, chance: Random) -> str:
    """Return a text with one or two words changed."""
    words = text.split()
    for place in chance.sample(_plain(words), chance.randint(1, 2)):
        words[place] = chance.choice(CHOICES["spare"])
    return " ".join(words)


def leave_out(text: str, chance: Random) -> str:
    """Return a text without one of its words."""
    words = text.split()
    del words[chance.choice(_plain(words))]
    return " ".join(words)


def add_words(text: str, chance: Random) -> str:
    """Return a text with one or two words more."""
    words = text.split()
    for _ in range(chance.randint(1, 2)):
        words.insert(chance.choice(_plain(words)), chance.choice(CHOICES["spare"]))
    return " ".join(words)


def move_sentence(text: str, chance: Random) -> str:
    """Return a text with two of its sentences exchanged, the question apart."""
    *told, question = text.replace("? ", "?| ").replace(". ", ".| ").split("| ")
    if len(told) < 2:
        return add_words(text, chance)
    i, j = chance.sample(range(len(told)), 2)
    told[i], told[j] = told[j], told[i]
    return " ".join([*told, question])


def _plain(words: list[str]) -> list[int]:
    return [i for i, word in enumerate(words) if word.isalpha()]


def change_numbers(text: str, chance: Random) -> str:
    """Return a text with its first or last number changed."""
    words = text.split()
    places = [i for i, word in enumerate(words) if word.strip("$.,?").isdigit()]
    place = chance.choice((places[0], places[-1]))
    words[place] = str(int(words[place].strip("$.,?")) + chance.randint(1, 9))
    return " ".join(words)
