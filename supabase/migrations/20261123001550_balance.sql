-- What is left: now, of the last top-up, and day by day.

create index credit_ledger_top_ups_idx on public.credit_ledger (user_id, id)
  where kind in ('signup_grant', 'purchase') or (kind in ('adjustment', 'withheld') and delta > 0);

create function public.read_balance() returns jsonb
language sql stable set search_path = '' as $$
  -- With the caller's own rights: row-level security shows their rows alone. A top-up is whatever gave credits: a grant,
  -- a purchase, an adjustment upwards, withheld credits that came back.
  select coalesce((
    select jsonb_build_object(
      'credits', p.credits, 'after_top_up', t.balance_after, 'topped_up_at', t.created_at, 'left_percent', l.percent,
      'notice', case when l.percent <= 5 then 5 when l.percent <= 20 then 20 when l.percent <= 50 then 50 end)
    from public.profiles p
    left join lateral (
      select e.balance_after, e.created_at from public.credit_ledger e
      where e.user_id = p.id
        and (e.kind in ('signup_grant', 'purchase') or (e.kind in ('adjustment', 'withheld') and e.delta > 0))
      order by e.id desc limit 1) t on true
    left join lateral (
      -- Rounded up, so that it is at most 50 exactly when no more than half is left. Still in debt: nothing is left.
      select case when t.balance_after > 0 then greatest(0, ceil(p.credits * 100.0 / t.balance_after))::integer
        when t.balance_after is not null then 0 end as percent) l on true
    where p.id = (select auth.uid())),
    '{"credits": 0, "after_top_up": null, "topped_up_at": null, "left_percent": null, "notice": null}');
$$;
comment on function public.read_balance() is
  'The caller''s credits, and the last threshold (50, 20, 5 percent of the balance after the last top-up) that they have sunk to, or null.';

create function public.read_daily_balances(start_date date, end_date date) returns table (day date, credits bigint)
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_column
declare
  v_from date := read_daily_balances.start_date;
  v_until date := read_daily_balances.end_date;
begin
  if (v_from >= '2000-01-01' and v_until <= keyfund.today() + 1 and v_until - v_from between 0 and 365) is not true then
    perform keyfund.refuse(400, 'invalid_range',
      'start_date is not after end_date, end_date is not in the future (UTC), and at most 366 days are told at once.');
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
  'The caller''s credits at the end of each day (UTC), both dates inclusive; no row for a day before the account was made.';

revoke all on function public.read_balance() from public, anon, authenticated, service_role;
revoke all on function public.read_daily_balances(date, date) from public, anon, authenticated, service_role;
grant execute on function public.read_balance() to authenticated;
grant execute on function public.read_daily_balances(date, date) to authenticated;
