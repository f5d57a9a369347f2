"""
Do we speak TLS as nginx does? The same configurations, certificates and clients for both; what clients get, what the
variables hold and what the error log tells is compared, see L{tests.support.differential}.
"""

from __future__ import annotations

from typing import Final

from tests.support.clients import hello, records
from tests.support.differential import Case, Differential
from tests.support.visits import BYE, DROP, END, HALF, Act, Tls, Visit, hear, send

OWN: Final = "ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate @a@; ssl_certificate_key @a_key@; "
PAIR: Final = "ssl_certificate @a@; ssl_certificate_key @a_key@; "
VALUES: Final = (
    "'$server_port $status $bytes_received $bytes_sent $protocol $ssl_protocol $ssl_cipher $ssl_session_reused"
    ' "$ssl_server_name" "$ssl_alpn_protocol" $ssl_client_verify "$upstream_addr"\';'
)
TALK: Final[tuple[Act, ...]] = (send(b"hello"), hear(b"0:hello"), BYE)
VERSIONS: Final = (None, "TLSv1.2", "TLSv1.3")


def server(number: int, text: str, parameters: str = "ssl") -> str:
    """
    A server on one of the ports.
    """
    return f"server {{ listen 127.0.0.1:@p{number}@ {parameters}; {text} }} "


def says(*values: str) -> str:
    """
    A server's text that tells variables.
    """
    return "return '{}';".format("|".join(f"${value}" for value in values))


PASSING: Final = "proxy_pass 127.0.0.1:@b0@;"
IDENTITY: Final = says(
    "ssl_client_verify",
    "ssl_client_s_dn",
    "ssl_client_i_dn",
    "ssl_client_serial",
    "ssl_client_fingerprint",
    "ssl_client_v_start",
    "ssl_client_v_end",
    "ssl_client_v_remain",
)
PEOPLE: Final = ("", "mary", "gone", "late", "john", "deep")

