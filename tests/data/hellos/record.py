"""
Records what real clients send first: C{python tests/data/hellos/record.py} writes the C{*.bin} files beside this one,
and C{hellos.json}, which says who sent each of them and what it asked for. A client that is not installed is skipped,
and what was recorded of it before stays.

What a hello asked for is taken from the client's command line and never from our own parser.
"""

from __future__ import annotations

import datetime
import json
import shutil
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL

HERE: Final = Path(__file__).parent
PATIENCE: Final = 30.0
QUIET: Final = 0.3
X25519: Final = 0x001D
X25519MLKEM768: Final = 0x11EC

TLS12: Final = 0x0303
TLS13: Final = 0x0304

JAVA: Final = """
import javax.net.ssl.*;
import java.util.List;
public class Hello {
    public static void main(String[] arguments) throws Exception {
        int port = Integer.parseInt(arguments[0]);
        SSLSocket socket = (SSLSocket) SSLSocketFactory.getDefault().createSocket("127.0.0.1", port);
        SSLParameters parameters = socket.getSSLParameters();
        parameters.setServerNames(List.of(new SNIHostName("java.example")));
        parameters.setApplicationProtocols(new String[] {"h2", "http/1.1"});
        socket.setSSLParameters(parameters);
        socket.startHandshake();
    }
}
"""

NODE: Final = """
const socket = require("tls").connect({
    port: Number(process.argv[1]), host: "127.0.0.1", servername: "node.example", ALPNProtocols: ["h2", "http/1.1"]});
socket.on("error", () => {});
"""

Hello = dict[str, Any]


def first_flight(listener: socket.socket) -> bytes:
    """
    What the next client says before it is answered.
    """
    listener.settimeout(PATIENCE)
    client, _ = listener.accept()
    with client:
        client.settimeout(PATIENCE)
        said = b""
        try:
            while piece := client.recv(65536):
                said += piece
                client.settimeout(QUIET)
        except TimeoutError:
            pass
    return said


def version_of(*command: str) -> str:
    """
    The first line a program says of itself.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).splitlines()[0].strip()


def from_program(name: str, command: Sequence[str], asks_version: Sequence[str], expected: Hello) -> Hello | None:
    """
    Run a program against a listener of ours; C{PORT} in its arguments becomes the listener's.
    """
    if shutil.which(command[0]) is None:
        print(f"{name}: {command[0]} is not installed")
        return None
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        process = subprocess.Popen(
            [part.replace("PORT", port) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            said = first_flight(listener)
        finally:
            process.terminate()
            process.wait()
    return save(name, version_of(*asks_version), said, expected)


def save(name: str, client: str, said: bytes, expected: Hello) -> Hello:
    """
    Write the bytes.

    @return: the entry for hellos.json.
    """
    (HERE / f"{name}.bin").write_bytes(said)
    print(f"{name}: {len(said)} bytes from {client}")
    return {"client": client, **expected}


def from_python() -> Hello:
    """
    Python's ssl module, over memory.
    """
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    outgoing = ssl.MemoryBIO()
    wrapped = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="python.example")
    try:
        wrapped.do_handshake()
    except ssl.SSLWantReadError:
        pass
    expected = {"server_name": "python.example", "alpn": ["http/1.1"], "version": TLS13, "group": X25519, "ech": False}
    return save("python-ssl", f"Python ssl, {ssl.OPENSSL_VERSION}", outgoing.read(), expected)


def started(context: SSL.Context, session: SSL.Session | None = None) -> tuple[SSL.Connection, bytes]:
    """
    A pyOpenSSL client that has said hello.
    """
    client = SSL.Connection(context, None)
    client.set_connect_state()
    client.set_tlsext_host_name(b"pyopenssl.example")
    if session is not None:
        client.set_session(session)
    try:
        client.do_handshake()
    except SSL.WantReadError:
        pass
    return client, client.bio_read(1 << 17)


def from_pyopenssl() -> Hello:
    """
    pyOpenSSL with its defaults, which offer X25519MLKEM768.
    """
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_alpn_protos([b"h2", b"http/1.1"])
    _, said = started(context)
    expected = {
        "server_name": "pyopenssl.example",
        "alpn": ["h2", "http/1.1"],
        "version": TLS13,
        "group": X25519MLKEM768,
        "ech": False,
    }
    return save("pyopenssl-mlkem", openssl_of_pyopenssl(), said, expected)


def openssl_of_pyopenssl() -> str:
    """
    Which OpenSSL pyOpenSSL runs on.
    """
    return f"pyOpenSSL, {SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode()}"


def with_ticket(name: str, version: int, names: int) -> Hello:
    """
    A second connection under mTLS: the ticket holds the client's certificate, so its size is the certificate's.

    @param names: how many names the client's certificate has.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "client.example")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(f"{n:05}.client.example") for n in range(names)]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    contexts = []
    for method in (SSL.TLS_CLIENT_METHOD, SSL.TLS_SERVER_METHOD):
        context = SSL.Context(method)
        context.set_max_proto_version(version)
        context.use_certificate(certificate)
        context.use_privatekey(key)
        context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
        context.set_session_id(b"recording")
        contexts.append(context)
    client, waiting = started(contexts[0])
    server = SSL.Connection(contexts[1], None)
    server.set_accept_state()
    for _ in range(10):
        for speaker in (server, client):
            if waiting:
                speaker.bio_write(waiting)
            waiting = step(speaker)
    session = client.get_session()
    assert session is not None
    _, said = started(contexts[0], session)
    expected = {"server_name": "pyopenssl.example", "alpn": [], "version": version, "group": X25519, "ech": False}
    return save(name, f"{openssl_of_pyopenssl()}, with a ticket", said, expected)


