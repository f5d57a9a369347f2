"""
Tests for L{sniproxy.config.lexer}. What nginx does was recorded from nginx 1.22; tests/interop compares it anew.
"""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.lexer import End, Lexer, Statement
from tests.config.mini import DOCUMENTS

ENDED = 'unexpected end of file, expecting ";" or "}" in f:1'


def read(source: bytes | str, parameter: bool = False) -> tuple[list[Statement], list[str]]:
    """
    All statements of a text, and all faults.
    """
    lexer = Lexer(source if isinstance(source, bytes) else source.encode(), "f", parameter)
    return list(lexer.statements()), [str(error) for error in lexer.errors]


class Words(SynchronousTestCase):
    """
    How words are cut and decoded.
    """

    def words(self, source: bytes | str) -> tuple[str, ...]:
        """
        The words of the only statement.
        """
        statements, errors = read(source)
        self.assertEqual(errors, [])
        self.assertEqual([statement.end for statement in statements], [End.SEMICOLON])
        return statements[0].words

    def test_words(self) -> None:
        """
        Blanks of every kind separate words, and the statement has the line of its semicolon.
        """
        statements, errors = read("a  b\tc\r\nd\n;")
        self.assertEqual(statements, [Statement(End.SEMICOLON, ("a", "b", "c", "d"), (False,) * 4, 3)])
        self.assertEqual(errors, [])

    def test_blocks(self) -> None:
        """
        A brace ends a statement where it stands, and a closing one is a statement of its own.
        """
        statements, errors = read("a b{c;\n}d {\n}")
        self.assertEqual(
            [(statement.end.value, statement.words, statement.line) for statement in statements],
            [("{", ("a", "b"), 1), (";", ("c",), 1), ("}", (), 2), ("{", ("d",), 2), ("}", (), 3)],
        )
        self.assertEqual(errors, [])

    def test_quoted(self) -> None:
        """
        Both quotes keep what separates words outside, even lines and the other quote, and the words are marked.
        """
        statements, _ = read("a \"b ;{}#\n'\" '\"' \"\" 'c';")
        self.assertEqual(statements[0].words, ("a", "b ;{}#\n'", '"', "", "c"))
        self.assertEqual(statements[0].quoted, (False, True, True, True, True))
        self.assertEqual(statements[0].line, 2)

    def test_quote_inside_word(self) -> None:
        """
        A quote inside of a word is a character like any other.
        """
        self.assertEqual(self.words('a"b\'c d="e;'), ("a\"b'c", 'd="e'))

    def test_escapes(self) -> None:
        """
        Six escapes are decoded, in quotes and outside; before any other character the backslash stays.
        """
        decoded = "\"'\\\t\r\n\\x\\.\\;"
        self.assertEqual(
            self.words(r""""\"\'\\\t\r\n\x\.\;" '\"\'\\\t\r\n\x\.\;' a\"\'\\\t\r\n\x\.\;;"""),
            (
                decoded,
                decoded,
                "a" + decoded,
            ),
        )

    def test_escaped_ends(self) -> None:
        """
        A backslash takes the next character into the word, whatever it is, and stays before it.
        """
        self.assertEqual(self.words("\\; a\\ b \\{ \\} \\# c\\\n;"), ("\\;", "a\\ b", "\\{", "\\}", "\\#", "c\\\n"))

    def test_lines_behind_backslash(self) -> None:
        """
        Lines are counted inside of words too.
        """
        self.assertEqual([s.line for s in read('a\\\nb;\n"c\n\\\n";d;')[0]], [2, 5, 5])

    def test_variables(self) -> None:
        """
        The brace of a variable opens no block, at the start of a word or inside of it, nor do more of them.
        """
        self.assertEqual(self.words("${a} b${c}d $e${{f $$ ${;"), ("${a}", "b${c}d", "$e${{f", "$$", "${"))

    def test_brace_after_variable(self) -> None:
        """
        A brace behind the name of a variable opens a block.
        """
        statements, errors = read("map $a{b;}")
        self.assertEqual([statement.words for statement in statements], [("map", "$a"), ("b",), ()])
        self.assertEqual(errors, [])

    def test_closing_brace_inside_word(self) -> None:
        """
        A closing brace is one only where a word could begin.
        """
        self.assertEqual(self.words("a}b c};"), ("a}b", "c}"))

    def test_comments(self) -> None:
        """
        A hash begins a comment where a word could begin, and nowhere else.
        """
        self.assertEqual(self.words('#a;{}"\na#b # c ;\n \t#d\n;#'), ("a#b",))

    def test_bytes(self) -> None:
        """
        UTF-8 is decoded; what is none survives as surrogates; a byte order mark is part of a word.
        """
        self.assertEqual(self.words(b"\xef\xbb\xbfa \xc3\xa4 \xff\xfe\x00;"), ("\ufeffa", "ä", "\udcff\udcfe\x00"))


