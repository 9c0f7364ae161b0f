"""Bytes that somebody else might have sent: right ones, changed in a few places. More of them: `make fuzz`."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("INFERENA_FUZZ", "150"))
"""How many inputs each reader is given."""
PIECES = [
    b"[" * 1000, b"{" * 70, b'{"a":' * 100, b"1" + b"0" * 400, b"1e999", b"-1", b"NaN", b"null", b"true", b'""', b'"x"',
    b"[]", b"{}", b"\xff\xfe", b"\x00", b"\n", b"\\ud800", b'"../../x"', b"\x1b[31m", b"9" * 5000, b"1e300", b"0.5",
]  # fmt: skip
"""What readers stumble over."""


@st.composite
def changed(draw: Any, right: bytes) -> bytes:
    """Right bytes, of which one to four places are cut out, doubled, or replaced."""
    content = right
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, max(len(content) - 1, 0)))
        end = begin + draw(st.sampled_from([0, 1, 2, 8, 40, 400]))
        put = draw(st.sampled_from([*PIECES, content[begin:end] * 2]) | st.binary(max_size=4))
        content = content[:begin] + put + content[end:]
    return content


many = settings(max_examples=EXAMPLES, deadline=None)
