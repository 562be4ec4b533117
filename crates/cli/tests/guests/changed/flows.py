"""A later version of the workflows, which does its steps otherwise."""

from plexspaces import actor, handler, host, migrate_handler, query_handler, run_handler, state, workflow_actor


@actor(facets=["durability"])
class Recorder:
    """As before, but that it counts what it has taken over."""

    notes: list = state(default_factory=list)
    migrated: int = state(default=0)

    @migrate_handler
    def migrate_state(self, old_state: dict) -> dict:
        return {**old_state, "migrated": old_state.get("migrated", 0) + 1}

    @handler("migrated")
    def how_often(self) -> int:
        return self.migrated

    @handler("note")
    def note(self, what: str) -> dict:
        self.notes.append(what)
        return {"number": len(self.notes)}

    @handler("notes")
    def all(self) -> list:
        return self.notes


@workflow_actor(facets=["durability"])
class Long:
    """Does something else before it sleeps."""

    status: str = state(default="new")

    @run_handler
    def run(self, request: dict) -> dict:
        host.ask("recorder", "notes")
        self.status = "sleeping anew"
        host.sleep(request["ms"])
        return {}

    @query_handler("status")
    def get_status(self) -> str:
        return self.status


ACTOR_REGISTRY = {"recorder": Recorder, "long": Long}
