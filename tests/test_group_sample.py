from r1kit.group_sample import GroupSample, share_out


def sampled(groups, quota, seed=0):
    """Return the sample of (key, item) pairs, by key."""
    sample = GroupSample(quota, seed)
    for key, item in groups:
        if sample.takes(key):
            sample.add(key, [item])
    assert sample.size == sum(map(len, sample.groups()))
    return {group[0][0]: group for group in sample.groups()}


def items(problems, samples):
    return [(str(problem), (str(problem), number)) for problem in range(problems) for number in range(samples)]


def test_groups_are_kept_whole():
    found = sampled(items(100, 4), 20)
    assert len(found) == 5
    assert all([number for _, number in group] == [0, 1, 2, 3] for group in found.values())


def test_the_same_problems_are_kept_whatever_the_order_and_whether_groups_stand_together():
    rows = items(100, 4)
    by_sample = sorted(rows, key=lambda row: row[1][1])
    assert sampled(rows, 20).keys() == sampled(rows[::-1], 20).keys() == sampled(by_sample, 20).keys()
    assert sampled(rows, 20, seed=1).keys() != sampled(rows, 20).keys()


def test_files_with_other_problems_beside_share_those_that_both_have():
    half = [row for row in items(100, 4) if int(row[0]) % 2]
    common = sampled(items(100, 4), 40).keys() & {key for key, _ in half}
    assert common <= sampled(half, 40).keys()


def test_all_is_kept_where_there_is_room():
    assert len(sampled(items(3, 2), 6)) == len(sampled(items(3, 2), 100)) == 3


def test_what_one_does_not_want_goes_to_the_others():
    assert share_out(100, [10, 80, 80]) == [10, 45, 45]
    assert share_out(100, [10, 20]) == [10, 20]
    assert share_out(9, []) == []
