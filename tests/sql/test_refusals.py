"""The database's refusals and the service's table of them are one."""

import re

import psycopg
import pytest

from core.refusals import DATABASE
from dev.stack import ROOT
from tests.sql.acting import rows
from tests.support import Connection

REFUSE = re.compile(r"keyfund\.refuse\('([a-z0-9_]+)'")


def test_both_say_the_same(db: Connection) -> None:
    found = rows(db, "select code, status, sentence from keyfund.refusals")
    assert {one["code"]: (one["status"], one["sentence"]) for one in found} == {
        code: (refusal.status, refusal.sentence) for code, refusal in DATABASE.items()
    }


def test_every_code_that_a_function_names_is_in_the_table_and_each_is_named() -> None:
    files = (ROOT / "supabase" / "migrations").glob("*.sql")
    assert {code for file in files for code in REFUSE.findall(file.read_text())} == set(DATABASE)


def test_a_refusal_has_its_status_its_code_and_its_values(db: Connection) -> None:
    with pytest.raises(psycopg.Error) as caught:
        db.execute("select keyfund.refuse('price_changed', '500', 'NGN 1.00')")
    told = caught.value.diag
    assert (told.sqlstate, told.message_detail) == ("PT409", "price_changed")
    assert told.message_primary == "This package has changed: it is now 500 credits for NGN 1.00."
