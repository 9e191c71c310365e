"""A short soak; `soak.py --minutes 30` is the long one."""
from soak import soak


def test_a_quarter_of_a_minute_of_everything():
    result = soak(0.25)
    assert not result['faults'], result
    assert result['counts']['answered'] > 500 and result['kills'] > 3
