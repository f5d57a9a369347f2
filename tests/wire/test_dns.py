"""
Tests for L{sniproxy.wire.dns}. Real messages come from twisted.names; broken ones are spoiled real ones.
"""

from __future__ import annotations

from struct import pack
from typing import Any

from twisted.names import dns as names
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.wire.cursor import WireError
from sniproxy.wire.dns import AAAA, MAX_RECORDS, SRV, A, Answer, Service, query, read_answer, text_name, wire_name


def record(owner: str, payload: Any, ttl: int = 60) -> names.RRHeader:
    """
    One record.
    """
    return names.RRHeader(owner.encode(), payload.TYPE, names.IN, ttl, payload)


def answer(
    name: str = "a.example",
    kind: int = A,
    answers: tuple[names.RRHeader, ...] = (),
    authority: tuple[names.RRHeader, ...] = (),
    additional: tuple[names.RRHeader, ...] = (),
    code: int = 0,
    truncated: bool = False,
    ident: int = 7,
) -> bytes:
    """
    A message as a name server writes it.
    """
    message = names.Message(ident, answer=1, rCode=code, trunc=truncated, maxSize=0)
    message.queries = [names.Query(name.encode(), kind, names.IN)]
    message.answers = list(answers)
    message.authority = list(authority)
    message.additional = list(additional)
    encoded: bytes = message.toStr()
    return encoded


ALIASED = answer(
    "WWW.example",
    AAAA,
    (
        record("www.example", names.Record_CNAME(b"b.example"), 30),
        record("b.example", names.Record_CNAME(b"c.example"), 90),
        record("c.example", names.Record_AAAA("2001:db8::1"), 50),
        record("c.example", names.Record_AAAA("2001:db8::2"), 40),
    ),
    (record("example", names.Record_SOA(b"ns.example", b"me.example", minimum=5), 900),),
    (record("ns.example", names.Record_A("192.0.2.53")),),
)


class QueryTests(SynchronousTestCase):
    """
    What is asked.
    """

    def test_twisted_understands(self) -> None:
        """
        A name server reads the number, the name, the kind and the wish for recursion.
        """
        message = names.Message()
        message.fromStr(query(4711, wire_name("A.Example."), AAAA))
        self.assertEqual((message.id, message.answer, message.recDes), (4711, 0, 1))
        self.assertEqual(message.queries, [names.Query(b"a.example", AAAA, names.IN)])

    def test_names_that_cannot_be_asked(self) -> None:
        """
        Empty labels, long labels and long names are refused.
        """
        for name in ("", ".", "a..b", ".a", "x" * 64, ".".join(["x" * 62] * 5)):
            self.assertRaises(WireError, wire_name, name)

    def test_bytes_survive(self) -> None:
        """
        A name that came as odd bytes is asked as these bytes.
        """
        self.assertEqual(wire_name("\udcff.X"), b"\x01\xff\x01x\x00")


