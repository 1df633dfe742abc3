"""Search on trees written by hand, on the world of test_search_theory, and with real models."""

import json
import threading

import pytest
from test_reward_process import process_model
from test_search_theory import Perfect, World, problem, search

from r1kit.candidates import SearchSummary, found_rollouts
from r1kit.data import read_problems
from r1kit.engines import Completion, Request, Sampling
from r1kit.engines.transformers import TransformersEngine
from r1kit.errors import Ungradable, UsageError, UserError
from r1kit.jsonl import Record, to_line
from r1kit.prompts import R1_ZERO_PREAMBLE
from r1kit.rewards.process import ProcessRewardModel
from r1kit.search import cut_steps, search_problems
from r1kit.search_methods import SearchPlan

METHODS = ["best-of-n", "beam", "dvts", "lookahead", "self-consistency"]


class Script:
    """An engine that says at each place of the tree what is written there, a character a token, then ends.

    greedy: what it says there at temperature 0.
    """

    window = None

    def __init__(self, said, greedy=None):
        self.said, self.greedy = said, greedy or {}
        self.asked: list[str] = []

    def complete(self, requests, sampling):
        """Yield what is written, up to a stop text."""
        for request in requests:
            place = request.key.partition("/")[2]
            self.asked.append(place)
            text = self.said[place] if sampling.temperature else self.greedy[place]
            if text == "ERROR":
                yield request, Completion("", "error", [], [], 1, 0, error="the server died")
                continue
            ends = [text.index(stop) + len(stop) for stop in sampling.stop if stop in text]
            ids = [ord(c) for c in text[: min(ends)]] if ends else [*map(ord, text), 0]
            yield request, Completion(text, "stop", ids, [-1.0] * len(ids), 1, len(ids))

    def decode(self, ids, skip_special_tokens):
        """Return the text of token ids; 0 is the end token."""
        return "".join(chr(token) for token in ids if token)


class Marks:
    """A process reward model that reads a step's score off its end, as in "a5"; "?" cannot be scored."""

    def many_step_scores(self, solutions):
        """Return the scores of each (prompt, steps)."""
        return [
            Ungradable("unreadable") if "?" in "".join(steps) else [int(step.rstrip("#")[-1]) / 10 for step in steps]
            for _, steps in solutions
        ]

    def count_tokens(self, prompt, steps):
        """Return a token for each character of the steps."""
        return sum(map(len, steps))


def script(method, n, said, greedy=None, summary=None, stop=(), prompt="q", prefill="", **plan):
    """Return what is found for one problem, and the places that were asked for."""
    engine = Script(said, greedy)
    plan = SearchPlan(method, n, **{"width": 2, "separator": "|", **plan})
    rows = [(Record({"id": "p", "prompt": prompt}, "f:1"), [1])]
    summary = summary or SearchSummary()
    [found] = search_problems(rows, engine, engine, Sampling(stop=stop), plan, Marks(), summary, prefill)
    return found, engine.asked


def texts(found):
    return [candidate.text for candidate in found.candidates]


# trees by hand


def test_a_finished_candidate_competes_for_the_places():
    said = {"0": "a6", "1": "b7|", "1.0": "c5", "1.1": "d4|"}
    found, asked = script("beam", 2, said)
    assert asked == ["0", "1", "1.0", "1.1"]
    assert texts(found) == ["a6", "b7|c5"]
    assert [candidate.score for candidate in found.candidates] == [0.6, 0.5]


def test_a_finished_candidate_keeps_its_place_until_better_ones_take_it():
    said = {"0": "a6", "1": "b5|", "2": "c1|", "3": "d1|", "1.0": "e4|", "1.1": "f3|"}
    _, asked = script("beam", 4, said | {"1.0.0": "g7", "1.0.1": "h8|", "1.0.1.0": "i2", "1.0.1.1": "j2"})
    assert asked[4:] == ["1.0", "1.1", "1.0.0", "1.0.1", "1.0.1.0", "1.0.1.1"]


def test_a_search_ends_where_nothing_unfinished_is_kept():
    found, asked = script("beam", 2, {"0": "a6", "1": "b5|"})
    assert (texts(found), asked) == (["a6"], ["0", "1"])