HANDSHAKES: Final = (
    Case(
        "versions and ciphers",
        OWN
        + server(0, "ssl_protocols TLSv1.2;" + PASSING)
        + server(1, "ssl_protocols TLSv1.3;" + PASSING)
        + server(2, "ssl_ciphers ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256;" + PASSING)
        + server(
            3,
            "ssl_ciphers ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256; ssl_prefer_server_ciphers on;"
            + PASSING,
        )
        + server(4, "ssl_certificate @rsa@; ssl_certificate_key @rsa_key@;" + PASSING)
        + server(5, PAIR + "ssl_certificate @rsa@; ssl_certificate_key @rsa_key@;" + PASSING)
        + server(6, "ssl_conf_command Ciphersuites TLS_CHACHA20_POLY1305_SHA256;" + PASSING)
        + server(7, "ssl_conf_command MinProtocol TLSv1.3;" + PASSING)
        + server(8, "ssl_conf_command Options -SessionTicket,ServerPreference;" + PASSING),
        tuple(Visit(TALK, port, tls=Tls(version=version)) for port in range(9) for version in VERSIONS)
        + tuple(
            Visit(TALK, port, tls=Tls(version="TLSv1.2", ciphers=ciphers))
            for port in (0, 2, 3, 4, 5)
            for ciphers in (
                "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384",
                "ECDHE-RSA-AES128-GCM-SHA256",
                "AES128-SHA256",
                "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256",
            )
        ),
        VALUES.replace('"$ssl_server_name" ', ""),
    ),
    Case(
        "exchanges of keys",
        "ssl_certificate @rsa@; ssl_certificate_key @rsa_key@; ssl_protocols TLSv1.2; ssl_ciphers ALL; "
        + server(0, PASSING)
        + server(1, "ssl_dhparam @dh@;" + PASSING)
        + server(2, "ssl_ecdh_curve secp384r1;" + says("ssl_curve"))
        + server(3, "ssl_ecdh_curve X25519:prime256v1;" + says("ssl_curve"))
        + server(4, "ssl_dhparam @dh@; ssl_ciphers DHE-RSA-AES256-GCM-SHA384:AES128-SHA;" + PASSING),
        (
            *(
                Visit(TALK, port, tls=Tls(ciphers=ciphers))
                for port in (0, 1, 4)
                for ciphers in ("DHE-RSA-AES128-GCM-SHA256", "DHE-RSA-AES256-GCM-SHA384", "AES128-SHA", "ALL")
            ),
            *(Visit(port=port, tls=Tls()) for port in (2, 3)),
        ),
        VALUES.replace('"$ssl_server_name" ', ""),
    ),
    Case(
        "protocols and names",
        OWN
        + server(0, "ssl_alpn h2 http/1.1;" + says("ssl_alpn_protocol", "ssl_server_name", "ssl_protocol", "ssl_curve"))
        + server(1, "ssl_alpn 'x y' z;" + says("ssl_alpn_protocol"))
        + server(
            2, says("ssl_alpn_protocol", "ssl_server_name", "ssl_session_reused", "ssl_cipher", "ssl_client_verify")
        )
        + server(3, says("ssl_server_name"), ""),
        (
            Visit(port=3),
            *(
                Visit(port=port, tls=Tls(name=name, version=version, alpn=alpn))
                for port in (0, 1, 2)
                for version in VERSIONS[1:]
                for name, alpn in (
                    ("a.example.com", ()),
                    (None, ("h2",)),
                    ("A.Example.COM", ("http/1.1", "h2")),
                    ("other.test", ("z", "x y")),
                    ("x" * 63 + ".test", ("nothing",)),
                    ("127.0.0.1", ("h2c", "z")),
                )
            ),
        ),
        VALUES,
    ),
    Case(
        "resuming",
        OWN
        + server(0, PASSING)
        + server(1, "ssl_session_tickets off;" + PASSING)
        + server(2, "ssl_session_tickets off; ssl_session_cache shared:s:1m;" + PASSING)
        + server(3, "ssl_session_tickets off; ssl_session_cache builtin;" + PASSING)
        + server(4, "ssl_session_cache off;" + PASSING)
        + server(5, "ssl_session_cache none; ssl_session_timeout 1s;" + PASSING),
        tuple(
            Visit(TALK, port, times=3, tls=Tls(version=version, session=f"{port} {version}"))
            for port in range(6)
            for version in VERSIONS[1:]
        ),
        VALUES,
    ),
    Case(
        "who does not shake hands",
        OWN
        + "ssl_handshake_timeout 500ms; "
        + server(0, PASSING)
        + server(1, "ssl_protocols TLSv1.3;" + PASSING)
        + server(2, PASSING, "ssl proxy_protocol"),
        (
            Visit((send(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + hello()[:60]), HALF, END), 2),
            Visit((send(b"GET / HTTP/1.0"), END), 2),
            Visit(TALK, 0, tls=Tls()),
            *(
                Visit(acts, port)
                for port in (0, 1)
                for acts in (
                    (send(b"GET / HTTP/1.0\r\n\r\n"), END),
                    (send(b"SSH-2.0-OpenSSH_9\r\n"), END),
                    (send(b"\0" * 20), END),
                    (send(b"\x15\x03\x01\0\x02\x01\0"), END),
                    (send(b"\x15\x03\x01\0\x02\x02\x28"), END),
                    (send(b"\x16\x03\x01\0\x00"), END),
                    (send(b"\x16\x03\x01\xff\xff" + b"x" * 100), END),
                    (send(b"\x16\x03\x01\0\x05\x02\0\0\x01\0"), END),
                    (send(b"\x17\x03\x03\0\x05hello"), END),
                    (send(b"\x14\x03\x03\0\x01\x01"), END),
                    (END,),
                    (HALF, END),
                    (send(hello()[:1]), HALF, END),
                    (send(hello()[:5]), HALF, END),
                    (send(hello()[:60]), HALF, END),
                    (send(hello()[:60]), END),
                    (send(hello()[:60]), DROP),
                )
            ),
        ),
        VALUES.replace("$bytes_sent $protocol $ssl_protocol ", ""),
    ),
    Case(
        "ends",
        OWN
        + "proxy_timeout 500ms; "
        + server(0, PASSING)
        + server(1, "proxy_half_close on;" + PASSING)
        + server(2, "proxy_pass 127.0.0.1:@closed@;")
        + server(3, "deny all;" + PASSING)
        + server(4, "return '';"),
        tuple(
            Visit(acts, port, tls=Tls(version=version))
            for port in (0, 1)
            for version in VERSIONS[1:]
            for acts in (
                TALK,
                (hear(b"0:"), BYE),
                (hear(b"0:"), END),
                (send(b"x" * 70000), hear(b"0:" + b"x" * 70000), BYE),
            )
        )
        + tuple(Visit((END,), port, tls=Tls(version=version)) for port in (2, 4) for version in VERSIONS[1:])
        + (Visit(port=3),),
        VALUES,
    ),
    Case(
        "certificates by variables",
        "ssl_protocols TLSv1.2 TLSv1.3;"
        " map $ssl_server_name $who { a.example.com a; b.example.com b; default $ssl_server_name; } "
        + server(0, "ssl_certificate @pki@/$who.pem; ssl_certificate_key @pki@/$who.key;" + PASSING),
        tuple(
            Visit(TALK, tls=Tls(name=name, version=version))
            for name in ("a.example.com", "b.example.com", "rsa", "nobody")
            for version in VERSIONS[1:]
        ),
        VALUES,
    ),
)

