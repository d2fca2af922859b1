-- All keys are compared with LiteLLM all day, a slice at a time: what LiteLLM lost shows within minutes.
-- One row says where the round stands; it survives restarts, and one worker at a time has it.

create table keyfund.drift_round (
  id boolean primary key default true check (id),
  page integer not null default 1,
  after_hash text not null default '',
  report jsonb,
  due_at timestamptz not null default now(),
  lease_token uuid,
  lease_expires_at timestamptz
);
comment on table keyfund.drift_round is 'The comparison of all keys with LiteLLM that is under way: where the next slice begins.';
comment on column keyfund.drift_round.page is 'The page of LiteLLM''s list that comes next.';
comment on column keyfund.drift_round.after_hash is 'Keys up to this hash are compared.';
comment on column keyfund.drift_round.report is 'What this round has found so far; null: it has not begun.';
comment on column keyfund.drift_round.due_at is 'When the next slice may begin: LiteLLM is left alone until then.';
alter table keyfund.drift_round enable row level security;
insert into keyfund.drift_round default values;

create function public.claim_drift_slice(p_lease_seconds integer) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_round keyfund.drift_round;
begin
  update keyfund.drift_round
  set lease_token = gen_random_uuid(), lease_expires_at = now() + make_interval(secs => p_lease_seconds)
  where due_at <= now() and (lease_expires_at is null or lease_expires_at <= now())
    and not exists (select from keyfund.gateways where name = 'litellm' and opened_at is not null)
  returning * into v_round;
  if v_round.id is null then
    return null;
  end if;
  return jsonb_build_object('token', v_round.lease_token, 'page', v_round.page, 'after', v_round.after_hash,
    'report', v_round.report, 'at', clock_timestamp(), 'installation_id', (select installation_id from keyfund.settings));
end;
$$;
comment on function public.claim_drift_slice(integer) is
  'Leases the next slice of keys to compare; null: another worker has it, it is not due yet, or the breaker is open.';

create function public.finish_drift_slice(
  p_token uuid, p_page integer, p_after text, p_report jsonb, p_ends_round boolean, p_pause_seconds double precision
) returns boolean
language plpgsql security definer set search_path = '' as $$
begin
  update keyfund.drift_round
  set page = case when p_ends_round then 1 else p_page end, after_hash = case when p_ends_round then '' else p_after end,
      report = case when p_ends_round then null else p_report end,
      due_at = now() + make_interval(secs => p_pause_seconds), lease_token = null, lease_expires_at = null
  where lease_token = p_token;
  if found and p_ends_round then
    insert into keyfund.drift_reports (began_at, complete, differences, report)
    values ((p_report ->> 'began_at')::timestamptz, true, (p_report ->> 'differences')::integer, p_report);
    -- There are hundreds of rounds a day: of those that found nothing the latest is kept.
    delete from keyfund.drift_reports d
    where d.id < (select max(id) from keyfund.drift_reports) and (d.complete and d.differences = 0
      or d.id <= (select id from keyfund.drift_reports order by id desc offset 100 limit 1));
    return true;
  end if;
  return found;
end;
$$;
comment on function public.finish_drift_slice(uuid, integer, text, jsonb, boolean, double precision) is
  'Where the next slice begins, and after how long; at a round''s end its report is kept. False: another worker has the slice now.';

-- Nothing is left to do at night.
delete from keyfund.chores where name = 'drift';

revoke all on function public.claim_drift_slice(integer) from public, anon, authenticated, service_role;
revoke all on function public.finish_drift_slice(uuid, integer, text, jsonb, boolean, double precision) from public, anon, authenticated, service_role;
grant execute on function public.claim_drift_slice(integer) to service_role;
grant execute on function public.finish_drift_slice(uuid, integer, text, jsonb, boolean, double precision) to service_role;

revoke all on all tables in schema keyfund from public, anon, authenticated, service_role;
revoke all on all functions in schema keyfund from public, anon, authenticated, service_role;
