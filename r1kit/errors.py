"""What goes wrong for the user: one line that names the place and the remedy."""


class UserError(Exception):
    """Something the user can mend: data, files, models (exit code 1).

    Printed as `r1kit CMD: error: PLACE: WHAT; REMEDY`.
    """

    exit_code = 1

    def __init__(self, place: str, what: str, remedy: str = ""):
        super().__init__(f"{place}: {what}" + (f"; {remedy}" if remedy else ""))


class UsageError(UserError):
    """A flag whose value cannot be used (exit code 2)."""

    exit_code = 2


class Ungradable(Exception):
    """A reward cannot grade a record; says why. The reward becomes null, and the reason is counted on stderr."""
