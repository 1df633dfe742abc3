"""Arithmetic problems of the embedded world: chains, products and word problems, in English and Chinese.

A problem is a sequence of steps `a op b = c` with running totals from 0 to 99: easy one step at a time, hard in one
breath. The same program makes the problem sets and, with other seeds and without the held-out prompts, the corpus.
"""

from dataclasses import dataclass
from random import Random

OPERATORS = {"+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b}

ASK_EN = ("What is {}?", "Calculate {}.", "Compute {}.", "{} = ?", "How much is {}?", "Find the value of {}.")
ASK_ZH = ("计算 {}。", "{} 等于多少？", "{} = ?", "求 {} 的值。", "请算一算：{}。")

NAMES_EN = ("Tom", "Anna", "Ben", "Lucy", "Sam", "Mia", "Jack", "Emma")
THINGS_EN = ("apples", "books", "coins", "cards", "pens", "eggs", "stamps", "marbles")
NAMES_ZH = ("小明", "小红", "小华", "小丽", "小刚", "小芳")
THINGS_ZH = ("个苹果", "本书", "枚硬币", "张卡片", "支铅笔", "个鸡蛋")

START_EN, START_ZH = "{name} has {n} {things}.", "{name}有 {n} {things}，"
EVENTS_EN = {
    "+": ("{name} buys {n} more.", "{name} finds {n} more.", "{name} gets {n} from a friend."),
    "-": ("{name} gives away {n}.", "{name} loses {n}.", "{name} sells {n}."),
    "*": ("{name} gets {k} bags of {n}.", "{name} buys {k} boxes of {n}."),
}
EVENTS_ZH = {
    "+": ("又买了 {n} {unit}，", "捡到 {n} {unit}，", "朋友送来 {n} {unit}，"),
    "-": ("送出 {n} {unit}，", "丢了 {n} {unit}，", "卖掉 {n} {unit}，"),
    "*": ("得到 {k} 袋，每袋 {n} {unit}，", "买了 {k} 盒，每盒 {n} {unit}，"),
}
QUESTION_EN, QUESTION_ZH = "How many {things} does {name} have now?", "{name}现在有多少{things}？"


@dataclass(frozen=True)
class Step:
    """One calculation `a op b = result`."""

    a: int
    op: str
    b: int

    @property
    def result(self) -> int:
        """Return the value of the step."""
        return OPERATORS[self.op](self.a, self.b)

    def __str__(self) -> str:
        return f"{self.a} {self.op} {self.b} = {self.result}"


@dataclass(frozen=True)
class Arith:
    """A problem as it is asked, and the steps that lead to its answer (the last step's result)."""

    prompt: str
    steps: tuple[Step, ...]
    language: str

    @property
    def answer(self) -> int:
        """Return the gold answer."""
        return self.steps[-1].result


Term = tuple[str, tuple[int, ...]]  # its sign, and a number or the two factors of a product


def make_problem(random: Random) -> Arith:
    """Return a random problem: 3 in 4 are expressions, 1 in 4 a word problem; half of each are in Chinese."""
    language = random.choice(("en", "zh"))
    if random.random() < 0.25:
        terms = _draw_terms(random, story=True)
        return Arith(_tell_story(random, terms, language), _steps_in_order(terms), language)
    terms = _draw_terms(random, story=False)
    ask = random.choice(ASK_EN if language == "en" else ASK_ZH)
    return Arith(ask.format(_expression(terms)), _steps_products_first(terms), language)


def _draw_terms(random: Random, story: bool) -> list[Term]:
    """Return 3 to 5 terms, at most one a product, whose running total stays within 0 and 99.

    In a story the first term is a plain number and a product (bags of something) is always gained.
    """
    count = random.choice((3, 4, 4, 5))
    product_at = random.randrange(1 if story else 0, count) if random.random() < 0.4 else None
    while True:
        terms: list[Term] = []
        total = 0
        for i in range(count):
            factors = (random.randint(2, 9), random.randint(2, 9)) if i == product_at else (random.randint(2, 20),)
            sign = "+" if i == 0 or (story and i == product_at) else random.choice("+-")
            terms.append((sign, factors))
            total += _value(factors) if sign == "+" else -_value(factors)
            if not 0 <= total <= 99:
                break
        else:
            return terms


def _value(factors: tuple[int, ...]) -> int:
    return factors[0] if len(factors) == 1 else factors[0] * factors[1]


def _expression(terms: list[Term]) -> str:
    first, *rest = [" * ".join(map(str, factors)) for _, factors in terms]
    return first + "".join(f" {sign} {text}" for (sign, _), text in zip(terms[1:], rest, strict=True))


def _steps_products_first(terms: list[Term]) -> tuple[Step, ...]:
    """Return the steps as precedence has them: the product, then the sum from the left."""
    products = [Step(f[0], "*", f[1]) for _, f in terms if len(f) == 2]
    steps, total = [], _value(terms[0][1])
    for sign, factors in terms[1:]:
        steps.append(Step(total, sign, _value(factors)))
        total = steps[-1].result
    return tuple(products + steps)


def _steps_in_order(terms: list[Term]) -> tuple[Step, ...]:
    """Return the steps as a story tells them: the product just before it is gained."""
    steps, total = [], _value(terms[0][1])
    for sign, factors in terms[1:]:
        if len(factors) == 2:
            steps.append(Step(factors[0], "*", factors[1]))
        steps.append(Step(total, sign, _value(factors)))
        total = steps[-1].result
    return tuple(steps)


def _tell_story(random: Random, terms: list[Term], language: str) -> str:
    english = language == "en"
    name = random.choice(NAMES_EN if english else NAMES_ZH)
    things = random.choice(THINGS_EN if english else THINGS_ZH)
    events = EVENTS_EN if english else EVENTS_ZH
    sentences = [(START_EN if english else START_ZH).format(name=name, things=things, n=terms[0][1][0])]
    for sign, factors in terms[1:]:
        sentence = random.choice(events[sign if len(factors) == 1 else "*"])
        sentences.append(sentence.format(name=name, unit=things[0], n=factors[-1], k=factors[0]))
    sentences.append((QUESTION_EN if english else QUESTION_ZH).format(name=name, things=things))
    return (" " if english else "").join(sentences)