class AnswerTests(SynchronousTestCase):
    """
    What is believed of an answer.
    """

    def test_addresses(self) -> None:
        """
        The addresses of the name are kept in order, with the least of their lives.
        """
        data = answer(
            answers=(
                record("A.example", names.Record_A("192.0.2.2"), 9),
                record("a.Example", names.Record_A("192.0.2.1")),
            )
        )
        self.assertEqual(
            read_answer(data), Answer(7, wire_name("a.example"), A, 0, False, ("192.0.2.2", "192.0.2.1"), None, 9, None)
        )

    def test_aliases_are_followed(self) -> None:
        """
        A chain of aliases leads to the addresses, and the shortest life on the way counts.
        """
        self.assertEqual(
            read_answer(ALIASED),
            Answer(7, wire_name("www.example"), AAAA, 0, False, ("2001:db8::1", "2001:db8::2"), None, 30, 5),
        )

    def test_alias_without_addresses(self) -> None:
        """
        Where the server leaves the end of the chain open, the end is told.
        """
        found = read_answer(answer(answers=(record("a.example", names.Record_CNAME(b"b.example"), 30),)))
        self.assertEqual((found.addresses, found.alias, found.life), ((), wire_name("b.example"), 30))

    def test_circle(self) -> None:
        """
        Aliases in a circle lead nowhere.
        """
        found = read_answer(
            answer(
                answers=(
                    record("a.example", names.Record_CNAME(b"b.example")),
                    record("b.example", names.Record_CNAME(b"a.example")),
                )
            )
        )
        self.assertEqual((found.addresses, found.alias), ((), None))

    def test_strangers_are_not_believed(self) -> None:
        """
        Addresses of other names, of another kind or class, and in other sections are no answer.
        """
        chaos = names.RRHeader(b"a.example", names.A, names.CH, 60, names.Record_A("192.0.2.4"))
        data = answer(
            answers=(
                record("b.example", names.Record_A("192.0.2.1")),
                record("a.example", names.Record_AAAA("2001:db8::1")),
                record("a.example", names.Record_TXT(b"192.0.2.2")),
                chaos,
            ),
            authority=(record("a.example", names.Record_A("192.0.2.3")),),
        )
        self.assertEqual(read_answer(data).addresses, ())

    def test_other_kinds_have_no_addresses(self) -> None:
        """
        An answer to a question of another kind is read, and has no addresses.
        """
        data = answer(kind=names.TXT, answers=(record("a.example", names.Record_TXT(b"x")),))
        self.assertEqual((read_answer(data).kind, read_answer(data).addresses), (names.TXT, ()))

    def test_absence(self) -> None:
        """
        An absent name has its code, and the lesser of the two lives that the SOA record gives.
        """
        for ttl, minimum in ((20, 900), (900, 20)):
            soa = record("example", names.Record_SOA(b"ns.example", b"me.example", minimum=minimum), ttl)
            found = read_answer(answer(code=3, authority=(soa,)))
            self.assertEqual((found.code, found.addresses, found.negative_life), (3, (), 20))

    def test_truncated(self) -> None:
        """
        Nothing of a truncated answer is believed but that it is one.
        """
        data = answer(answers=(record("a.example", names.Record_A("192.0.2.2")),), truncated=True)
        self.assertEqual(read_answer(data[:-2]), Answer(7, wire_name("a.example"), A, 0, truncated=True))

    def test_negative_life_is_none(self) -> None:
        """
        A life with its highest bit set is 0 (RFC 2181, section 8).
        """
        data = answer(answers=(record("a.example", names.Record_A("192.0.2.2"), 1 << 31),))
        self.assertEqual(read_answer(data).life, 0)

    def test_records_are_capped(self) -> None:
        """
        Of too many records the first are read, and no authority behind them.
        """
        many = tuple(record("a.example", names.Record_A(f"10.0.{n >> 8}.{n & 255}")) for n in range(MAX_RECORDS + 9))
        soa = record("example", names.Record_SOA(b"ns.example", b"me.example", minimum=1))
        found = read_answer(answer(answers=many, authority=(soa,)))
        self.assertEqual((len(found.addresses), found.negative_life), (MAX_RECORDS, None))

    def test_not_an_answer(self) -> None:
        """
        Queries, other operations, other classes, and any number of questions but one are refused.
        """
        good = answer()
        question = good[12:]
        for data in (
            query(7, wire_name("a.example"), A),
            pack("!HHHHHH", 7, 0x9000, 1, 0, 0, 0) + question,
            pack("!HHHHHH", 7, 0x8000, 0, 0, 0, 0),
            pack("!HHHHHH", 7, 0x8000, 2, 0, 0, 0) + question * 2,
            good[:-1] + b"\x03",
        ):
            self.assertRaises(WireError, read_answer, data)
        self.assertEqual(read_answer(good).addresses, ())


