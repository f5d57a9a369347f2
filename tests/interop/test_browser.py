"""
Does a browser get through the http proxy? Chromium, which has a TLS, an HTTP/2 and a WebSocket of its own, and opens
what it likes.

Strategy: a page whose script does what pages do, and asks for C{/short?...} in the end: the log tells what it found.
"""

from __future__ import annotations

import re
from typing import Final

from tests.interop.test_http_clients import LARGE, RealClients
from tests.support.applications import pattern
from tests.support.programs import need, read_text, write_text

IMAGES: Final = 24
PAGE: Final = """<!doctype html><title>page</title><link rel="icon" href="data:,">
<link rel="stylesheet" href="style.css">
<script>
const sizes = buffers => buffers.map(each => each.byteLength).join(".");
const load = path => fetch(path).then(answer => answer.arrayBuffer());
async function hash(data) {
  const sum = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
  return `${data.byteLength}_` + Array.from(sum, each => each.toString(16).padStart(2, "0")).join("");
}
const echo = () => new Promise((done, failed) => {
  const socket = new WebSocket(`wss://${location.host}/echo`), sent = ["a", "b".repeat(70000), "c"], got = [];
  socket.onopen = () => sent.forEach(each => socket.send(each));
  socket.onmessage = message => { got.push(message.data); if (got.length == sent.length) socket.close(); };
  socket.onclose = close => done(`${got.join() == sent.join()}_${close.wasClean}_${close.code}`);
  socket.onerror = failed;
});
async function main() {
  const body = await load("/length/@upload@");
  const told = {
    style: getComputedStyle(document.body).textIndent,
    many: sizes(await Promise.all(Array.from({length: @images@}, (_, each) => load(`/length/${1000 + each}`)))),
    large: await hash(await load("/now/chunks/@large@")),
    part: sizes([await fetch("/files/page.html", {headers: {Range: "bytes=1000-1999"}}).then(a => a.arrayBuffer())]),
    moved: await fetch("/moved").then(answer => `${answer.redirected}_${answer.status}`),
    sent: await fetch("/up", {method: "POST", body}).then(answer => answer.text()),
    echo: await echo(),
    protocol: performance.getEntriesByType("navigation")[0].nextHopProtocol,
  };
  return Object.entries(told).map(each => each.join("=")).join("&");
}
addEventListener("load", () => main().catch(error => `error=${error}`)
  .then(told => fetch(`/short?${told.replace(/ /g, "_")}&end`)));
</script><body></body>
"""


class BrowserTests(RealClients):
    """
    Chromium.
    """

    def test_page(self) -> None:
        """
        A page, its style, many requests at once, long answers and a long body, a part, a redirect and a WebSocket come
        as they were sent, by HTTP/2; and nothing is left when it is gone.
        """
        page = PAGE
        for name, value in (("upload", 1_000_003), ("images", IMAGES), ("large", LARGE)):
            page = page.replace(f"@{name}@", str(value))
        write_text(self.path("files", "index.html"), page)
        write_text(self.path("files", "style.css"), "body { text-indent: 17px }")
        browser = self.start(
            "chromium",
            need("chromium"),
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
            *("--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update"),
            *("--disable-sync", "--host-resolver-rules=MAP * 127.0.0.1", "--ignore-certificate-errors"),
            *(f"--user-data-dir={self.path('profile')}", "--remote-debugging-port=0"),
            f"https://www.example.com:{self.secure}/files/index.html",
        )
        log = self.path("access.log")
        ended = browser.ready(
            lambda: re.search(r"GET /short\?(\S*)&end HTTP/2\.0 200 ", read_text(log)), "the script's end"
        )
        assert ended is not None
        told = [each.partition("=") for each in ended[1].split("&")]
        self.assertEqual(
            {name: value for name, _, value in told},
            {
                "style": "17px",
                "many": ".".join(str(1000 + each) for each in range(IMAGES)),
                "large": pattern(LARGE).replace(" ", "_"),
                "part": "1000",
                "moved": "true_200",
                "sent": pattern(1_000_003).replace(" ", "_"),
                "echo": "true_true_1005",
                "protocol": "h2",
            },
        )
        self.assertIn("GET /echo HTTP/1.1 101 ", read_text(log))
        browser.stop()
        self.quiet()
