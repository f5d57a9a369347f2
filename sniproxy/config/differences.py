"""
Where does sniproxy do something else than nginx, on purpose, with a directive or variable that it carries? As data, so
that the page for operators is made from it and cannot name what does not exist.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Difference:
    """
    One thing that an operator who knows nginx would not expect.

    @ivar names: the directives (C{block.name} where only those of one block are meant), or variables with their dollar
        sign, that it is about; none where it is about all.
    @ivar here: what sniproxy does; sentences.
    @ivar nginx: what nginx does; a sentence, or empty where it is plain from C{here}.
    @ivar why: a sentence.
    @ivar file: where it is done, below sniproxy/.
    """

    names: tuple[str, ...]
    here: str
    nginx: str
    why: str
    file: str


DIFFERENCES: Final = (
    # what is read
    Difference(
        (),
        "A file of nothing but `stream {}` is complete.",
        "It demands an `events` block.",
        "There is nothing that such a block could say here.",
        "config/internals.py",
    ),
    Difference(
        (),
        "All mistakes of a configuration are reported, a line each.",
        "It stops at the first one.",
        "A file is mended in one go.",
        "config/build.py",
    ),
    Difference(
        (),
        "Each complaint ends with the file and line it is about.",
        "Some have none: those about a combination of directives, for the most part.",
        "The line is where the mistake is mended.",
        "config/build.py",
    ),
    Difference(
        ("split_clients",),
        "A line is a share and a value, and nothing else.",
        "Older versions take lines of one word or three.",
        "They mean nothing.",
        "common/split_clients.py",
    ),
    Difference(
        ("worker_processes",),
        "`0` is refused.",
        "It is taken, and nobody serves.",
        "Nobody can mean that.",
        "service/core.py",
    ),
    Difference(
        ("ssl_certificate_key", "proxy_ssl_certificate_key"),
        "A key that is not its certificate's is refused when the configuration is read, of whatever type it is.",
        "It starts where the types differ.",
        "Every handshake would fail.",
        "tls/settings.py",
    ),
    Difference(
        ("proxy_buffer_size", "ssl_certificate", "proxy_ssl"),
        "With TLS on a side a flow may hold 64 KiB, however small the buffer is.",
        "",
        "To move a few records at a time costs little more than to move one.",
        "net/relay.py",
    ),
    Difference(
        ("proxy_pass",),
        "A server that has none, and nothing else that takes its sessions, is a warning; its clients are sent away.",
        "Older versions refuse it: `no handler for server`.",
        "Another server of the address may be all that is asked for.",
        "stream/core.py",
    ),
    Difference(
        ("map", "server_name"),
        "Regular expressions are PCRE's spelling on Python's engine; recursion, `\\K` and branch reset are refused.",
        "",
        "What the engine cannot do is never approximated.",
        "config/regex.py",
    ),
    Difference(
        ("geo",),
        "A base in nginx's binary form (`FILE.bin` beside an included FILE) is not used: the text is read.",
        "",
        "The form is that of its memory; the text is read fast enough.",
        "common/geo.py",
    ),
    Difference(
        ("listen",),
        "`multipath` is refused, and so is an address without a port.",
        "It listens on a port of the system's choice where there is none.",
        "Nothing here can ask for MPTCP, and nobody would find such a port.",
        "common/listen.py",
    ),
    Difference(
        ("listen", "proxy_buffer_size"),
        "Datagrams are passed on whole, whatever their size.",
        "It cuts them at `proxy_buffer_size`, all but the first of a session.",
        "Half a message is worse than none.",
        "net/datagram_relay.py",
    ),
    Difference(
        ("proxy_pass",),
        "A UDP session whose upstream has refused a datagram goes on: each refusal is a line in the log, and answers "
        "of an upstream that comes back are passed on.",
        "It hears no answer any more, and ends at the next datagram but one.",
        "Who restarts a server loses what was sent meanwhile, and nothing else.",
        "net/datagram_relay.py",
    ),
    Difference(
        ("listen", "proxy_upload_rate"),
        "Datagrams that come faster than `proxy_upload_rate`, or before their upstream is known, wait, up to 64 KiB"
        " of them.",
        "Those that come while it waits are lost; before the upstream is known it keeps `proxy_buffer_size`.",
        "Clients send in bursts.",
        "net/datagrams.py",
    ),
    Difference(
        ("listen",),
        "After a reload datagrams of a client that has a session go to that session, under the configuration it began"
        " with, and are answered. Where there are several workers the new ones get them, as with nginx, but answers"
        " that are under way still reach their clients.",
        "The new workers take all datagrams; the sessions of the old ones are over.",
        "What was asked before a reload shall be answered after it.",
        "net/datagrams.py",
    ),
    Difference(
        ("listen",),
        "How many UDP sessions there can be is bounded by the descriptors of the process (`worker_rlimit_nofile`):"
        " one for each that is passed on. When they are used up, new sessions end with 500 and a line in the log.",
        "It is bounded by `worker_connections`.",
        "Nothing is set aside beforehand here.",
        "net/datagrams.py",
    ),
    Difference(
        ("listen", "proxy_protocol_timeout"),
        "A PROXY header may come in any pieces within the timeout, and a checksum in it must be right.",
        "A header that the first read does not bring whole is broken; it does not look at checksums.",
        "The network cuts where it likes.",
        "wire/proxy_protocol.py",
    ),
    Difference(
        ("upstream.server",),
        "`fail_timeout` is over when it is over.",
        "It counts in whole seconds of the clock, and lets up to one more pass.",
        "There is no reason to wait.",
        "balancing/choice.py",
    ),
    Difference(
        ("upstream.server",),
        "Behind a server of an `upstream`, `slow_start=` is refused.",
        "",
        "nginx sells it, and it is not carried yet: a server that comes back has its whole weight at once.",
        "common/upstream.py",
    ),
    Difference(
        ("ssl_certificate_key", "proxy_ssl_certificate_key"),
        "`engine:` and `store:` are refused; a key that is written down (`data:`) is not shown in messages.",
        "It takes both, and writes such keys to the error log.",
        "OpenSSL has no engines any more, and pyOpenSSL does not reach stores; keys are secrets.",
        "common/certificates.py",
    ),
    Difference(
        ("ssl_certificate", "proxy_ssl_certificate"),
        "Sessions made with a certificate that a variable names are resumed under that certificate alone.",
        "They are resumed under any.",
        "Each certificate has a context of its own, and sessions are bound to their contexts.",
        "tls/named.py",
    ),
    Difference(
        ("ssl_conf_command", "proxy_ssl_conf_command"),
        "`Certificate` (with its `PrivateKey`), `CipherString`, `Ciphersuites`, `Curves`, `DHParameters`,"
        " `ECDHParameters`, `Groups`, `MaxProtocol`, `MinProtocol`, `Options`, `Protocol` and `SignatureAlgorithms` are"
        " carried; the others are refused by name, and so are options that allow renegotiation, `-MiddleboxCompat` and"
        " `StrictCertCheck`. `KTLS` has no effect, a warning says so.",
        "It passes any command on to OpenSSL.",
        "pyOpenSSL does not bind `SSL_CONF_cmd`: each command has to be carried by hand.",
        "tls/commands.py",
    ),
    # processes
    Difference(
        ("worker_processes", "master_process"),
        "One worker, the default, is one process without a master, unless `master_process on` is written down; "
        "changing between the two takes a restart. Inside other programs there is one process always, and a warning.",
        "There is a master, unless it is told otherwise.",
        "One process is simpler to start, to embed and to look into; a master is for several workers, and for `user`.",
        "service/core.py",
    ),
    Difference(
        ("worker_processes",),
        "Workers count together what nginx's do: `limit_conn`, and for an upstream with a `zone` the connections, "
        "failures and turns of its peers. Each worker knows for itself: what `$connection` counts, the average times "
        "of `least_time`, and what names mean that are asked for while it runs.",
        "Those are shared, too: `$connection` always, the others in a `zone`.",
        "Numbers of connections need not be without gaps; times and addresses come to each worker anyway, and soon.",
        "common/shared_memory.py",
    ),
    Difference(
        ("worker_processes", "ssl_session_tickets", "ssl_session_cache"),
        "A TLS session is resumed by the worker that made it, and by no other: of N workers one in N resumptions is "
        "one, the others are full handshakes.",
        "Tickets and a shared cache hold for all workers.",
        "pyOpenSSL can neither set the keys of tickets nor share a cache.",
        "tls/settings.py",
    ),
    Difference(
        ("worker_processes",),
        "When the master is killed, its workers take no more sessions and end with those they have.",
        "They go on, and keep the addresses from whoever starts it anew.",
        "A service manager starts the program again, and it can.",
        "service/worker.py",
    ),
    Difference(
        ("user",),
        "Without a master the process gives up its rights for good: a reload cannot bind a port below 1024 any more, "
        "nor read what only root may. With `master_process on` the master keeps them, as nginx's does.",
        "",
        "One process cannot be two users.",
        "service/limits.py",
    ),
    Difference(
        ("pid",),
        "Without the directive no pid file is written; without a master a reload keeps the process.",
        "It writes logs/nginx.pid, and a reload starts new workers.",
        "twistd has a pid file of its own (`--pidfile`); sessions end under the configuration they began with.",
        "service/pidfile.py",
    ),
    Difference(
        ("error_log",),
        "Without the directive lines go to twistd's log; each filter of the debug log means `debug`; what is in "
        "`memory:` can be read without a debugger, as the file that /proc/PID/fd shows as memfd:error_log.",
        "It writes logs/error.log.",
        "No folder has to be there before the first start.",
        "logs/error_log.py",
    ),
    Difference(
        ("error_log",),
        "Control characters in a message are written as escapes.",
        "It writes some of them as they came.",
        "Names come from strangers: nobody shall begin a line that looks like another's.",
        "logs/error_log.py",
    ),
    # TLS with clients
    Difference(
        ("server_name", "ssl_certificate", "ssl_protocols", "ssl_verify_client"),
        "On a TLS port the server is chosen from the ClientHello before the handshake; all settings, protocols "
        "and client "
        "verification included, are those of that server from the first byte to the last.",
        "It begins with the default server's settings and changes most of them in the middle of the handshake.",
        "A client cannot meet one server's policy and then be served by another.",
        "common/ssl.py",
    ),
    Difference(
        ("ssl_preread", "server_name"),
        "A ClientHello that breaks the rules (two names, a repeated extension, a name with characters that no "
        "host name has, a "
        "wrong length) has no name: on a TLS port it is refused, with `ssl_preread` it goes where clients without "
        "a name go.",
        "It uses what it has read up to there.",
        "A TLS server would refuse it: nobody is routed by a name that the server behind does not see.",
        "wire/hello_message.py",
    ),
    Difference(
        ("ssl_preread",),
        "What cannot be TLS is passed on from the first byte that shows it.",
        "It waits for five bytes, and ends a session that has sent fewer when `preread_timeout` is over.",
        "Nothing that could still come would change the answer.",
        "wire/client_hello.py",
    ),
    Difference(
        ("$ssl_preread_protocol",),
        "Of a ClientHello that is not whole nothing is known.",
        "It tells the version of one that was larger than `preread_buffer_size`.",
        "A version alone says little: TLS 1.3 is offered further behind.",
        "common/preread.py",
    ),
    Difference(
        ("ssl_certificate",),
        "A client that ends its TLS in order is answered in kind.",
        "It closes the connection without a word.",
        "RFC 8446 has it so, and clients can tell an end from a connection that was cut.",
        "net/tls_leg.py",
    ),
    Difference(
        ("return",),
        "What the client has said by then is read and dropped, up to 64 KiB, and counted in `$bytes_received`.",
        "It is left unread: the client may see a reset and lose the text.",
        "The text is meant to arrive.",
        "stream/sending.py",
    ),
    Difference(
        ("ssl_preread", "proxy_pass"),
        "Where a client's first bytes were looked at and no upstream can be reached, its connection ends with a reset.",
        "It ends in order.",
        "The bytes stay in the system until somebody takes them.",
        "net/look.py",
    ),
    Difference(
        ("proxy_half_close",),
        "A connection that breaks ends its session at once.",
        "It passes an end on to the other side, and waits for that one's.",
        "Nobody is left to hear the rest.",
        "net/relay.py",
    ),
    Difference(
        ("proxy_pass", "proxy_half_close", "return", "lingering_close", "worker_shutdown_timeout"),
        "A connection that has had more than 4 KiB, and whose far end lacks some of it when the session is over, is"
        " closed when that has everything, or after 30 seconds; what it says meanwhile is dropped, up to 1 MiB. There"
        " are 128 such connections at a time in each process, a sixteenth of its descriptors at most, and the eldest"
        " goes first. A process that ends in good order waits for them, too. `lingering_close` says nothing about"
        " that. On Twisted's transports (where there is no epoll) it is as in nginx.",
        "It is closed at once: what the far end says afterwards makes the system reset it, and the rest is lost. A TLS"
        " 1.3 upstream that is late with its session tickets loses the end of what it was sent.",
        "Bytes that were taken are to be delivered.",
        "net/lingering.py",
    ),
    Difference(
        ("listen", "proxy_protocol_timeout"),
        "What is wrong with a PROXY header of version 2 that is too short for its addresses is in the error log.",
        "It ends the session without a line.",
        "Who sends such headers has to be found.",
        "common/proxy_protocol.py",
    ),
    Difference(
        ("proxy_ssl",),
        "On a server of datagrams `proxy_ssl on` is a warning: they are sent in the clear.",
        "It says nothing.",
        "Nobody shall believe otherwise.",
        "common/proxy_ssl.py",
    ),
    Difference(
        ("ssl_handshake_timeout",),
        "Where 32 or more TLS handshakes are in progress and nothing else is to be done, their steps wait for each "
        "other, some 2 ms at most; nothing but handshakes waits.",
        "",
        "Taken together they cost less.",
        "net/poller.py",
    ),
    Difference(
        ("ssl_handshake_timeout",),
        "On a TLS port a ClientHello may have 64 KiB.",
        "OpenSSL's limit holds.",
        "Every buffer has a cap, and this one is ours.",
        "common/ssl.py",
    ),
    Difference(
        ("ssl_session_cache",),
        "`shared:` is a cache of this server in this process; names of caches mean nothing, a warning says so. "
        "`builtin:` has "
        "OpenSSL's size.",
        "All workers and all servers that name it share a cache.",
        "pyOpenSSL gives no way to share one; and a session made under one server must not be resumed under another.",
        "tls/settings.py",
    ),
    Difference(
        ("ssl_session_tickets", "ssl_session_cache", "ssl_verify_client", "ssl_verify_depth", "ssl_crl"),
        "A session is resumed only under the very policy it was made under: same server, same content of all "
        "files. A refused "
        "certificate is refused again with its ticket, and one that has expired since is refused too.",
        "With a shared cache a session survives a smaller depth, a new CRL or another CA of the same name.",
        "Resumption must not let anybody in whom a full handshake would refuse.",
        "tls/contexts.py",
    ),
    Difference(
        ("ssl_verify_client",),
        "A certificate that OpenSSL can read and the library `cryptography` cannot is refused.",
        "",
        "We could not say whose it is.",
        "tls/verify.py",
    ),
    Difference(
        ("ssl_protocols", "proxy_ssl_protocols"),
        "TLSv1 and TLSv1.1 need `@SECLEVEL=0` in the ciphers, as nginx does on Debian; a warning says so. SSLv2 "
        "and SSLv3 are "
        "accepted as words, with a warning.",
        "It depends on how OpenSSL was built.",
        "OpenSSL speaks these versions at security level 0 only; lowering it is for the operator to decide.",
        "tls/settings.py",
    ),
    Difference(
        ("$ssl_server_name",),
        "It is the name in this ClientHello, on resumed sessions too, and where the handshake fails.",
        "On TLS 1.2 a resumed session brings its old name; where no version fits there is none.",
        "It is what the client asks for now.",
        "common/ssl_variables.py",
    ),
    Difference(
        ("ssl_ocsp",),
        "A client whose certificate is asked about resumes no session; where no responder can be found for a"
        " certificate it is refused.",
        "It asks anew when a session is resumed.",
        "A resumed session has no chain; what nobody knows is not good.",
        "common/ocsp.py",
    ),
    Difference(
        ("ssl_ocsp_cache",),
        "`shared:` is a cache of this process; it holds 4096 answers, whatever its size.",
        "All workers share it.",
        "There is no memory that workers share.",
        "common/ocsp.py",
    ),
    Difference(
        ("ssl_certificate_compression",),
        "`on` is refused.",
        "It compresses certificates where the client takes them so.",
        "pyOpenSSL cannot compress certificates.",
        "common/ssl_settings.py",
    ),
    Difference(
        ("pass", "ssl_verify_client"),
        "A server that asks for client certificates admits nobody who was passed to it after another server's"
        " handshake.",
        "It is content with what the other server has found out.",
        "A client cannot meet one server's policy and then be served by another.",
        "common/ssl.py",
    ),
    # TLS with upstreams
    Difference(
        ("proxy_ssl_verify", "proxy_ssl_name"),
        "An upstream's certificate is checked against its subject alternative names alone; a wildcard stands for "
        "one whole "
        "label, the first; an address is compared with addresses only.",
        "It takes the common name where there are no DNS names, and matches `w*.example.com`.",
        "RFC 9525 has it so.",
        "tls/verify.py",
    ),
    Difference(
        ("proxy_ssl_session_reuse",),
        "A session is offered again only to the same address under the same name, under the same files, and while "
        "every "
        "certificate it came with is good.",
        "It is kept per peer.",
        "A session shall not outlive what it was verified by.",
        "tls/sessions.py",
    ),
    Difference(
        ("proxy_ssl", "proxy_ssl_conf_command"),
        "All groups are offered; but when eight connections in a row have chosen the same group of OpenSSL's shares,"
        " the next have a key share of that group and no other. One in 16 still has OpenSSL's, and so has the first"
        " after a minute. One that chooses otherwise, asks for another (HelloRetryRequest), fails or is too slow leaves"
        " the shares to OpenSSL for an hour. Not where `Groups`, `Curves` or `ECDHParameters` name groups. Where"
        " several behind one address choose differently, some connections may have the group of their neighbours"
        " before that is noticed.",
        "OpenSSL chooses the shares for each connection.",
        "A share of ML-KEM that is not taken costs half as much as our part of the connection; and an upstream that"
        " takes none of OpenSSL's would cost a round trip each time.",
        "tls/shares.py",
    ),
    # groups and limits
    Difference(
        ("proxy_bind",),
        "`transparent` needs the privilege (CAP_NET_RAW) to be given by whoever starts the process: with `user` it has"
        " none.",
        "Its workers keep it.",
        "A process that was root and is not any more shall have nothing left of it.",
        "common/proxy_bind.py",
    ),
    Difference(
        ("upstream.server",),
        "With `resolve` a session that looks for another peer tries those its group had when it began.",
        "It gives up where the group has changed since.",
        "A change of addresses is no fault of the client's.",
        "common/upstream_zone.py",
    ),
    Difference(
        ("limit_conn_zone",),
        "Where a reload changes the key or the size of a zone its counts begin anew.",
        "It refuses a reload that changes the key.",
        "What was counted by another key says nothing about this one.",
        "common/limit_conn.py",
    ),
    # http
    Difference(
        ("access_log",),
        "In `http`, too, requests are logged where the file says so; without `access_log` they are not.",
        "It writes logs/access.log, in the `combined` format.",
        "No folder has to be there before the first start.",
        "common/log.py",
    ),
    Difference(
        ("access_log",),
        "In `http`, too, a file whose name has variables is made where its folder is there.",
        "It wants the `root` of the request to be there as well.",
        "What cannot lead out of its folder needs no such guard.",
        "common/log.py",
    ),
    Difference(
        ("ssl_early_data",),
        "`ssl_early_data on` is refused.",
        "It takes requests that come before a handshake is over.",
        "pyOpenSSL cannot read them.",
        "common/ssl_settings.py",
    ),
    Difference(
        ("upstream.server",),
        "In `http` the parameters `route` and `drain` are refused, as `sticky` is.",
        "",
        "Sessions are not sticky yet.",
        "common/upstream.py",
    ),
    Difference(
        ("return", "rewrite"),
        "In `http` control characters in an address that clients are sent to are escaped.",
        "It sends them as they are: a client that has put a line break into `$uri` adds fields of its own.",
        "Nobody shall write another's answer.",
        "http/return_.py",
    ),
    Difference(
        ("root", "alias", "try_files"),
        "A path that has `..` in it, because `rewrite` or `try_files` made it of what a client sent, is not there "
        "(404, and an error line `unsafe URI`).",
        "It looks there.",
        "No client gets out of the folder.",
        "http/roots.py",
    ),
    Difference(
        ("autoindex",),
        "`autoindex on` is refused.",
        "It lists folders.",
        "It is not carried yet.",
        "http/static.py",
    ),
    Difference(
        (),
        "Requests whose lines end with LF alone, requests of HTTP/0.9, and those whose fields have control"
        " characters are"
        " refused (400), and so are answers of upstreams of that kind, and such without a status line (502).",
        "It takes them.",
        "What two readers may understand in two ways is how requests are smuggled.",
        "wire/http1_fields.py",
    ),
    Difference(
        ("proxy_set_header", "proxy_pass_request_body"),
        "`Content-Length` and `Transfer-Encoding` are always what the body that is sent has: `proxy_set_header`"
        " cannot change"
        " them, and a request whose body is not passed on has neither.",
        "It sends what it is told, whatever follows.",
        "An upstream must not take a body for the next request.",
        "http/proxy_headers.py",
    ),
    Difference(
        ("proxy_pass", "proxy_method"),
        "What would put a blank, a line end or nothing where the method or the path of a request to an upstream"
        " is, as `$uri`"
        " in `proxy_pass` may, is refused (400, and an error line).",
        "It sends it.",
        "Nobody shall write another's request.",
        "http/outgoing.py",
    ),
    Difference(
        ("proxy_pass",),
        "`Proxy-Connection` is passed on in neither direction.",
        "It is a field like others.",
        "It is about the connection, as `Connection` is.",
        "http/proxy_headers.py",
    ),
    Difference(
        ("proxy_http_version", "keepalive"),
        "A connection to an upstream is kept only where the request has not told it that it is the last one: by"
        " HTTP/1.0"
        " without `Connection: keep-alive`, or by `Connection: close`.",
        "It is kept where the answer does not say otherwise.",
        "The upstream will close it, and the next request would run into that.",
        "http/proxy_headers.py",
    ),
    Difference(
        ("$request_length",),
        "Of a body in chunks it counts the data, and of a request that is refused nothing.",
        "It counts the frames of chunks as well, and as much of a refused request as it has read.",
        "It is the data that somebody wanted to send.",
        "http/http1.py",
    ),
    Difference(
        ("$body_bytes_sent",),
        "`100 Continue` does not count as body, and what `$sent_http_connection` says in the log is what the"
        " client was told.",
        "It does count; in the log every connection is one to be closed.",
        "A log should say what was sent.",
        "http/http1.py",
    ),
    Difference(
        ("return", "root"),
        "Where nobody wants the body of a request that expects `100 Continue`, none is sent: the answer comes at once.",
        "It asks for the body, to drop it.",
        "What nobody reads need not be sent (RFC 9110 section 10.1.1).",
        "http/http1.py",
    ),
    Difference(
        ("client_body_timeout", "large_client_header_buffers"),
        "A body that comes too late is told of in the error log, and who ends its side in the middle of one is answered"
        " (400); lines of heads that are too long or wrong are not quoted.",
        "It says nothing of bodies, and quotes lines.",
        "Stalled uploads have to be found; the fields are read by a library that does not say where it stopped.",
        "http/http1.py",
    ),
    Difference(
        ("location",),
        "A second location of one `@name` is refused.",
        "One of the two is never used.",
        "Nobody can mean that.",
        "http/core.py",
    ),
    Difference(
        ("proxy_cookie_flags",),
        "A flag that is none is refused, unless a variable gives it.",
        "It means nothing.",
        "It is a misprint.",
        "http/proxy_rewrites.py",
    ),
    Difference(
        ("add_header",),
        "A range that cannot be had (416) gets what is added `always`, as other errors do.",
        "It gets all.",
        "It is an error.",
        "http/static.py",
    ),
    # names and bytes
    Difference(
        ("resolver",),
        "A name that does not exist is remembered for at most 5 seconds; at most 4096 names are remembered, and "
        "256 are looked "
        "up at once.",
        "It does not remember that a name is not there, and bounds nothing.",
        "Names may come from clients.",
        "common/resolver.py",
    ),
    Difference(
        ("resolver",),
        "Of an answer only what belongs to the name that was asked is believed, along 16 aliases at most; of the"
        " datagrams that are no answer the first three of a question are told in the error log.",
        "It takes all addresses of an answer, whosever they are, and tells each datagram.",
        "Who can send one datagram shall neither choose an upstream nor fill a disk.",
        "wire/dns.py",
    ),
    Difference(
        ("map", "server_name"),
        "Regular expressions run without a limit of steps: one that repeats what repeats, `(a+)+`, is a warning, "
        "since a name made for it can keep the process busy for very long.",
        "PCRE gives up after so many steps.",
        "Python's engine has no such limit.",
        "config/regex.py",
    ),
    Difference(
        ("proxy_buffer_size",),
        "It bounds what a session holds while bytes go through our hands; a long stream between two plain sockets "
        "is moved by "
        "the kernel, through a pipe of 64 KiB to 1 MiB that is borrowed while bytes move.",
        "It copies all bytes.",
        "It costs a third of the processor time.",
        "net/splice.py",
    ),
    Difference(
        ("$bytes_received",),
        "It counts all bytes of the client that went to the upstream, the ClientHello that was looked at included.",
        "It leaves out what was read before the upstream was chosen.",
        "Who adds up traffic wants all of it.",
        "stream/proxying.py",
    ),
    Difference(
        (
            "proxy_timeout",
            "proxy_connect_timeout",
            "preread_timeout",
            "ssl_handshake_timeout",
        ),
        "Times are kept to a twentieth of a second: a session may end that much late.",
        "They are kept to a millisecond.",
        "Putting a deadline off costs nothing, however often it is done.",
        "net/timers.py",
    ),
    Difference(
        ("proxy_buffering", "proxy_buffers", "proxy_max_temp_file_size"),
        "Of an answer that the client takes slowly as much is held in memory as `proxy_buffers` say, and the upstream"
        " waits.",
        "It writes the rest to temporary files, up to `proxy_max_temp_file_size`.",
        "An upstream that waits costs less than a disk; bodies of requests are kept in files as nginx keeps them.",
        "http/attempt.py",
    ),
    Difference(
        ("proxy_buffering",),
        "What has come of an answer goes out as soon as it is worth a segment, however small `proxy_buffers` are.",
        "It waits until a buffer is full.",
        "Nobody waits for less than what can be sent.",
        "http/attempt.py",
    ),
    Difference(
        ("proxy_set_header",),
        "`Content-Length` and `Transfer-Encoding` cannot be set: where a body ends is said by who writes it. With"
        " `proxy_pass_request_body off` no length is told.",
        "It sends what is set, true or not.",
        "Two answers to where a request ends are how requests are smuggled.",
        "http/proxy_headers.py",
    ),
    Difference(
        ("proxy_pass", "proxy_set_header", "proxy_method"),
        "A variable that would bring a line end or a NUL into a request for an upstream, or a blank into its target,"
        " makes it `400`.",
        "It sends them.",
        "They would be read as another field, or another request.",
        "http/outgoing.py",
    ),
    Difference(
        ("proxy_ssl_session_reuse", "keepalive"),
        "Sessions and connections serve those alone who would have made the very same ones: other trust, another name"
        " or another local address is another upstream.",
        "They are shared by all locations of a group.",
        "What was judged by one rule would pass for judged by another.",
        "http/upstream_leg.py",
    ),
    Difference(
        ("proxy_pass",),
        "An answer 101 to a request that asked for no other protocol is a bad one.",
        "Older versions pass it on.",
        "What follows it could be read in two ways.",
        "http/proxying.py",
    ),
    Difference(
        ("gzip_types", "charset_types"),
        "Of a type with a charset only what stands before that counts, whoever said it.",
        "A `default_type` or `types` with a charset is in no list.",
        "It is the same type.",
        "http/media_types.py",
    ),
    Difference(
        ("gzip_proxied", "gzip"),
        "Fields that `add_header` has set (`Expires`, `Content-Encoding`) count as those of the answer.",
        "It does not see them.",
        "A body that is said to be encoded would be encoded twice.",
        "http/gzip.py",
    ),
    Difference(
        ("http2",),
        "Pseudo fields behind others, another host than `:authority`, and fields that concern a connection are refused;"
        " and a request that is malformed is the end of its stream.",
        "It takes some of them, and answers others with 400.",
        "They could be read in two ways behind us.",
        "http/http2_head.py",
    ),
    Difference(
        ("http2", "http2_max_concurrent_streams"),
        "A client that gives up twice as many requests as it may have at once, and lets few be answered, is sent away.",
        "It counts the requests of a connection (`keepalive_requests`) alone.",
        "What is given up at once costs the client next to nothing.",
        "http/http2.py",
    ),
    Difference(
        ("http2",),
        "Frames from clients have up to 16 KiB.",
        "It takes 16 MiB.",
        "A frame is kept until it is whole.",
        "http/http2_protocol.py",
    ),
    Difference(
        ("http2",),
        "Who waits to be told `100 Continue` is told when its body is wanted.",
        "It says so to clients of HTTP/1.1 alone.",
        "Who asks is answered.",
        "http/http2_stream.py",
    ),
)
"""In the order in which an operator meets them: reading, processes, TLS with clients and upstreams, names and bytes."""
