import pytest

from r1kit.choice import extract_choice, read_letter

STATED = [
    # the last box that holds a letter
    (r"So \boxed{B}", "B"),
    (r"\boxed{\text{B}}", "B"),
    (r"\boxed{(B)}", "B"),
    (r"\boxed{B) 10^-4 eV}", "B"),
    (r"\boxed{\mathrm{B}}", "B"),
    (r"\boxed{\textbf{(B)}}", "B"),
    (r"\boxed{\text{(B) } 10^{-4}\ \text{eV}}", "B"),
    (r"\boxed{\text{B. The photon}}", "B"),
    (r"\boxed{\bf B}", "B"),
    (r"\boxed{B.}", "B"),
    (r"\boxed{[B]}", "B"),
    (r"\boxed{b}", "B"),
    (r"\boxed{\text{Option B}}", "B"),
    (r"\boxed{\text{Answer: B}}", "B"),
    (r"\boxed{\boxed{B}}", "B"),
    (r"\fbox{D}", "D"),
    (r"\boxed{A}, no: \boxed{C}", "C"),
    (r"\boxed{B} since \boxed{10}", "B"),
    (r"\boxed{B}, \boxed{B}", "B"),
    (r"The answer is C. \boxed{B} The answer is C.", "B"),
    (r"The answer is B: \boxed{10\text{ eV}}", "B"),
    # the last phrase that says what the answer is
    ("The answer is (B)", "B"),
    ("The answer is B.", "B"),
    ("Answer: B", "B"),
    ("ANSWER: D", "D"),
    ("answer: b", "B"),
    ("The answer is (b) ten", "B"),
    ("**Answer: B**", "B"),
    ("**Answer:** B", "B"),
    ("final answer: $B$", "B"),
    ("The final answer is:\n\nB", "B"),
    (r"The answer is $\text{B}$.", "B"),
    (r"Answer: $\mathbf{(D)}$", "D"),
    (r"answer is \(B\)", "B"),
    ('Answer: "C"', "C"),
    ("the answer is: **(C)**", "C"),
    ("The correct answer is **B) 10^-4 eV**.", "B"),
    ("Answer: B. 10 eV", "B"),
    ("Answer: B; 3", "B"),
    ("The answer is B, 10 eV.", "B"),
    ("The answer is B - the photon", "B"),
    ("The correct answer is C: 5 m", "C"),
    ("The answer is option C.", "C"),
    ("The correct option is B, which is", "B"),
    ("The best answer is therefore B.", "B"),
    ("The answer must be D!", "D"),
    ("the answer is A because it is", "A"),
    ("The answer is (A). A photon has none.", "A"),
    ("The answer is A. Then again, the answer is C.", "C"),
    ("The answer is not A. The answer is B", "B"),
    ("The answer is B\n\nA is wrong because", "B"),
    ("The answer is B, as A is wrong", "B"),
    ("If the answer is A, x; so the answer is B", "B"),
    ("正确答案是B", "B"),
    ("答案：B", "B"),
    ("答案：（B）", "B"),
    ("答案选B。", "B"),
    ("答案是 C，因为A不对", "C"),
    ("故选：B", "B"),
    # a text that is an option
    ("B", "B"),
    ("A", "A"),
    ("b", "B"),
    ("(B)", "B"),
    ("B.", "B"),
    ("B) text", "B"),
    ("B. 10 eV", "B"),
    ("B: 10 eV", "B"),
    ("**B**", "B"),
    ("$B$", "B"),
    ("'B'", "B"),
    ("Option B", "B"),
    ("Ｂ", "B"),
]
NOT_STATED = [
    "",
    # articles, variables, names
    "I think so",
    "A photon",
    "A photon has no mass",
    "Answer: A photon has no mass",
    "The answer is A photon.",
    "The answer is a photon",
    "the answer is a",  # cut off
    r"\boxed{A photon}",
    "Let A be the matrix and B its inverse.",
    "D = 5",
    "answer is C = 5",
    "The answer is D minus A",
    "The answer is A/m",
    "The answer is A1.",
    "The answer is B.5",
    "The answer is C-14.",
    "The answer is B's",
    "B'",
    "C. elegans",
    "The answer is C. elegans",
    r"\boxed{C. elegans}",
    "The answer is Vitamin C",
    "Vitamin C",
    "DNA",
    "answers",
    # options that are weighed
    "A is wrong",
    "Option B is wrong",
    "选项B是错的",
    "答案B是错误的",
    "A) is wrong. B) is right",
    "A) no\nB) yes",
    "The answer is not B",
    "Is the answer B?",
    "if the answer is B, then",
    "The answer is unclear. A",
    # several
    "A and B",
    r"\boxed{A and B}",
    r"\boxed{A, C}",
    r"\boxed{AC}",
    r"\boxed{A}\boxed{C}",
    r"$\boxed{A}$ and $\boxed{B}$",
    r"Answer with \boxed{A}, \boxed{B}, \boxed{C} or \boxed{D}.",
    "The answer is A or C",
    "The answer is A, B",
    "The answer is both A and B.",
    "The answer is (A) and (B)",
    "Answer: (A) or (C)",
    "Answer: A/B",
    "答案是A或B",
    # none of the four
    "E",
    "The answer is E.",
    r"\boxed{E}",
    r"\boxed{10}",
    r"\boxed{}",
    r"\boxed{B",
    "Answer:",
]


@pytest.mark.parametrize(("text", "letter"), STATED)
def test_a_letter_that_is_stated_is_read(text, letter):
    assert extract_choice(text, 4) == letter


@pytest.mark.parametrize("text", NOT_STATED)
def test_a_stray_capital_is_no_answer(text):
    assert extract_choice(text, 4) is None


def test_only_letters_of_the_options_count():
    assert [extract_choice(r"\boxed{J}", count) for count in (9, 10, 26)] == [None, "J", "J"]
    assert [extract_choice("The answer is C.", count) for count in (2, 3)] == [None, "C"]


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("\\boxed{" * 30_000 + "}" * 30_000, None),
        ("\\boxed{" * 30_000, None),
        ("\\text{" * 30_000, None),
        ("\\boxed{A}" + " " * 100_000 + "\\boxed{", "A"),
        ("final " * 30_000, None),
        ("if the correct answer is " * 10_000, None),
        ("答案" + " " * 100_000, None),
        ("answer is " + "(" * 100_000, None),
        ("answer: " + "therefore " * 20_000, None),
        ("answer is A" + " and" * 30_000, "A"),
    ],
)
def test_a_hostile_text_is_read_in_one_pass(text, letter):
    assert extract_choice(text, 4) == letter  # were the time quadratic in the length, it would be minutes


def test_a_gold_answer_is_a_letter_and_nothing_else():
    assert [read_letter(gold, 4) for gold in ("B", " b ", "(B)", "B.", "$B$")] == ["B"] * 5
    assert [read_letter(gold, 4) for gold in ("E", "10 eV", "", "AB", "1", "é")] == [None] * 6
