-- What accounts use, by day, model and key: a report, never money. Nothing here touches the ledger or a wallet.

-- ------------------------------------------------------------------- rollup

create table keyfund.usage_by_day (
  -- Not to profiles: the check would lock the profile after the account.
  user_id uuid not null references keyfund.accounts (user_id),
  day date not null,
  model text not null check (length(model) between 1 and 300),
  key_hash text not null check (length(key_hash) <= 100),
  requests bigint not null check (requests >= 0),
  prompt_tokens bigint not null check (prompt_tokens >= 0),
  completion_tokens bigint not null check (completion_tokens >= 0),
  spend_micros bigint not null check (spend_micros >= 0),
  primary key (user_id, day, model, key_hash)
);
comment on table keyfund.usage_by_day is
  'What LiteLLM showed of each day (UTC), kept for when it is away or has forgotten. Ids alone, so it outlives the user as the ledger does.';
comment on column keyfund.usage_by_day.model is 'The public name, as callers ask for it.';
comment on column keyfund.usage_by_day.key_hash is 'sha256 of the key string, as LiteLLM tells it; empty: it tells none.';
comment on column keyfund.usage_by_day.requests is 'Calls that were answered; refused and failed ones are not counted.';
alter table keyfund.usage_by_day enable row level security;

alter table keyfund.accounts add column rolled_micros bigint not null default 0;
alter table keyfund.accounts add column rolled_at timestamptz;
alter table keyfund.accounts add column roll_at timestamptz;
comment on column keyfund.accounts.rolled_micros is 'booked_micros when its days were last read for that: another value now means that there is more to read.';
comment on column keyfund.accounts.rolled_at is 'Up to when all of its days are read from LiteLLM; null: never.';
comment on column keyfund.accounts.roll_at is 'When a worker reads its days next; null: nothing was noticed.';
-- Who has spent since the last time, and whose turn it is: the only rows that a claim looks at.
create index accounts_to_roll_idx on keyfund.accounts (roll_at) where booked_micros <> rolled_micros;

create function keyfund.today() returns date
language sql stable set search_path = '' as $$
  select (now() at time zone 'UTC')::date;
$$;

create function keyfund.unread_since(p_account keyfund.accounts) returns date
language sql stable set search_path = '' as $$
  -- A day again: what began before midnight may be told after it. Never more than a year at once.
  select greatest(
    coalesce((p_account.rolled_at at time zone 'UTC')::date - 1,
      (select (p.created_at at time zone 'UTC')::date from public.profiles p where p.id = p_account.user_id)),
    keyfund.today() - 365);
$$;
comment on function keyfund.unread_since(keyfund.accounts) is 'The first day of which LiteLLM may tell more than is kept.';

create function public.record_usage(
  p_user_id uuid, p_from date, p_until date, p_days jsonb, p_asked_at timestamptz, p_booked_micros bigint default null
) returns boolean
language plpgsql security definer set search_path = '' as $$
declare
  v_account keyfund.accounts;
  v_changed boolean;
  v_whole boolean;
