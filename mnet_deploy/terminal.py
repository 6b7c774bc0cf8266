"""What may be printed on a terminal."""

import re

# Control characters (C0, DEL, C1), marks that turn the direction of writing, and halves of characters.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Return a text with U+FFFD for what would move the cursor, set a title or hide something on a terminal.

    A line's end and a tab become one, too: it is for text from a device or a file that is shown within a line.
    """
    return _UNPRINTABLE.sub("\ufffd", text)
