"""
Tests for L{sniproxy.wire.hello_message}: what is read from real hellos, and what is refused.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.wire.hello_message import ClientHello, Malformed, parse
from tests.support.hellos import (
    RECORDED,
    appended,
    look,
    message,
    name_list,
    parsed,
    record,
    replaced,
    sized,
    split,
)

PLAIN = RECORDED["openssl-alpn"].stream


class RealTests(SynchronousTestCase):
    """
    What real clients send is read as they meant it.
    """

    def test_what_was_asked_for(self) -> None:
        """
        Each recording gives the name, the protocols, a version and a group that its client was told to offer.
        """
        for name, told in RECORDED.items():
            with self.subTest(name):
                found = look(told.stream)
                assert isinstance(found, ClientHello), found
                self.assertEqual(found.server_name, told.server_name)
                self.assertEqual(found.alpn, told.alpn)
                self.assertIn(told.version, found.versions)
                self.assertIn(told.group, found.groups)
                self.assertEqual(found.has_ech, told.ech)
                self.assertEqual(found.length, len(told.stream))
                self.assertEqual(found.legacy_version, 0x0303)
                self.assertIn(0x0403, found.signature_algorithms)
                self.assertEqual(found.extensions, tuple(kind for kind, _ in split(told.stream)[1]))

    def test_fixed_fields(self) -> None:
        """
        Random, session id and cipher suites are the bytes at their places.
        """
        found = look(PLAIN)
        assert isinstance(found, ClientHello), found
        self.assertEqual(found.random, PLAIN[11:43])
        self.assertEqual(PLAIN[43], 32)
        self.assertEqual(found.session_id, PLAIN[44:76])
        size = int.from_bytes(PLAIN[76:78], "big")
        self.assertEqual(b"".join(code.to_bytes(2, "big") for code in found.cipher_suites), PLAIN[78 : 78 + size])

    def test_extremes_are_among_them(self) -> None:
        """
        The recordings hold what is rare: a post-quantum key share, tickets of kilobytes, a hello in two records.
        """
        self.assertGreater(len(RECORDED["pyopenssl-mlkem"].stream), 1500)
        tickets = dict(split(RECORDED["ticket-tls12"].stream)[1])
        self.assertGreater(len(tickets[35]), 6000)
        self.assertGreater(len(dict(split(RECORDED["ticket-tls13"].stream)[1])[41]), 5000)
        self.assertEqual(int.from_bytes(RECORDED["ticket-two-records"].stream[3:5], "big"), 2**14)

    def test_no_extensions(self) -> None:
        """
        A hello that ends behind its compression methods is an old client's: no name, and only the legacy version.
        """
        head, _ = split(PLAIN)
        for body in (head, head + b"\0\0"):
            found = look(record(message(body)))
            assert isinstance(found, ClientHello), found
            self.assertEqual((found.server_name, found.alpn, found.groups, found.extensions), (None, (), (), ()))
            self.assertEqual(found.signature_algorithms, ())
            self.assertEqual(found.versions, (0x0303,))
            self.assertFalse(found.has_ech)

    def test_support(self) -> None:
        """
        What tests elsewhere take for a hello carries the name and the protocols they ask for.
        """
        self.assertEqual(parsed("b.example", ("h2", "x")).alpn, (b"h2", b"x"))
        self.assertEqual(parsed("b.example").server_name, "b.example")
        self.assertIsNone(parsed(None).server_name)


class ServerNameTests(SynchronousTestCase):
    """
    The one name that a hello may carry.
    """

    def name(self, sent: bytes) -> str | None:
        """
        What a name is read as.
        """
        found = look(replaced(PLAIN, 0, name_list(sent)))
        assert isinstance(found, ClientHello), found
        return found.server_name

    def refused(self, extension: bytes, reason: str) -> None:
        """
        Insist that the content of a server_name extension is refused, in front of others and behind them.
        """
        self.assertEqual(look(replaced(PLAIN, 0, extension)), Malformed("server_name", reason))
        last = appended(replaced(PLAIN, 0, None), 0, extension)
        self.assertEqual(look(last), Malformed("server_name", reason))

    def test_normal_form(self) -> None:
        """
        A name is compared without case and without its trailing dot.
        """
        self.assertEqual(self.name(b"WWW.Example.COM"), "www.example.com")
        self.assertEqual(self.name(b"www.example.com."), "www.example.com")
        self.assertEqual(self.name(b"XN--BCHER-KVA.example"), "xn--bcher-kva.example")

    def test_as_sent(self) -> None:
        """
        It is also told as it was sent; without the extension there is nothing to tell.
        """
        found = look(replaced(PLAIN, 0, name_list(b"WWW.Example.COM.")))
        assert isinstance(found, ClientHello), found
        self.assertEqual(found.sent_name, "WWW.Example.COM.")
        nameless = look(replaced(PLAIN, 0, None))
        assert isinstance(nameless, ClientHello), nameless
        self.assertIsNone(nameless.sent_name)

    def test_what_servers_let_pass(self) -> None:
        """
        Underscores, stars, single labels and addresses are names like others.
        """
        for sent in ("a_b.example", "*.example", "localhost", "127.0.0.1", "::1", "a:443", "-"):
            self.assertEqual(self.name(sent.encode()), sent)

    def test_longest(self) -> None:
        """
        255 bytes are a name, 256 are not.
        """
        self.assertEqual(self.name(b"a" * 255), "a" * 255)
        self.refused(name_list(b"a" * 256), "256 bytes")

    def test_two_names(self) -> None:
        """
        Two names are neither the first nor the last, also if the second is of another type or equal.
        """
        self.refused(name_list(b"a.example", b"b.example"), "12 bytes after the first name")
        self.refused(name_list(b"a.example", b"a.example"), "12 bytes after the first name")
        other = sized(2, b"\0" + sized(2, b"a.example") + b"\1" + sized(2, b"b"))
        self.refused(other, "4 bytes after the first name")

    def test_extension_repeated(self) -> None:
        """
        A second server_name extension is refused, also if it is equal.
        """
        for second in (b"b.example", b"openssl.example"):
            stream = appended(PLAIN, 0, name_list(second))
            self.assertEqual(look(stream), Malformed("server_name", "the extension is repeated"))

    def test_characters(self) -> None:
        """
        NUL, control characters, spaces, slashes and whatever is not ASCII are refused wherever they stand.
        """
        for code in [*range(0x21), ord("/"), *range(0x7F, 0x100)]:
            for sent in (b"a%cb.example" % code, b"%ca" % code, b"a%c" % code):
                self.refused(name_list(sent), f"{sent!r} has characters that no host name has")

    def test_empty_labels(self) -> None:
        """
        An empty name, a lone dot, two dots in a row and a leading dot are refused.
        """
        for sent in (b"", b".", b"..", b"a..b", b"a.example..", b".example"):
            self.refused(name_list(sent), f"{sent!r} has an empty label")

    def test_unknown_type(self) -> None:
        """
        No name type but host_name exists, and servers refuse others.
        """
        self.refused(name_list(b"a.example", kind=1), "unknown name type 1")

    def test_lengths(self) -> None:
        """
        Lengths that do not fit each other are refused: too little, too much, nothing.
        """
        good = name_list(b"a.example")
        self.refused(b"", "needs 2 bytes where 0 are left")
        self.refused(b"\0", "needs 2 bytes where 1 are left")
        self.refused(b"\0\0", "needs 1 bytes where 0 are left")
        self.refused(good + b"x", "1 bytes left over")
        self.refused(good[:-1], "needs 12 bytes where 11 are left")
        self.refused(b"\0\x0c\0\0\x08a.example", "1 bytes after the first name")
        self.refused(b"\0\x0c\0\0\x0aa.example", "needs 10 bytes where 9 are left")


class MalformedTests(SynchronousTestCase):
    """
    Every other vector is checked, and the message names it.
    """

    def body(self, body: bytes, field: str, reason: str) -> None:
        """
        Insist that the body of a ClientHello is refused.
        """
        self.assertEqual(look(record(message(body))), Malformed(field, reason))
        self.assertEqual(parse(body, 0), Malformed(field, reason))

    def extension(self, kind: int, field: str, *contents: bytes) -> None:
        """
        Insist that these contents of an extension are refused, among others and behind them.
        """
        for content in contents:
            last = appended(replaced(PLAIN, kind, None), kind, content)
            for stream in (replaced(PLAIN, kind, content), last):
                found = look(stream)
                assert isinstance(found, Malformed), (found, content)
                self.assertEqual(found.field, field)

    def test_fixed_part(self) -> None:
        """
        A message that ends before its session id is refused.
        """
        self.body(b"", "random", "missing")
        self.body(bytes(33), "random", "missing")
        self.body(bytes(34), "session_id", "missing")

    def test_session_id(self) -> None:
        """
        A session id has up to 32 bytes.
        """
        self.body(bytes(34) + sized(1, bytes(33)) + bytes(10), "session_id", "33 bytes")

    def test_cipher_suites(self) -> None:
        """
        Cipher suites are an even number of bytes, not none, within the message, with something behind them.
        """
        start = bytes(35)
        self.body(start, "cipher_suites", "missing")
        self.body(start + b"\0", "cipher_suites", "missing")
        self.body(bytes(34) + b"\x05", "cipher_suites", "missing")
        self.body(start + b"\0\0\1\0", "cipher_suites", "0 bytes where 2 are left")
        self.body(start + b"\0\1\x13\1\0", "cipher_suites", "1 bytes where 3 are left")
        self.body(start + b"\0\2\x13\1", "cipher_suites", "2 bytes where 2 are left")
        self.body(start + b"\0\x10\x13\1\1\0", "cipher_suites", "16 bytes where 4 are left")

    def test_compression_methods(self) -> None:
        """
        There is at least one compression method, within the message.
        """
        start = bytes(35) + b"\0\2\x13\1"
        self.body(start + b"\0", "compression_methods", "0 bytes where 0 are left")
        self.body(start + b"\2\0", "compression_methods", "2 bytes where 1 are left")

    def test_extensions_length(self) -> None:
        """
        The extensions fill the rest of the message exactly.
        """
        start = bytes(35) + b"\0\2\x13\1\1\0"
        wrong = "the length is not that of the rest of the message"
        self.body(start + b"\0", "extensions", wrong)
        self.body(start + b"\0\1", "extensions", wrong)
        self.body(start + b"\0\0x", "extensions", wrong)

    def test_extension_headers(self) -> None:
        """
        An extension's type and length are there, and what the length promises.
        """
        start = bytes(35) + b"\0\2\x13\1\1\0"
        self.body(start + sized(2, b"\0\x17\0"), "extensions", "3 bytes left over")
        self.body(start + sized(2, b"\0\x17\0\3ab"), "extensions", "type 23 needs 3 bytes where 2 are left")
        self.body(start + sized(2, b"\0\x17\0\0x"), "extensions", "1 bytes left over")

    def test_repeated(self) -> None:
        """
        Any extension, known to us or not, comes once (RFC 8446, section 4.2).
        """
        for kind in (23, 16, 0x5555):
            content = sized(2, b"\2h2") if kind == 16 else b""
            stream = appended(replaced(PLAIN, kind, content), kind, content)
            self.assertEqual(look(stream), Malformed("extensions", f"type {kind} is repeated"))

    def test_lists_of_codes(self) -> None:
        """
        Groups and signature algorithms are lists of whole numbers, not empty, and nothing is behind them.
        """
        for kind, field in ((10, "supported_groups"), (13, "signature_algorithms")):
            self.extension(
                kind, field, b"", b"\0", b"\0\0", b"\0\1x", b"\0\3abc", b"\0\4ab", b"\0\2abc", b"\0\2abcd", b"\0\0ab"
            )

    def test_supported_versions(self) -> None:
        """
        So are versions, behind a length of one byte.
        """
        self.extension(43, "supported_versions", b"", b"\0", b"\1x", b"\3abc", b"\4ab", b"\2abc", b"\2abcd", b"\0ab")

    def test_alpn(self) -> None:
        """
        Protocols are a list, not empty, of names that are not empty and end within it.
        """
        self.extension(16, "alpn", b"", b"\0", b"\0\0", b"\0\4\2h2", b"\0\2\2h2", b"\0\3\2h2x")
        self.extension(16, "alpn", b"\0\1\0", b"\0\4\2h2\0", b"\0\3\3h2")