begin
  select * into v_account from keyfund.accounts where user_id = p_user_id for update;
  if v_account.user_id is null then
    return false;
  end if;
  if exists (
    select from jsonb_to_recordset(p_days) as d (key_hash text)
    join public.virtual_keys k on k.key_hash = d.key_hash where k.user_id <> p_user_id
  ) then
    perform keyfund.refuse(409, 'usage_of_another', 'LiteLLM told of another account''s keys.');
  end if;
  -- Row by row and figure by figure the larger stays: within a day they only grow, so less means that LiteLLM lost
  -- some (restored, replaced, reset). Adding up before and after instead would count twice what a restore kept; so the
  -- one day on which LiteLLM forgot may show too little here. Too much only where an account used more than a thousand
  -- keys in a day: LiteLLM tells the rest as one, and a key that comes among the thousand later is told again.
  insert into keyfund.usage_by_day as u (user_id, day, model, key_hash, requests, prompt_tokens, completion_tokens, spend_micros)
  select p_user_id, d.day, d.model, d.key_hash, d.requests, d.prompt_tokens, d.completion_tokens, d.spend_micros
  from jsonb_to_recordset(p_days) as d (
    day date, model text, key_hash text, requests bigint, prompt_tokens bigint, completion_tokens bigint, spend_micros bigint)
  where d.day between p_from and p_until
  on conflict (user_id, day, model, key_hash) do update
  set requests = greatest(u.requests, excluded.requests),
      prompt_tokens = greatest(u.prompt_tokens, excluded.prompt_tokens),
      completion_tokens = greatest(u.completion_tokens, excluded.completion_tokens),
      spend_micros = greatest(u.spend_micros, excluded.spend_micros)
  where excluded.requests > u.requests or excluded.prompt_tokens > u.prompt_tokens
    or excluded.completion_tokens > u.completion_tokens or excluded.spend_micros > u.spend_micros;
  v_changed := found;
  -- Only an answer that leaves no day out says up to when all is read. One statement: with a second one PostgreSQL would
  -- check the row's profile again, and lock it after the account.
  v_whole := p_from <= keyfund.unread_since(v_account) and p_until >= (p_asked_at at time zone 'UTC')::date;
  update keyfund.accounts
  set rolled_at = case when v_whole then greatest(rolled_at, least(p_asked_at, clock_timestamp())) else rolled_at end,
      rolled_micros = coalesce(p_booked_micros, rolled_micros),
      roll_at = case when p_booked_micros is null then roll_at end
  where user_id = p_user_id and (v_whole or p_booked_micros is not null);
  return v_changed;
end;
$$;
comment on function public.record_usage(uuid, date, date, jsonb, timestamptz, bigint) is
  'Keeps what LiteLLM told of an account''s days, asked at p_asked_at; p_booked_micros: for a claim. Repeating it changes nothing; true: something was new.';

create function public.claim_rollups(p_limit integer, p_lease_seconds integer) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_claimed jsonb;
begin
  if exists (select from keyfund.gateways where name = 'litellm' and opened_at is not null) then
    return '[]';
  end if;
  -- First noticed, then read half a minute later: LiteLLM writes its days after its users, and one reading is
  -- enough for many calls.
  update keyfund.accounts set roll_at = now() + interval '30 seconds'
  where user_id in (
    select user_id from keyfund.accounts
    where booked_micros <> rolled_micros and roll_at is null
    limit 1000 for update skip locked);
  with due as (
    select user_id from keyfund.accounts
    where booked_micros <> rolled_micros and roll_at <= now()
    order by roll_at limit p_limit for update skip locked
  ), claimed as (
    -- No token: a reader that comes too late only repeats what another has kept.
    update keyfund.accounts a set roll_at = now() + make_interval(secs => p_lease_seconds)
    from due where a.user_id = due.user_id
    returning a.user_id, keyfund.unread_since(a) as since, a.booked_micros
  )
  select coalesce(jsonb_agg(to_jsonb(claimed)), '[]') into v_claimed from claimed;
  return v_claimed;
end;
$$;
comment on function public.claim_rollups(integer, integer) is
  'Leases accounts that spent since their days were last read: from which day on to read them. None while the breaker is open.';

-- ------------------------------------------------------------------ reading

create function public.read_usage(
  account_id uuid default null, start_date date default null, end_date date default null,
  model text default null, key_id uuid default null, by_key boolean default false
) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  v_account_id uuid := coalesce(read_usage.account_id, (select auth.uid()));
  v_today date := keyfund.today();
  v_until date := coalesce(read_usage.end_date, v_today);
  v_from date;
  v_account keyfund.accounts;