PERSONS: Final = (
    Case(
        "certificates of clients",
        OWN
        + "ssl_client_certificate @ca@; "
        + server(0, "ssl_verify_client on;" + IDENTITY)
        + server(1, "ssl_verify_client optional;" + IDENTITY)
        + server(2, "ssl_verify_client optional_no_ca;" + IDENTITY)
        + server(3, "ssl_verify_client off;" + IDENTITY)
        + server(4, "ssl_verify_client on; ssl_verify_depth 2;" + IDENTITY)
        + server(5, "ssl_verify_client optional; ssl_verify_depth 0;" + IDENTITY)
        + server(6, "ssl_verify_client on; ssl_crl @ca_list@;" + IDENTITY)
        + server(7, "ssl_verify_client optional; ssl_trusted_certificate @ca2@;" + IDENTITY)
        + server(8, "ssl_verify_client on;" + says("ssl_client_cert"))
        + server(9, "ssl_verify_client on;" + says("ssl_client_raw_cert")),
        tuple(
            Visit(port=port, tls=Tls(version=version, shows=shows))
            for port in range(10)
            for version in VERSIONS[1:]
            for shows in PEOPLE
        ),
        VALUES,
    ),
    Case(
        "their sessions",
        OWN
        + "ssl_client_certificate @ca@; ssl_session_cache shared:s:1m; "
        + server(0, "ssl_verify_client on;" + IDENTITY)
        + server(1, "ssl_verify_client optional;" + IDENTITY),
        tuple(
            Visit(port=port, times=2, tls=Tls(version=version, shows=shows, session=f"{port}{version}{shows}"))
            for port in (0, 1)
            for version in VERSIONS[1:]
            for shows in ("", "mary")
        ),
        VALUES,
    ),
)

TOWARDS: Final = (
    Case(
        "tls with upstreams",
        "proxy_ssl on; proxy_ssl_protocols TLSv1.2 TLSv1.3; proxy_ssl_session_reuse off; "
        + "upstream ghost { server 127.0.0.1:@closed@; server 127.0.0.1:@t0@; } "
        + "upstream rsa.example.com { server 127.0.0.1:@t0@; } "
        + "map $remote_addr $name { 127.0.0.1 by.variable; default ''; } "
        + server(0, "proxy_pass 127.0.0.1:@t0@;", "")
        + server(1, "proxy_ssl_server_name on; proxy_pass 127.0.0.1:@t0@;", "")
        + server(2, "proxy_ssl_server_name on; proxy_ssl_name other.test; proxy_pass 127.0.0.1:@t0@;", "")
        + server(3, "proxy_ssl_server_name on; proxy_pass rsa.example.com;", "")
        + server(4, "proxy_ssl_server_name on; proxy_ssl_name $name; proxy_pass ghost;", "")
        + server(5, "proxy_ssl_verify on; proxy_ssl_trusted_certificate @ca@; proxy_pass rsa.example.com;", "")
        + server(6, "proxy_ssl_verify on; proxy_ssl_trusted_certificate @ca@; proxy_pass ghost;", "")
        + server(7, "proxy_ssl_verify on; proxy_ssl_trusted_certificate @ca2@; proxy_pass rsa.example.com;", "")
        + server(
            8, "proxy_ssl_certificate @mary@; proxy_ssl_certificate_key @mary_key@; proxy_pass 127.0.0.1:@t1@;", ""
        )
        + server(9, "proxy_ssl_protocols TLSv1.2; proxy_pass 127.0.0.1:@t1@;", "")
        + server(10, "proxy_ssl_protocols TLSv1.2; proxy_pass 127.0.0.1:@t0@;", "")
        + server(
            11,
            "proxy_ssl_name rsa.example.com; proxy_ssl_verify on; proxy_ssl_trusted_certificate @ca@;"
            " proxy_ssl_crl @ca_list@; proxy_pass 127.0.0.1:@t0@;",
            "",
        )
        + server(
            12,
            "proxy_ssl_ciphers ECDHE-ECDSA-AES128-GCM-SHA256; proxy_ssl_protocols TLSv1.2; proxy_pass 127.0.0.1:@t0@;",
            "",
        )
        + server(13, "proxy_ssl_conf_command Protocol TLSv1.2; proxy_pass 127.0.0.1:@t0@;", "")
        + server(14, "proxy_protocol on; proxy_pass 127.0.0.1:@p15@;", "")
        + server(15, OWN + "return '$proxy_protocol_addr $ssl_protocol';", "ssl proxy_protocol"),
        tuple(
            Visit((END,) if refused else (send(b"x"), HALF, END), port)
            for port, refused in ((number, number in (6, 7, 9, 12, 14)) for number in range(15))
        ),
        "'$server_port $status $bytes_received $bytes_sent \"$upstream_addr\" $upstream_bytes_received';",
    ),
)

