"""Times as people give them: zones, and the two nights a year when clocks lie."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pytest
from dateutil import tz as dateutil_tz
from hypothesis import given
from hypothesis import strategies as st

from scheduler.errors import InvalidTime
from scheduler.when import GRACE, LATEST, check_future, instant

ZONES = [
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kolkata",
    "America/Sao_Paulo",
    "UTC",
    "Pacific/Apia",
    "Africa/Casablanca",
    "Asia/Tehran",
]

NAIVE = (datetime.fromisoformat("1990-01-01"), datetime.fromisoformat("2037-12-31"))

# zone, a local time that is skipped, one that comes twice, and the two instants it may mean
NIGHTS = [
    ("Europe/Berlin", "2031-03-30T02:30", "2031-10-26T02:30", "2031-10-26T00:30Z", "2031-10-26T01:30Z"),
    ("America/New_York", "2031-03-09T02:30", "2031-11-02T01:30", "2031-11-02T05:30Z", "2031-11-02T06:30Z"),
    # Half an hour only.
    ("Australia/Lord_Howe", "2031-10-05T02:15", "2031-04-06T01:45", "2031-04-05T14:45Z", "2031-04-05T15:15Z"),
    ("America/St_Johns", "2031-03-09T02:30", "2031-11-02T01:30", "2031-11-02T04:00Z", "2031-11-02T05:00Z"),
]


@pytest.mark.parametrize(("zone", "skipped"), [(zone, gap) for zone, gap, *_ in NIGHTS])
def test_a_time_that_the_clocks_skip_is_refused_in_every_form(zone, skipped):
    naive = datetime.fromisoformat(skipped)
    for at, tz in (
        (skipped, zone),
        (naive, zone),
        (naive, ZoneInfo(zone)),
        (naive.replace(tzinfo=ZoneInfo(zone)), None),
        (naive.replace(tzinfo=dateutil_tz.gettz(zone)), None),
        (naive.replace(fold=1), zone),
    ):
        with pytest.raises(InvalidTime, match="does not exist"):
            instant(at, tz)


@pytest.mark.parametrize(("zone", "twice", "first", "second"), [(zone, *rest) for zone, _, *rest in NIGHTS])
def test_a_time_that_comes_twice_means_the_first_unless_told(zone, twice, first, second):
    naive = datetime.fromisoformat(twice)
    assert instant(twice, zone) == instant(first)
    assert instant(naive, zone) == instant(first)
    assert instant(naive.replace(fold=1), zone) == instant(second)
    assert instant(naive.replace(tzinfo=ZoneInfo(zone), fold=1)) == instant(second)


@pytest.mark.parametrize(("zone", "skipped"), [(zone, gap) for zone, gap, *_ in NIGHTS])
def test_right_before_and_after_the_gap_is_fine(zone, skipped):
    gap = datetime.fromisoformat(skipped)
    before, after = instant(gap - timedelta(hours=1), zone), instant(gap + timedelta(hours=1), zone)
    assert timedelta() < after - before < timedelta(hours=2)


@given(
    st.datetimes(min_value=NAIVE[0], max_value=NAIVE[1]),
    st.sampled_from(ZONES),
    st.sampled_from([0, 1]),
)
def test_whatever_is_taken_shows_the_same_clock_in_its_zone(naive, zone, fold):
    naive = naive.replace(fold=fold)
    try:
        found = instant(naive, zone)
    except InvalidTime:
        there_and_back = naive.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC).astimezone(ZoneInfo(zone))
        assert there_and_back.replace(tzinfo=None) != naive.replace(fold=0)
        return
    assert found.tzinfo is UTC
    assert found.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0) == naive.replace(fold=0)


@given(
    st.datetimes(min_value=NAIVE[0], max_value=NAIVE[1]),
    st.integers(-14 * 60, 14 * 60),
    st.sampled_from(ZONES),
)
def test_an_offset_wins_over_any_zone(naive, minutes, zone):
    aware = naive.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    assert instant(aware, zone) == instant(aware) == instant(aware.isoformat(), zone) == aware


@pytest.mark.parametrize("word", ["now", "NOW", " Now "])
def test_now_is_left_to_the_database(word):
    assert instant(word) is None
    assert instant(word, "Europe/Berlin") is None


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2031-05-04T18:00Z", datetime(2031, 5, 4, 18, tzinfo=UTC)),
        (" 2031-05-04T18:00:30.5+02:00 ", datetime(2031, 5, 4, 16, 0, 30, 500_000, tzinfo=UTC)),
        ("2031-05-04 18:00-0530", datetime(2031, 5, 4, 23, 30, tzinfo=UTC)),
        ("20310504T180000Z", datetime(2031, 5, 4, 18, tzinfo=UTC)),
    ],
)
def test_iso_times_with_an_offset_need_no_zone(at, expected):
    assert instant(at) == expected


@pytest.mark.parametrize(
    "at",
    [
        "",
        "soon",
        "18:00",
        "2031-13-01T00:00Z",
        "2031-02-30T00:00Z",
        "2031-05-04T25:00Z",
        "04.05.2031 18:00",
        "2031-05-04T18:00+99:00",
        "1e9",
        "\x00",
        "🙂",
    ],
)
def test_what_is_no_time_is_refused(at):
    with pytest.raises(InvalidTime):
        instant(at, "Europe/Berlin")


@pytest.mark.parametrize("tz", ["Europe/Nowhere", "", "../../etc/passwd", "/etc/localtime", "Europe", "a\x00b"])
def test_what_is_no_zone_is_refused(tz):
    with pytest.raises(InvalidTime, match=r"not a time zone"):
        instant("2031-05-04T18:00", tz)


@pytest.mark.parametrize("tz", ["Nonsense", "", 5, b"UTC", object()])
@pytest.mark.parametrize("at", ["now", "2031-05-04T18:00Z", datetime(2031, 5, 4, 18, tzinfo=UTC)], ids=str)
def test_a_zone_that_is_none_is_refused_also_where_the_time_does_not_need_it(at, tz):
    with pytest.raises(InvalidTime, match=r"zone|tz must be"):
        instant(at, tz)


class Broken(tzinfo):
    """A zone that says nonsense."""

    def __init__(self, said):
        self.said = said

    def utcoffset(self, at):
        return self.said


@pytest.mark.parametrize("zone", [tzinfo(), Broken(5), Broken(timedelta(days=2)), Broken(None)], ids=str)
def test_a_tzinfo_that_cannot_say_its_offset_is_refused(zone):
    for at, tz in (("2031-05-04T18:00", zone), (datetime(2031, 5, 4, 18, tzinfo=zone), None)):
        with pytest.raises(InvalidTime):
            instant(at, tz)


@pytest.mark.parametrize("zone", ZONES)
def test_a_zone_of_pytz_means_the_zone_of_its_name(zone):
    pytz = pytest.importorskip("pytz")
    theirs = pytz.timezone(zone)
    for naive in map(datetime.fromisoformat, ("2031-01-15T12:00", "2031-07-15T12:00")):
        expected = instant(naive, zone)
        assert instant(naive, theirs) == expected
        assert instant(naive.isoformat(), theirs) == expected
        assert instant(theirs.localize(naive)) == theirs.localize(naive)


def test_a_zone_of_pytz_that_was_attached_wrongly_is_refused_with_the_reason():
    pytz = pytest.importorskip("pytz")
    with pytest.raises(InvalidTime, match=r"localize\(\)"):
        instant(datetime(2031, 5, 4, 18, tzinfo=pytz.timezone("Europe/Berlin")))
    with pytest.raises(InvalidTime, match="does not exist"):
        instant("2031-03-30T02:30", pytz.timezone("Europe/Berlin"))
    skipped = pytz.timezone("Europe/Berlin").localize(datetime.fromisoformat("2031-03-30T02:30"))
    with pytest.raises(InvalidTime, match="does not exist"):
        instant(skipped)
    assert instant(datetime(2031, 5, 4, 18, tzinfo=pytz.utc)) == datetime(2031, 5, 4, 18, tzinfo=UTC)
    assert instant("2031-05-04T18:00", pytz.FixedOffset(120)) == datetime(2031, 5, 4, 16, tzinfo=UTC)


def test_a_naive_time_alone_is_refused_with_what_to_do():
    with pytest.raises(InvalidTime, match=r"give tz .*Europe/Berlin"):
        instant("2031-05-04T18:00")
    with pytest.raises(InvalidTime, match="must be a datetime"):
        instant(1_900_000_000)


@pytest.mark.parametrize("at", [datetime.min, datetime.max], ids=["min", "max"])  # noqa: DTZ901 - naive times are what this is about
def test_the_ends_of_the_calendar_are_refused(at):
    for tz in ("Europe/Berlin", "America/New_York", timezone(timedelta(hours=14)), timezone(timedelta(hours=-14))):
        try:
            found = instant(at, tz)
        except InvalidTime:
            continue
        with pytest.raises(InvalidTime):
            check_future(found, datetime(2031, 1, 1, tzinfo=UTC))


def test_past_and_far_times_are_refused_with_a_grace():
    now = datetime(2031, 1, 1, tzinfo=UTC)
    check_future(now, now)
    check_future(now - GRACE, now)
    check_future(now + LATEST, now)
    with pytest.raises(InvalidTime, match="past"):
        check_future(now - GRACE - timedelta(milliseconds=1), now)
    with pytest.raises(InvalidTime, match="ten years"):
        check_future(now + LATEST + timedelta(seconds=1), now)
