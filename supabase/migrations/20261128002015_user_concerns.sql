-- What waits for a person because of Supabase's users: grants beyond the ceiling, triggers that are missing.

create function keyfund.user_concerns() returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'waiting_grants', (select count(*) from keyfund.accounts where grant_waits_since is not null),
    'missing_triggers', jsonb_array_length(public.list_missing_triggers()));
$$;

create or replace function public.read_concerns() returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
  perform keyfund.check_administrator();
  return keyfund.concerns() || keyfund.user_concerns() || keyfund.adjustment_concerns() || jsonb_build_object(
    'reconciliation', (
      select jsonb_build_object('at', r.ended_at, 'differences', r.differences, 'complete', r.complete)
      from keyfund.reconciliations r order by r.id desc limit 1),
    'drift', (
      select jsonb_build_object('at', d.ended_at, 'differences', d.differences, 'complete', d.complete)
      from keyfund.drift_reports d order by d.id desc limit 1));
end;
$$;

revoke all on all functions in schema keyfund from public, anon, authenticated, service_role;
