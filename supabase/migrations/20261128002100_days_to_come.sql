-- Days to come are empty: a month can be asked for before it is over, and "today" of people east of UTC has come.

create or replace function public.read_usage(
  account_id uuid default null, start_date date default null, end_date date default null,
  model text default null, key_id uuid default null, by_key boolean default false
) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_account_id uuid := coalesce(read_usage.account_id, (select auth.uid()));
  v_today date := keyfund.today();
  v_until date := coalesce(read_usage.end_date, greatest(v_today, read_usage.start_date));
  v_from date;
  v_account keyfund.accounts;
begin
  if v_account_id is distinct from (select auth.uid()) then
    perform keyfund.check_administrator(); -- first: nobody else learns whether the account exists
  end if;
  -- Days to come are days without usage: a month may be asked for before it is over.
  if v_until not between '2000-01-01' and '9999-12-31' or read_usage.start_date not between '2000-01-01' and '9999-12-31' then
    perform keyfund.refuse(400, 'invalid_range', 'A date is between 2000-01-01 and 9999-12-31.');
  end if;
  v_from := coalesce(read_usage.start_date, v_until - 29);
  if v_from > v_until or v_until - v_from > 365 then
    perform keyfund.refuse(400, 'invalid_range', 'start_date is not after end_date, and at most 366 days are told at once.');
  end if;
  select * into v_account from keyfund.accounts where user_id = v_account_id;
  if v_account.user_id is null and read_usage.account_id is not null and v_account_id <> (select auth.uid()) then
    perform keyfund.refuse(404, 'account_not_found', 'There is no such account.');
  end if;
  if v_account_id is distinct from (select auth.uid()) then
    perform keyfund.note_reading('usage_read', 1, v_account_id);
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
  'What is kept of the caller''s usage, by day and model and by key; account_id: for administrators, anybody''s. Dates are UTC and inclusive; days to come are empty.';

create or replace function public.read_daily_balances(start_date date, end_date date) returns table (day date, credits bigint)
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_column
declare
  v_from date := read_daily_balances.start_date;
  v_until date := least(read_daily_balances.end_date, keyfund.today());
begin
  if (v_from between '2000-01-01' and '9999-12-31' and read_daily_balances.end_date between v_from and '9999-12-31'
      and read_daily_balances.end_date - v_from <= 365) is not true then
    perform keyfund.refuse(400, 'invalid_range',
      'start_date is not after end_date, dates are between 2000-01-01 and 9999-12-31, and at most 366 days are told at once.');
  end if;
  if v_from > v_until then
    return; -- all of it is to come
  end if;
  -- Back from the last day, each from where the day after it ended: no entry is looked at twice.
  return query
    with recursive ends as (
      select v_until as day, (
        select e from public.credit_ledger e
        where e.user_id = (select auth.uid()) and e.created_at < (v_until + 1)::timestamp at time zone 'UTC'
        order by e.id desc limit 1) as entry
      union all
      select ends.day - 1, (
        select e from public.credit_ledger e
        where e.user_id = (select auth.uid()) and e.id <= (ends.entry).id
          and e.created_at < ends.day::timestamp at time zone 'UTC'
        order by e.id desc limit 1)
      from ends where ends.day > v_from and (ends.entry).id is not null
    )
    select ends.day, (ends.entry).balance_after from ends where (ends.entry).id is not null order by ends.day;
end;
$$;
comment on function public.read_daily_balances(date, date) is
  'The caller''s credits at the end of each day (UTC), both dates inclusive; no row for a day before the account was made or to come.';

revoke all on function public.read_usage(uuid, date, date, text, uuid, boolean) from public, anon, authenticated, service_role;
revoke all on function public.read_daily_balances(date, date) from public, anon, authenticated, service_role;
grant execute on function public.read_usage(uuid, date, date, text, uuid, boolean) to authenticated;
grant execute on function public.read_daily_balances(date, date) to authenticated;