def test_of_equal_scores_the_first_in_the_tree_is_kept():
    said = {"0": "a3|", "1": "b5|", "2": "c5|", "3": "d5|"}
    said |= {f"{parent}.{child}": f"{child}" for parent in "123" for child in "12345"}
    _, asked = script("beam", 4, said | {"1.0": "0", "2.0": "0"})
    assert asked == ["0", "1", "2", "3", "1.0", "1.1", "2.0", "2.1"]


def test_dvts_finds_the_best_of_each_subtree():
    said = {"0": "a6", "1": "b7|", "2": "c9", "3": "d8", "1.0": "e5", "1.1": "f4"}
    found, asked = script("dvts", 4, said)
    assert asked == ["0", "1", "2", "3", "1.0", "1.1"]
    assert texts(found) == ["c9", "a6"]


def test_lookahead_scores_a_step_by_what_follows_and_forgets_that():
    said = {"0": "a9|", "1": "b1|", "1.0": "c3", "1.1": "d4"}
    found, asked = script("lookahead", 2, said, greedy={"0": "x1|", "1": "y2|"})
    assert asked == ["0", "1", "0", "1", "1.0", "1.1"]
    assert texts(found) == ["b1|d4", "b1|c3"]
    assert [c.step_scores for c in found.candidates] == [[0.1, 0.4], [0.1, 0.3]]
    assert found.generated_tokens == 6 * 3  # a bar or the end token is one
    assert found.prm_tokens == 4 * 4


def test_an_end_right_after_a_separator_ends_the_completion():
    found, _ = script("beam", 1, {"0": "a5|", "0.0": ""}, width=1)
    [candidate] = found.candidates
    assert (candidate.text, candidate.finish_reason, candidate.token_ids[-1]) == ("a5|", "stop", 0)


def test_another_stop_text_ends_the_completion():
    found, asked = script("beam", 1, {"0": "a5#b5|"}, stop=("#",), width=1, aggregate="min")
    assert (texts(found), asked) == (["a5#"], ["0"])


def test_the_prefill_is_the_beginning_of_the_completion_and_of_its_steps():
    found, _ = script("beam", 1, {"0": "a5|", "0.0": "b6"}, width=1, prefill="<think>c1|")
    [candidate] = found.candidates
    assert (candidate.text, candidate.step_scores) == ("<think>c1|a5|b6", [0.1, 0.5, 0.6])
    assert found.generated_tokens == candidate.completion_tokens == 6


def test_what_cannot_be_scored_ranks_last_and_is_said():
    summary = SearchSummary()
    found, _ = script("best-of-n", 3, {"0": "?", "1": "b0", "2": "c3"}, summary=summary)
    assert texts(found) == ["c3", "b0", "?"]
    assert found.candidates[-1].score is None
    assert summary.lines() == [
        "1 problems searched: 8 tokens generated, 4 read by the process reward model",
        "  1 candidates not scored, so ranked last: unreadable (first: f:1)",
    ]


def test_what_ended_in_an_error_ranks_last_and_says_why():
    found, _ = script("beam", 4, {"0": "ERROR", "1": "b1|", "2": "c2|", "3": "ERROR"} | {
        "1.0": "ERROR", "1.1": "1", "2.0": "0", "2.1": "0"})  # fmt: skip
    assert texts(found) == ["b1|1", "c2|0", "c2|0", ""]
    records = list(found_rollouts(found, "beam", 4, with_logprobs=True))
    assert [(r["finish_reason"], r.get("error")) for r in records[2:]] == [
        ("stop", None),
        ("error", "the server died"),
    ]


def test_a_conversation_cannot_be_scored():
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}]
    summary = SearchSummary()
    found, _ = script("best-of-n", 1, {"0": "a5"}, prompt=turns, summary=summary)
    assert (found.candidates[0].score, found.prm_tokens) == (None, 0)
    assert "a prompt of 2 messages" in summary.lines()[1]


def test_steps_are_stripped_and_empty_ones_are_none():
    assert cut_steps("\n\n a \n\n\n\nb\nc\n\n", "\n\n") == ["a", "b\nc"]
    assert cut_steps("<think>\na\n</think>\nb", "\n") == ["a", "</think>", "b"]
    assert cut_steps("<think>\n\n", "\n\n") == []


# self-consistency


def answers(*numbers):
    return {str(i): f"The answer is {number}." if number else "Hm." for i, number in enumerate(numbers)}