PREREAD: Final = (
    Case(
        "looking into hellos",
        "map $ssl_preread_server_name $to { hostnames; default @b0@; *.b.test @b1@; b.* @b2@; '' @b2@; } "
        "preread_timeout 500ms; ssl_preread on; "
        + server(0, "proxy_pass 127.0.0.1:$to;", "")
        + server(1, "preread_buffer_size 90; proxy_pass 127.0.0.1:$to;", "")
        + server(2, says("ssl_preread_server_name", "ssl_preread_alpn_protocols", "ssl_preread_protocol"), "")
        + server(3, OWN + says("ssl_preread_server_name", "ssl_server_name"), "ssl")
        + server(4, "ssl_preread off; proxy_pass 127.0.0.1:@b1@;", ""),
        tuple(
            Visit(acts, port)
            for port in (0, 1, 2)
            for acts in (
                *(
                    (send(hello(name)), hear(b"0:" + hello(name)), HALF, END)
                    for name in ("a.test", "x.b.test", "b.test", "B.COM", "x.y.B.test")
                ),
                (send(hello(None)), hear(b"2:" + hello(None)), HALF, END),
                (send(records(hello("x.b.test"), 5)), hear(b"0:xxxx"), HALF, END),
                (send(hello("x.b.test")[:100]), END),
                (send(hello("x.b.test")[:100]), HALF, END),
                (send(b"\x16\x03"), HALF, END),
                (send(b"GET / HTTP/1.0\r\n\r\n"), hear(b"2:GET"), HALF, END),
                (send(b"\x16\x03\x01\0\x05\x02\0\0\x01\0"), hear(b"2:\x16"), HALF, END),
                (send(b"\x16\x02\x01\0\x05\x01\0\0\x01\0"), hear(b"2:\x16"), HALF, END),
                (END,),
                (HALF, END),
            )
        )
        + tuple(Visit(port=3, tls=Tls(name=name)) for name in ("a.test", None))
        + (Visit((send(hello("a.test")), hear(b"1:\x16\x03\x01"), HALF, END), 4),),
        '\'$server_port $status $bytes_sent "$ssl_preread_server_name" "$ssl_preread_alpn_protocols"'
        ' "$ssl_preread_protocol" "$upstream_addr"\';',
        ((r"from/to client:\d+", "from/to client:N"), (r'^(@p1@ 400 .*)"TLSv1.2"', '\\1""')),
    ),
)


class Same(Differential):
    """
    No difference that is not named.
    """

    def test_handshakes(self) -> None:
        """
        Versions, ciphers, protocols, names, sessions, and all who do not get that far.
        """
        self.check(HANDSHAKES)

    def test_persons(self) -> None:
        """
        Clients with certificates, good ones and others.
        """
        self.check(PERSONS)

    def test_towards(self) -> None:
        """
        Upstreams that speak TLS.
        """
        self.check(TOWARDS)

    def test_preread(self) -> None:
        """
        Hellos that are looked at and passed on.
        """
        self.check(PREREAD)
