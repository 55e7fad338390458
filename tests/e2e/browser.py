"""Real Chromium and Firefox with an address of their own, and a hostile site."""

from __future__ import annotations

import queue
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.lab.network import Netns

# No sandbox but the lab's namespaces, and no background requests to other hosts.
CHROMIUM_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--ash-no-nudges", "--disable-default-apps",
    "--disable-features=HttpsUpgrades,HttpsFirstBalancedModeAutoEnable,DialMediaRouteProvider",
)  # fmt: skip

# No background requests to other hosts, and no questions to the user.
FIREFOX_PREFERENCES = {
    "app.normandy.enabled": "false",
    "browser.shell.checkDefaultBrowser": "false",
    "datareporting.policy.dataSubmissionEnabled": "false",
    "dom.security.https_first": "false",
    "network.captive-portal-service.enabled": "false",
    "network.connectivity-service.enabled": "false",
}


class Site:
    """Serves one page on any path, and records what the page reports as `/report/…`."""

    def __init__(self, netns: Netns, address: str, port: int) -> None:
        self.page = ""
        self.reports: queue.Queue[str] = queue.Queue()
        self.closing = threading.Event()
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        listening = netns.open_socket(family)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address, port))
        listening.listen(64)
        # Each connection has a thread: browsers open connections in advance, on which nothing comes.
        self._server = ThreadingHTTPServer((address, port), self._handler(), bind_and_activate=False)
        self._server.socket.close()
        self._server.socket = listening
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        """Stop serving; the kernel refuses later connections."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(site) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path.startswith("/report/"):
                    site.reports.put(self.path[len("/report/") :])
                body = site.page.encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Access-Control-Allow-Origin", "*")
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(body)
                self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler


@contextmanager
def chromium(netns: Netns, url: str, *, prefix: tuple[str, ...] = ()) -> Iterator[None]:
    """Have a page open in Chromium with a fresh profile."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = (*prefix, "chromium", *CHROMIUM_FLAGS, f"--user-data-dir={profile}", url)
        with _running(netns.popen(*command)):
            yield


@contextmanager
def firefox(netns: Netns, url: str, *, prefix: tuple[str, ...] = ()) -> Iterator[None]:
    """Have a page open in Firefox with a fresh profile."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        lines = (f'user_pref("{name}", {value});\n' for name, value in FIREFOX_PREFERENCES.items())
        Path(profile, "user.js").write_text("".join(lines))
        home = ("env", f"HOME={profile}", "MOZ_CRASHREPORTER_DISABLE=1")
        command = (*prefix, *home, "firefox-esr", "--headless", "--no-remote", "--profile", profile, url)
        with _running(netns.popen(*command)):
            yield


@contextmanager
def _running(browser: subprocess.Popen[str]) -> Iterator[None]:
    """Read a browser's output, and end it at the end."""
    assert browser.stdout
    threading.Thread(target=browser.stdout.read, daemon=True).start()
    try:
        yield
    finally:
        browser.terminate()
        try:
            browser.wait(30)
        except subprocess.TimeoutExpired:
            browser.kill()
            browser.wait(30)
