"""Time that a test moves: all that is on record becomes older, and our processes' own clock goes on."""

import time
from types import SimpleNamespace

from tests.support import Connection

AGE = """
    select format('update %I.%I set %s', table_schema, table_name,
        string_agg(format('%1$I = %1$I - $1', column_name), ', '))
    from information_schema.columns join pg_tables on schemaname = table_schema and tablename = table_name
    where table_schema in ('public', 'keyfund') and data_type = 'timestamp with time zone'
    group by table_schema, table_name
    union all values ('update auth.users set banned_until = banned_until - $1')"""
"""An update per table of ours that makes every time in it so much older."""

PREPARE = f"""
create function pg_temp.let_pass(p_passed interval) returns void language plpgsql as $$
declare
  v_update text;
begin
  set local session_replication_role = replica; -- nothing changes but the time
  for v_update in {AGE} loop
    execute v_update using p_passed;
  end loop;
end;
$$"""


class Clock:
    """Stands in for the ``time`` module in the product's own."""

    def __init__(self, superuser: Connection) -> None:
        self._superuser = superuser
        self.passed = 0.0
        superuser.execute(PREPARE.encode())

    def let_pass(self, seconds: float) -> None:
        self.passed += seconds
        self._superuser.execute("select pg_temp.let_pass(make_interval(secs => %s))", [seconds])

    def now(self) -> float:
        return time.monotonic() + self.passed

    def as_module(self) -> SimpleNamespace:
        return SimpleNamespace(monotonic=self.now)
