"""Text on a terminal or in a pipe whose encoding lacks some of our marks."""

import codecs

_LIKE = {"✗": "x", "✓": "v", "≈": "~", "—": "-", "–": "-", "×": "x", "†": "+", "·": ".", "…": "~", "°": "o", "±": "+-"}


def replaced(error: UnicodeError) -> tuple[str, int]:
    """What stands for the characters that an encoding lacks: one that is like each, or a question mark."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_LIKE.get(character, "?") for character in lacking), error.end


ERRORS = "inferena"
"""The name of that way, for files."""
codecs.register_error(ERRORS, replaced)


def within(text: str, encoding: str | None) -> str:
    """A text with what an encoding lacks replaced, so that columns stay where they are."""
    encoding = encoding or "utf-8"
    try:
        "±".encode(encoding)
    except UnicodeEncodeError:
        text = text.replace(" ±", "±")  # it becomes two characters
    return text.encode(encoding, ERRORS).decode(encoding)
