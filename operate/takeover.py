"""``keyfund takeover``: an installation of the document becomes one of Keyfund."""

import argparse
import asyncio
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from psycopg import sql

from core.domain.adoption import Adoption
from core.domain.schema import PUBLIC
from core.errors import KeyfundError, RefusedError, SettingsError
from core.settings import Settings, read_settings
from operate import held, history
from operate.back import confirm, go_back
from operate.before import ASIDE, Move, Takeover, find_takeover, keep_litellm, list_leaning, plan_move
from operate.command import Commands, add_database
from operate.frame import HEAD, NO_WAITING, release
from operate.installation import Connection, find_schema
from operate.migrations import Migration, Project, read_database, read_folder, shipped
from operate.schema import check_name
from operate.theirs import Plan, Seen, decide, read_theirs

DONE, REFUSED, UNKNOWN = 0, 1, 2
SHOWN = 200

DIFFERENT = """
    select count(*) from keyfund_before.profiles b join {schema}.profiles p using (id)
    where coalesce(b.credits, 0) <> p.credits - (
      select coalesce(sum(l.delta), 0) from {schema}.credit_ledger l
      where l.account_id = p.id and l.kind = 'usage')
"""
ADOPT = """
    select {schema}.adopt_key(p_user_id => %s, p_key_hash => %s, p_key => %s, p_preview => %s, p_name => %s,
      p_max_budget => %s, p_budget_duration => %s, p_rpm_limit => %s, p_tpm_limit => %s, p_blocked => %s,
      p_models => %s, p_expires_at => %s)
"""


@dataclass(frozen=True, slots=True)
class Wish:
    """What an operator asked for. ``into``: where the migrations are written, too; None: nowhere.

    ``book_spent``: credits are what was ever given, so what was spent of them is booked.
    """

    database: str
    schema: str
    into: Path | None
    book_spent: bool
    really: bool


def add_command(commands: Commands) -> None:
    parser = commands.add_parser(
        "takeover",
        help="take over an installation of the document that Keyfund grew from",
        description="Moves the tables profiles, virtual_keys and transactions of such an installation to the "
        f"schema {ASIDE}, unhooks their trigger, installs Keyfund in their place, and takes over people, "
        "balances, keys and payments, all in one transaction. Only shows, unless told to do it. Exit "
        "status: 0 shown or done, 1 something is in the way, 2 LiteLLM or the database could not be asked.",
    )
    add_database(parser)
    parser.add_argument(
        "--schema",
        metavar="NAME",
        default=PUBLIC,
        help="the schema for Keyfund's tables and functions (default: public)",
    )
    parser.add_argument(
        "--into", type=Path, metavar="DIR", help="write the migrations into this folder of the project, too"
    )
    parser.add_argument(
        "--book-spent",
        action="store_true",
        help="their credits are what was ever given, not what is left: book what LiteLLM shows as spent",
    )
    parser.add_argument("--yes", action="store_true", help="do it")
    undo = parser.add_mutually_exclusive_group()
    undo.add_argument(
        "--back",
        action="store_true",
        help="undo it: everything is as it was. Needs --yes where credits were bought since",
    )
    undo.add_argument(
        "--confirm", action="store_true", help=f"drop the tables in {ASIDE}: it cannot be undone any more"
    )
    parser.add_argument(
        "--hand-over", action="store_true", help="with --back: leave the keys in LiteLLM as they are"
    )
    parser.set_defaults(does=run)


def run(arguments: argparse.Namespace) -> int:
    if not arguments.database:
        print("keyfund: name the database: --database URL, or DATABASE_URL.", file=sys.stderr)
        return UNKNOWN
    try:
        return carry_out(arguments)
    except RefusedError as error:
        print(f"keyfund: {error.message}", file=sys.stderr)
        return REFUSED
    except SettingsError as error:
        print(f"keyfund: {error.message}", file=sys.stderr)
        return UNKNOWN
    except KeyfundError as error:
        print(f"keyfund: {error.message} Nothing was changed in the database.", file=sys.stderr)
        return UNKNOWN
    except OSError as error:
        print(f"keyfund: {arguments.into}: {error.strerror}.", file=sys.stderr)
        return REFUSED
    except psycopg.errors.RaiseException as error:
        print(f"keyfund: nothing was changed: {error.diag.message_primary}", file=sys.stderr)
        return REFUSED
    except psycopg.Error as error:
        print(f"keyfund: nothing was changed in the database: {str(error).strip()}", file=sys.stderr)
        return UNKNOWN


