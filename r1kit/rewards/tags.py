"""Tag count: partial credit for the tags of the format."""

TAGS = ("<think>", "</think>", "<answer>", "</answer>")


def tag_count_reward(completion: str, *, prefilled: bool = False) -> float:
    """Return a quarter for each of <think>, </think>, <answer> and </answer> that stands exactly once.

    It shapes models that do not yet find the whole format, and says nothing of order or content: `format_reward`
    belongs beside it.

    Args:
        prefilled: whether the prompt ends in <think>, which then counts as the completion's.

    Source: open-r1's reward of this name (after willccbb's GRPO demo). It counts tags together with the line ends that
    its format has around them; here a tag counts wherever it stands, since `format_reward` leaves line ends free.
    """
    text = f"<think>{completion}" if prefilled else completion
    return sum(text.count(tag) == 1 for tag in TAGS) / len(TAGS)
