-- What was spent: booked from what LiteLLM shows, and kept by day, model and key as a report.

set local check_function_bodies = off; -- a function may name what a later file makes

-- --------------------------------------------------------------------- booked

create function public.settle_usage(p_spenders jsonb, p_asked_at timestamptz) returns integer
language plpgsql security definer set search_path = '' as $$
declare
  v_spender record;
  v_wallet keyfund.wallets;
  v_booked integer := 0;
begin
  for v_spender in
    select w.account_id, s.spend_micros
    from jsonb_to_recordset(p_spenders) as s (user_id uuid, spend_micros bigint)
    join keyfund.wallets w on w.account_id = s.user_id join keyfund.pushes p on p.account_id = w.account_id
    where s.spend_micros is distinct from w.seen_micros and p.confirmed_at is not null
    order by w.account_id
  loop
    perform keyfund.hold_account(v_spender.account_id);
    select * into strict v_wallet from keyfund.wallets where account_id = v_spender.account_id for no key update;
    if v_wallet.epoch_at > p_asked_at then
      continue; -- read before LiteLLM lost its spend: it says nothing about the new epoch
    elsif v_spender.spend_micros > v_wallet.seen_micros then
      perform keyfund.book_usage(v_wallet, v_spender.spend_micros);
      v_booked := v_booked + 1;
    elsif v_spender.spend_micros is null or v_spender.spend_micros < v_wallet.seen_micros then
      -- Gone or gone backwards: a push looks again, under the account's lease.
      update keyfund.pushes set next_attempt_at = now()
      where account_id = v_spender.account_id and (next_attempt_at is null or next_attempt_at > now())
        and (lease_expires_at is null or lease_expires_at <= now());
    end if;
  end loop;
  perform keyfund.breaker_succeeded('litellm'); -- it told all this
  return v_booked;
end;
$$;
comment on function public.settle_usage(jsonb, timestamptz) is
  'Books users'' spends as LiteLLM showed them after p_asked_at; spend_micros null: the user row is missing. '
  'Repeating it changes nothing.';

-- --------------------------------------------------------------------- by day

create table keyfund.usage_by_day (
  account_id uuid not null references keyfund.accounts (id),
  day date not null,
  model text not null check (length(model) between 1 and 300),
  key_hash text not null check (length(key_hash) <= 100),
  requests bigint not null check (requests >= 0),
  prompt_tokens bigint not null check (prompt_tokens >= 0),
  completion_tokens bigint not null check (completion_tokens >= 0),
  spend_micros bigint not null check (spend_micros >= 0),
  primary key (account_id, day, model, key_hash)
);
comment on table keyfund.usage_by_day is
  'What LiteLLM showed of each day (UTC), kept for when it is away or has forgotten. Ids alone, so it outlives '
  'the user as the ledger does.';
comment on column keyfund.usage_by_day.model is 'The public name, as callers ask for it.';
comment on column keyfund.usage_by_day.key_hash is
  'sha256 of the key string, as LiteLLM tells it; empty: it tells none.';
comment on column keyfund.usage_by_day.requests is
  'Calls that were answered; refused and failed ones are not counted.';
alter table keyfund.usage_by_day enable row level security;

create table keyfund.roll_ups (
  account_id uuid primary key references keyfund.accounts (id),
  rolled_at timestamptz,
  roll_at timestamptz
);
comment on table keyfund.roll_ups is 'Of accounts that ever spent: up to when their days are read from LiteLLM.';
comment on column keyfund.roll_ups.rolled_at is 'Up to when all of the days are read; null: never.';
comment on column keyfund.roll_ups.roll_at is 'When a worker reads the days next; null: nothing was noticed.';
alter table keyfund.roll_ups enable row level security;
-- Who has spent since the last time, and whose turn it is: the only rows that a claim looks at.
create index roll_ups_turn_idx on keyfund.roll_ups (roll_at) where roll_at is not null;

create function keyfund.notice_spend() returns trigger
language plpgsql set search_path = '' as $$
begin
  -- Read half a minute later: LiteLLM writes its days after its users, and one reading is enough for many calls.
  insert into keyfund.roll_ups as r (account_id, roll_at) values (new.account_id, now() + interval '30 seconds')
  on conflict (account_id) do update set roll_at = excluded.roll_at where r.roll_at is null;
  return null;
end;
$$;
create trigger wallets_spend_is_noticed after update of booked_micros on keyfund.wallets
  for each row when (old.booked_micros <> new.booked_micros) execute function keyfund.notice_spend();

