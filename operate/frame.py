"""What stands around a migration's text in the file that is written for a project."""

import re
from importlib.metadata import PackageNotFoundError, version

from operate.schema import quote, rename_schema

HEAD = "-- Keyfund {release}, for the schema {schema}. `keyfund migrations` wrote it: leave it as it is.\n"
HEAD_READ = re.compile(r"^-- Keyfund .*, for the schema (?P<schema>[A-Za-z0-9_-]+)\. ", re.MULTILINE)
NO_WAITING = "set local lock_timeout = '5s';"
RELOAD = "notify pgrst, 'reload schema';"
FOLLOWS_USERS = re.compile(r"\btrigger\b[^;]*\bon\s+auth\.users\b", re.IGNORECASE)

SCHEMA = """
create schema {schema};
comment on schema {schema} is 'Keyfund''s tables and functions. The Data API''s settings have to expose it.';
grant usage on schema {schema} to anon, authenticated, service_role;
"""

TRIAL = """
do $trial$
declare
  v_failure text := 'none';
begin
  discard plans; -- or what a function's statements meant before, they go on meaning
  begin
    insert into auth.users (id, aud, role, email, raw_app_meta_data, raw_user_meta_data)
    values (gen_random_uuid(), 'authenticated', 'authenticated', gen_random_uuid() || '@keyfund.invalid',
      '{{}}', '{{"name": "Trial", "full_name": "Trial", "username": "keyfund_trial"}}');
    set constraints all immediate;
    raise exception using errcode = 'KF000'; -- nothing of it is kept
  exception
    when sqlstate 'KF000' then null;
    when lock_not_available then raise;
    when others then v_failure := sqlerrm;
  end;
{judgement}
end;
$trial$;
"""
BEFORE = "  perform set_config('keyfund.trial_before', v_failure, true);"
AFTER = """  if v_failure <> 'none' and current_setting('keyfund.trial_before') = 'none' then
    raise exception 'A sign-up works without this file, and fails with it: %', v_failure;
  end if;"""


def compose(text: str, schema: str) -> str:
    """A file's text for a schema: it waits for no lock for long, and PostgREST hears of what changed."""
    parts = [HEAD.format(release=release(), schema=schema)]
    if not text.count(f"{NO_WAITING}\n"):
        parts.append(f"{NO_WAITING}\n")
    follows = FOLLOWS_USERS.search(text) is not None
    if follows:
        parts.append(TRIAL.format(judgement=BEFORE))
    parts.append("\n" + rename_schema(text, schema).strip() + "\n")
    if follows:
        parts.append(TRIAL.format(judgement=AFTER))
    if RELOAD not in text:
        parts.append(f"\n{RELOAD}\n")
    return "".join(parts)


def make_schema(schema: str) -> str:
    """The file that makes the schema."""
    return compose(SCHEMA.format(schema=quote(schema)), schema)


def schema_of(text: str) -> str | None:
    """The schema that a written file is for; None where its head was taken off."""
    found = HEAD_READ.search(text)
    return found["schema"] if found else None


def release() -> str:
    try:
        return version("keyfund")
    except PackageNotFoundError:  # run from a checkout
        return "from a checkout"
