"""Installing beside what is there: theirs stays as it is, ours works, and a second run adds nothing."""

from pathlib import Path

import pytest

from dev.supabase import Regime
from tests.living import catalogue
from tests.living.conftest import Begun
from tests.living.project import ALL, BESIDE, BY_NAME, Living, credits_of, keyfund, push, sign_up
from tests.sql.acting import value

NAMES = [living.name for living in ALL]


def install(folder: Path, schema: str | None = BESIDE) -> int:
    return keyfund("migrations", "--into", folder, *(("--schema", schema) if schema else ()))


@pytest.mark.parametrize("regime", ["locked", "open"])
@pytest.mark.parametrize("living", ALL, ids=NAMES)
def test_theirs_stays_and_both_follow_a_sign_up(living: Living, regime: Regime, begun: Begun) -> None:
    database, folder = begun(living.name, regime)
    with database.connect() as db:
        before = catalogue.read(db)
        assert install(folder) == 0
        assert push(database, folder)
        assert catalogue.read(db, besides=(BESIDE, "keyfund")) == before
        user_id = sign_up(living, db, "ana")
        assert credits_of(db, BESIDE, user_id) == 500
        db.execute("select keyfund_api.heal_accounts()")  # the sweep, for whoever was there before
        assert value(db, "select count(*) from auth.users u join keyfund_api.profiles p on p.id = u.id") == 2


def test_a_second_run_adds_nothing_and_pushes_nothing(
    begun: Begun, capsys: pytest.CaptureFixture[str]
) -> None:
    database, folder = begun("quickstart")
    assert install(folder) == 0
    push(database, folder)
    files = sorted(folder.iterdir())
    assert install(folder, schema=None) == 0
    assert "Nothing to add" in capsys.readouterr().out
    assert sorted(folder.iterdir()) == files
    assert push(database, folder) == []


def test_into_public_where_none_of_our_names_is_taken(begun: Begun) -> None:
    database, folder = begun("chat")
    with database.connect() as db:
        theirs = catalogue.read(db)
        assert install(folder, schema=None) == 0
        push(database, folder)
        assert theirs <= catalogue.read(db)
        user_id = sign_up(BY_NAME["chat"], db, "ana")
        assert credits_of(db, "public", user_id) == 500


def test_a_name_that_needs_quotes(begun: Begun) -> None:
    database, folder = begun("quickstart")
    assert install(folder, "My-order") == 0
    push(database, folder)
    with database.connect() as db:
        user_id = sign_up(BY_NAME["quickstart"], db, "ana")
        assert credits_of(db, "My-order", user_id) == 500
