-- The newer regime: Supabase's own statement, which comes on top of the older one (and so leaves
-- TRUNCATE, REFERENCES and TRIGGER on tables, and PUBLIC's EXECUTE on functions).
alter default privileges for role postgres in schema public
  revoke select, insert, update, delete on tables from anon, authenticated, service_role;
alter default privileges for role postgres in schema public
  revoke usage, select on sequences from anon, authenticated, service_role;
alter default privileges for role postgres in schema public
  revoke execute on functions from anon, authenticated, service_role;
