from datetime import UTC, datetime, timedelta, timezone

import pytest

from vallum.kernel.clock import SystemClock, format_time


def test_times_are_written_in_utc_with_fixed_width():
    tokyo = datetime(2026, 1, 1, 9, 0, tzinfo=timezone(timedelta(hours=9)))
    assert format_time(tokyo) == "2026-01-01T00:00:00.000000Z"
    assert SystemClock().now().tzinfo is UTC


def test_a_naive_time_is_refused():
    with pytest.raises(ValueError, match="naive"):
        format_time(datetime(2026, 1, 1))
