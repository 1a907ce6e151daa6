"""Text that others chose (names of folders, classes and settings), made fit for a line of a page or a terminal."""

import unicodedata

# control characters move the cursor or colour it, format characters turn the order of letters, surrogates are no text
UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
JOINERS = "\u200c\u200d"  # letters of Persian and parts of one emoji are joined by these


def printable(text: str, kept: str = "") -> str:
    r"""A text in which every character can be seen and written as UTF-8.

    Args:
        text: any text, also a name that the file system gave.
        kept: characters that stay whatever they are, such as a line break.

    Returns:
        The text with each other character that is not seen as its escape, such as \x1b for the one that begins a
        terminal's commands and \n for a line break.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter in kept or is_seen(letter) else escape(letter) for letter in text)


def is_seen(letter: str) -> bool:
    """Whether a character is a letter, sign or space."""
    return letter in JOINERS or unicodedata.category(letter) not in UNSEEN


def escape(letter: str) -> str:
    r"""A character as Python writes it in a literal: \n, \x1b, \u202e, \udc80."""
    return ascii(letter)[1:-1]
