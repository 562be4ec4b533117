"""A small site for the crawler, over real HTTP: 40 pages that link to each other, each reachable in many ways."""

import json
import sys
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PAGES = 40


def page(number: int) -> str:
    """A page links to three others, and to one that is not there."""
    links = [2 * number + 1, 2 * number + 2, number // 2]
    anchors = "".join(f'<a href="/{link}">{link}</a>' for link in links if link < PAGES)
    return f'<html><title>Page {number}</title>{anchors}<a href="/missing">?</a></html>'


class Site(BaseHTTPRequestHandler):
    """Answers `GET /NUMBER`; `GET /log` shows how often each page was fetched. Every seventh answer is an error."""

    protocol_version = "HTTP/1.1"
    asked = 0
    fetched: Counter[str] = Counter()

    def do_GET(self) -> None:  # noqa: N802
        """One page."""
        if self.path == "/log":
            return self._reply(200, json.dumps(Site.fetched))
        Site.asked += 1
        if Site.asked % 7 == 0:
            return self._reply(503, "busy")
        Site.fetched[self.path] += 1
        number = self.path.strip("/") or "0"
        if number.isdecimal() and int(number) < PAGES:
            return self._reply(200, page(int(number)))
        return self._reply(404, "not found")

    def log_message(self, *_: object) -> None:
        """Says nothing."""

    def _reply(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("content-type", "application/json" if text.startswith("{") else "text/html")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 9901), Site)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