begin
  if v_account_id is distinct from (select auth.uid()) then
    perform keyfund.check_administrator(); -- first: nobody else learns whether the account exists
  end if;
  if v_until not between '2000-01-01' and v_today + 1 or read_usage.start_date < '2000-01-01' then
    perform keyfund.refuse(400, 'invalid_range', 'end_date is not in the future (UTC), and no date is before 2000.');
  end if;
  v_from := coalesce(read_usage.start_date, v_until - 29);
  if v_from > v_until or v_until - v_from > 365 then
    perform keyfund.refuse(400, 'invalid_range', 'start_date is not after end_date, and at most 366 days are told at once.');
  end if;
  select * into v_account from keyfund.accounts where user_id = v_account_id;
  if v_account.user_id is null and read_usage.account_id is not null and v_account_id <> (select auth.uid()) then
    perform keyfund.refuse(404, 'account_not_found', 'There is no such account.');
  end if;
  if read_usage.key_id is not null and not exists (
      select from public.virtual_keys k where k.id = read_usage.key_id and k.user_id = v_account_id) then
    perform keyfund.refuse(404, 'key_not_found', 'There is no such key.');
  end if;
  if read_usage.by_key and (
      select count(*) from (
        select from keyfund.usage_by_day u
        where u.user_id = v_account_id and u.day between v_from and v_until limit 50001) r) > 50000 then
    perform keyfund.refuse(400, 'too_many_rows', 'More than 50,000 rows: ask for fewer days.');
  end if;
  return (
    with named as (
      -- All strings that a key ever had are that key; those that no key of the account has are told as one.
      select u.*, k.id as found_id, k.name
      from keyfund.usage_by_day u
      left join public.virtual_keys s on s.key_hash = u.key_hash and s.user_id = u.user_id
      left join public.virtual_keys k on k.id = coalesce(s.successor_id, s.id)
      where u.user_id = v_account_id and u.day between v_from and v_until
        and (read_usage.model is null or u.model = read_usage.model)
        and (read_usage.key_id is null or k.id = read_usage.key_id)
    ), figures as (
      select n.day, n.model, n.found_id, n.name,
        grouping(n.day) = 0 as has_day, grouping(n.name) = 0 as has_key,
        sum(n.requests)::bigint as requests, sum(n.prompt_tokens)::bigint as prompt_tokens,
        sum(n.completion_tokens)::bigint as completion_tokens, sum(n.spend_micros)::bigint as spend_micros
      from named n
      group by grouping sets ((n.day, n.model), (n.found_id, n.name), (n.day, n.model, n.found_id, n.name))
    )
    select jsonb_build_object(
      'account_id', v_account_id, 'start_date', v_from, 'end_date', v_until, 'as_of', v_account.rolled_at,
      'unread_since', case when v_account.user_id is not null then keyfund.unread_since(v_account) end,
      'is_away', exists (select from keyfund.gateways g where g.name = 'litellm' and g.opened_at is not null),
      'days', coalesce((
        select jsonb_agg(jsonb_build_object('date', f.day, 'model', f.model, 'requests', f.requests,
          'prompt_tokens', f.prompt_tokens, 'completion_tokens', f.completion_tokens, 'spend_micros', f.spend_micros)
          order by f.day, f.model)
        from figures f where f.has_day and not f.has_key), '[]'),
      'keys', coalesce((
        select jsonb_agg(jsonb_build_object('key_id', f.found_id, 'name', coalesce(f.name, 'Other keys'), 'requests', f.requests,
          'prompt_tokens', f.prompt_tokens, 'completion_tokens', f.completion_tokens, 'spend_micros', f.spend_micros)
          order by f.spend_micros desc, f.found_id)
        from figures f where f.has_key and not f.has_day), '[]'),
      'rows', case when read_usage.by_key then coalesce((
        select jsonb_agg(jsonb_build_object('date', f.day, 'model', f.model, 'key_id', f.found_id,
          'name', coalesce(f.name, 'Other keys'), 'requests', f.requests, 'prompt_tokens', f.prompt_tokens,
          'completion_tokens', f.completion_tokens, 'spend_micros', f.spend_micros)
          order by f.day, f.model, f.found_id)
        from figures f where f.has_key and f.has_day), '[]') end));
