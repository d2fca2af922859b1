"""The operator's commands and the nightly job, on the running stack."""

import re
import subprocess
import sys
import time

import httpx

from dev.stack import ROOT
from tests.integration.test_start import webhook
from tests.integration.world import World, until

UNCHANGED = "Nothing was changed; --yes does it.\n"


def operate(world: World, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "operate", *arguments],
        cwd=ROOT,
        env=world.env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_failing_events_are_replayed_by_a_command(world: World) -> None:
    user = world.sign_up()
    reference = world.order(user)["reference"]
    world.misbehave({"route": "GET /transaction/verify/:reference", "status": 500, "count": None})
    raw = world.pay(reference, deliver=False)["raw"].encode()
    world.deliver(raw)
    until(lambda: (world.event(raw) or {}).get("attempts"), what="it failed")
    world.db.execute(
        "update keyfund.events set next_attempt_at = now() + interval '1 day' where reference = %s",
        [reference],
    )
    world.behave()
    ended = operate(world, "replay", "--failing")
    assert ended.returncode == 0, ended.stderr
    assert "are due again" in ended.stdout
    world.until_status(user, reference, "success")


def test_an_older_payment_is_measured_anew_by_a_command_that_shows_it_first(world: World) -> None:
    user = world.sign_up()
    reference = world.order(user)["reference"]
    world.pay(reference, amount=1_700_000, requested_amount=1_600_000, channel="bank_transfer")
    world.until_status(user, reference, "success")
    world.db.execute(
        "update public.transactions set borne_fee = null, refunded_amount = 100000, withheld_credits = 30,"
        " reversals = 1 where reference = %s",
        [reference],
    )
    world.db.execute(
        "select keyfund.append_entry(%s, -30, 'withheld', %s)", [user.id, f"withheld:{reference}:1"]
    )
    world.sandbox(f"/sandbox/transactions/{reference}/refund", amount=100_000, deliver=False)
    line = f"{reference}: 30 credits are withheld, 0 are due; the buyer bore a fee of 0.00\n"
    shown = operate(world, "remeasure", "--reference", reference)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout == line + "1 payments change, 0 stay, 0 cannot be measured. " + UNCHANGED
    assert world.credits(user) == 970
    booked = operate(world, "remeasure", "--reference", reference, "--yes")
    assert booked.stdout.startswith(line)
    assert world.credits(user) == 1000
    again = operate(world, "remeasure", "--reference", reference, "--reference", "kf-nobody")
    assert again.returncode == 1
    assert f"{reference}: 0 credits stay withheld" in again.stdout
    assert "kf-nobody: never paid, or no order of ours" in again.stdout


def test_a_replay_of_nothing_and_a_time_that_is_none_are_clear_errors(world: World) -> None:
    nothing = operate(world, "replay")
    assert (nothing.returncode, nothing.stderr) == (
        2,
        "keyfund: Name events, a payment, a time range, or all that fail.\n",
    )
    wrong = operate(world, "replay", "--since", "yesterday")
    assert wrong.returncode == 2
    assert "a time such as 2026-01-31" in wrong.stderr
    assert "from 1" in operate(world, "reconcile", "--days", "0").stderr


def test_the_books_are_compared_at_night_and_the_report_is_kept(world: World) -> None:
    query = "select coalesce(max(id), 0) from keyfund.reconciliations"
    before = world.db.execute(query).fetchone()
    world.db.execute("update keyfund.chores set next_attempt_at = now() where name = 'reconcile'")
    until(lambda: world.db.execute(query).fetchone() != before, what="the books are compared")
    compared = "select complete from keyfund.drift_reports where ended_at > now() - interval '1 minute'"
    until(lambda: (True,) in world.db.execute(compared).fetchall(), what="the keys are compared")
    row = world.db.execute(
        "select complete, report -> 'checks' -> 'credits' ->> 'compared' from keyfund.reconciliations"
        " order by id desc limit 1"
    ).fetchone()
    assert row is not None
    assert row[0] is True
    assert int(row[1]) > 0
    due = world.db.execute(
        "select next_attempt_at > now() from keyfund.chores where name = 'reconcile'"
    ).fetchone()
    assert due == (True,)
    with webhook({**world.env, "METRICS_TOKEN": "a-token-of-the-operators"}) as url:
        headers = {"Authorization": "Bearer a-token-of-the-operators"}
        shown = httpx.get(f"{url}/metrics", headers=headers, timeout=10).text
    assert 'keyfund_reconciliation_differences{check="credits"} 0.0' in shown
    assert 'keyfund_drift{kind="extra"} 0.0' in shown
    for name in ("keyfund_reconciled_timestamp_seconds", "keyfund_drift_compared_timestamp_seconds"):
        measured = re.search(rf"^{name} (\S+)$", shown, re.MULTILINE)
        assert measured is not None
        assert float(measured[1]) > time.time() - 120
