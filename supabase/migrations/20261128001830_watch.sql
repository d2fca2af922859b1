-- What endangers wallets in LiteLLM, looked at once a minute by one worker, and kept for administrators.

alter table keyfund.gateways add column watched_at timestamptz;
comment on column keyfund.gateways.watched_at is 'When somebody last began to look for warnings.';

create function public.claim_watch(p_name text, p_every_seconds integer default 60) returns boolean
language plpgsql security definer set search_path = '' as $$
begin
  update keyfund.gateways set watched_at = now()
  where name = p_name and coalesce(watched_at, '-infinity') <= now() - make_interval(secs => p_every_seconds);
  return found;
end;
$$;
comment on function public.claim_watch(text, integer) is 'True for the one process that may have a look now; again after so many seconds.';

create function public.record_warnings(p_name text, p_warnings jsonb) returns void
language sql security definer set search_path = '' as $$
  update keyfund.gateways set warnings = p_warnings where name = p_name and warnings <> p_warnings;
$$;
comment on function public.record_warnings(text, jsonb) is 'Sentences for administrators; they take the place of those before.';

-- A probe tells of warnings only where it is an older worker''s.
create or replace function public.report_gateway(p_name text, p_ok boolean, p_error text default null, p_warnings jsonb default null)
returns void
language plpgsql security definer set search_path = '' as $$
begin
  if p_ok then
    perform keyfund.breaker_succeeded(p_name);
    update keyfund.gateways set warnings = p_warnings where name = p_name and warnings <> p_warnings;
  else
    perform keyfund.breaker_failed(p_name, p_error);
  end if;
end;
$$;

revoke all on function public.claim_watch(text, integer) from public, anon, authenticated, service_role;
revoke all on function public.record_warnings(text, jsonb) from public, anon, authenticated, service_role;
grant execute on function public.claim_watch(text, integer) to service_role;
grant execute on function public.record_warnings(text, jsonb) to service_role;