class HostileTests(SynchronousTestCase):
    """
    What a message may hold and must not do.
    """

    def broken(self, records: bytes, answers: int = 1, authorities: int = 0) -> str:
        """
        The complaint about a message whose question is fine, and whose records are these bytes.
        """
        head = pack("!HHHHHH", 7, 0x8180, 1, answers, authorities, 0) + b"\x01a\x00" + pack("!HH", A, 1)
        return str(self.assertRaises(WireError, read_answer, head + records))

    def test_every_cut(self) -> None:
        """
        An answer cut anywhere is refused, unless only what nobody reads is missing.
        """
        additional = len(ALIASED) - 16
        for cut in range(len(ALIASED)):
            if cut < additional:
                self.assertRaises(WireError, read_answer, ALIASED[:cut])
            else:
                self.assertEqual(read_answer(ALIASED[:cut]), read_answer(ALIASED))

    def test_every_spoiled_byte(self) -> None:
        """
        Any one byte changed to anything gives an answer or is refused, and nothing else.
        """
        for place in range(len(ALIASED)):
            for value in range(256):
                try:
                    read_answer(ALIASED[:place] + bytes([value]) + ALIASED[place + 1 :])
                except WireError:
                    pass

    def test_pointers(self) -> None:
        """
        A name that points at itself, forwards, beyond the end or too often is refused.
        """
        self.assertIn("circles", self.broken(b"\xc0\x13"))
        self.assertIn("circles", self.broken(b"\xff\xff"))
        self.assertIn("beyond the end", self.broken(b"\xc0"))
        chain = b"".join(b"\xc0" + bytes([start]) for start in [12, *range(30, 110, 2)])
        rest = pack("!HHIH", 16, 1, 0, len(chain)) + chain
        self.assertIn("circles", self.broken(b"\x00" + rest + b"\xc0\x6c" + pack("!HHIH", A, 1, 0, 4), answers=2))

    def test_pointer_into_a_record(self) -> None:
        """
        A pointer backwards is followed wherever it leads, as RFC 1035 has it.
        """
        self.assertIn("record", self.broken(b"\xc0\x0c"))

    def test_labels(self) -> None:
        """
        Reserved label types and names over 255 bytes are refused.
        """
        self.assertIn("label type 0x40", self.broken(b"\x40"))
        self.assertIn("too long", self.broken((b"\x3f" + b"x" * 63) * 4 + b"\x00"))

    def test_lengths(self) -> None:
        """
        Records longer than the message, addresses of a wrong size, and names that leave bytes over are refused.
        """
        self.assertIn("needs 9 bytes where 4", self.broken(b"\xc0\x0c" + pack("!HHIH", A, 1, 0, 9) + bytes(4)))
        self.assertIn("address: 5", self.broken(b"\xc0\x0c" + pack("!HHIH", A, 1, 0, 5) + bytes(5)))
        self.assertIn("CNAME: does not", self.broken(b"\xc0\x0c" + pack("!HHIH", 5, 1, 0, 3) + b"\xc0\x0c\x00"))
        soa = b"\xc0\x0c" + pack("!HHIH", 6, 1, 0, 25) + b"\xc0\x0c\xc0\x0c" + bytes(21)
        self.assertIn("SOA: does not", self.broken(soa, 0, 1))


SERVICES = answer(
    "_http._tcp.a.example",
    SRV,
    (
        record("_http._tcp.a.example", names.Record_CNAME(b"_web._tcp.a.example"), 90),
        record("_web._tcp.a.example", names.Record_SRV(10, 5, 8080, b"One.a.example"), 60),
        record("_web._tcp.a.example", names.Record_SRV(65535, 0, 0, b"two.a.example"), 30),
        record("_other._tcp.a.example", names.Record_SRV(1, 1, 1, b"other.a.example"), 10),
    ),
    additional=(record("one.a.example", names.Record_A("192.0.2.1")),),
)


class ServiceTests(SynchronousTestCase):
    """
    Where services are.
    """

    def test_services(self) -> None:
        """
        Those of the name are read, along its aliases, and nothing else.
        """
        found = read_answer(SERVICES)
        self.assertEqual(found.services, (Service(10, 5, 8080, "one.a.example"), Service(65535, 0, 0, "two.a.example")))
        self.assertEqual((found.addresses, found.alias, found.life), ((), None, 30))

    def test_no_such_service(self) -> None:
        """
        The root as a target says that there is none: then there are no services, and no alias to follow.
        """
        data = answer("x.example", SRV, (record("x.example", names.Record_SRV(0, 0, 0, b"")),))
        found = read_answer(data)
        self.assertEqual((found.code, found.services, found.alias), (0, (), None))

    def test_broken(self) -> None:
        """
        A record that is too short, or longer than what is in it, is no answer.
        """
        good = answer("x.example", SRV, (record("x.example", names.Record_SRV(0, 0, 0, b"y")),))
        size = len(good) - 9 - 2  # before its length: 6 bytes of numbers and 3 of a name
        self.assertEqual(read_answer(good).services, (Service(0, 0, 0, "y"),))
        self.assertRaises(WireError, read_answer, good[:size] + pack("!H", 10) + good[size + 2 :] + b"z")
        self.assertRaises(WireError, read_answer, good[:size] + pack("!H", 4) + good[size + 2 : size + 6])

    def test_not_asked_for(self) -> None:
        """
        A service in an answer about addresses is not looked at.
        """
        data = answer("x.example", A, (record("x.example", names.Record_SRV(0, 0, 0, b"y")),))
        self.assertEqual(read_answer(data).services, ())

    def test_every_spoiled_byte(self) -> None:
        """
        Whatever byte is another one, there is an answer or a WireError.
        """
        for at in range(len(SERVICES)):
            for value in (0, 1, 63, 64, 192, 255, SERVICES[at] ^ 1):
                try:
                    found = read_answer(SERVICES[:at] + bytes((value,)) + SERVICES[at + 1 :])
                except WireError:
                    continue
                self.assertIsInstance(found, Answer)

    def test_text(self) -> None:
        """
        Names come back as they went.
        """
        for name in ("a.example", "xn--bcher-kva.example", "\udcff.example", "a"):
            self.assertEqual(text_name(wire_name(name)), name)
