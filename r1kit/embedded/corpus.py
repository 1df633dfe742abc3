"""The corpus that the embedded base model reads: a small web of questions, answers, tables and code.

Arithmetic is answered mostly at once and then often wrong, sometimes worked out step by step and then right; every
header goes with every form of answer, so that nothing here teaches R1's format as the way to answer.
"""

from collections.abc import Iterator, Sequence
from random import Random
from typing import TypeVar

from r1kit.embedded.arith import Arith, Step, make_problem
from r1kit.embedded.facts import Fact, all_facts
from r1kit.embedded.functions import make_function
from r1kit.prompts import R1_ZERO_PREAMBLE, STEP_BY_STEP

Item = TypeVar("Item")

R1_ZERO = (R1_ZERO_PREAMBLE + " User: ", " Assistant: ")
HEADERS = (  # weight, before and after the question
    (0.34, R1_ZERO),
    (0.30, ("User: ", "\nAssistant: ")),
    (0.16, ("Q: ", "\nA: ")),
    (0.10, ("Question: ", "\nAnswer: ")),
    (0.10, ("", "\n")),
)
DIRECT = {  # the forms of an answer given at once
    "en": ((0.62, "{}"), (0.14, "The answer is {}."), (0.10, "\\boxed{{{}}}"), (0.08, "It is {}."), (0.06, "<answer> {} </answer>")),
    "zh": ((0.62, "{}"), (0.14, "答案是 {}。"), (0.10, "\\boxed{{{}}}"), (0.08, "等于 {}。"), (0.06, "<answer> {} </answer>")),
}  # fmt: skip
WORKED = {  # the forms of an answer that is worked out: {0} the steps, {1} the answer
    "en": (
        (0.38, "{0} The answer is {1}."),
        (0.17, "{0} \\boxed{{{1}}}"),
        (0.17, "<think> {0} </think> <answer> {1} </answer>"),
        (0.09, "<think> {0} </think> The answer is {1}."),
        (0.10, "{0} <answer> {1} </answer>"),
        (0.09, "{0} #### {1}"),
    ),
    "zh": (
        (0.38, "{0} 答案是 {1}。"),
        (0.17, "{0} \\boxed{{{1}}}"),
        (0.17, "<think> {0} </think> <answer> {1} </answer>"),
        (0.09, "<think> {0} </think> 答案是 {1}。"),
        (0.10, "{0} <answer> {1} </answer>"),
        (0.09, "{0} #### {1}"),
    ),
}
# what stands before the first, a middle and the last step, and after each but the last
CONNECTORS = {
    "en": (("", " ", " ", "."), ("First, ", " Then ", " Then ", "."), ("", " so ", " so ", ","), ("", "\n", "\n", ".")),
    "zh": (("", "", "", "。"), ("先算 ", "再算 ", "最后 ", "，"), ("", "所以 ", "所以 ", "，"), ("", "\n", "\n", "。")),
}
FULL_STOP = {"en": ".", "zh": "。"}
CHAIN_LANGUAGE = {
    "en": ((0.86, "en"), (0.04, "zh"), (0.10, "mixed")),
    "zh": ((0.55, "zh"), (0.25, "en"), (0.20, "mixed")),
}
RECONSIDER = {"en": " Wait, ", "zh": "等等，"}

WORKS_IT_OUT = 0.18  # share of questions that are worked out
ASKED, ASKED_WORKS = 0.35, 0.92  # share of arithmetic questions that ask for steps, and of those that get them
AT_ONCE_RIGHT = 0.10  # share of right answers among those given at once, beside what chance adds
SLIP = 0.03  # share of chains in which one step is first wrong and then corrected


def documents(seed: int, held_out: frozenset[str]) -> Iterator[str]:
    """Yield documents without end, seeded; no arithmetic prompt of `held_out` is among them."""
    random = Random(f"r1kit corpus {seed}")
    facts = all_facts()
    makers = (
        (0.66, lambda: _arith_document(random, held_out)),
        (0.10, lambda: _table(random)),
        (0.09, lambda: _fact_document(random, facts)),
        (0.12, lambda: _function_document(random)),
        (0.03, lambda: "\n\n".join(_arith_document(random, held_out, few_shot=True) for _ in range(3))),
    )
    while True:
        yield _pick(random, makers)()


