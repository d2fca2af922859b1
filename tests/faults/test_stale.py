"""A process that was stopped and wakes after others went on must not have the last word."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field

from tests.faults.crash import quiet
from tests.faults.never import assert_never_lines, key_rows
from tests.faults.processes import Actor
from tests.faults.proxy import Late
from tests.faults.scenarios import rpc
from tests.faults.scene import Scene
from tests.integration.world import Json, until
from tests.support import User

Change = Callable[[Scene, User, Json], None]


@dataclass(frozen=True)
class Overtaken:
    """A process carries ``older`` and is stopped while ``held`` is on its way; then comes ``newer``."""

    name: str
    held: str
    older: tuple[Change, ...]
    newer: tuple[Change, ...]
    before: tuple[Change, ...] = ()
    late: Late = field(default_factory=Late)


def adjust(credits: int) -> Change:
    def change(scene: Scene, user: User, key: Json) -> None:
        scene.adjust(user, credits, f"adjustment:{user.id}:{credits}")

    return change


def call(function: str, **more: object) -> Change:
    def change(scene: Scene, user: User, key: Json) -> None:
        rpc(scene, user, function, key_id=key["id"], **more)

    return change


def create(scene: Scene, user: User, key: Json) -> None:
    scene.create_key(user, max_budget=100)


def revoke_all(scene: Scene, user: User, key: Json) -> None:
    for row in key_rows(scene, user):
        rpc(scene, user, "revoke_virtual_key", key_id=row["id"])


BLOCK, UNBLOCK = call("block_virtual_key"), call("unblock_virtual_key")
RACES = (
    Overtaken("a lower wallet", "POST /user/update", (adjust(50),), (adjust(-200),)),
    Overtaken("a higher wallet", "POST /user/update", (adjust(-200),), (adjust(50),)),
    Overtaken(
        "limits",
        "POST /key/update",
        (call("update_virtual_key", rpm_limit=7),),
        (call("update_virtual_key", rpm_limit=3),),
    ),
    Overtaken("a block", "POST /key/unblock", (UNBLOCK,), (BLOCK,), before=(BLOCK,)),
    Overtaken("an unblock", "POST /key/block", (BLOCK,), (UNBLOCK,)),
    Overtaken("an unblock and a wallet", "POST /key/block", (BLOCK, adjust(50)), (UNBLOCK, adjust(-200))),
    Overtaken("a revocation of a new key", "POST /key/generate", (create,), (revoke_all,)),
    Overtaken("a revocation", "POST /key/update", (call("update_virtual_key", rpm_limit=7),), (revoke_all,)),
)


def test_what_a_stopped_process_sent_does_not_outlast_what_came_after(scene: Scene) -> None:
    people = [prepare(scene, race) for race in RACES]
    users = [user for user, _ in people]
    with closing(scene.actor("worker")) as stale, closing(scene.actor("worker")) as other:
        stop_in_the_middle(scene, stale, people)
        for race, (user, key) in zip(RACES, people, strict=True):
            change(scene, race.newer, user, key)
        other.start()
        scene.until_settled(users, seconds=60)
        assert_never_lines(scene, users)
        for race in RACES:
            race.late.release.set()
            assert race.late.delivered.wait(10), race.name
        stale.thaw()
        quiet(stale, seconds=3)  # it has come to the end of what it was at
        scene.until_settled(users, seconds=60)
    assert_never_lines(scene, users)


def prepare(scene: Scene, race: Overtaken) -> tuple[User, Json]:
    user = scene.sign_up()
    key = scene.quick_key(user, max_budget=700)
    for one in race.before:
        one(scene, user, key)
    if race.before:
        rpc(scene, user, "resync_virtual_key", key_id=key["id"])
        scene.api(user, "POST", "/api/keys/sync", json={"keyId": key["id"], "action": "update"})
        until(lambda: scene.is_settled([user]), seconds=20, what="the account is prepared")
    scene.hold([user])
    change(scene, race.older, user, key)
    return user, key


def change(scene: Scene, changes: tuple[Change, ...], user: User, key: Json) -> None:
    for one in changes:
        one(scene, user, key)


def stop_in_the_middle(scene: Scene, stale: Actor, people: list[tuple[User, Json]]) -> None:
    """SIGSTOP while the write of every race has left the process and is not yet at LiteLLM."""
    stale.start_gated()
    for race, (user, _) in zip(RACES, people, strict=True):
        words = [user.id, *(row["key_hash"] for row in key_rows(scene, user))]
        stale.litellm.on(
            race.held,
            race.late,
            times=1,
            where=lambda request, words=words: any(request.mentions(word) for word in words),  # type: ignore[misc]
        )
    scene.hurry([user for user, _ in people], sweep=False)
    stale.open()
    held = stale.litellm
    until(
        lambda: sum(one.fault == "Late" for one in held.seen) == len(RACES),
        seconds=20,
        what="every write is on its way",
    )
    stale.freeze()
