"""What left is counted exactly by however many at once, and what is unusual alerts once, whatever dies in between."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from registered_models import person
from sqlalchemy import insert, select, update

from vallum.data.catalogue import records as table
from vallum.settings import load_settings

MEL, ANN = person("mel", "ml_engineer"), person("ann", "ml_engineer")


@pytest.fixture
def settings(migrated_url, tmp_path):
    return load_settings(None, {}, {"data": str(tmp_path / "data"), "records.url": migrated_url})


@pytest.fixture
def lived(platform):
    """Forty days of a hundred rows each, at all hours."""

    def _lived(subject, dataset="visits"):
        today = datetime.now(UTC)
        with platform.records.write() as conn:
            for back in range(1, 41):
                conn.execute(
                    insert(table.exports).values(
                        subject=subject.render(), day=(today - timedelta(days=back)).isoformat()[:10], dataset=dataset,
                        rows=100 + back % 5, size=1000, exports=1, hours=(1 << 24) - 1,
                    )
                )  # fmt: skip

    return _lived


def counted(platform, subject, rows):
    """One worker's export: counted, and alerted where it is to be."""
    services = platform.control.services
    with services.records.write() as conn:
        found = services.data.exports.count(conn, subject, "visits", "visits/1", rows, rows * 10)
    return found is not None and services.export_alerts.raise_for(found) is not None


def test_many_at_once_are_counted_exactly_and_alert_once(platform, lived):
    """Forty exports of fifty rows: none of them is much, and who counts the one too many tells of all."""
    lived(MEL)
    lived(ANN)
    with ThreadPoolExecutor(8) as workers:
        alerted = list(workers.map(lambda who: counted(platform, who, 50), [MEL, ANN, MEL] * 13))
    with platform.records.read() as conn:
        today = platform.control.services.data.exports.counts(conn, subject=MEL.render(), limit=1)[0]
    assert (today.rows, today.size, today.exports) == (1300, 13_000, 26)
    assert sum(alerted) == 2
    for who in (MEL, ANN):
        (alert,) = platform.control.services.alerts.list(subject=who.render())
        assert alert.detectors == ("export_volume",)


def test_an_alert_whose_finder_died_is_raised_by_somebody_else_once(platform, lived):
    lived(MEL)
    services = platform.control.services
    with services.records.write() as conn:
        found = services.data.exports.count(conn, MEL, "visits", "visits/1", 5000, 50_000)
    assert found is not None
    assert services.export_alerts.raise_untold() == 0, "whoever found it has a moment"
    with services.records.write() as conn:
        conn.execute(update(table.export_days).values(found_at_seconds=table.export_days.c.found_at_seconds - 120))
    assert services.export_alerts.raise_untold() == 1
    assert services.export_alerts.raise_untold() == 0
    assert services.export_alerts.raise_for(found) is None, "the finder was only slow"
    (alert,) = services.alerts.list(subject=MEL.render())
    assert "5000 rows today" in alert.explanation
    with services.records.read() as conn:
        assert conn.execute(select(table.export_days.c.told, table.export_days.c.untold)).one() == ("volume", "")


def test_one_persons_days_are_not_anothers(platform, lived):
    lived(MEL)
    assert not counted(platform, ANN, 5000), "nothing is known of her yet"
    assert counted(platform, MEL, 5000)
