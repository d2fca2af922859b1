"""SQL written for public becomes SQL for another schema, and nothing else in it changes."""

import pytest

from core.errors import RefusedError
from core.shipped import MIGRATIONS
from operate.schema import check_name, quote, rename_schema
from operate.tokens import TokenError, scan

RENAMED = [
    ("select * from public.profiles", "select * from api.profiles"),
    ('select * from "public"."profiles"', 'select * from api."profiles"'),
    ("select * from PUBLIC . profiles", "select * from api . profiles"),
    ("select public./* why */profiles.id", "select api./* why */profiles.id"),
    ("create schema if not exists public", "create schema if not exists api"),
    ("grant usage on schema x, public to anon, public", "grant usage on schema x, api to anon, public"),
    ("revoke all on all tables in schema public from a, public",
     "revoke all on all tables in schema api from a, public"),
    ("alter default privileges in schema public grant execute on functions to public",
     "alter default privileges in schema api grant execute on functions to public"),
    ("set search_path = public, extensions", "set search_path = api, extensions"),
    ("set search_path to extensions, public", "set search_path to extensions, api"),
    ("select 'public.profiles'::regclass", "select 'api.profiles'::regclass"),
    ("select regclass 'public.profiles'", "select regclass 'api.profiles'"),
    ("select to_regclass('public.profiles')", "select to_regclass('api.profiles')"),
    ("select to_regprocedure('public.f(public.profiles)')", "select to_regprocedure('api.f(api.profiles)')"),
    ("select has_table_privilege('anon', 'public.profiles', 'select')",
     "select has_table_privilege('anon', 'api.profiles', 'select')"),
    ("select 'public'::regnamespace, to_regnamespace('public')",
     "select 'api'::regnamespace, to_regnamespace('api')"),
    ("select from pg_namespace where nspname = 'public'", "select from pg_namespace where nspname = 'api'"),
    ("where table_schema in ('keyfund', 'public')", "where table_schema in ('keyfund', 'api')"),
    ("where n.nspname = any (array['public', 'keyfund'])", "where n.nspname = any (array['api', 'keyfund'])"),
    ("as $$ begin perform public.f(); end $$", "as $$ begin perform api.f(); end $$"),
    ("as $a$ begin execute $b$ select public.f() $b$; end $a$",
     "as $a$ begin execute $b$ select api.f() $b$; end $a$"),
    ("begin execute 'drop table public.x'; end", "begin execute 'drop table api.x'; end"),
    ("begin execute format('select ''public.x''::regclass, %I', 'public') using 'public'; end",
     "begin execute format('select ''api.x''::regclass, %I', 'api') using 'public'; end"),
]  # fmt: skip

KEPT = [
    "revoke execute on function keyfund.f() from public, anon",
    "create policy p on keyfund.t to public using (true)",
    "grant select on keyfund.t to anon, public",
    "-- public.profiles is told of here\nselect 1",
    "/* public.profiles /* and public.x */ */ select 1",
    "comment on table keyfund.t is 'What public.profiles says, and public.x does.'",
    "comment on table keyfund.t is $$What public.profiles says.$$",
    "insert into keyfund.t values ('public'), ('public.read')",
    "select 'public' as visibility where bucket_id = 'public'",
    "select r.public from keyfund.rooms r where r.public",
    "create table keyfund.rooms (id int, public boolean not null)",
    'select extensions.uuid_generate_v4(), auth.uid(), mypublic.f(), public_things.g(), "Public".h()',
    "grant execute on function keyfund.f(text default 'public.x') to anon",
    "select e'it''s \\' public.x', U&'public.x'",
]


@pytest.mark.parametrize(("before", "after"), RENAMED)
def test_what_names_the_schema_is_renamed(before: str, after: str) -> None:
    assert rename_schema(before, "api") == after


@pytest.mark.parametrize("text", KEPT)
def test_what_does_not_name_the_schema_stays(text: str) -> None:
    assert rename_schema(text, "api") == text


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("select public.f('public.x'::regclass)", 'select "My-api".f(\'"My-api".x\'::regclass)'),
        ("where nspname = 'public'", "where nspname = 'My-api'"),
        ("select to_regnamespace('public')", "select to_regnamespace('\"My-api\"')"),
        ("select has_schema_privilege('anon', 'public', 'usage')",
         "select has_schema_privilege('anon', 'My-api', 'usage')"),
    ],
)  # fmt: skip
def test_a_name_is_quoted_where_it_is_read_as_sql(before: str, after: str) -> None:
    assert rename_schema(before, "My-api") == after


def test_for_public_nothing_changes_and_back_again_is_the_same() -> None:
    for file in MIGRATIONS.glob("*.sql"):
        text = file.read_text()
        assert rename_schema(text, "public") == text
        assert "".join(token.text for token in scan(text)) == text
        assert rename_schema(text, "api").replace("api.", "public.").count("public.") == text.count("public.")


@pytest.mark.parametrize("text", ["select 'a", 'select "a', "as $$ begin", "/* /* */", "$a$ $b$"])
def test_what_has_no_end_is_told_with_its_line(text: str) -> None:
    with pytest.raises(TokenError, match="line 2"):
        rename_schema(f"select 1;\n{text}", "api")


@pytest.mark.parametrize(
    ("name", "quoted"),
    [("api", "api"), ("order", '"order"'), ("Api", '"Api"'), ("a-b", '"a-b"'), ("a1_", "a1_")],
)
def test_names_are_quoted_as_postgresql_does(name: str, quoted: str) -> None:
    assert quote(check_name(name)) == quoted


@pytest.mark.parametrize(
    "name", ["keyfund", "auth", "storage", "pg_temp", "supabase_functions", "extensions", "", "1a", "a b",
             'a"b', "a,b", "ä", "a" * 64, "information_schema", "graphql_public", "_realtime"]
)  # fmt: skip
def test_names_that_cannot_be_are_refused_in_a_line(name: str) -> None:
    with pytest.raises(RefusedError) as refused:
        check_name(name)
    assert "\n" not in refused.value.message