class Faults(SynchronousTestCase):
    """
    What is wrong, in nginx's words, and how reading goes on.
    """

    def faults(self, source: bytes | str, *expected: str) -> list[tuple[str, ...]]:
        """
        Check the faults; return the words of the statements.
        """
        statements, errors = read(source)
        self.assertEqual(errors, list(expected))
        return [statement.words for statement in statements]

    def test_lone_semicolon(self) -> None:
        """
        A semicolon without words is reported and skipped.
        """
        self.assertEqual(self.faults("a;\n;b;", 'unexpected ";" in f:2'), [("a",), ("b",)])

    def test_lone_brace(self) -> None:
        """
        A brace without words is reported, and opens a block without a name.
        """
        self.assertEqual(self.faults("{ a; }", 'unexpected "{" in f:1'), [(), ("a",), ()])

    def test_missing_semicolon(self) -> None:
        """
        Words before a closing brace are reported, and read as if their semicolon were there.
        """
        self.assertEqual(self.faults("a {\nb c\n}", 'unexpected "}" in f:3'), [("a",), ("b", "c"), ()])

    def test_unended(self) -> None:
        """
        A text that ends inside of a statement is reported at its last line.
        """
        for source in ("a", "a b ", 'a "', "a 'b", 'a "b"', "a\\", 'a "\\', "'\\"):
            self.assertEqual(self.faults(source, ENDED), [], source)
        self.assertEqual(self.faults("a;b\n\n", 'unexpected end of file, expecting ";" or "}" in f:3'), [("a",)])

    def test_behind_quotes(self) -> None:
        """
        Behind a closing quote a blank, a semicolon or a brace must follow; any other character is skipped.
        """
        self.assertEqual(self.faults('a "b"c;', 'unexpected "c" in f:1'), [("a", "b")])
        self.assertEqual(self.faults("a 'b'$c;", 'unexpected "$" in f:1'), [("a", "b", "c")])
        self.assertEqual(self.faults("a 'b''c';", 'unexpected "\'" in f:1'), [("a", "b", "c'")])
        self.assertEqual(self.faults('a "b"{"c";}'), [("a", "b"), ("c",), ()])
        self.assertEqual(self.faults(b'a "b"\xff;', 'unexpected "\udcff" in f:1'), [("a", "b")])

    def test_brace_behind_quotes(self) -> None:
        """
        A closing brace behind a closing quote still closes.
        """
        statements, errors = read('a {b "c"}')
        self.assertEqual([statement.end.value for statement in statements], ["{", ";", "}"])
        self.assertEqual(set(errors), {'unexpected "}" in f:1'})

    def test_parenthesis_behind_quotes(self) -> None:
        """
        A closing parenthesis behind a closing quote begins a word, as nginx's "if" needs it.
        """
        self.assertEqual(
            self.faults('if ($a = "b"){} c "d")"e";'), [("if", "($a", "=", "b", ")"), (), ("c", "d", ')"e"')]
        )

    def test_complete(self) -> None:
        """
        The lexer knows whether the text ended between statements, and on which line.
        """
        for source, complete in (("a;\n", True), ("a {\n", True), ("a\n", False), ("'a\n", False), ("a\\\n", False)):
            lexer = Lexer(source.encode(), "f")
            list(lexer.statements())
            self.assertEqual((lexer.complete, lexer.line), (complete, 2), source)


