import pytest

from r1kit.outputs import equal_outputs, equal_values, shown


@pytest.mark.parametrize(
    ("printed", "wanted", "equal"),
    [
        ("1 2 3\n", "1 2 3", True),
        ("1 2 3  \n4\n\n", "1 2 3\n4", True),
        ("1.0", "1", True),
        ("1e2", "100.00", True),
        ("0.1", "0.10000001", False),
        ("1 2", "1  2", True),
        ("1\n2", "1 2", False),
        ("nan", "nan", True),
        ("yes", "YES", False),
        ("", "", True),
        ("1", "", False),
    ],
)
def test_outputs_are_equal_but_for_blanks_and_the_writing_of_numbers(printed, wanted, equal):
    assert equal_outputs(printed, wanted) is equal


@pytest.mark.parametrize(
    ("value", "wanted", "equal"),
    [
        ((1, (2,)), [1, [2]], True),
        (0.1 + 0.2, 0.3, True),
        (0.31, 0.3, False),
        ({1: 2}, {"1": 2}, True),
        ({1: 2}, {"1": 3}, False),
        ([1], [1, 2], False),
        (None, 0, False),
        ("1", 1, False),
    ],
)
def test_values_are_equal_as_json_knows_them(value, wanted, equal):
    assert equal_values(value, wanted) is equal


def test_what_is_shown_is_short():
    assert shown([1, "a"]) == "[1, 'a']"
    assert len(shown("x" * 10**6)) < 250
    assert shown(10**5000) == "a value of type int"