@pytest.mark.parametrize(
    ("numbers", "drawn"),
    [
        ([1, 2, 3, 3, 9, 9, 9, 9], 4),  # the second window agrees
        ([1, "1.0", 9, 9, 9, 9, 9, 9], 2),  # an equal answer agrees
        ([1, 2, 1, 2, 1, 3, 9, 9], 8),
        ([0, 0, 1, 2, 1, 3, 1, 2], 8),  # no answer is none to agree on
        ([1, 2, 3, 1, 1, 4, 1, 9], 6),  # 3 of 6, and of the 2 left none can win against what was seen first
    ],
)
def test_self_consistency_stops_once_a_window_agrees_or_the_vote_is_decided(numbers, drawn):
    found, asked = script("self-consistency", 8, answers(*numbers))
    assert asked == [str(i) for i in range(drawn)]
    assert len(found.candidates) == drawn
    assert found.generated_tokens == sum(len(candidate.token_ids) for candidate in found.candidates)
    assert found.prm_tokens == 0


def test_the_score_of_self_consistency_is_the_share_of_the_votes():
    found, _ = script("self-consistency", 5, answers(1, 2, 2, None, "2.0"), width=5)
    assert [c.position for c in found.candidates] == [(1,), (2,), (4,), (0,), (3,)]
    assert [c.score for c in found.candidates] == [0.75, 0.75, 0.75, 0.25, 0.0]


def test_nobody_says_an_answer():
    found, _ = script("self-consistency", 3, answers(None, None, None))
    assert [c.score for c in found.candidates] == [0.0, 0.0, 0.0]


# rounds


def test_a_round_of_all_problems_is_one_call():
    world, scorer = World(), Perfect()
    search("beam", 4, scorer, world, [problem(i, steps=3) for i in range(5)], width=2)
    assert [len(call) for call in world.calls] == [20, 20, 20]
    assert scorer.calls == [20, 20, 20]


def test_where_a_search_is_done_the_next_problem_enters():
    world = World()
    found = search("beam", 2, Perfect(), world, [problem(i, steps) for i, steps in enumerate([3, 1, 2])],
                   width=2, batch=2)  # fmt: skip
    assert [sorted({key[0] for key in call}) for call in world.calls] == [["0", "1"], ["0", "2"], ["0", "2"]]
    assert [one.problem["id"] for one in found] == ["0", "1", "2"]


def test_keys_are_places_in_the_tree():
    world = World()
    search("dvts", 4, Perfect(), world, [(Record({"id": "a/b", "prompt": "q"}, "f:1"), [2])], width=2)
    first, second = world.calls
    assert first == ["a/b/0", "a/b/1", "a/b/2", "a/b/3"]
    assert {key[:-2] for key in second} <= set(first)
    assert [key[-2:] for key in second] == [".0", ".1", ".0", ".1"]


def test_no_steps_ahead_are_beam():
    rows = [problem(i) for i in range(50)]
    assert search("lookahead", 4, Perfect(), problems=rows, lookahead=0) == search("beam", 4, Perfect(), problems=rows)


@pytest.mark.parametrize("method", ["beam", "dvts"])
def test_one_step_that_runs_to_the_end_is_best_of_n(method):
    rows = [problem(i) for i in range(50)]
    whole = search("best-of-n", 4, Perfect(), problems=rows)
    tree = search(method, 4, Perfect(), problems=rows, max_steps=1, width=1)
    assert tree == whole


def test_the_last_step_runs_to_the_end():
    found = search("beam", 4, Perfect(), problems=[problem(0, steps=5)], max_steps=3)
    assert all(len(c.position) == 3 and c.text.count("\n\n") == 4 for c in found[0].candidates)


@pytest.mark.parametrize(("window", "most"), [(None, 5), (6, 64)])
def test_tokens_are_those_of_the_whole_completion(window, most):
    [found] = search("beam", 4, Perfect(), World(window=window), [problem(0)], Sampling(max_tokens=most))
    assert {(c.finish_reason, c.completion_tokens) for c in found.candidates} == {("length", 5)}


def test_a_separator_at_the_very_end_of_the_room_ends_the_completion():
    [found] = search("beam", 4, Perfect(), World(window=5), [problem(0)])
    assert {(c.finish_reason, c.completion_tokens) for c in found.candidates} == {("length", 4)}


