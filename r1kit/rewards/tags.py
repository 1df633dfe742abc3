"""Tag count: partial credit for the tags of the format."""

TAGS = ("<think>", "</think>", "<answer>", "</answer>")


def tag_count_reward(completion: str) -> float:
    """Return a quarter for each of <think>, </think>, <answer> and </answer> that stands exactly once.

    A shaping reward for models that do not yet find the whole format: it says nothing of order or content, so that
    `format_reward` belongs beside it. Unlike in open-r1's reward of this name, line ends at the tags do not matter.
    """
    return sum(completion.count(tag) == 1 for tag in TAGS) / len(TAGS)
