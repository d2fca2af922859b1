"""What of one's own is not finished: nothing of anybody else's is counted."""

from tests.sql.acting import by_owner, open_order, sign_up, synced_key
from tests.support import Connection

NOTHING = {"keys": 0, "events": 0, "parked": 0, "oldest_seconds": 0}


def test_only_one_s_own_is_told(db: Connection) -> None:
    ada, bob = sign_up(db), sign_up(db)
    for who in (ada, bob):
        synced_key(db, who)
    db.execute("update keyfund.pushes set confirmed_revision = revision, next_attempt_at = null")
    assert by_owner(db, ada, "read_own_backlog") == NOTHING
    by_owner(db, bob, "create_virtual_key", name="another")
    order = open_order(db, bob)
    db.execute(
        "insert into keyfund.events (provider, fingerprint, event, kind, reference, body, received_at) "
        "values ('paystack', 'f', 'charge.success', 'payment', %s, '{}', now() - interval '90 seconds')",
        [order["reference"]],
    )
    assert by_owner(db, ada, "read_own_backlog") == NOTHING
    told = by_owner(db, bob, "read_own_backlog")
    assert (told["keys"], told["events"], told["parked"]) == (1, 1, 0)
    assert 85 <= told["oldest_seconds"] <= 120


def test_what_is_given_up_is_parked(db: Connection) -> None:
    ada, bob = sign_up(db), sign_up(db)
    synced_key(db, ada)
    db.execute(
        "update keyfund.pushes set revision = confirmed_revision + 1, next_attempt_at = null, refusals = 5 "
        "where account_id = %s",
        [ada],
    )
    assert by_owner(db, ada, "read_own_backlog")["parked"] == 1
    assert by_owner(db, bob, "read_own_backlog")["parked"] == 0