def carry_out(arguments: argparse.Namespace) -> int:
    with psycopg.connect(arguments.database, autocommit=True) as connection:
        connection.execute("set search_path = ''")  # so that all names are told with their schemas
        if arguments.back:
            return asyncio.run(go_back(connection, hand_over=arguments.hand_over, really=arguments.yes))
        if arguments.confirm:
            return confirm(connection)
        wish = Wish(
            arguments.database,
            check_name(arguments.schema),
            arguments.into,
            arguments.book_spent,
            arguments.yes,
        )
        return asyncio.run(take_over(connection, wish))


async def take_over(connection: Connection, wish: Wish) -> int:
    """Show what there is and would be done; then, if told to, do it.

    Raises:
        RefusedError: something is in the way.
        TransientError: LiteLLM could not be asked.
        psycopg.Error: the database refused, and nothing was changed.
    """
    if (done := find_takeover(connection)) is not None:
        return tell_done(done)
    if find_schema(connection) is not None:
        raise RefusedError(
            "installed", "Keyfund is installed already: there is nothing to take over. See keyfund uninstall."
        )
    move = plan_move(connection)
    theirs = read_theirs(connection, PUBLIC, move.tables)
    settings = read_settings()
    seen = await held.look(settings, theirs)
    plan = decide(theirs, seen, settings.credit_value_cents, datetime.now(UTC))
    for line in describe(move, plan, list_leaning(connection, PUBLIC)):
        print(line)
    print(describe_spent(plan, seen, book_spent=wish.book_spent))
    if not wish.really:
        print("Nothing was changed; --yes does it.")
        return DONE
    carry(connection, wish, settings, move, seen)
    print(
        "Taken over. Start the webhook service and the worker: it makes the keys obey their wallets. Until "
        "keyfund takeover --confirm, keyfund takeover --back undoes it."
    )
    return DONE


def tell_done(done: Takeover) -> int:
    print(
        f"Taken over on {done.at:%Y-%m-%d at %H:%M} already: keyfund takeover --back undoes it, --confirm "
        f"drops the tables in {ASIDE}."
    )
    return DONE


# --- what is told -------------------------------------------------------------------------------------------


def describe(move: Move, plan: Plan, leaning: Iterator[str]) -> Iterator[str]:
    """The plan, line by line; no key's string is in it."""
    yield "To be done, in one transaction; sign-ups and sign-ins wait for it:"
    yield f"  move the tables {', '.join(move.tables)} to the schema {ASIDE}"
    for trigger in move.triggers:
        yield f"  unhook the trigger {trigger} on auth.users: all that it does ends"
    yield "  install Keyfund in their place"
    total = sum(one.credits or 0 for one in plan.people)
    yield f"  take over {len(plan.people):,} people with {total:,} credits"
    yield from describe_debts(plan)
    yield f"  adopt {len(plan.adoptions):,} keys; {plan.placeholders:,} were never made in LiteLLM"
    yield from shorten([describe_key(one) for one in plan.adoptions])
    yield f"  keep {len(plan.payments):,} transactions as history; the balances hold what they bought"
    states = sorted({one.status for one in plan.payments})
    for status in states:
        yield f"    {sum(one.status == status for one in plan.payments):,} {status}"
    if plan.refused:
        yield f"Refused, and left as they are ({len(plan.refused):,}):"
        yield from shorten(plan.refused)
    if lean := list(leaning):
        yield "Of others, these go on meaning the tables of before, where nobody is added any more:"
        yield from shorten(lean)


def describe_spent(plan: Plan, seen: Seen, *, book_spent: bool) -> str:
    """What the balances mean, which nobody but the operator knows."""
    spent = f"${sum(plan.spent(seen).values()) / 1_000_000:,.2f} that LiteLLM shows as spent"
    if book_spent:
        return f"The credits are taken as what was ever given: {spent} are booked."
    return (
        f"The credits are taken as what is left: {spent} are not booked. Where credits were never lowered, "
        "--book-spent books it."
    )


def describe_debts(plan: Plan) -> Iterator[str]:
    debts = [one for one in plan.people if (one.credits or 0) < 0]
    yield from shorten(
        [f"{one.id} owes {-(one.credits or 0)} credits, and goes on owing them" for one in debts]
    )


