"""What administrators read of others leaves one line in the audit log, and never an address."""

from uuid import UUID

import pytest

from tests.sql.acting import Row, by_owner, credit, open_order, refused, rows, sign_up, synced_key
from tests.support import Connection

READINGS: dict[str, tuple[dict[str, object], str]] = {
    "find_accounts": ({"search": "ana@"}, "accounts_read"),
    "find_payments": ({"search": "ana@example.com"}, "payments_read"),
    "list_events": ({}, "events_read"),
    "list_paid_after_deletion": ({}, "payments_read"),
    "list_failing_keys": ({}, "keys_read"),
    "read_reconciliation": ({}, "reconciliation_read"),
    "read_drift_report": ({}, "drift_report_read"),
}


@pytest.fixture
def admin(db: Connection) -> UUID:
    user_id = sign_up(db)
    db.execute("insert into keyfund.administrators (user_id) values (%s)", [user_id])
    return user_id


def read(db: Connection) -> list[Row]:
    return rows(db, "select * from public.audit_log where action like '%%_read' order by id")


@pytest.mark.parametrize("function", READINGS)
def test_reading_everybodys_data_leaves_one_line(db: Connection, admin: UUID, function: str) -> None:
    arguments, action = READINGS[function]
    user_id = sign_up(db, "ana@example.com")
    credit(db, open_order(db, user_id))
    by_owner(db, admin, function, **arguments)
    (line,) = read(db)
    assert (line["action"], line["actor"], line["actor_id"]) == (action, "administrator", admin)
    assert "ana" not in str(line["details"])
    assert line["details"].get("shown") == {"find_accounts": 1, "find_payments": 1}.get(
        function, line["details"].get("shown")
    )
    by_owner(db, admin, function, **arguments)
    assert len(read(db)) == 2


def test_reading_one_persons_payment_or_key_is_shown_to_them(db: Connection, admin: UUID) -> None:
    user_id = sign_up(db)
    made = synced_key(db, user_id)
    order = open_order(db, user_id)
    by_owner(db, admin, "read_payment", reference=order["reference"])
    by_owner(db, admin, "read_key", key_id=made["id"])
    by_owner(db, admin, "find_accounts", search=str(user_id))
    assert [(line["action"], line["account_id"], line["key_id"]) for line in read(db)] == [
        ("payment_read", user_id, None),
        ("key_read", user_id, made["id"]),
        ("accounts_read", user_id, None),
    ]


@pytest.mark.parametrize("function", [*READINGS, "read_payment", "read_key"])
def test_who_is_no_administrator_reads_nothing_and_leaves_nothing(db: Connection, function: str) -> None:
    user_id = sign_up(db)
    own: dict[str, dict[str, object]] = {"read_payment": {"reference": "x"}, "read_key": {"key_id": user_id}}
    with refused(403, "not_an_administrator"):
        by_owner(db, user_id, function, **(own[function] if function in own else READINGS[function][0]))
    assert read(db) == []


def test_what_waits_is_counted_without_a_line(db: Connection, admin: UUID) -> None:
    """It says how many, nothing of anybody, and the page asks all the time."""
    told = by_owner(db, admin, "read_concerns")
    assert (told["waiting_grants"], told["missing_triggers"]) == (0, 0)
    assert read(db) == []