create function keyfund.unread_since(p_account_id uuid) returns date
language sql stable set search_path = '' as $$
  -- A day again: what began before midnight may be told after it. Never more than a year at once.
  select greatest(
    coalesce((r.rolled_at at time zone 'UTC')::date - 1, (a.created_at at time zone 'UTC')::date),
    keyfund.today() - 365)
  from keyfund.accounts a left join keyfund.roll_ups r on r.account_id = a.id where a.id = p_account_id;
$$;
comment on function keyfund.unread_since(uuid) is
  'The first day of which LiteLLM may tell more than is kept.';

create function public.claim_rollups(p_limit integer, p_lease_seconds integer) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_claimed jsonb;
begin
  if exists (select from keyfund.gateways where name = 'litellm' and opened_at is not null) then
    return '[]';
  end if;
  with due as (
    select account_id from keyfund.roll_ups where roll_at <= now()
    order by roll_at limit p_limit for update skip locked
  ), claimed as (
    -- No token: a reader that comes too late only repeats what another has kept.
    update keyfund.roll_ups r set roll_at = now() + make_interval(secs => p_lease_seconds)
    from due, keyfund.wallets w where r.account_id = due.account_id and w.account_id = due.account_id
    returning r.account_id, w.booked_micros
  )
  select coalesce(jsonb_agg(jsonb_build_object('user_id', c.account_id, 'since', keyfund.unread_since(c.account_id),
    'booked_micros', c.booked_micros)), '[]')
  into v_claimed from claimed c;
  return v_claimed;
end;
$$;
comment on function public.claim_rollups(integer, integer) is
  'Leases accounts that spent since their days were last read: from which day on to read them. None while the '
  'breaker is open.';

create function public.record_usage(
  p_account_id uuid, p_from date, p_until date, p_days jsonb, p_asked_at timestamptz,
  p_booked_micros bigint default null
) returns boolean
language plpgsql security definer set search_path = '' as $$
declare
  v_changed boolean;
  v_whole boolean;
begin
  if not exists (select from keyfund.accounts where id = p_account_id) then
    return false;
  end if;
  insert into keyfund.roll_ups (account_id) values (p_account_id) on conflict (account_id) do nothing;
  perform from keyfund.roll_ups where account_id = p_account_id for no key update;
  if exists (
    select from jsonb_to_recordset(p_days) as d (key_hash text)
    join public.virtual_keys k on k.key_hash = d.key_hash where k.account_id <> p_account_id
  ) then
    perform keyfund.refuse('usage_of_another');
  end if;
  -- Row by row and figure by figure the larger stays: within a day they only grow, so less means that LiteLLM lost
  -- some (restored, replaced, reset). Adding up before and after instead would count twice what a restore kept; so
  -- the
  -- one day on which LiteLLM forgot may show too little here. Too much only where an account used more than a
  -- thousand
  -- keys in a day: LiteLLM tells the rest as one, and a key that comes among the thousand later is told again.
  insert into keyfund.usage_by_day as u (account_id, day, model, key_hash, requests, prompt_tokens, completion_tokens,
    spend_micros)
  select p_account_id, d.day, d.model, d.key_hash, d.requests, d.prompt_tokens, d.completion_tokens, d.spend_micros
  from jsonb_to_recordset(p_days) as d (
    day date, model text, key_hash text, requests bigint, prompt_tokens bigint, completion_tokens bigint,
      spend_micros bigint)
  where d.day between p_from and p_until
  on conflict (account_id, day, model, key_hash) do update
  set requests = greatest(u.requests, excluded.requests),
      prompt_tokens = greatest(u.prompt_tokens, excluded.prompt_tokens),
      completion_tokens = greatest(u.completion_tokens, excluded.completion_tokens),
      spend_micros = greatest(u.spend_micros, excluded.spend_micros)
  where excluded.requests > u.requests or excluded.prompt_tokens > u.prompt_tokens
    or excluded.completion_tokens > u.completion_tokens or excluded.spend_micros > u.spend_micros;
  v_changed := found;
  -- Only an answer that leaves no day out says up to when all is read.
  v_whole := p_from <= keyfund.unread_since(p_account_id) and p_until >= (p_asked_at at time zone 'UTC')::date;
  update keyfund.roll_ups r
  set rolled_at = case when v_whole then greatest(rolled_at, least(p_asked_at, clock_timestamp())) else rolled_at end,
      roll_at = case when p_booked_micros is null then roll_at
        -- More was booked while the days were read: they are read again.
        when p_booked_micros <> w.booked_micros then now() + interval '30 seconds' end
  from keyfund.wallets w
  where r.account_id = p_account_id and w.account_id = r.account_id and (v_whole or p_booked_micros is not null);
  return v_changed;
