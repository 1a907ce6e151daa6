"""Text that others chose (names of folders, classes and settings), made fit for a line of a page or a terminal."""

import re

# control characters move the cursor or colour what follows, surrogates are no text, and some format characters hide
# letters or turn their order; the joiners U+200C and U+200D, parts of words and of emoji, stay
UNSEEN = (
    "\x00-\x09\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff"
    "\ufeff\ufff9-\ufffb\U000e0001\U000e0020-\U000e007f"
)
IN_A_LINE, IN_LINES = re.compile(f"[\n{UNSEEN}]"), re.compile(f"[{UNSEEN}]")


def printable(text: str, lines: bool = False) -> str:
    r"""A text in which every character can be seen and written as UTF-8.

    Args:
        text: any text, also a name that the file system gave.
        lines: whether line breaks stay.

    Returns:
        The text with each other character that is not seen as Python escapes it: \x1b for the one that begins a
        terminal's commands, \n for a line break, \udc80 for a byte that is no UTF-8.
    """
    return (IN_LINES if lines else IN_A_LINE).sub(lambda found: ascii(found[0])[1:-1], text)
