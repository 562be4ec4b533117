"""A chat: each guest is an actor, each room is a process group. Nobody keeps a list of who is where."""

from plexspaces import actor, handler, host, state


@actor(facets=["durability"])
class Guest:
    """One guest. Its key is the guest's name."""

    heard: list = state(default_factory=list)

    @handler("join")
    def join(self, room: str) -> dict:
        """Enters a room; in one step, however often it is asked."""
        host.process_groups.join(room)
        return {"joined": room}

    @handler("leave")
    def leave(self, room: str) -> dict:
        """Leaves a room."""
        host.process_groups.leave(room)
        return {"left": room}

    @handler("say")
    def say(self, room: str, text: str) -> dict:
        """Says something to all who are in a room."""
        host.process_groups.publish(room, {"op": "said", "room": room, "text": text})
        return {"said": text}

    @handler("said", "cast")
    def on_said(self, room: str, text: str, sender: str = "") -> None:
        """Somebody has said something."""
        self.heard = [*self.heard, [room, name_of(sender), text]][-100:]

    @handler("heard")
    def get_heard(self) -> dict:
        """The last hundred things that this guest has heard."""
        return {"heard": self.heard}

    @handler("who")
    def who(self, room: str) -> dict:
        """Who is in a room, in the order in which they came."""
        return {"guests": [name_of(member) for member in host.process_groups.members(room)]}


def name_of(actor_id: str) -> str:
    """The guest's name in a printed identity."""
    return actor_id.rsplit("/", 1)[-1]


ACTOR_REGISTRY = {"guest": Guest}