def step(connection: SSL.Connection) -> bytes:
    """
    Let a connection over memory do what it can.

    @return: what it has to say.
    """
    try:
        connection.do_handshake()
        connection.recv(1)
    except SSL.WantReadError:
        pass
    try:
        return connection.bio_read(1 << 17)
    except SSL.WantReadError:
        return b""


def main() -> None:
    """
    Record every client that is here.
    """
    index = HERE / "hellos.json"
    hellos: dict[str, Hello | None] = json.loads(index.read_text()) if index.exists() else {}

    def program(name: str, command: Sequence[str], asks_version: Sequence[str], **expected: Any) -> None:
        found = from_program(name, command, asks_version, expected)
        if found is not None:
            hellos[name] = found

    openssl = ("openssl", "version")
    s_client = ("openssl", "s_client", "-connect", "127.0.0.1:PORT")
    web = ["h2", "http/1.1"]
    program(
        "openssl-tls13",
        [*s_client, "-servername", "openssl.example"],
        openssl,
        server_name="openssl.example", alpn=[], version=TLS13, group=X25519, ech=False,
    )  # fmt: skip
    program(
        "openssl-tls12",
        [*s_client, "-servername", "openssl.example", "-tls1_2"],
        openssl,
        server_name="openssl.example", alpn=[], version=TLS12, group=X25519, ech=False,
    )  # fmt: skip
    program(
        "openssl-alpn",
        [*s_client, "-servername", "OpenSSL.Example", "-alpn", "h2,http/1.1"],
        openssl,
        server_name="openssl.example", alpn=web, version=TLS13, group=X25519, ech=False,
    )  # fmt: skip
    program(
        "openssl-no-name",
        [*s_client, "-noservername"],
        openssl,
        server_name=None, alpn=[], version=TLS13, group=X25519, ech=False,
    )  # fmt: skip
    program(
        "curl",
        ["curl", "--insecure", "--connect-to", "::127.0.0.1:PORT", "https://curl.example/"],
        ("curl", "--version"),
        server_name="curl.example", alpn=web, version=TLS13, group=X25519, ech=False,
    )  # fmt: skip
    program(
        "wget",
        ["wget", "--tries=1", "-O", "/dev/null", "https://localhost:PORT/"],
        ("wget", "--version"),
        server_name="localhost", alpn=[], version=TLS13, group=X25519, ech=False,
    )  # fmt: skip
    program(
        "gnutls",
        ["gnutls-cli", "--insecure", "--sni-hostname=gnutls.example", "--alpn=h2", "--port=PORT", "127.0.0.1"],
        ("gnutls-cli", "--version"),
        server_name="gnutls.example", alpn=["h2"], version=TLS13, group=X25519, ech=False,
    )  # fmt: skip
    program(
        "node",
        ["node", "-e", NODE, "PORT"],
        ("node", "--version"),
        server_name="node.example", alpn=web, version=TLS13, group=X25519, ech=False,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "Hello.java")
        source.write_text(JAVA)
        program(
            "java",
            ["java", str(source), "PORT"],
            ("java", "-version"),
            server_name="java.example", alpn=web, version=TLS13, group=X25519, ech=False,
        )  # fmt: skip
        program(
            "chromium",
            [
                "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                "--disable-background-networking", "--disable-component-update", "--disable-sync",
                "--host-resolver-rules=MAP * 127.0.0.1", f"--user-data-dir={folder}/profile", "https://chromium.example:PORT/",
            ],
            ("chromium", "--version"),
            server_name="chromium.example", alpn=web, version=TLS13, group=X25519MLKEM768, ech=True,
        )  # fmt: skip
    hellos["python-ssl"] = from_python()
    hellos["pyopenssl-mlkem"] = from_pyopenssl()
    hellos["ticket-tls12"] = with_ticket("ticket-tls12", TLS12, 300)
    hellos["ticket-tls13"] = with_ticket("ticket-tls13", TLS13, 250)
    hellos["ticket-two-records"] = with_ticket("ticket-two-records", TLS13, 900)
    index.write_text(json.dumps(hellos, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
