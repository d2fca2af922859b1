-- The other sides: whether they answer, and the breaker that spares them.

set local check_function_bodies = off; -- a function may name what a later file makes

create table keyfund.gateways (
  name text primary key,
  failures integer not null default 0,
  opened_at timestamptz,
  probe_at timestamptz,
  last_ok_at timestamptz,
  last_error text,
  warnings jsonb not null default '[]'
);
comment on table keyfund.gateways is
  'Whether a gateway answers, as all processes see it together: the circuit breaker''s state.';
comment on column keyfund.gateways.opened_at is
  'Since when nothing is pushed because the gateway does not answer; null: the breaker is closed.';
comment on column keyfund.gateways.probe_at is 'When one process may ask whether the gateway is back.';
alter table keyfund.gateways enable row level security;

insert into keyfund.gateways (name) values ('litellm'), ('paystack');

create function keyfund.backoff(p_attempts integer, p_cap_seconds integer default 60) returns interval
language sql volatile set search_path = '' as $$
  -- Full jitter, capped: AWS Architecture Blog, "Exponential Backoff And Jitter".
  select make_interval(secs => greatest(0.5, random() * least(p_cap_seconds, power(2, least(p_attempts, 10)))));
$$;

create function keyfund.pause(p_retry_after_seconds integer, p_attempts integer) returns interval
language sql volatile set search_path = '' as $$
  -- least() passes over null: without the case, who asked for nothing would wait for the whole minute.
  select case when p_retry_after_seconds is null then keyfund.backoff(p_attempts)
    else make_interval(secs => least(p_retry_after_seconds, 60)) end;
$$;
comment on function keyfund.pause(integer, integer) is
  'How long to wait before the next attempt: as LiteLLM asked, a minute at most, or else by backoff.';

create function keyfund.breaker_failed(p_name text, p_error text) returns void
language sql set search_path = '' as $$
  update keyfund.gateways
  set failures = failures + 1, last_error = p_error,
      opened_at = case when failures >= 2 then coalesce(opened_at, now()) else opened_at end,
      probe_at = now() + make_interval(secs => 2 + random() * 3)
  where name = p_name;
$$;
comment on function keyfund.breaker_failed(text, text) is
  'Three failures in a row, whoever had them, open the breaker.';

create function keyfund.breaker_succeeded(p_name text) returns void
language plpgsql set search_path = '' as $$
declare
  v_was_open boolean;
begin
  select opened_at is not null into v_was_open from keyfund.gateways
  where name = p_name and (failures > 0 or last_ok_at is null or last_ok_at < now() - interval '10 seconds');
  if v_was_open is null then
    return; -- nothing new to write: a success is the usual case
  end if;
  update keyfund.gateways set failures = 0, opened_at = null, probe_at = null, last_ok_at = now(), last_error = null
  where name = p_name;
  if v_was_open then
    -- All that failed while it was away goes at once; claims keep the crowd in line. Never wait here: who holds
    -- an account or a key may wait for this gateway.
    update keyfund.pushes set next_attempt_at = now(), attempts = 0
    where account_id in (
      select account_id from keyfund.pushes
      where revision > confirmed_revision and next_attempt_at > now()
        and (lease_expires_at is null or lease_expires_at < now())
      for update skip locked);
    update public.virtual_keys set next_attempt_at = now(), attempts = 0
    where id in (
      select id from public.virtual_keys
      where sync_status = 'failed' and next_attempt_at > now() and state <> 'placeholder'
      for update skip locked);
  end if;
end;
$$;

create function keyfund.needs_probe(p_gateway keyfund.gateways, p_at timestamptz) returns boolean
language sql immutable set search_path = '' as $$
  -- Away: is it back? Silent for longer than usage is read at (20 seconds): is it still there?
  select coalesce(p_gateway.probe_at, '-infinity') <= p_at
    and (p_gateway.opened_at is not null
      or coalesce(p_gateway.last_ok_at, '-infinity') < p_at - interval '25 seconds');
$$;

create function public.claim_probe(p_name text, p_lease_seconds integer default 15) returns boolean
language plpgsql security definer set search_path = '' as $$
begin
  update keyfund.gateways g set probe_at = now() + make_interval(secs => p_lease_seconds)
  where g.name = p_name and keyfund.needs_probe(g, now());
  return found;
end;
$$;
comment on function public.claim_probe(text, integer) is
  'True for the one process that may ask a silent or absent gateway whether it answers.';

create function public.report_gateway(
  p_name text, p_ok boolean, p_error text default null, p_warnings jsonb default null
)
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
comment on function public.report_gateway(text, boolean, text, jsonb) is
  'What a probe found; warnings are sentences for the operator.';

create function public.record_warnings(p_name text, p_warnings jsonb) returns void
language sql security definer set search_path = '' as $$
  update keyfund.gateways set warnings = p_warnings where name = p_name and warnings <> p_warnings;
$$;
comment on function public.record_warnings(text, jsonb) is
  'Sentences for administrators; they take the place of those before.';

-- ------------------------------------------------------------ the processes

create function public.check_installation(p_credit_value_cents integer) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_settings keyfund.settings;
begin
  select * into strict v_settings from keyfund.settings;
  if v_settings.credit_value_cents <> p_credit_value_cents then
    perform keyfund.refuse('credit_value_differs', p_credit_value_cents::text, v_settings.credit_value_cents::text);
  end if;
  return jsonb_build_object('installation_id', v_settings.installation_id, 'credit_value_cents',
    v_settings.credit_value_cents);
end;
$$;
comment on function public.check_installation(integer) is
  'What a process asks at its start; refuses one that would count credits differently.';

revoke all on function public.claim_probe, public.report_gateway, public.record_warnings,
  public.check_installation from public, anon, authenticated, service_role;