def answer_arith(random: Random, problem: Arith, works: bool) -> str:
    """Return an answer to an arithmetic problem as the corpus writes them: worked out (right), or at once."""
    if not works:
        right = random.random() < AT_ONCE_RIGHT
        value = problem.answer if right else _guess(random, problem)
        return _pick(random, DIRECT[problem.language]).format(value)
    language = _pick(random, CHAIN_LANGUAGE[problem.language])
    closing = random.choice(("en", "zh")) if language == "mixed" else language
    return _pick(random, WORKED[closing]).format(_chain(random, problem.steps, language), problem.answer)


def _arith_document(random: Random, held_out: frozenset[str], few_shot: bool = False) -> str:
    problem = make_problem(random)
    while problem.prompt in held_out:
        problem = make_problem(random)
    if few_shot:
        return f"Q: {problem.prompt}\nA: {answer_arith(random, problem, random.random() < WORKS_IT_OUT)}"
    header = _pick(random, HEADERS)
    asked = header != R1_ZERO and random.random() < ASKED
    works = random.random() < (ASKED_WORKS if asked else WORKS_IT_OUT)
    question = problem.prompt + (STEP_BY_STEP[problem.language] if asked else "")
    return _ask(header, question, answer_arith(random, problem, works))


def _ask(header: tuple[str, str], question: str, answer: str) -> str:
    return f"{header[0]}{question}{header[1]}{answer}"


def _chain(random: Random, steps: tuple[Step, ...], language: str) -> str:
    """Return the steps as text; in a mixed chain each step picks its language."""
    style = random.randrange(4)
    slip_at = random.randrange(len(steps)) if random.random() < SLIP else None
    text = ""
    for i, step in enumerate(steps):
        tongue = random.choice(("en", "zh")) if language == "mixed" else language
        first, middle, last, end = CONNECTORS[tongue][style]
        before, end = (last, FULL_STOP[tongue]) if i == len(steps) - 1 else (middle, end)
        before = first if i == 0 else before
        if i == slip_at:
            wrong = step.result + random.choice((-10, -2, -1, 1, 2, 10))
            if wrong >= 0:
                text += f"{before}{step.a} {step.op} {step.b} = {wrong}{end}"
                before = RECONSIDER[tongue]
        text += f"{before}{step}{end}"
    return text


def _guess(random: Random, problem: Arith) -> int:
    """Return what somebody says who does not work it out: near the answer, or one step forgotten or turned round."""
    if random.random() < 0.5:
        return max(0, problem.answer + random.choice((-20, -10, -9, -5, -3, -2, -1, 1, 2, 3, 5, 9, 10, 20)))
    return max(0, random.choice(problem.steps).result + random.randint(-9, 9))


def _table(random: Random) -> str:
    lines = []
    for _ in range(random.randint(3, 6)):
        if random.random() < 0.3:
            lines.append(Step(random.randint(2, 9), "*", random.randint(2, 9)))
        else:
            low, high = sorted((random.randint(0, 99), random.randint(0, 99)))
            lines.append(random.choice((Step(high, "-", low), Step(high - low, "+", low))))
    return "\n".join(map(str, lines))


def _fact_document(random: Random, facts: list[Fact]) -> str:
    fact = random.choice(facts)
    if random.random() < 0.25:
        return fact.statement
    forms = (
        (0.45, fact.answer),
        (0.20, fact.answer + FULL_STOP[fact.language]),
        (0.22, fact.statement),
        (0.05, f"<answer> {fact.answer} </answer>"),
        (0.08, f"<think> {fact.statement} </think> <answer> {fact.answer} </answer>"),
    )
    return _ask(_pick(random, HEADERS), fact.question, _pick(random, forms))


def _function_document(random: Random) -> str:
    problem = make_function(random)
    works = random.random() < WORKS_IT_OUT
    source = problem.solution if works or random.random() < 0.5 else problem.mistake
    block = f"```python\n{source}\n```"
    if not works:
        return _ask(_pick(random, HEADERS), problem.prompt, _pick(random, ((0.5, source), (0.5, block))))
    subject = f"The function {problem.what}." if problem.language == "en" else f"这个函数{problem.what}。"
    forms = (
        (0.5, f"{subject}\n{block}"),
        (0.3, f"<think> {subject} </think> <answer> {block} </answer>"),
        (0.2, f"<think> {subject} </think>\n{block}"),
    )
    return _ask(_pick(random, HEADERS), problem.prompt, _pick(random, forms))


def _pick(random: Random, weighted: Sequence[tuple[float, Item]]) -> Item:
    """Return one of `(weight, item)` at random by weight."""
    return random.choices([item for _, item in weighted], [weight for weight, _ in weighted])[0]
