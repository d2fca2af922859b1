-- All that a database has, a line for each thing: its kind, schema and name, and what is so of it.
with spaces as (
  select oid, nspname from pg_namespace
  where nspname !~ '^pg_' and nspname not in ('information_schema', 'supabase_migrations')
), lines (kind, space, name, line) as (
  select 'schema', s.nspname, s.nspname,
    concat_ws(' ', n.nspowner::regrole, n.nspacl, obj_description(n.oid, 'pg_namespace'))
  from spaces s join pg_namespace n on n.oid = s.oid
  union all
  select 'relation', s.nspname, c.relname, concat_ws(' ', c.relkind, c.relowner::regrole, c.relacl,
    c.relrowsecurity, c.relforcerowsecurity, c.reloptions, obj_description(c.oid, 'pg_class'),
    case when c.relkind in ('v', 'm') then pg_get_viewdef(c.oid)
      when c.relkind in ('i', 'I') then pg_get_indexdef(c.oid) end)
  from spaces s join pg_class c on c.relnamespace = s.oid
  union all
  select 'column', s.nspname, c.relname || '.' || a.attname, concat_ws(' ',
    format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attacl,
    pg_get_expr(d.adbin, d.adrelid), col_description(c.oid, a.attnum))
  from spaces s join pg_class c on c.relnamespace = s.oid join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
    left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
  where not a.attisdropped
  union all
  select 'constraint', s.nspname, conrelid::regclass || '.' || k.conname, pg_get_constraintdef(k.oid)
  from spaces s join pg_constraint k on k.connamespace = s.oid
  union all
  select 'function', s.nspname, p.oid::regprocedure::text, concat_ws(' ', p.proowner::regrole, p.proacl,
    obj_description(p.oid, 'pg_proc'), pg_get_functiondef(p.oid))
  from spaces s join pg_proc p on p.pronamespace = s.oid where p.prokind in ('f', 'p')
  union all
  select 'trigger', s.nspname, c.relname || '.' || t.tgname, concat_ws(' ', t.tgenabled, pg_get_triggerdef(t.oid))
  from spaces s join pg_class c on c.relnamespace = s.oid join pg_trigger t on t.tgrelid = c.oid
  where not t.tgisinternal
  union all
  select 'policy', s.nspname, c.relname || '.' || p.polname, concat_ws(' ', p.polcmd, p.polpermissive,
    p.polroles::regrole[], pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
  from spaces s join pg_class c on c.relnamespace = s.oid join pg_policy p on p.polrelid = c.oid
  union all
  select 'type', s.nspname, t.typname, concat_ws(' ', t.typtype, t.typacl,
    (select string_agg(e.enumlabel, ',' order by e.enumsortorder) from pg_enum e where e.enumtypid = t.oid))
  from spaces s join pg_type t on t.typnamespace = s.oid
  union all
  select 'default rights', coalesce(n.nspname, ''), concat_ws(' ', d.defaclrole::regrole, d.defaclobjtype), d.defaclacl::text
  from pg_default_acl d left join pg_namespace n on n.oid = d.defaclnamespace
  union all
  select 'event trigger', '', e.evtname, concat_ws(' ', e.evtevent, e.evtenabled, e.evtfoid::regprocedure)
  from pg_event_trigger e
  union all
  select 'published', t.schemaname, t.tablename, t.pubname from pg_publication_tables t
  union all
  select 'extension', '', extname, extversion from pg_extension
  union all
  select 'role', '', rolname, concat_ws(' ', rolsuper, rolbypassrls, rolinherit, rolconfig)
  from pg_roles where rolname !~ '^pg_'
)
select kind, space, name, coalesce(line, '') from lines