def describe_key(one: Adoption) -> str:
    cap = (
        "its cap follows the wallet"
        if one.budget_cents is None
        else f"fixed cap ${one.budget_cents / 100:.2f}"
    )
    return f"{one.request.shown} of {one.user_id}: {cap}"


def shorten(lines: Sequence[str]) -> Iterator[str]:
    yield from (f"    {line}" for line in lines[:SHOWN])
    if len(lines) > SHOWN:
        yield f"    … and {len(lines) - SHOWN:,} more"


# --- what is done -------------------------------------------------------------------------------------------


def carry(connection: Connection, wish: Wish, settings: Settings, move: Move, seen: Seen) -> None:
    """All of it in one transaction, or nothing."""
    text = HEAD.format(release=release(), schema=wish.schema) + f"{NO_WAITING}\n\n{move.text}"
    applied = history.number(
        [Migration("before", text), *shipped(wish.schema)], known(wish), datetime.now(UTC)
    )
    with connection.transaction():
        connection.execute("set local statement_timeout = 0; set local search_path to default")
        for one in applied:
            connection.execute(one.migration.text.encode())
        connection.execute("set local search_path = ''")
        plan = decide_again(connection, move, settings, seen)
        install_people(connection, wish, plan, seen, settings.credit_value_cents)
        keep_litellm(connection, held.keep(plan, seen) | {"history": history.is_kept(connection)})
        history.record(connection, applied)
        check(connection, wish.schema)
        connection.execute("notify pgrst, 'reload schema'")
    if wish.into is not None:
        history.write(wish.into, applied)


def known(wish: Wish) -> Project:
    """What the project has, by its database and its folder."""
    there = read_database(wish.database)
    return there.joined(read_folder(wish.into)) if wish.into is not None else there


def decide_again(connection: Connection, move: Move, settings: Settings, seen: Seen) -> Plan:
    """The same once nobody can write any more.

    Raises:
        RefusedError: a key is there now that LiteLLM was not asked about.
    """
    theirs = read_theirs(connection, ASIDE, move.tables)
    if any(one.key_hash not in seen.keys for one in theirs.requests):
        raise RefusedError("changed", "A key was made meanwhile: repeat the command. Nothing was changed.")
    return decide(theirs, seen, settings.credit_value_cents, datetime.now(UTC))


def install_people(connection: Connection, wish: Wish, plan: Plan, seen: Seen, credit_cents: int) -> None:
    spent = plan.spent(seen) if wish.book_spent else {}
    connection.execute("select pg_catalog.set_config('keyfund.patient', 'on', true)")
    connection.execute(
        "update keyfund.settings set credit_value_cents = %s where credit_value_cents <> %s",
        [credit_cents, credit_cents],
    )
    with connection.cursor() as cursor:
        cursor.executemany(
            "select keyfund.take_over_account(%s, %s, %s, %s, %s)",
            [
                (one.id, one.credits, seen.spent(one.id), spent.get(one.id, 0), one.created_at)
                for one in plan.people
            ],
        )
        cursor.executemany(
            "select keyfund.take_over_payment(%s, %s, %s, %s, %s, %s, %s)",
            [
                (p.id, p.user_id, p.reference, p.amount, p.currency, p.status, p.created_at)
                for p in plan.payments
            ],
        )
    for one in plan.adoptions:
        adopt(connection, wish.schema, one)


def adopt(connection: Connection, schema: str, one: Adoption) -> None:
    query = sql.SQL(ADOPT).format(schema=sql.Identifier(schema))
    request, models = one.request, None if one.models is None else list(one.models)
    given: list[object] = [one.user_id, request.key_hash, request.key, one.preview, request.name]
    given += [one.budget_cents, one.budget_duration, one.rpm_limit, one.tpm_limit, one.blocked]
    try:
        connection.execute(query, [*given, models, one.expires_at])
    except psycopg.Error as error:
        raise RefusedError(
            "not_adopted",
            f"The key {request.shown} of {one.user_id} cannot be adopted: {error.diag.message_primary} "
            "Nothing was changed.",
        ) from None


def check(connection: Connection, schema: str) -> None:
    """Balances are equal before and after, or nothing is done."""
    query = sql.SQL(DIFFERENT).format(schema=sql.Identifier(schema))
    (count,) = connection.execute(query).fetchone() or (0,)
    if count:
        raise RefusedError("different", f"{count} balances would be others than before. Nothing was changed.")
