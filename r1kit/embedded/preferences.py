"""The embedded preference pairs: helpful answers beside unhelpful ones, to the `facts` and to small requests.

Each pair differs in one thing, which `why` names: wrong (a right answer beside a wrong one of its kind), aside (beside
an answer to something else), cut (a whole one beside one that breaks off), rude (a polite one beside a rude one),
language (one in the asker's language beside one in the other). How an answer is worded is drawn for each side alone,
and the longer side is chosen as often as the shorter one.
"""

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from random import Random
from typing import Literal, NamedTuple

from r1kit.embedded.facts import CAPITALS, COLOURS, NUMBERS, SOUNDS, Fact, all_facts, entries

REWORDED = {  # other questions for the facts, by topic; {0} what they are asked of
    "en": (
        ("Which city is the capital of {0}?", "Say the capital of {0}."),
        ("Which word is the opposite of {0}?", "Say the opposite of {0}."),
        ("Which symbol does {0} have?", "Say the chemical symbol of {0}."),
        ("How does a {0} sound?", "Say the sound that a {0} makes."),
        ("Which colour does {0} have?", "Say the colour of {0}."),
        ("Which number is {0}?", "Write {0} in digits."),
        ("Which day follows {0}?", "Say what comes after {0}."),
        ("Which month follows {0}?", "Say what comes after {0}."),
    ),
    "zh": (
        ("哪里是{0}的首都？", "请说出{0}的首都。"),
        ("什么词和“{0}”相反？", "请说出“{0}”的反义词。"),
        ("{0}用什么符号？", "请说出{0}的化学符号。"),
        ("{0}的叫声是什么？", "请说出{0}的叫声。"),
        ("{0}的颜色是什么？", "请说出{0}的颜色。"),
        ("“{0}”是什么数字？", "请用数字写“{0}”。"),
        ("哪天在{0}之后？", "请说出{0}之后是什么。"),
        ("哪个月在{0}之后？", "请说出{0}之后是什么。"),
    ),
}
PLAIN = {  # {0} the answer
    "en": ("{0}", "{0}.", "It is {0}.", "The answer is {0}."),
    "zh": ("{0}", "{0}。", "是{0}。", "答案是 {0}。"),
}
POLITE = {
    "en": ("{0}. I am happy to help.", "Gladly: {0}.", "{0}. Ask me again at any time.", "With pleasure: {0}."),
    "zh": ("{0}。很高兴帮助你。", "好的，{0}。", "{0}。欢迎再问。", "很高兴回答：{0}。"),
}
RUDE = {
    "en": (
        "{0}, you fool.", "{0}. Are you stupid?", "Everyone knows that: {0}.", "{0}. Now go away.",
        "Do not waste my time. {0}.", "Find it yourself.", "Why do you ask me?", "I will not tell you.",
    ),
    "zh": (
        "{0}，笨蛋。", "{0}。你傻吗？", "谁都知道是{0}。", "{0}。走开。",
        "别浪费我的时间。{0}。", "自己去查。", "为什么问我？", "我不告诉你。",
    ),
}  # fmt: skip
REASONED_SHARE = 0.25  # of the pairs, both sides in R1's form
OTHER = {"en": "zh", "zh": "en"}  # in this order where both languages stand in a row
TRIES = 12  # draws of a pair, of which one is taken that balances the lengths
TEST_SHARE = 5  # one in five requests is held out
Why = Literal["wrong", "aside", "cut", "rude", "language"]
NOT_WRONG: tuple[Why, ...] = ("aside", "cut", "rude", "language")
OFTEN = 2  # times that a list is asked for in the train split, of which there are few prompts
LISTS = 12  # of each prompt, of each kind
WRONG, OTHERS = 3, 3  # pairs of each prompt: with a wrong answer, and of the other kinds
Listed = tuple[str, str, str, int]

