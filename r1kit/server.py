"""An OpenAI-compatible server: its address, the key to it, and what its refusals and its silence mean.

The key is OPENAI_API_KEY in the environment, and is told to the server alone.
"""

import json
import os
import random
import re
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from r1kit.errors import UsageError, UserError

LONGEST_WAIT = 300.0  # seconds that the server may ask to wait
_LONGEST_REFUSAL = 10_000  # bytes that are read of what a server says about an error
_TOO_LONG = re.compile(r"context.{0,8}(?:length|size|window)|maximum model length|too long", re.IGNORECASE)


@dataclass(frozen=True)
class Flags:
    """How the command line names a server's settings, for error lines."""

    url: str
    model: str
    set_url: str
    set_model: str
    timeout: str = ""


class InPassing(Exception):
    """A failure that may pass; `wait` is how many seconds the server asks for, `busy` whether load is the reason."""

    def __init__(self, what: str, wait: float = 0.0, busy: bool = False):
        super().__init__(what)
        self.wait, self.busy = wait, busy


class TooLong(Exception):
    """The text is longer than the server's model reads; says what the server says."""


class Server:
    """A server and how it is asked; one object serves any number of threads."""

    def __init__(self, name: str, url: str, flags: Flags, *, retries: int, backoff: float, timeout: float):
        """Check the address and read the key; `name` is what error lines call the server.

        A request that fails in passing (408, 429, 5xx, no answer in `timeout` seconds, a lost connection) is sent again
        up to `retries` times, after `backoff` seconds, then twice as many each time and up to half of that more by
        chance, and never before the server's Retry-After.

        Raises:
            UserError: the address or the key cannot be used.
        """
        self.name, self.url, self.flags = name, _checked_url(url, flags), flags
        self.retries, self.backoff, self.timeout = retries, backoff, timeout
        self._key = _read_key()
        self._opener = build_opener(_NoRedirects, ProxyHandler({}))  # no proxy of the environment sees the key
        self._answered = False  # a server that never answered is not there; one that did may come back

    @property
    def headers(self) -> dict[str, str]:
        """What is sent with every request; holds the key."""
        key = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        return {"Content-Type": "application/json", "User-Agent": "r1kit", **key}

    def only_model(self) -> str:
        """Return the name of the one model that the server has.

        Raises:
            UserError: it has none or several, or cannot be used.
        """
        try:
            names = [entry["id"] for entry in self.send("/models")["data"]]
        except (KeyError, TypeError):
            raise self.error("its /models is no list of models", "name an OpenAI-compatible server") from None
        if len(names) != 1:
            what = f"serves {len(names)} models" + (f" ({self.excerpt(', '.join(names))})" if names else "")
            raise self.error(what, f"say which: {self.flags.set_model}")
        return names[0]

    def send(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Return the server's reply as JSON: to a GET without a body, else to a POST. What may pass is tried again.

        Raises:
            TooLong: the text does not fit the model.
            UserError: the server cannot be used.
        """
        attempt = 0
        while True:
            try:
                return self._exchange(path, body)
            except InPassing as trouble:
                time.sleep(self.pause(trouble, attempt))
            attempt += 1

    def _exchange(self, path: str, body: dict[str, Any] | None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        try:
            with self._opener.open(Request(self.url + path, data, self.headers), timeout=self.timeout) as response:
                text = response.read()
        except HTTPError as error:
            with error:
                raise self.refusal(error.code, error.headers.get("Retry-After"), _rest_of(error)) from None
        except (OSError, HTTPException) as error:
            raise self.silence(getattr(error, "reason", error)) from None
        return self.parse(text)

    def pause(self, trouble: InPassing, attempt: int) -> float:
        """Return how many seconds to wait after the failure of an attempt, the first being 0.

        Raises:
            UserError: it was the last one.
        """
        if attempt >= self.retries:
            times = f"{attempt + 1} times in a row" if attempt else "once"
            raise self.error(f"{trouble}, {times}", "see to the server, then run again") from None
        wait = self.backoff * 2**attempt
        return max(wait, trouble.wait) + random.uniform(0, wait / 2)  # chance keeps many from coming back at once

    def parse(self, text: bytes) -> Any:
        """Return a reply as JSON."""
        self._answered = True
        try:
            return json.loads(text)
        except ValueError:
            raise self.error("its reply is no JSON", "name an OpenAI-compatible server") from None

    def refusal(self, status: int, retry_after: str | None, body: bytes, remedy: str | None = None) -> Exception:
        """Return what a status that is no success means, with a remedy where the caller knows one.

        The body of 401 and 403 may name the key, so is not shown.
        """
        self._answered = True
        message = message_of(body)
        said = self.excerpt(message)
        if status == 413 or (status in (400, 500) and _TOO_LONG.search(message)):  # 500: llama.cpp
            return TooLong(said or f"the server answers {status}")
        if status in (408, 429) or status >= 500:
            wait = _seconds_of(retry_after)
            if wait > LONGEST_WAIT:
                return self.error(f"answers {status} and asks to wait {wait:.0f} s", "come back then")
            return InPassing(f"answers {status}{said and f' ({said})'}", wait, busy=status in (429, 503))
        if status in (401, 403):
            return self.error(f"refuses the key ({status})", "set OPENAI_API_KEY to one that it takes")
        check = f"check {self.flags.url} (it usually ends in /v1) and {self.flags.model}"
        return self.error(f"answers {status}{said and f' ({said})'}", remedy or check)

    def silence(self, reason: object) -> Exception:
        """Return what it means that no answer came, for this reason."""
        if isinstance(reason, TimeoutError):
            setting = f" ({self.flags.timeout})" if self.flags.timeout else ""
            return InPassing(f"gives no answer within {self.timeout:g} s{setting}")
        if isinstance(reason, HTTPException | ConnectionError) and not isinstance(reason, ConnectionRefusedError):
            return InPassing("breaks the connection off")
        why = "connection refused" if isinstance(reason, ConnectionRefusedError) else self.excerpt(str(reason))
        if self._answered:
            return InPassing(f"cannot be reached any more ({why})")
        return self.error(f"cannot be reached ({why})", f"start the server, or say {self.flags.set_url}")

    def error(self, what: str, remedy: str) -> UserError:
        """Return the one line that ends a run."""
        return UserError(f"{self.name} {self.url}", what, remedy)

    def excerpt(self, text: str) -> str:
        """Return the beginning of a text, in one line."""
        line = self.line(text)
        return line if len(line) <= 200 else line[:200] + "…"

    def line(self, text: str) -> str:
        """Return a text in one line, without the key."""
        return " ".join((text.replace(self._key, "[key]") if self._key else text).split())


class _NoRedirects(HTTPRedirectHandler):
    """Leaves 3xx as it is: the key goes to the server that was named, and to no other."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _checked_url(url: str, flags: Flags) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets without an address, a port past 65535
        raise UsageError(flags.url, f'"{url.rpartition("@")[2]}" is no address', "say http://HOST:PORT/v1") from None
    if "@" in parts.netloc:
        raise UsageError(flags.url, "holds a password", "set OPENAI_API_KEY instead")
    if not usable:
        raise UsageError(flags.url, f'"{url}" is no address', "say http://HOST:PORT/v1")
    return url.rstrip("/")


def _read_key() -> str:
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    if not (key.isascii() and key.isprintable()):
        raise UserError("OPENAI_API_KEY", "holds characters that no key has", "set it anew")
    return key


def _rest_of(error: HTTPError) -> bytes:
    """Return what the server says about an error, nothing where even that does not come."""
    try:
        return error.read(_LONGEST_REFUSAL)
    except (OSError, HTTPException):
        return b""


def message_of(body: bytes) -> str:
    """Return the message in what a server says about an error, all of it where it has another form."""
    text = body[:_LONGEST_REFUSAL].decode("utf-8", "replace")
    try:
        fields = json.loads(text)
        return str(fields.get("error", fields)["message"])  # SGLang writes it without "error" around it
    except (ValueError, KeyError, TypeError, AttributeError):
        return text


def _seconds_of(retry_after: str | None) -> float:
    """Return the seconds of a Retry-After header: a number, or a date; 0 where it says nothing that can be read."""
    if retry_after is None:
        return 0.0
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return 0.0