end;
$$;
comment on function public.record_usage(uuid, date, date, jsonb, timestamptz, bigint) is
  'Keeps what LiteLLM told of an account''s days, asked at p_asked_at; p_booked_micros: for a claim. Repeating it '
  'changes nothing; true: something was new.';

create function public.read_usage(
  account_id uuid default null, start_date date default null, end_date date default null,
  model text default null, key_id uuid default null, by_key boolean default false
) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_account_id uuid := coalesce(read_usage.account_id, (select auth.uid()));
  v_role text := keyfund.role_in(v_account_id, (select auth.uid()));
  v_holder uuid := case when v_role = 'member' then (select auth.uid()) end;
  v_today date := keyfund.today();
  v_until date := coalesce(read_usage.end_date, greatest(v_today, read_usage.start_date));
  v_from date;
  v_exists boolean;
begin
  if v_role is null then
    perform keyfund.check_administrator(); -- first: nobody else learns whether the account exists
  end if;
  -- Days to come are days without usage: a month may be asked for before it is over.
  v_from := coalesce(read_usage.start_date, v_until - 29);
  if v_from < '2000-01-01' or v_until > '9999-12-31' then -- infinite dates, which have no difference, among them
    perform keyfund.refuse('invalid_range');
  elsif v_from > v_until or v_until - v_from > 365 then
    perform keyfund.refuse('invalid_range');
  end if;
  v_exists := exists (select from keyfund.accounts a where a.id = v_account_id);
  if not v_exists and v_role is null then
    perform keyfund.refuse('account_not_found');
  end if;
  if v_role is null then
    perform keyfund.note_reading('usage_read', 1, v_account_id);
  end if;
  if read_usage.key_id is not null and not exists (
      select from public.virtual_keys k where k.id = read_usage.key_id and k.account_id = v_account_id) then
    perform keyfund.refuse('key_not_found');
  end if;
  if read_usage.by_key and (
      select count(*) from (
        select from keyfund.usage_by_day u
        where u.account_id = v_account_id and u.day between v_from and v_until limit 50001) r) > 50000 then
    perform keyfund.refuse('too_many_rows');
  end if;
  return (
    with named as (
      -- All strings that a key ever had are that key; those that no key of the account has are told as one.
      select u.*, k.id as found_id, k.name
      from keyfund.usage_by_day u
      left join public.virtual_keys s on s.key_hash = u.key_hash and s.account_id = u.account_id
      left join public.virtual_keys k on k.id = coalesce(s.successor_id, s.id)
      where u.account_id = v_account_id and u.day between v_from and v_until
        and (read_usage.model is null or u.model = read_usage.model)
        and (read_usage.key_id is null or k.id = read_usage.key_id)
        and (v_holder is null or k.user_id = v_holder)
    ), figures as (
      select n.day, n.model, n.found_id, n.name,
        grouping(n.day) = 0 as has_day, grouping(n.name) = 0 as has_key,
        sum(n.requests)::bigint as requests, sum(n.prompt_tokens)::bigint as prompt_tokens,
        sum(n.completion_tokens)::bigint as completion_tokens, sum(n.spend_micros)::bigint as spend_micros
      from named n
      group by grouping sets ((n.day, n.model), (n.found_id, n.name), (n.day, n.model, n.found_id, n.name))
    )
    select jsonb_build_object(
      'account_id', v_account_id, 'start_date', v_from, 'end_date', v_until, 'as_of', (
        select r.rolled_at from keyfund.roll_ups r where r.account_id = v_account_id),
      'unread_since', keyfund.unread_since(v_account_id),
      'is_away', exists (select from keyfund.gateways g where g.name = 'litellm' and g.opened_at is not null),
      'days', coalesce((
        select jsonb_agg(jsonb_build_object('date', f.day, 'model', f.model, 'requests', f.requests,
          'prompt_tokens', f.prompt_tokens, 'completion_tokens', f.completion_tokens, 'spend_micros', f.spend_micros)
          order by f.day, f.model)
        from figures f where f.has_day and not f.has_key), '[]'),
      'keys', coalesce((
        select jsonb_agg(jsonb_build_object('key_id', f.found_id, 'name', coalesce(f.name, 'Other keys'), 'requests',
          f.requests,
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
  'What is kept of the caller''s usage, by day and model and by key; account_id: of a team, as a member of one''s '
  'own keys, as its owner or admin of all; for administrators, anybody''s. '
  'Dates are UTC and inclusive; days to come are empty.';

revoke all on function public.settle_usage, public.claim_rollups, public.record_usage, public.read_usage from public,
  anon, authenticated, service_role;
