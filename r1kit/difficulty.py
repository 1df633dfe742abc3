"""How hard a problem is, read from a few pilot rollouts without a gold answer: the less they agree, the harder.

Where Snell et al. bin problems by their pass@1 or by a verifier's scores, this needs neither labels nor a verifier: how
much rollouts agree goes with how often they are right. Bins are quantiles, as there.

Source: Snell et al. 2024 (arXiv 2408.03314), section 3.2; Wang et al. 2022 (arXiv 2203.11171) on agreement.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from r1kit.errors import UserError
from r1kit.jsonl import Record, read_records
from r1kit.records import groups_of_rollouts
from r1kit.vote import VotePlan, poll_of

ALL = 0  # the bin of all problems


@dataclass(frozen=True)
class Difficulty:
    """How hard problems are: bins of the agreement of pilot rollouts, 1 the easiest.

    agreement: by problem id, in [0, 1].
    floors: the lowest agreement of each bin, the hardest bin first.
    """

    pilot_n: int
    agreement: dict[str, float]
    floors: list[float]

    @property
    def bins(self) -> list[int]:
        """The bins, the easiest first."""
        return list(range(1, len(self.floors) + 1))

    def bin_of(self, agreement: float) -> int:
        """Return the bin of a problem whose pilot rollouts agree so much."""
        return len(self.floors) + 1 - bisect_right(self.floors, agreement)

    def range_of(self, number: int) -> tuple[float, float]:
        """Return the lowest agreement of a bin, and that of the next easier one, or 1."""
        bounds = [*self.floors, 1.0]
        return (0.0, 1.0) if number == ALL else (bounds[-1 - number], bounds[len(bounds) - number])


def agreement(rollouts: Sequence[Record]) -> float:
    """Return the share of a problem's rollouts that give the most common answer; none is given by those without one."""
    return max(poll_of(rollouts, VotePlan()).totals().values(), default=0) / len(rollouts)


def read_difficulty(pilot: str, pilot_n: int, bins: int) -> Difficulty:
    """Return how hard the problems of a file of rollouts are, by the first `pilot_n` rollouts of each.

    Bins hold about as many problems each; where many agree to the same degree there are fewer of them.

    Raises:
        UserError: there are no rollouts, or a problem has fewer.
    """
    agreements = {}
    for members in groups_of_rollouts(read_records(pilot)):
        if len(members) < pilot_n:
            what = f'"{members[0]["id"]}" has {len(members)} rollouts, fewer than {pilot_n}'
            raise UserError(members[0].place, what, "lower --pilot-n, or sample more")
        agreements[members[0]["id"]] = agreement(members[:pilot_n])
    if not agreements:
        raise UserError(pilot, "holds no rollouts", "sample some by r1kit rollout -n 4")
    ordered = sorted(agreements.values())
    cuts = {ordered[len(ordered) * cut // bins] for cut in range(1, bins)} - {ordered[0]}
    return Difficulty(pilot_n, agreements, [0.0, *sorted(cuts)])
