"""What endangers wallets in LiteLLM: one process looks at a time, and what it found stays until then."""

from psycopg.types.json import Jsonb

from tests.sql.acting import by_service, value
from tests.support import Connection


def may_look(db: Connection) -> bool:
    return bool(by_service(db, "claim_chore", p_name="watch_litellm", p_lease_seconds=60))


def warnings(db: Connection) -> object:
    return by_service(db, "read_status")["litellm_warnings"]


def record(db: Connection, *texts: str) -> None:
    by_service(db, "record_warnings", p_name="litellm", p_warnings=Jsonb(texts))


def test_one_process_may_look_in_a_minute(db: Connection) -> None:
    assert [may_look(db), may_look(db)] == [True, False]
    db.execute("update keyfund.chores set next_attempt_at = next_attempt_at - interval '61 seconds'")
    assert may_look(db)


def test_what_was_found_stays_over_probes_until_somebody_looks_again(db: Connection) -> None:
    record(db, "Mind the gap.")
    by_service(db, "report_gateway", p_name="litellm", p_ok=True)
    assert warnings(db) == ["Mind the gap."]
    record(db)
    assert warnings(db) == []


def test_a_look_leaves_the_breaker_alone(db: Connection) -> None:
    by_service(db, "report_gateway", p_name="litellm", p_ok=False, p_error="litellm_unreachable: Away.")
    may_look(db)
    record(db, "Mind the gap.")
    assert value(db, "select failures from keyfund.gateways where name = 'litellm'") == 1


def test_nobody_looks_while_the_breaker_is_open(db: Connection) -> None:
    for _ in range(3):
        by_service(db, "report_gateway", p_name="litellm", p_ok=False, p_error="litellm_unreachable: Away.")
    assert not may_look(db)
    by_service(db, "report_gateway", p_name="litellm", p_ok=True)
    assert may_look(db)
