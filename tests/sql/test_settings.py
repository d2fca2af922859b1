"""What an operator sets is refused when it is set."""

import psycopg
import pytest

from tests.sql.acting import by_owner, sign_up, value
from tests.support import Connection

REFUSED = [
    ("key_budget_duration", "30 days"),
    ("key_budget_duration", "0d"),
    ("key_budget_duration", "30"),
    ("key_budget_duration", "d30"),
    ("key_budget_duration", "2mo"),
    ("key_budget_duration", ""),
    ("key_budget_duration", " 30d"),
    ("key_budget_duration", "-1d"),
    ("key_budget_duration", "1.5h"),
    ("key_rpm_limit", 0),
    ("key_tpm_limit", -1),
    ("signup_credits", -1),
    ("signup_credits", 2_000_000_000),
    ("signup_grants_per_hour", 0),
    ("keys_per_account", 0),
    ("keys_per_account", 2_000_000_000),
    ("open_orders_per_hour", 0),
    ("open_orders_per_hour", 2_000_000_000),
    ("key_creations_per_hour", 0),
    ("key_rotations_per_hour", -1),
    ("key_changes_per_hour", 0),
    ("key_unblocks_per_hour", 0),
    ("key_resyncs_per_hour", 0),
    ("keep_revoked_days", 0),
    ("keep_revoked_days", 2_000_000_000),
    ("parking_refusals", 0),
    ("parking_refusals", 2_000_000_000),
    ("redact_events_after_days", 0),
    ("redact_events_after_days", 2_000_000_000),
    ("spend_settles_seconds", 0),
    ("key_max_parallel", 0),
    ("account_max_parallel", 1001),
    ("most_rpm_limit", 0),
    ("most_tpm_limit", 0),
    ("most_max_budget", -1),
    ("account_rpm_limit", 0),
    ("account_tpm_limit", 0),
    ("allowed_models", []),
    ("allowed_models", [None]),
    ("allowed_models", ["gpt", ""]),
    ("allowed_models", ["gpt", "  "]),
    ("allowed_models", [" gpt"]),
    ("allowed_models", ["gpt "]),
    ("allowed_models", ["gpt\n"]),
    ("allowed_models", ["g\tpt"]),
    ("allowed_models", ["g" * 257]),
    ("allowed_models", [["gpt"], ["other"]]),
    ("open_routes", []),
    ("large_adjustment_credits", 0),
    ("large_adjustment_credits", 1_000_000_001),
    ("nightly_at", "24:00"),
    ("credit_value_cents", 0),
]


@pytest.mark.parametrize(("setting", "given"), REFUSED)
def test_a_value_out_of_bounds_is_refused_when_it_is_set(db: Connection, setting: str, given: object) -> None:
    with pytest.raises(psycopg.errors.CheckViolation) as caught:
        db.execute(f"update keyfund.settings set {setting} = %s".encode(), [given])
    assert str(caught.value.diag.constraint_name).startswith("settings_")


@pytest.mark.parametrize("duration", ["30s", "90m", "1h", "1d", "7d", "30d", "2w", "1mo", "99999d"])
def test_what_is_taken_makes_keys(db: Connection, duration: str) -> None:
    db.execute("update keyfund.settings set key_budget_duration = %s", [duration])
    assert by_owner(db, sign_up(db), "create_virtual_key")["budget_duration"] == duration


@pytest.mark.parametrize("setting", ["key_creations_per_hour", "signup_grants_per_hour", "most_rpm_limit"])
def test_none_is_no_limit_where_the_documents_say_so(db: Connection, setting: str) -> None:
    db.execute(f"update keyfund.settings set {setting} = null".encode())
    assert by_owner(db, sign_up(db), "create_virtual_key")["state"] == "active"


def test_models_are_taken_as_litellm_writes_them(db: Connection) -> None:
    models = ["g", "openai/*", "my own model", "modèle-é", "g" * 256]
    db.execute("update keyfund.settings set allowed_models = %s", [models])
    assert value(db, "select allowed_models from keyfund.settings") == models


def test_every_setting_that_is_more_than_a_switch_has_bounds(db: Connection) -> None:
    """A setting that is added without any is found here."""
    unbounded = value(
        db,
        """select array_agg(a.attname::text) from pg_attribute a
        where a.attrelid = 'keyfund.settings'::regclass and a.attnum > 0 and not a.attisdropped
          and a.atttypid not in ('boolean'::regtype, 'uuid'::regtype)
          and not exists (
            select from pg_constraint c
            where c.conrelid = a.attrelid and c.contype = 'c' and a.attnum = any (c.conkey))""",
    )
    assert unbounded is None
