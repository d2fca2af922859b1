-- The ledger: each credit that came or went, once per cause. The credits of a profile or a team are its sum, and
-- change only with it.

set local check_function_bodies = off; -- a function may name what a later file makes

create table public.credit_ledger (
  id bigint generated always as identity primary key,
  account_id uuid not null references keyfund.accounts (id),
  user_id uuid references public.profiles (id),
  delta bigint not null check (delta <> 0),
  kind text not null constraint credit_ledger_kind_check
    check (kind in ('signup_grant', 'purchase', 'withheld', 'usage', 'adjustment', 'opening')),
  cause text not null,
  balance_after bigint not null,
  reason text,
  created_at timestamptz not null default now(),
  constraint credit_ledger_cause_key unique (cause)
);
comment on table public.credit_ledger is 'Append-only. Every credit that came or went, once per cause.';
comment on column public.credit_ledger.kind is
  'opening: what somebody had before their account was taken over.';
comment on column public.credit_ledger.user_id is
  'The person of a personal account; in a team, whose doing it was. Null: nobody''s.';
comment on constraint credit_ledger_cause_key on public.credit_ledger is
  'The same cause twice changes nothing: this is what makes a payment count once.';
alter table public.credit_ledger enable row level security;
revoke all on public.credit_ledger from public, anon, authenticated, service_role;
grant select on public.credit_ledger to authenticated, service_role;
revoke all on sequence public.credit_ledger_id_seq from public, anon, authenticated, service_role;
create policy "owners and admins see their account's ledger" on public.credit_ledger
  for select to authenticated using (account_id = any (array(select public.own_accounts('admin'))));
create index credit_ledger_account_id_idx on public.credit_ledger (account_id, id);
create index credit_ledger_user_id_idx on public.credit_ledger (user_id);
-- An account's entries about one payment, however many others it has.
create index credit_ledger_payment_idx on public.credit_ledger (account_id, split_part(cause, ':', 2))
  where kind in ('purchase', 'withheld');
-- What is left: now, of the last top-up, and day by day.
create index credit_ledger_top_ups_idx on public.credit_ledger (account_id, id)
  where kind in ('signup_grant', 'purchase') or (kind in ('adjustment', 'withheld', 'opening') and delta > 0);

create function keyfund.refuse_ledger_change() returns trigger
language plpgsql set search_path = '' as $$
begin
  raise exception 'the credit ledger is append-only';
end;
$$;
create trigger credit_ledger_is_append_only before update or delete or truncate on public.credit_ledger
  for each statement execute function keyfund.refuse_ledger_change();

create function keyfund.refuse_unexplained_credits() returns trigger
language plpgsql set search_path = '' as $$
begin
  -- At depth 1 somebody writes the table directly; the ledger's own trigger comes in deeper.
  if tg_op = 'INSERT' or pg_trigger_depth() < 2 then
    raise exception '%.credits changes only with a ledger entry: use keyfund.append_entry()', tg_table_name;
  end if;
  return new;
end;
$$;
create trigger profiles_credits_need_an_entry before update of credits on public.profiles
  for each row when (old.credits is distinct from new.credits)
  execute function keyfund.refuse_unexplained_credits();
create trigger profiles_begin_without_credits before insert on public.profiles
  for each row when (new.credits <> 0)
  execute function keyfund.refuse_unexplained_credits();
create trigger teams_credits_need_an_entry before update of credits on public.teams
  for each row when (old.credits is distinct from new.credits)
  execute function keyfund.refuse_unexplained_credits();
create trigger teams_begin_without_credits before insert on public.teams
  for each row when (new.credits <> 0)
  execute function keyfund.refuse_unexplained_credits();

create function keyfund.credits_of(p_account_id uuid) returns bigint
language sql stable set search_path = '' as $$
  select p.credits from public.profiles p where p.id = p_account_id
  union all
  select t.credits from public.teams t where t.id = p_account_id;
$$;

create function keyfund.refuse_new_credit_value() returns trigger
language plpgsql set search_path = '' as $$
begin
  if exists (select from public.credit_ledger) then
    raise exception 'credit_value_cents is fixed: credits have been granted at % cents', old.credit_value_cents;
  end if;
  return new;
end;
$$;
create trigger settings_credit_value_is_fixed before update on keyfund.settings
  for each row when (old.credit_value_cents is distinct from new.credit_value_cents)
  execute function keyfund.refuse_new_credit_value();