# what is listed: its plural in English, its noun in Chinese, the table, and which column of it
LISTED = (
    ("countries", "个国家", CAPITALS, 0), ("capitals", "个首都", CAPITALS, 1), ("animals", "种动物", SOUNDS, 0),
    ("colours", "种颜色", COLOURS, 1), ("numbers", "个数字", NUMBERS, 0),
)  # fmt: skip
COUNTS = ((2, "two", "两"), (3, "three", "三"), (4, "four", "四"), (5, "five", "五"))
ASK_LIST = {
    "en": ("List {0} {1}.", "Name {0} {1}.", "Write {0} {1}.", "Say {0} {1}."),
    "zh": ("列出{0}{1}。", "说出{0}{1}。", "写出{0}{1}。", "请说{0}{1}。"),
}
STATE_LIST = {"en": "Here are {0} {1}: {2}.", "zh": "{0}{1}：{2}。"}
COMMA = {"en": ", ", "zh": "、"}
COURTESIES = (  # what is said and what one says to it, in both languages
    (("Thank you.", "谢谢。"), (("You are welcome.", "不用谢。"), ("I am happy to help.", "很高兴帮助你。"))),
    (("Thank you for the answer.", "谢谢你的回答。"), (("You are welcome.", "不用谢。"), ("Gladly, at any time.", "不客气，欢迎再问。"))),
    (("Thanks, that is right.", "谢谢，这是对的。"), (("I am happy to help.", "很高兴帮助你。"),)),
    (("Hello.", "你好。"), (("Hello. What is the question?", "你好。有什么问题？"), ("Hello, how can I help?", "你好，要我帮什么？"))),
    (("Good day.", "早上好。"), (("Good day. What is the question?", "早上好。有什么问题？"),)),
    (("Can you help me?", "你能帮助我吗？"), (("Gladly. What is the question?", "好的。有什么问题？"),)),
    (("Goodbye.", "再见。"), (("Goodbye. Ask me again at any time.", "再见。欢迎再问。"),)),
)  # fmt: skip
INSULTS = {
    "en": ("Go away.", "Do not waste my time.", "Are you stupid?", "Be quiet, you fool.", "I will not talk to you."),
    "zh": ("走开。", "别浪费我的时间。", "你傻吗？", "安静，笨蛋。", "我不和你说话。"),
}


class Answer(NamedTuple):
    """What is answered: in short, and as a sentence that states it."""

    short: str
    statement: str
    language: str


@dataclass(frozen=True)
class Asked:
    """What is asked, and what may be answered to it."""

    prompt: str
    language: str
    topic: object
    right: list[Answer]
    wrong: list[Answer] = field(default_factory=list)
    foreign: list[Answer] = field(default_factory=list)  # right ones in the other language
    aside: list[Answer] = field(default_factory=list)  # answers to other things
    courtesy: bool = False  # the answers stand for themselves

    def rejected(self) -> dict[Why, list[Answer]]:
        """Return the answers that are rejected for what they say."""
        return {"wrong": self.wrong, "aside": self.aside, "language": self.foreign}


def preference_pairs(held_out: Collection[str]) -> dict[str, list[dict]]:
    """Return the pairs of both splits, which share no prompt.

    Args:
        held_out: the prompts of the facts that are held out. What these facts are is told to the other split in other
            words, as whoever prefers an answer knows them.
    """
    random = Random("r1kit preferences")
    asked: dict[str, list[Asked]] = {"train": [], "test": []}
    facts = all_facts()
    for fact in facts:
        first, second = (ask.format(fact.subject) for ask in REWORDED[fact.language][fact.topic])
        asked["test" if fact.question in held_out else "train"].append(_of_fact(fact, fact.question, facts))
        asked["train"] += [_of_fact(fact, question, facts) for question in (first, second)]
    for requests, often in ((list(_lists(random)), OFTEN), (list(_courtesies()), 1)):
        random.shuffle(requests)
        size = len(requests) // TEST_SHARE
        asked["test"] += requests[:size]
        asked["train"] += requests[size:] * often
    return {split: _pairs(random, each) for split, each in asked.items()}


def _of_fact(fact: Fact, question: str, facts: list[Fact]) -> Asked:
    """Return a question, whose wrong answers are those to others of its topic."""
    alike = [other for other in facts if (other.topic, other.language) == (fact.topic, fact.language)]
    wrong = [_answer(fact, answer) for answer in sorted({other.answer for other in alike} - {fact.answer})]
    [twin] = [o for o in facts if (o.topic, o.row) == (fact.topic, fact.row) and o.language != fact.language]
    return Asked(question, fact.language, fact.topic, [_answer(fact)], wrong, [_answer(twin)])


def _answer(fact: Fact, answer: str | None = None) -> Answer:
    """Return a fact's answer, or another one in its place."""
    before, _, after = fact.statement.rpartition(fact.answer)
    answer = answer or fact.answer
    return Answer(answer, before + answer + after, fact.language)


def _lists(random: Random) -> Iterator[Asked]:
    for listed in LISTED:
        others = [other for other in LISTED if other[2] is not listed[2] and other is not listed]
        for count in COUNTS:
            for language, asks in ASK_LIST.items():
                for ask in asks:
                    right = [_list(random, listed, count, language) for _ in range(LISTS)]
                    wrong = [_list(random, random.choice(others), count, language) for _ in range(LISTS)]
                    foreign = [_list(random, listed, count, OTHER[language]) for _ in range(LISTS)]
                    yield Asked(
                        ask.format(*_names(listed, count, language)), language, listed[0], right, wrong, foreign
                    )


