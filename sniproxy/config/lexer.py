"""
How the text of a configuration falls into words, blocks and ends: nginx's C{ngx_conf_read_token}, rule by rule.

Strategy: the bytes are seen as Latin-1, so that one character is one byte and nginx's limit of 4096 bytes counts
right; each word is decoded as UTF-8 at the end. A word is matched by one expression that never has to go back. Most
statements are nothing but plain words of ASCII: each of those is matched as a whole, and no word of it looked at.
After an error the lexer says what is wrong and goes on behind it, so that one fault does not hide the next.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from typing import Final, NamedTuple

from sniproxy.errors import ConfigError

LIMIT: Final = 4096
"""NGX_CONF_BUFFER: as far as nginx looks for the end of a word, a quoted text or a comment."""

_BLANK: Final = re.compile(r"[ \t\r\n]*")
_COMMENT: Final = re.compile(r"[^\n]*")
_BARE: Final = re.compile(r"(?:[^\\$ \t\r\n;{]|\\.|\\\Z|\$\{*)*", re.DOTALL)
_QUOTED: Final = {
    '"': re.compile(r'(?:[^\\"]|\\.|\\\Z)*', re.DOTALL),
    "'": re.compile(r"(?:[^\\']|\\.|\\\Z)*", re.DOTALL),
}
# A "$" takes the braces behind it along, so none of them may be given back to end the statement.
_PLAIN: Final = r"[!-#%-:<-\[\]-z|}~]"
_WORD: Final = rf"""(?!["#'}}])(?:{_PLAIN}|\$\{{*(?!\{{)){_PLAIN}*(?:\$\{{*(?!\{{){_PLAIN}*)*"""
_SIMPLE: Final = re.compile(rf"[ \t\r\n]*({_WORD}(?:[ \t\r\n]+{_WORD})*)[ \t\r\n]*([;{{])")
_ESCAPE: Final = re.compile(r"\\([\"'\\trn])")
_DECODED: Final = {'"': '"', "'": "'", "\\": "\\", "t": "\t", "r": "\r", "n": "\n"}


class End(Enum):
    """
    How a statement ends.
    """

    SEMICOLON = ";"
    OPEN = "{"
    CLOSE = "}"


class Statement(NamedTuple):
    """
    The words up to C{;} or C{{}, or a lone C{}}. A tuple, because there may be a hundred thousand of them.

    @ivar end: what ended it.
    @ivar words: decoded; empty for C{End.CLOSE}, and for a C{{} without words, which was reported.
    @ivar quoted: for each word whether it stood in quotes.
    @ivar line: of the terminator, counted from 1: the line nginx names.
    """

    end: End
    words: tuple[str, ...]
    quoted: tuple[bool, ...]
    line: int


_ENDS: Final = {end.value: end for end in End}
_NONE_QUOTED: Final = tuple((False,) * count for count in range(16))


def _bare_words(count: int) -> tuple[bool, ...]:
    return _NONE_QUOTED[count] if count < len(_NONE_QUOTED) else (False,) * count


def decode(raw: str) -> str:
    """
    Bytes seen as Latin-1, as the text they are; what is not UTF-8 becomes surrogates and so survives.
    """
    return raw if raw.isascii() else raw.encode("latin-1").decode("utf-8", "surrogateescape")


def _unescape(raw: str) -> str:
    if "\\" in raw:
        raw = _ESCAPE.sub(lambda match: _DECODED[match[1]], raw)
    return decode(raw)


class Lexer:
    """
    The statements of one text.

    @ivar errors: what was found so far, each with its place, in order.
    @ivar complete: after the last statement: whether the text ended between two statements.
    @ivar line: of the last character looked at.
    """

    def __init__(self, source: bytes, file: str, parameter: bool = False) -> None:
        """
        @param parameter: the text is nginx's C{-g} and not a file: there is no limit to a word, and lines mean nothing.
        """
        self._text = source.decode("latin-1")
        self._file = file
        self._parameter = parameter
        self.line = 0 if parameter else 1
        self.errors: list[ConfigError] = []
        self.complete = True

    def _error(self, message: str, line: int | None = None) -> None:
        self.errors.append(ConfigError(message, self._file, self.line if line is None else line))

    def _count(self, start: int, stop: int) -> None:
        if not self._parameter:
            self.line += self._text.count("\n", start, stop)

    def _too_long(self, start: int, reads: int, line: int, quote: str = "") -> None:
        """
        Complain where nginx's buffer is full before the end is seen.

        @param start: where nginx takes the word to begin.
        @param reads: the first index that is not looked at any more for this word.
        @param quote: where the quote is missing and not only far away.
        """
        full = start + LIMIT
        if self._parameter or reads <= full or full >= len(self._text):
            return
        if quote:
            self._error(f'too long parameter, probably missing terminating "{quote}" character', line)
        else:
            self._error(f'too long parameter "{decode(self._text[start : start + 10])}..." started', line)

    def statements(self) -> Iterator[Statement]:
        """
        All statements, in order. Errors are added to C{errors} on the way.
        """
        text, size, counted, match = self._text, len(self._text), not self._parameter, _SIMPLE.match
        words: list[str] = []
        quoted: list[bool] = []
        at = 0
        while True:
            if not words:
                simple = match(text, at)
                if simple is not None:
                    stop = simple.end()
                    if stop - at < LIMIT:
                        if counted:
                            self.line += text.count("\n", at, stop)
                        at = stop
                        inside, end = simple.groups()
                        # among what was matched are only such blanks as split() and nginx both know
                        plain = tuple(inside.split())
                        yield Statement(_ENDS[end], plain, _bare_words(len(plain)), self.line)
                        continue
            blank = _BLANK.match(text, at)
            assert blank is not None
            self._count(at, blank.end())
            at = blank.end()
            if at == size:
                break
            char = text[at]
            if char == "#":
                at = self._comment(at)
                continue
            if char in ";{":
                at += 1
                if not words:
                    self._error(f'unexpected "{char}"')
                    if char == ";":
                        continue
                yield Statement(End(char), tuple(words), tuple(quoted), self.line)
                words, quoted = [], []
                continue
            if char == "}":
                at += 1
                if words:
                    # the operator forgot a semicolon: report it, and read on as if it were there
                    self._error('unexpected "}"')
                    yield Statement(End.SEMICOLON, tuple(words), tuple(quoted), self.line)
                    words, quoted = [], []
                yield Statement(End.CLOSE, (), (), self.line)
                continue
            word, at = self._quoted(at, char) if char in _QUOTED else self._bare(at)
            if word is not None:
                words.append(word)
                quoted.append(char in _QUOTED)
            if not self.complete:
                return
        if words:
            self._unended()

    def _unended(self) -> None:
        self.complete = False
        if self._parameter:
            self._error('unexpected end of parameter, expecting ";"')
        else:
            self._error('unexpected end of file, expecting ";" or "}"')

    def _comment(self, at: int) -> int:
        match = _COMMENT.match(self._text, at)
        assert match is not None
        self._too_long(at, match.end() + 1, self.line)
        return match.end()

    def _bare(self, at: int) -> tuple[str | None, int]:
        match = _BARE.match(self._text, at)
        assert match is not None
        stop, line = match.end(), self.line
        # nginx's own first character is never a terminator, so the word is not empty
        self._count(at, stop)
        ends_here = self._text[stop : stop + 1] in (";", "{")
        self._too_long(at, stop + (1 if ends_here else 2), line)
        if stop == len(self._text):
            self._unended()
            return None, stop
        return _unescape(match[0]), stop

    def _quoted(self, at: int, quote: str) -> tuple[str | None, int]:
        text = self._text
        start, line = at + 1, self.line
        match = _QUOTED[quote].match(text, start)
        assert match is not None
        stop = match.end()
        self._count(start, stop)
        if stop - start >= LIMIT:
            self._too_long(start, stop + 1, line, quote)
        if stop == len(text):
            self._unended()
            return None, stop
        after = stop + 1
        following = text[after : after + 1]
        if stop - start < LIMIT:
            self._too_long(start, after + (2 if following in (" ", "\t", "\r", "\n") else 1), line)
        # nginx lets a parenthesis begin the next word, because of its "if (…)"
        if following and following not in " \t\r\n;{)":
            self._error(f'unexpected "{decode(following)}"')
            if following != "}":
                after += 1
        return _unescape(match[0]), after
