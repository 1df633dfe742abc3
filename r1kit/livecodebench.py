"""The tests of LiveCodeBench: JSON text, or for the private ones a pickle of it, compressed, in base64."""

import base64
import io
import json
import pickle
import zlib
from typing import Any

LARGEST = 1 << 30  # bytes of the tests of one problem, unpacked


class _TextUnpickler(pickle.Unpickler):
    """Reads a pickle of one text: it names no class or function, so that nothing is run."""

    def find_class(self, module: str, name: str) -> Any:
        raise ValueError(f"the private tests are no text: they name {module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        raise ValueError("the private tests are no text: they name an object elsewhere")


def unpack_private(packed: str) -> list[dict[str, str]]:
    """Return the private tests of a problem; what they are pickled as is read as text, never run.

    Raises:
        ValueError: they are not of that form.
    """
    if packed.lstrip().startswith("["):
        return json.loads(packed)
    try:
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(base64.b64decode(packed), LARGEST)
        if unpacker.unconsumed_tail:
            raise ValueError(f"the private tests are larger than {LARGEST} bytes")
        text = _TextUnpickler(io.BytesIO(data)).load()
    except (zlib.error, pickle.UnpicklingError, EOFError, IndexError, MemoryError) as error:
        raise ValueError(f"the private tests cannot be unpacked ({error})") from None
    if not isinstance(text, str | bytes):
        raise ValueError(f"the private tests are a {type(text).__name__}, no text")
    return json.loads(text)


def livecodebench_tests(public: str, private: str | None, metadata: str) -> dict[str, Any]:
    """Return the tests of a problem in r1kit's form: text in and out, or calls of a function.

    Raises:
        ValueError: they are not of LiveCodeBench's form.
    """
    cases = json.loads(public) + (unpack_private(private) if private else [])
    tests = {"inputs": [case["input"] for case in cases], "outputs": [case["output"] for case in cases]}
    name = json.loads(metadata).get("func_name")
    functional = any(case.get("testtype") == "functional" for case in cases)
    return {**tests, "fn_name": name} if functional and name else tests