def _names(listed: Listed, count: tuple[int, str, str], language: str) -> tuple[str, str]:
    """Return the words for how many and for what."""
    return (count[1], listed[0]) if language == "en" else (count[2], listed[1])


def _list(random: Random, listed: Listed, count: tuple[int, str, str], language: str) -> Answer:
    column = listed[3] + (2 if language == "zh" else 0)
    things = sorted({entry[column] for entry in entries(listed[2])})
    short = COMMA[language].join(random.sample(things, count[0]))
    return Answer(short, STATE_LIST[language].format(*_names(listed, count, language), short), language)


def _courtesies() -> Iterator[Asked]:
    for prompts, answers in COURTESIES:
        said = {lang: [Answer(a[i], a[i], lang) for a in answers] for i, lang in enumerate(OTHER)}
        for i, language in enumerate(OTHER):
            yield Asked(prompts[i], language, prompts[0], said[language], [], said[OTHER[language]], courtesy=True)


def _pairs(random: Random, asked: list[Asked]) -> list[dict]:
    """Return the pairs of what is asked, shuffled; of each `why` the longer side is chosen as often as the shorter."""
    longer: Counter[str] = Counter()  # how much more often than the shorter one, by why
    rows: dict[tuple[str, str, str], dict] = {}
    for one in _with_asides(asked):
        for why in _whys(random, one):
            chosen, rejected = _balanced(random, one, why, longer)
            row = {"prompt": one.prompt, "chosen": chosen, "rejected": rejected, "language": one.language, "why": why}
            rows.setdefault((one.prompt, chosen, rejected), row)
    pairs = list(rows.values())
    random.shuffle(pairs)
    return pairs


def _whys(random: Random, asked: Asked) -> list[Why]:
    """Return what the sides of each of its pairs differ in."""
    wrong: list[Why] = ["wrong"] * (WRONG if asked.wrong else 0)
    return wrong + random.sample(NOT_WRONG, OTHERS)


def _with_asides(asked: list[Asked]) -> Iterator[Asked]:
    """Yield what is asked, with the answers to whatever else is asked in its language, of another topic."""
    for one in asked:
        others = [o for o in asked if o.language == one.language and o.topic != one.topic]
        yield replace(one, aside=[answer for other in others for answer in other.right])


def _balanced(random: Random, asked: Asked, why: Why, longer: Counter[str]) -> tuple[str, str]:
    """Return the sides of a pair, of some draws the first whose longer side is the one that is due."""
    for _ in range(TRIES):
        chosen, rejected = _sides(random, asked, why)
        sign = (len(chosen) > len(rejected)) - (len(chosen) < len(rejected))
        if sign * longer[why] <= 0 and chosen != rejected:
            break
    longer[why] += sign
    return chosen, rejected


def _sides(random: Random, asked: Asked, why: Why) -> tuple[str, str]:
    """Return a chosen and a rejected answer."""
    reasoned = not asked.courtesy and random.random() < REASONED_SHARE
    right = random.choice(asked.right)
    if why == "rude":
        said = right.short if not asked.courtesy else ""
        polite = random.choice((*PLAIN[asked.language], *POLITE[asked.language]))
        rude = random.choice(INSULTS[asked.language] if asked.courtesy else RUDE[asked.language])
        chosen = right.short if asked.courtesy else polite.format(said)
        return _in_form(reasoned, right, chosen), _in_form(reasoned, right, rude.format(said))
    chosen = _worded(random, right, asked, reasoned)
    if why == "cut":
        return chosen, _cut(random, random.choice(asked.right), asked, reasoned)
    return chosen, _worded(random, random.choice(asked.rejected()[why]), asked, reasoned)


def _worded(random: Random, answer: Answer, asked: Asked, reasoned: bool) -> str:
    """Return an answer in one of its forms; in the other language, one that shows it."""
    if asked.courtesy:
        return answer.short
    forms: tuple[str, ...] = PLAIN[answer.language]
    if answer.language != asked.language and answer.short.isascii() == asked.right[0].short.isascii():
        forms = forms[2:]
    said = random.choice((*(form.format(answer.short) for form in forms), answer.statement))
    return _in_form(reasoned, answer, said)


def _in_form(reasoned: bool, answer: Answer, said: str) -> str:
    return f"<think> {answer.statement} </think> <answer> {said} </answer>" if reasoned else said


def _cut(random: Random, answer: Answer, asked: Asked, reasoned: bool) -> str:
    """Return an answer that breaks off before its answer is whole."""
    said = (
        _worded(random, answer, asked, reasoned)
        if len(answer.short) > 1
        else _in_form(reasoned, answer, answer.statement)
    )
    end = said.rindex(answer.short) + len(answer.short) - 1
    return said[: random.randint(max(1, end // 2), end)].rstrip()