def test_a_prompt_that_fills_the_window_is_an_error_of_its_own():
    rows = [problem(0), (Record({"id": "x", "prompt": "q"}, "f:2"), [5] * 8), problem(2)]
    found = search("beam", 4, Perfect(), World(window=8), rows)
    assert {c.finish_reason for c in found[1].candidates} == {"error"}
    assert found[1].candidates[0].error == "8 prompt tokens fill the model's window of 8"
    assert found[::2] == search("beam", 4, Perfect(), World(window=8), rows[::2])


def test_a_result_leaves_while_the_next_problem_is_awaited():
    gate = threading.Event()

    def stream():
        yield problem(0)
        gate.wait()
        yield problem(1)

    world, plan = World(), SearchPlan("beam", 4)
    found = search_problems(stream(), world, world, Sampling(), plan, Perfect(), SearchSummary())
    assert next(found).problem["id"] == "0"
    gate.set()
    assert [one.problem["id"] for one in found] == ["1"]


def test_what_reading_raises_comes_after_what_was_read():
    def stream():
        yield problem(0)
        yield problem(1)
        raise UserError("f:3", "not JSON")

    world, plan = World(), SearchPlan("dvts", 4)
    found = search_problems(stream(), world, world, Sampling(), plan, Perfect(), SearchSummary())
    assert [next(found).problem["id"] for _ in range(2)] == ["0", "1"]
    with pytest.raises(UserError, match="f:3: not JSON"):
        next(found)


def test_no_problems_find_nothing():
    world = World()
    plan, summary = SearchPlan("beam", 4), SearchSummary()
    assert list(search_problems([], world, world, Sampling(), plan, Perfect(), summary)) == []
    assert summary.lines() == ["0 problems searched: 0 tokens generated"]


# what is refused


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"method": "mcts", "n": 4}, '--search: "mcts" is none; say best-of-n, beam, dvts, lookahead, self-consi'),
        ({"method": "beam", "n": 0}, "--search: n 0 is too few; say 1 or more"),
        ({"method": "beam", "n": 6}, "--search: beam of 6 candidates cannot keep one in 4; say a multiple of 4"),
        ({"method": "self-consistency", "n": 6, "width": 1}, "a window of one sample always agrees"),
        ({"method": "lookahead", "n": 4, "lookahead": -1}, "lookahead -1 is too few; say 0 or more"),
        ({"method": "beam", "n": 4, "separator": ""}, "an empty separator ends no step"),
        ({"method": "beam", "n": 4, "aggregate": "max"}, '"max" is none; say min, last, prod, mean'),
    ],
)
def test_a_plan_that_cannot_be_is_refused(plan, message):
    with pytest.raises(UsageError) as caught:
        SearchPlan(**plan)
    assert message in str(caught.value)


@pytest.mark.parametrize("method", ["dvts", "lookahead"])
def test_a_method_that_needs_a_scorer_says_so(method):
    with pytest.raises(UsageError, match=f"--search: {method} needs a process reward model; say --prm DIR"):
        search(method, 4, None, problems=[problem(0)])


# real models


@pytest.fixture(scope="module")
def real(tmp_path_factory, tiny_model):
    """Return the embedded base as an engine, its tokenizer, and a random process reward model."""
    from r1kit.model import load_model

    folder = tmp_path_factory.mktemp("process")
    process_model(tiny_model, folder)
    model, tokenizer = load_model("base")
    return TransformersEngine(model, tokenizer, batch_size=32), tokenizer, ProcessRewardModel(str(folder))


@pytest.fixture(scope="module")
def rows(real):
    """Return problems, some of which take several steps, with the token ids of their prompts."""
    texts = [(row, f"{R1_ZERO_PREAMBLE} User: {row['prompt']} Assistant:") for row in read_problems("arith", "test")]
    return [(row, real[1](text)["input_ids"]) for row, text in texts[:6]]


def found_by(real, rows, method, n=4, scored=True, **plan):
    engine, tokenizer, scorer = real
    plan = SearchPlan(method, n, **{"width": 2, "separator": "\n", **plan})
    sampling = Sampling(max_tokens=60)
    return list(search_problems(rows, engine, tokenizer, sampling, plan, scorer if scored else None, SearchSummary()))


