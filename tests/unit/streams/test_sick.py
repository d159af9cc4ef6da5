from __future__ import annotations

from streams.sick import KEPT, Sick


def test_a_job_is_news_once() -> None:
    sick = Sick()
    assert [sick.add("a"), sick.add("a"), sick.add("b")] == [True, False, True]
    assert "a" in sick
    assert "c" not in sick


def test_a_job_that_was_well_meanwhile_is_news_again() -> None:
    sick = Sick()
    sick.discard("a")
    sick.add("a")
    sick.discard("a")
    assert "a" not in sick
    assert sick.add("a")


def test_no_more_are_kept_than_that() -> None:
    sick = Sick()
    for number in range(KEPT + 1):
        assert sick.add(str(number))
    assert "0" not in sick
    assert "1" in sick
    assert sick.add("0")
