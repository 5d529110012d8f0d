"""Rows become text: one encoding per row, nothing that cannot be printed, no mojibake."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from sources.records import mend
from sources.text import decode_row, remove_controls, undo_mojibake

LATIN = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0x17F, blacklist_categories=("Cc",))
)


@given(st.binary())
def test_every_row_decodes_and_is_utf8_if_it_can_be(data):
    text, encoding = decode_row(data)
    if encoding == "utf-8":
        assert text.encode() == data
    elif encoding == "ascii":
        assert text.encode("ascii") == data
    else:
        assert len(text) == len(data)


@given(st.text(st.characters(blacklist_categories=("Cs",))))
def test_text_of_any_kind_in_utf8_is_read_as_it_is(text):
    assert decode_row(text.encode())[0] == text


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, blacklist_categories=("Cc",))))
def test_text_in_latin1_is_read_as_such_unless_it_is_utf8(text):
    read, encoding = decode_row(text.encode("latin-1"))
    assert read == text or encoding == "utf-8"


@given(st.text(st.characters()))
def test_nothing_that_cannot_be_printed_or_encoded_is_left(text):
    mended, reasons = mend(text)
    mended.encode()
    for char in mended:
        assert unicodedata.category(char) not in ("Cc", "Cs", "Zl", "Zp")
        assert unicodedata.bidirectional(char) not in ("LRO", "RLO", "LRE", "RLE", "PDF")
        assert unicodedata.bidirectional(char) not in ("LRI", "RLI", "FSI", "PDI")
    assert bool(reasons) == (mended != text)
    assert remove_controls(mended) == mended


@given(LATIN)
def test_text_that_was_read_as_latin1_is_read_again(text):
    broken = text.encode().decode("latin-1")
    undone = undo_mojibake(broken)
    assert undone in (text, broken, undo_mojibake(text))