@pytest.mark.parametrize("method", METHODS)
def test_neither_batch_nor_order_nor_company_changes_what_is_found(real, rows, method):
    together = found_by(real, rows, method)
    assert found_by(real, rows, method, batch=1) == together
    assert found_by(real, rows[::-1], method, batch=4) == together[::-1]
    assert found_by(real, rows[2:3], method) == together[2:3]


@pytest.mark.parametrize("method", ["best-of-n", "self-consistency"])
def test_whole_completions_are_those_of_a_rollout_without_search(real, rows, method):
    engine, _, _ = real
    requests = [Request(f"{row['id']}/{sample}", prompt) for row, prompt in rows for sample in range(4)]
    drawn = {request.key: done for request, done in engine.complete(requests, Sampling(max_tokens=60))}
    for found in found_by(real, rows, method):
        for candidate in found.candidates:
            plain = drawn[f"{found.problem['id']}/{candidate.position[0]}"]
            assert (candidate.text, candidate.token_ids) == (plain.text, plain.token_ids)


def test_log_probabilities_of_a_path_are_those_of_one_forward_pass(real, rows):
    import torch

    engine, tokenizer, _ = real
    found = found_by(real, rows, "beam")
    assert max(len(candidate.position) for one in found for candidate in one.candidates) > 2
    for one, (_, prompt) in zip(found, rows, strict=True):
        candidate = one.candidates[0]
        ids = torch.tensor([prompt + candidate.token_ids])
        with torch.no_grad():
            logprobs = engine.model(ids).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
        expected = logprobs.gather(1, ids[0, len(prompt) :, None])[:, 0].tolist()
        assert candidate.logprobs == pytest.approx(expected, abs=1e-4)
        assert candidate.text == tokenizer.decode(candidate.token_ids, skip_special_tokens=True)


def test_scores_are_those_of_the_model_on_the_whole_completion(real, rows):
    *_, scorer = real
    for method in ("best-of-n", "beam", "dvts", "lookahead"):
        for one in found_by(real, rows, method):
            for candidate in one.candidates:
                steps = cut_steps(candidate.text, "\n")
                expected = scorer.step_scores(one.problem["prompt"], steps)
                assert candidate.step_scores == pytest.approx(expected, abs=1e-5)
                assert candidate.score == candidate.step_scores[-1]


def test_the_scorers_tokens_are_those_that_it_encodes(real, rows):
    *_, scorer = real
    for one in found_by(real, rows, "best-of-n"):
        solutions = [(one.problem["prompt"], cut_steps(candidate.text, "\n")) for candidate in one.candidates]
        assert one.prm_tokens == sum(len(scorer.encode(*solution)[0]) for solution in solutions)


def test_what_was_found_is_rollouts(real, rows):
    for method in METHODS:
        for one in found_by(real, rows, method):
            records = [json.loads(to_line(record)) for record in found_rollouts(one, method, 4, with_logprobs=True)]
            assert [record["sample"] for record in records] == list(range(len(one.candidates)))
            assert [record["score"] for record in records] == sorted((r["score"] for r in records), reverse=True)
            for record in records:
                assert record.items() >= one.problem.items()
                assert (record["search"], record["budget"]) == (method, 4)
                assert record["completion_tokens"] == len(record["logprobs"]) <= record["generated_tokens"]
                assert ("step_scores" in record) == (record["prm_tokens"] > 0) == (method != "self-consistency")


def test_without_a_scorer_beam_ranks_by_mean_log_probability(real, rows):
    for one in found_by(real, rows, "beam", scored=False):
        scores = [sum(candidate.logprobs) / len(candidate.logprobs) for candidate in one.candidates]
        assert scores == sorted(scores, reverse=True)
        assert [candidate.score for candidate in one.candidates] == pytest.approx(scores, abs=1e-6)


def test_what_is_too_long_for_the_scorer_is_said(real, rows):
    engine, tokenizer, scorer = real
    problem, prompt = rows[0]
    long = problem.derive(prompt="Say it again. " * 100)
    summary = SearchSummary()
    plan = SearchPlan("beam", 4, width=2, separator="\n")
    [found] = search_problems([(long, prompt)], engine, tokenizer, Sampling(max_tokens=60), plan, scorer, summary)
    assert {candidate.score for candidate in found.candidates} == {None}
    assert "candidates not scored, so ranked last: longer than the 256 tokens" in summary.lines()[1]
