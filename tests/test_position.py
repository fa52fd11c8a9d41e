from datetime import UTC, datetime

import pytest

from engine.errors import ConfigError
from engine.position import Identity, join_file_name, parse_start, split_file_name


def test_file_numbers_are_compared_as_numbers_past_six_digits():
    assert split_file_name("binlog.999999") < split_file_name("binlog.1000000")
    assert split_file_name("host.example-bin.000012") == ("host.example-bin", 12)
    assert join_file_name("binlog", 1_000_000) == "binlog.1000000"
    assert join_file_name("binlog", 12) == "binlog.000012"


@pytest.mark.parametrize("name", ["binlog", "binlog.", ".000001", "binlog.12a", "binlog.٣"])
def test_what_is_not_a_binlog_file_name_is_refused(name):
    with pytest.raises(ConfigError, match="not a binlog file name"):
        split_file_name(name)


def test_identities_are_ordered_by_file_transaction_event_and_row():
    ordered = [Identity(1, 4, 1, 0), Identity(1, 4, 3, 0), Identity(1, 4, 3, 1), Identity(1, 900, 0, 0), Identity(2, 4, 1, 0)]
    assert sorted(reversed(ordered)) == ordered


def test_a_start_is_latest_earliest_a_place_a_gtid_set_or_a_time():
    assert parse_start("latest").kind == "latest"
    assert parse_start("earliest").kind == "earliest"
    place = parse_start("binlog.000012:4567")
    assert (place.kind, place.file, place.offset) == ("file", "binlog.000012", 4567)
    assert parse_start("gtid:0-1-5,1-1-7").gtid == "0-1-5,1-1-7"
    assert parse_start("2026-11-23T04:00:00Z").time == datetime(2026, 11, 23, 4, tzinfo=UTC)
    assert parse_start("2026-11-23T04:00:00").time == datetime(2026, 11, 23, 4, tzinfo=UTC)


def test_an_offset_inside_the_magic_number_means_the_first_event():
    assert parse_start("binlog.000001:0").offset == 4


@pytest.mark.parametrize("text", ["", "now", "binlog.000012", "12:4", "binlog.000012:x"])
def test_what_is_no_start_is_refused_with_the_forms_there_are(text):
    with pytest.raises(ConfigError, match="earliest"):
        parse_start(text)