class Limits(SynchronousTestCase):
    """
    nginx looks 4096 bytes far for an end; the numbers are those of nginx 1.22.
    """

    def accepted(self, source: bytes | str) -> bool:
        """
        Whether the text is without fault.
        """
        errors = read(source)[1]
        self.assertIn(errors, ([], ['too long parameter "xxxxxxxxxx..." started in f:1']))
        return not errors

    def test_bare(self) -> None:
        """
        A word may have 4095 bytes before a semicolon or a brace, one less before a blank.
        """
        for behind, most in ((";", 4095), ("{}", 4095), (" ;", 4094), ("\n;", 4094)):
            self.assertTrue(self.accepted("x" * most + behind), behind)
            self.assertFalse(self.accepted("x" * (most + 1) + behind + " "), behind)

    def test_quoted(self) -> None:
        """
        Text in quotes may have 4094 bytes, one less before a blank; it is counted as written, in bytes.
        """
        for behind, most in ((";", 4094), ("{}", 4094), (" ;", 4093)):
            self.assertTrue(self.accepted('"' + "x" * most + '"' + behind), behind)
            self.assertFalse(self.accepted('"' + "x" * (most + 1) + '"' + behind + " "), behind)
        self.assertFalse(self.accepted('"' + "x" * 10 + "ä" * 2042 + 'x";'))
        self.assertFalse(self.accepted('"' + "x" * 10 + "\\n" * 2042 + 'x";'))

    def test_quote_missing(self) -> None:
        """
        A quote that ends nowhere near is said to be missing, at the line of its beginning.
        """
        for mark in "\"'":
            text = f"\na {mark}b" + "\n" * 4096 + f"{mark};"
            self.assertEqual(
                read(text)[1], [f'too long parameter, probably missing terminating "{mark}" character in f:2']
            )

    def test_comment(self) -> None:
        """
        A comment may have 4095 bytes, unless the file ends with it.
        """
        self.assertEqual(read("#" + "x" * 4094 + "\na;")[1], [])
        self.assertEqual(read("#" + "x" * 4095)[1], [])
        self.assertEqual(read("#" + "x" * 4095 + "\na;")[1], ['too long parameter "#xxxxxxxxx..." started in f:1'])

    def test_end_of_file(self) -> None:
        """
        Where the file ends just there, that is the fault.
        """
        self.assertEqual(read("x" * 4096)[1], [ENDED])
        self.assertEqual(read('"' + "x" * 4096)[1], [ENDED])

    def test_parameter(self) -> None:
        """
        On the command line nothing is too long, nothing has a line, and the end has its own words.
        """
        self.assertEqual(read("x" * 9999 + "\n;#" + "x" * 9999, parameter=True)[1], [])
        self.assertEqual(read("a\n;b\n", parameter=True)[0][0].line, 0)
        self.assertEqual(read("a;b", parameter=True)[1], ['unexpected end of parameter, expecting ";" in f'])


class Anything(SynchronousTestCase):
    """
    No text makes the lexer fail.
    """

    @settings(derandomize=True, deadline=None, database=None, max_examples=300)
    @given(st.text("ab \t\r\n;{}\"'\\$#)ä", max_size=40))
    @example("\\")
    def test_any_text(self, text: str) -> None:
        """
        Any text gives statements whose braces and words are sound, and lines that only grow.
        """
        statements, _ = read(text)
        line = 1
        for statement in statements:
            self.assertEqual(len(statement.words), len(statement.quoted))
            self.assertGreaterEqual(statement.line, line)
            line = statement.line
            if statement.end is End.SEMICOLON:
                self.assertNotEqual(statement.words, ())

    @settings(derandomize=True, deadline=None, database=None, max_examples=2000)
    @given(st.text("ab-:* \t\n\x0b\xa0;{}\"'\\$#)ä", max_size=20))
    @example("a${{b;c${d{")
    @example("a$ {")
    @example("a}b;")
    def test_whole_or_by_words(self, text: str) -> None:
        """
        A statement that is taken as a whole is what its words are one by one, as behind a word in quotes.
        """
        if text.lstrip(" \t\n")[:1] in ("", ";", "{", "}", "#"):
            return  # a quoted word before these would make another text
        whole, errors = read(text)
        by_words, same_errors = read('"x" ' + text)
        self.assertEqual(same_errors, errors)
        if whole:
            first = by_words[0]
            by_words[0] = Statement(first.end, first.words[1:], first.quoted[1:], first.line)
        self.assertEqual(by_words, whole)

    def test_many_words(self) -> None:
        """
        A statement of many words, or of more text than one word may have, is as one of few.
        """
        for count in (15, 16, 17, 2000):
            statements, errors = read("ab " * count + "\n;")
            self.assertEqual(statements, [Statement(End.SEMICOLON, ("ab",) * count, (False,) * count, 2)])
            self.assertEqual(errors, [])

    def test_documents_cut(self) -> None:
        """
        A text cut anywhere gives the statements of the whole one, except the last.
        """
        text = DOCUMENTS["machines_18"]
        whole, _ = read(text)
        for end in range(0, len(text), 7):
            statements, _ = read(text[:end])
            self.assertEqual(statements, whole[: len(statements)])