create function keyfund.append_entry(
  p_account_id uuid, p_delta bigint, p_kind text, p_cause text, p_reason text default null,
  p_user_id uuid default null
) returns bigint
language plpgsql set search_path = '' as $$
declare
  v_balance bigint not null := 0;
  v_id bigint;
begin
  perform keyfund.hold_account(p_account_id); -- puts the account's entries in a line
  v_balance := keyfund.credits_of(p_account_id);
  insert into public.credit_ledger (account_id, user_id, delta, kind, cause, balance_after, reason)
  values (p_account_id, coalesce(p_user_id, (select a.id from keyfund.accounts a
    where a.id = p_account_id and a.kind = 'personal')), p_delta, p_kind, p_cause, v_balance + p_delta, p_reason)
  on conflict on constraint credit_ledger_cause_key do nothing
  returning id into v_id;
  return v_id;
end;
$$;
comment on function keyfund.append_entry(uuid, bigint, text, text, text, uuid) is
  'The one way to change credits. Returns the entry''s id, or null when this cause is in the ledger already.';

-- --------------------------------------------------------------- what is left

create function public.read_balance(account_id uuid default null) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  v_account_id uuid := keyfund.act_in(read_balance.account_id);
  v_credits bigint := coalesce(keyfund.credits_of(v_account_id), 0);
begin
  -- A top-up is whatever gave credits: a grant, a purchase, an opening, an adjustment upwards, withheld credits
  -- that came back.
  return (
    select jsonb_build_object(
      'credits', v_credits, 'after_top_up', t.balance_after, 'topped_up_at', t.created_at, 'left_percent', l.percent,
      'notice', case when l.percent <= 5 then 5 when l.percent <= 20 then 20 when l.percent <= 50 then 50 end)
    from (select 1) one
    left join lateral (
      select e.balance_after, e.created_at from public.credit_ledger e
      where e.account_id = v_account_id
        and (e.kind in ('signup_grant', 'purchase')
          or (e.kind in ('adjustment', 'withheld', 'opening') and e.delta > 0))
      order by e.id desc limit 1) t on true
    left join lateral (
      -- Rounded up, so that it is at most 50 exactly when no more than half is left. Still in debt: nothing is left.
      select case when t.balance_after > 0 then greatest(0, ceil(v_credits * 100.0 / t.balance_after))::integer
        when t.balance_after is not null then 0 end as percent) l on true);
end;
$$;
comment on function public.read_balance(uuid) is
  'The credits of an account of the caller''s, and the last threshold (50, 20, 5 percent of the balance after the '
  'last top-up) that they have sunk to, or null.';

create function public.read_daily_balances(start_date date, end_date date, account_id uuid default null)
returns table (day date, credits bigint)
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_column
declare
  v_from date := read_daily_balances.start_date;
  v_until date := least(read_daily_balances.end_date, keyfund.today());
  v_account_id uuid := keyfund.act_in(read_daily_balances.account_id, 'admin');
begin
  if (v_from between '2000-01-01' and '9999-12-31' and read_daily_balances.end_date between v_from and '9999-12-31'
      and read_daily_balances.end_date - v_from <= 365) is not true then
    perform keyfund.refuse('invalid_range');
  end if;
  if v_from > v_until then
    return; -- all of it is to come
  end if;
  -- Back from the last day, each from where the day after it ended: no entry is looked at twice.
  return query
    with recursive ends as (
      select v_until as day, (
        select e from public.credit_ledger e
        where e.account_id = v_account_id and e.created_at < (v_until + 1)::timestamp at time zone 'UTC'
        order by e.id desc limit 1) as entry
      union all
      select ends.day - 1, (
        select e from public.credit_ledger e
        where e.account_id = v_account_id and e.id <= (ends.entry).id
          and e.created_at < ends.day::timestamp at time zone 'UTC'
        order by e.id desc limit 1)
      from ends where ends.day > v_from and (ends.entry).id is not null
    )
    select ends.day, (ends.entry).balance_after from ends where (ends.entry).id is not null order by ends.day;
end;
$$;
comment on function public.read_daily_balances(date, date, uuid) is
  'The credits of the caller''s own account, or of a team that they own or administer, at the end of each day '
  '(UTC), both dates inclusive; no row for a day before the account '
  'was made or to come.';

revoke all on function public.read_balance, public.read_daily_balances from public, anon, authenticated,
  service_role;
