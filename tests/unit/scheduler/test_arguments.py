"""Arguments as scripts and shells hand them over."""

from __future__ import annotations

import os
from types import MappingProxyType

from hypothesis import given
from hypothesis import strategies as st

from scheduler.arguments import accounts_named, first_part, key_given, listed, options_given, unstorable
from scheduler.errors import Refused
from scheduler.intake import shown

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner),
)


@given(ANYTHING)
def test_whatever_is_handed_over_is_taken_or_refused_in_words(said):
    for read in (lambda x: first_part(x, {}), options_given, accounts_named, key_given):
        try:
            read(said)
        except Refused as error:
            str(error).encode()


@given(st.dictionaries(st.text(), ANYTHING))
def test_options_that_are_taken_can_be_stored(said):
    try:
        taken = options_given(said)
    except Refused:
        return
    assert not unstorable(taken)
    assert taken == said
    assert taken is not said


def test_a_thread_goes_into_the_options_and_leaves_the_callers_alone():
    mine = {"post": {"window_minutes": 5}}
    taken = options_given(MappingProxyType(mine))
    assert first_part(["a", "b"], taken) == "a"
    assert taken == {"post": {"window_minutes": 5, "thread": ["b"]}}
    assert mine == {"post": {"window_minutes": 5}}


def test_what_is_no_list_is_not_taken_apart():
    assert listed(iter("ab")) == ["a", "b"]
    assert [listed(one) for one in ("ab", b"ab", bytearray(b"ab"), {"a": 1}, 5, None)] == [None] * 6


@given(st.binary(max_size=40))
def test_every_name_that_a_file_can_have_can_be_shown_and_stored(name):
    assert not unstorable(shown(os.fsdecode(name)))
