"""What runs inside the sandbox; standard library only, since nothing else is there. r1kit/sandbox.py starts it."""

from typing import Literal

Mode = Literal["auto", "bubblewrap", "landlock", "none"]  # the walls; auto: the first two, whichever works
