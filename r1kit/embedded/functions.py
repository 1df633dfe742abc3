"""Small Python functions of the embedded world: a one-line description, a solution, and tests."""

from dataclasses import dataclass
from random import Random
from typing import Any

# name, English and Chinese description, body (of one argument x, s or v), plausible wrong body; {n} is a small number
FAMILIES = (
    ("add_{n}", "returns x plus {n}", "返回 x 加 {n}", "x + {n}", "x - {n}"),
    ("subtract_{n}", "returns x minus {n}", "返回 x 减 {n}", "x - {n}", "x + {n}"),
    ("times_{n}", "returns x times {n}", "返回 x 乘以 {n}", "x * {n}", "x + {n}"),
    ("remainder_{n}", "returns the remainder of x divided by {n}", "返回 x 除以 {n} 的余数", "x % {n}", "x // {n}"),
    ("divide_{n}", "returns x divided by {n}, rounded down", "返回 x 除以 {n} 的整数商", "x // {n}", "x % {n}"),
    ("over_{n}", "tells whether x is greater than {n}", "判断 x 是否大于 {n}", "x > {n}", "x < {n}"),
    ("under_{n}", "tells whether x is less than {n}", "判断 x 是否小于 {n}", "x < {n}", "x > {n}"),
    ("is_{n}", "tells whether x equals {n}", "判断 x 是否等于 {n}", "x == {n}", "x != {n}"),
    ("power_{n}", "returns x to the power of {n}", "返回 x 的 {n} 次方", "x ** {n}", "x * {n}"),
    ("at_most_{n}", "returns the smaller of x and {n}", "返回 x 和 {n} 中较小的数", "min(x, {n})", "max(x, {n})"),
    ("at_least_{n}", "returns the larger of x and {n}", "返回 x 和 {n} 中较大的数", "max(x, {n})", "min(x, {n})"),
    ("square_plus_{n}", "returns the square of x plus {n}", "返回 x 的平方加 {n}", "x * x + {n}", "x + x + {n}"),
    ("repeat_{n}", "repeats the string s {n} times", "把字符串 s 重复 {n} 次", "s * {n}", "s + {n}"),
    ("first_{n}", "returns the first {n} characters of s", "返回 s 的前 {n} 个字符", "s[:{n}]", "s[{n}:]"),
    ("skip_{n}", "returns s without its first {n} characters", "返回 s 去掉前 {n} 个字符的结果", "s[{n}:]", "s[:{n}]"),
    ("last_{n}", "returns the last {n} characters of s", "返回 s 的最后 {n} 个字符", "s[-{n}:]", "s[:{n}]"),
    ("longer_than_{n}", "tells whether s has more than {n} characters", "判断 s 的长度是否大于 {n}", "len(s) > {n}", "len(s) < {n}"),
    ("has_{n}", "tells whether the list v contains {n}", "判断列表 v 是否包含 {n}", "{n} in v", "v in {n}"),
    ("count_{n}", "counts how often {n} stands in the list v", "统计列表 v 中 {n} 出现的次数", "v.count({n})", "v.index({n})"),
    ("append_{n}", "returns the list v with {n} at its end", "返回在列表 v 末尾加上 {n} 的结果", "v + [{n}]", "[{n}] + v"),
    ("sum_plus_{n}", "returns the sum of the list v plus {n}", "返回列表 v 的和加 {n}", "sum(v) + {n}", "len(v) + {n}"),
    ("all_over_{n}", "keeps the numbers of v that are greater than {n}", "保留 v 中大于 {n} 的数", "[x for x in v if x > {n}]", "[x for x in v if x < {n}]"),
    ("each_plus_{n}", "adds {n} to each number of v", "把 v 中每个数加 {n}", "[x + {n} for x in v]", "[x * {n} for x in v]"),
    ("each_times_{n}", "multiplies each number of v by {n}", "把 v 中每个数乘以 {n}", "[x * {n} for x in v]", "[x + {n} for x in v]"),
)  # fmt: skip

INPUTS = {
    "x": (0, 1, 3, 5, 7, 10, 12, 25),
    "s": ("", "a", "abc", "hello", "reasoning", "deep seek", "1234567890"),
    "v": ([], [1], [3, 5, 7], [2, 4, 6, 8], [9, 9, 1, 4, 5], [10, 0, 3]),
}
ASK_EN, ASK_ZH = "Write a Python function {head} that {what}.", "写一个 Python 函数 {head}，{what}。"


@dataclass(frozen=True)
class Function:
    """A function as it is asked for, its right source, a plausible wrong one, and its tests."""

    prompt: str
    name: str
    what: str
    solution: str
    mistake: str
    tests: dict[str, Any]
    language: str


def make_function(random: Random) -> Function:
    """Return a random function problem; half of them are described in Chinese."""
    return _function(random.choice(FAMILIES), random.randint(2, 9), random.choice(("en", "zh")))


def all_functions() -> list[Function]:
    """Return every function problem, English and Chinese, in a fixed order."""
    return [_function(family, n, language) for family in FAMILIES for n in range(2, 10) for language in ("en", "zh")]


def _function(family: tuple[str, str, str, str, str], n: int, language: str) -> Function:
    name, what_en, what_zh, right, wrong = (text.format(n=n) for text in family)
    argument = next(c for c in "vsx" if c in _names(right))
    head, what = f"{name}({argument})", what_en if language == "en" else what_zh
    source = f"def {head}:\n    return "
    inputs = INPUTS[argument]
    function = eval(f"lambda {argument}: {right}")  # from the table above, never from outside
    tests: dict[str, Any] = {"fn_name": name, "inputs": [[x] for x in inputs], "outputs": [function(x) for x in inputs]}
    ask = ASK_EN if language == "en" else ASK_ZH
    return Function(ask.format(head=head, what=what), name, what, source + right, source + wrong, tests, language)


def _names(expression: str) -> set[str]:
    import ast

    return {node.id for node in ast.walk(ast.parse(expression)) if isinstance(node, ast.Name)}
