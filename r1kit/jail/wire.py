"""Values as messages between a program nobody trusts and those who judge it: plain JSON, never pickle.

What has no plain form (a function, a generator, an object) stays where it is and goes as a reference to it, so that
nothing of the program's making, its `==` least of all, ever runs on the other side.
"""

import json
import socket
import struct
from collections.abc import Callable
from typing import Any

MAX_MESSAGE = 16 << 20  # bytes
_COLLECTIONS: dict[str, Any] = {"tuple": tuple, "set": set, "frozenset": frozenset}
_LENGTH = struct.Struct("!I")


class Gone(Exception):
    """The other side ended, hung up, or sends what is no message."""

    def __init__(self, what: str = "the program ended or hung up"):
        super().__init__(what)


class Late(Gone):
    """The other side does not answer in time."""


def encode(value: Any, refer: Callable[[Any], Any]) -> Any:
    """Return a value as JSON that `decode` reads; `refer` gives the JSON of what has no plain form.

    Lists, strings, booleans, None and floats are themselves; everything else is {tag: content}. A subclass of a plain
    type goes as the plain type.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        number = int.__int__(value)
        return number if -(1 << 63) <= number < 1 << 63 else {"int": hex(number)}
    if isinstance(value, float):
        real = float.__float__(value)
        return real if real - real == 0 else {"float": float.__repr__(real)}
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, list):
        return [encode(item, refer) for item in list.__iter__(value)]
    for tag, kind in _COLLECTIONS.items():
        if isinstance(value, kind):
            return {tag: [encode(item, refer) for item in kind.__iter__(value)]}
    if isinstance(value, dict):
        return {"dict": [[encode(key, refer), encode(item, refer)] for key, item in dict.items(value)]}
    if isinstance(value, bytes | bytearray):
        return {"bytes": bytes(value).hex()}
    if isinstance(value, complex):
        return {"complex": [encode(value.real, refer), encode(value.imag, refer)]}
    return refer(value)


def decode(message: Any, resolve: Callable[[Any], Any]) -> Any:
    """Return the value of a message; `resolve` gives the value of a reference.

    Raises:
        ValueError: the message is none that `encode` makes.
    """
    if isinstance(message, list):
        return [decode(item, resolve) for item in message]
    if not isinstance(message, dict):
        return message
    if len(message) != 1:
        raise ValueError("not a value")
    [(tag, content)] = message.items()
    if tag in _PLAIN:
        try:
            return _PLAIN[tag](content, resolve)
        except (TypeError, AttributeError) as error:
            raise ValueError(f"not a value ({error})") from None
    return resolve(message)


def _pairs(content: Any, resolve: Callable[[Any], Any]) -> dict[Any, Any]:
    return {decode(key, resolve): decode(item, resolve) for key, item in content}


_PLAIN: dict[str, Callable[[Any, Callable[[Any], Any]], Any]] = {
    "int": lambda content, _: int(content, 16),
    "float": lambda content, _: float(content),
    "tuple": lambda content, resolve: tuple(decode(content, resolve)),
    "set": lambda content, resolve: set(decode(content, resolve)),
    "frozenset": lambda content, resolve: frozenset(decode(content, resolve)),
    "dict": _pairs,
    "bytes": lambda content, _: bytes.fromhex(content),
    "complex": lambda content, resolve: complex(*decode(content, resolve)),
}


def send(link: socket.socket, message: Any) -> None:
    """Send one message.

    Raises:
        ValueError: it is longer than `MAX_MESSAGE`; Gone: there is nobody to take it.
    """
    data = json.dumps(message).encode()
    if len(data) > MAX_MESSAGE:
        raise ValueError("the message is too long")
    try:
        link.sendall(_LENGTH.pack(len(data)) + data)
    except OSError:
        raise Gone from None


def receive(link: socket.socket) -> Any:
    """Return the next message.

    Raises:
        Gone: there will be none.
    """
    (length,) = _LENGTH.unpack(_read(link, _LENGTH.size))
    if length > MAX_MESSAGE:
        raise Gone
    try:
        return json.loads(_read(link, length))
    except (ValueError, RecursionError):
        raise Gone from None


def _read(link: socket.socket, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        try:
            piece = link.recv(min(length - len(data), 1 << 20))
        except TimeoutError:
            raise Late from None
        except OSError:
            piece = b""
        if not piece:
            raise Gone
        data += piece
    return bytes(data)
