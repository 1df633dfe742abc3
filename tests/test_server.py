"""What an OpenAI-compatible server's address, refusals and silence mean; how it is asked: test_reward_judge.py."""

import pytest

from r1kit.errors import UsageError, UserError
from r1kit.server import Flags, InPassing, Server, TooLong, message_of

FLAGS = Flags(url="--url", model="--model", set_url="--url URL", set_model="--model NAME")


def server_of(url="http://127.0.0.1:9/v1", retries=5, backoff=1.0):
    return Server("server", url, FLAGS, retries=retries, backoff=backoff, timeout=60)


@pytest.mark.parametrize(
    "url",
    ["", "localhost:8000/v1", "ftp://host/v1", "http://", "http://[half/v1", "http://host:70000/v1", "http://host:0"],
)
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(UsageError, match=r'^--url: ".*" is no address; say http://HOST:PORT/v1$'):
        server_of(url)


@pytest.mark.parametrize("url", ["http://me:hunter2@host/v1", "http://me:hunter2@host:70000/v1"])
def test_a_password_in_an_address_is_never_told(url):
    with pytest.raises(UsageError) as caught:
        server_of(url)
    assert "hunter2" not in str(caught.value)


def test_a_last_slash_of_an_address_is_dropped():
    assert server_of("https://host/v1/").url == "https://host/v1"


def test_waits_double_and_chance_adds_up_to_half():
    waits = [[server_of().pause(InPassing("fails"), attempt) for _ in range(200)] for attempt in range(4)]
    for attempt, values in enumerate(waits):
        assert 2**attempt <= min(values) < 1.1 * 2**attempt
        assert 1.4 * 2**attempt < max(values) <= 1.5 * 2**attempt


def test_a_wait_is_never_shorter_than_the_server_asks():
    assert all(20 <= server_of().pause(InPassing("fails", wait=20), 0) <= 20.5 for _ in range(100))


@pytest.mark.parametrize(("retries", "times"), [(0, "once"), (2, "3 times in a row")])
def test_the_last_attempt_ends_the_run(retries, times):
    with pytest.raises(UserError, match=f"^server http://127.0.0.1:9/v1: fails, {times}; see to the server"):
        server_of(retries=retries).pause(InPassing("fails"), retries)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, b'{"error": {"message": "maximum context length is 8 tokens"}}', TooLong),
        (400, b'{"error": {"message": "The prompt is longer than the maximum model length of 8"}}', TooLong),
        (500, b'{"error": {"message": "Context size has been exceeded."}}', TooLong),
        (413, b"", TooLong),
        (429, b"your context window of requests", InPassing),
        (408, b"", InPassing),
        (500, b"", InPassing),
        (529, b"", InPassing),
        (400, b"", UserError),
        (404, b"", UserError),
        (422, b"", UserError),
        (204, b"", UserError),
    ],
)
def test_a_status_means_what_can_be_done_about_it(status, body, kind):
    assert type(server_of().refusal(status, None, body)) is kind


@pytest.mark.parametrize(("status", "busy"), [(429, True), (503, True), (500, False), (502, False)])
def test_load_is_told_from_failure(status, busy):
    refusal = server_of().refusal(status, "2", b"")
    assert (refusal.busy, refusal.wait) == (busy, 2.0)


@pytest.mark.parametrize("header", [None, "", "soon", "-3", "Wed, 21 Oct 2015 07:28:00 GMT", "nan"])
def test_a_retry_after_that_says_nothing_of_the_future_is_no_wait(header):
    assert server_of().refusal(503, header, b"").wait == 0


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error": {"message": "no"}}', "no"),
        (b'{"object": "error", "message": "no"}', "no"),  # SGLang
        (b'{"error": "no"}', '{"error": "no"}'),
        (b"<html>", "<html>"),
        (b"[1]", "[1]"),
        (b"\xff", "\ufffd"),
        (b"", ""),
    ],
)
def test_the_message_of_an_error_is_found(body, message):
    assert message_of(body) == message


def test_a_server_that_once_answered_may_come_back():
    server = server_of()
    assert type(server.silence(ConnectionRefusedError())) is UserError
    server.parse(b"{}")
    assert type(server.silence(ConnectionRefusedError())) is InPassing
    assert type(server_of().silence(ConnectionResetError())) is InPassing
    assert type(server_of().silence(TimeoutError())) is InPassing


def test_an_excerpt_is_one_line_of_200_characters_without_the_key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    server = server_of()
    assert server.excerpt("a\n b\tsk-secret") == "a b [key]"
    assert server.excerpt("x" * 197 + "sk-secret") == "x" * 197 + "[ke…"
    assert server.headers["Authorization"] == "Bearer sk-secret"