end;
$$;
comment on function public.read_usage(uuid, date, date, text, uuid, boolean) is
  'What is kept of the caller''s usage, by day and model and by key; account_id: for administrators, anybody''s. Dates are UTC and inclusive.';

-- -------------------------------------------------- what keys spent this period

create table keyfund.key_spend (
  key_hash text primary key,
  spend_micros bigint not null,
  resets_at timestamptz
);
comment on table keyfund.key_spend is 'What LiteLLM showed of a key string when its account''s spend was last settled. For people to see; nothing is decided by it.';
comment on column keyfund.key_spend.spend_micros is 'Since the last reset of its cap.';
comment on column keyfund.key_spend.key_hash is 'No foreign key: a rotation takes the string from its row before another row has it.';
alter table keyfund.key_spend enable row level security;

create function public.record_key_spend(p_keys jsonb) returns integer
language plpgsql security definer set search_path = '' as $$
declare
  v_changed integer;
begin
  insert into keyfund.key_spend as s (key_hash, spend_micros, resets_at)
  select distinct on (k.key_hash) k.key_hash, k.spend_micros, k.resets_at
  from jsonb_to_recordset(p_keys) as k (key_hash text, spend_micros bigint, resets_at timestamptz)
  join public.virtual_keys v on v.key_hash = k.key_hash
  order by k.key_hash
  on conflict (key_hash) do update set spend_micros = excluded.spend_micros, resets_at = excluded.resets_at
  where (s.spend_micros, s.resets_at) is distinct from (excluded.spend_micros, excluded.resets_at);
  get diagnostics v_changed = row_count;
  return v_changed;
end;
$$;
comment on function public.record_key_spend(jsonb) is 'Keeps what LiteLLM showed of keys of ours; returns of how many it was new.';

create function public.read_key_periods() returns jsonb
language sql stable security definer set search_path = '' as $$
  -- Once a reset is due, what was spent before it says nothing any more.
  select coalesce(jsonb_object_agg(k.id, jsonb_build_object(
    'spent_cents', round(s.spend_micros / 10000.0)::bigint + case when k.period_ends_at > now() then k.period_spent else 0 end,
    'resets_at', s.resets_at)), '{}')
  from public.virtual_keys k join keyfund.key_spend s on s.key_hash = k.key_hash
  where k.user_id = (select auth.uid()) and k.state in ('active', 'blocked') and coalesce(s.resets_at > now(), true);
$$;
comment on function public.read_key_periods() is
  'What the caller''s keys have spent of their caps (US cents) as far as it is known, and when the caps begin anew, by key id.';

revoke all on function public.record_usage(uuid, date, date, jsonb, timestamptz, bigint) from public, anon, authenticated, service_role;
revoke all on function public.claim_rollups(integer, integer) from public, anon, authenticated, service_role;
revoke all on function public.read_usage(uuid, date, date, text, uuid, boolean) from public, anon, authenticated, service_role;
revoke all on function public.record_key_spend(jsonb) from public, anon, authenticated, service_role;
revoke all on function public.read_key_periods() from public, anon, authenticated, service_role;
grant execute on function public.record_usage(uuid, date, date, jsonb, timestamptz, bigint) to service_role;
grant execute on function public.claim_rollups(integer, integer) to service_role;
grant execute on function public.read_usage(uuid, date, date, text, uuid, boolean) to authenticated;
grant execute on function public.record_key_spend(jsonb) to service_role;
grant execute on function public.read_key_periods() to authenticated;

revoke all on all tables in schema keyfund from public, anon, authenticated, service_role;
revoke all on all functions in schema keyfund from public, anon, authenticated, service_role;
