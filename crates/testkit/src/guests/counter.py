"""An actor on the bare bindings, without the SDK: what the engine costs with Python inside.

`count` answers how often it was called; every other operation reads the payload's JSON and prints it again, or
answers its bytes.
"""

import json

from wit_world import exports
from wit_world.exports.guest import Reply
from wit_world.imports.types import Payload_Bytes, Payload_Json

DESCRIPTION = {
    "sdk": {"language": "python", "version": "0"},
    "actors": [{"type": "counter", "behavior": "GenServer", "handlers": [{"operation": "*", "kind": "call"}]}],
}


count = 0


class Guest(exports.Guest):
    """The bindings make a new object for each call: state is the module's."""

    def describe(self):
        return json.dumps(DESCRIPTION)

    def init(self, actor_type, config):
        pass

    def handle(self, message, want_state):
        reply = self.reply(message)
        return Reply(reply, self.snapshot() if want_state else None)

    def reply(self, message):
        global count
        count += 1
        if message.operation == "count":
            return Payload_Json(str(count))
        if message.operation == "print":
            print("hello from", message.sender or "outside")
        if isinstance(message.payload, Payload_Bytes):
            return Payload_Bytes(message.payload.value)
        return Payload_Json(json.dumps(json.loads(message.payload.value)))

    def snapshot(self):
        return Payload_Json(json.dumps(count))

    def restore(self, state):
        global count
        count = json.loads(state.value)
