"""A stand-in for a language model, over real HTTP: it adds the numbers of a question one after the other with the agent's tool.

It is slow and fails now and then, as such services do: every third request is answered with 503.
"""

import json
import re
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

THINKS_S = 0.05


def wish(messages: list[dict]) -> dict:
    """What the model wants next: to use a tool, or to give the answer."""
    numbers = [int(number) for number in re.findall(r"-?\d+", messages[0]["content"])]
    found = [message["content"]["sum"] for message in messages if message["role"] == "tool"]
    if len(found) + 1 >= len(numbers):
        return {"answer": f"The sum is {found[-1] if found else sum(numbers)}."}
    so_far = found[-1] if found else numbers[0]
    return {"tool": "add", "arguments": {"numbers": [so_far, numbers[len(found) + 1]]}}


class Model(BaseHTTPRequestHandler):
    """Answers `POST /chat`; `GET /log` shows the keys of all requests that were answered with 200."""

    protocol_version = "HTTP/1.1"
    asked = 0
    answered: list[str] = []

    def do_POST(self) -> None:  # noqa: N802
        """One step of the conversation."""
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        time.sleep(THINKS_S)
        Model.asked += 1
        if Model.asked % 3 == 0:
            return self._reply(503, {"error": "busy"})
        Model.answered.append(self.headers["idempotency-key"])
        return self._reply(200, wish(body["messages"]))

    def do_GET(self) -> None:  # noqa: N802
        """What was answered."""
        self._reply(200, Model.answered)

    def log_message(self, *_: object) -> None:
        """Says nothing."""

    def _reply(self, status: int, value: object) -> None:
        text = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 9900), Model)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
