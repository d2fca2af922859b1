-- Reconciliation: whether the provider, transactions, ledger, credits, wallets and usage agree, and where not.

set local check_function_bodies = off; -- a function may name what a later file makes

create function public.open_books() returns jsonb
language sql stable security definer set search_path = '' as $$
  select jsonb_build_object('at', clock_timestamp(),
    'accounts', (select count(*) from keyfund.accounts where created_at <= now()),
    'credit_value_cents', (select credit_value_cents from keyfund.settings));
$$;
comment on function public.open_books() is
  'Now, and how many accounts there are: what a reconciliation must have seen at its end.';

create function keyfund.difference(p_check text, p_subject text, p_found text, p_expected text) returns jsonb
language sql immutable set search_path = '' as $$
  select jsonb_build_object('check', p_check, 'subject', p_subject, 'found', p_found, 'expected', p_expected);
$$;

create function keyfund.audit_account(p_account_id uuid) returns setof jsonb
language sql stable set search_path = '' as $$
  with entries as (
    select coalesce(sum(l.delta), 0) as total, coalesce(sum(l.delta) filter (where l.kind <> 'usage'), 0) as wallet,
      -coalesce(sum(l.delta) filter (where l.kind = 'usage'), 0) as used,
      coalesce((select last.balance_after from public.credit_ledger last
        where last.account_id = p_account_id order by last.id desc limit 1), 0) as last
    from public.credit_ledger l where l.account_id = p_account_id
  ), payments as (
    select t.*, keyfund.granted(t) as bought, e.purchases, e.granted, e.withheld_entries from public.transactions t
    left join lateral (
      select count(*) filter (where l.kind = 'purchase') as purchases,
        coalesce(sum(l.delta) filter (where l.kind = 'purchase'), 0) as granted,
        -coalesce(sum(l.delta) filter (where l.kind = 'withheld'), 0) as withheld_entries
      from public.credit_ledger l
      where l.account_id = t.account_id and l.kind in ('purchase', 'withheld')
        and split_part(l.cause, ':', 2) = t.reference
    ) e on true
    where t.account_id = p_account_id
  )
  -- transactions = ledger
  select keyfund.difference('ledger', 'payment ' || reference,
    format('%s entries of %s credits', purchases, granted),
    case when credited_at is null then 'none' else format('1 entry of %s credits', bought) end)
  from payments where (purchases, granted) is distinct from
    (case when credited_at is null then 0 else 1 end::bigint,
     case when credited_at is null then 0 else bought end::numeric)
  union all
  select keyfund.difference('ledger', 'payment ' || reference, status, 'success or reversed, as it is credited')
  from payments where credited_at is not null and status not in ('success', 'reversed')
  union all
  select keyfund.difference('ledger', 'withheld of payment ' || reference, withheld_entries::text,
    keyfund.credits_to_withhold(t)::text)
  from payments p join public.transactions t using (id, reference)
  where p.withheld_entries <> p.withheld_credits or p.withheld_credits <> keyfund.credits_to_withhold(t)
  union all
  select keyfund.difference('ledger', 'entry ' || l.id, l.cause, 'a payment of this account')
  from public.credit_ledger l
  where l.account_id = p_account_id and l.kind in ('purchase', 'withheld') and not exists (
    select from payments p where p.reference = split_part(l.cause, ':', 2))
  union all
  -- ledger = credits
  select keyfund.difference('credits', 'account ' || p_account_id, credits::text, e.total::text)
  from entries e, keyfund.credits_of(p_account_id) as credits
  where (credits, credits) is distinct from (e.total, e.last)
  union all
  select keyfund.difference('credits', 'wallet of account ' || p_account_id,
    coalesce(w.wallet_credits::text, 'no account'), e.wallet::text)
  from entries e left join keyfund.wallets w on w.account_id = p_account_id where w.wallet_credits is distinct
    from e.wallet
  union all
  select keyfund.difference('credits', 'usage of account ' || p_account_id, e.used::text,
    (w.booked_micros / (s.credit_value_cents * 10000))::text)
  from entries e, keyfund.wallets w, keyfund.settings s
  where w.account_id = p_account_id and w.booked_micros / (s.credit_value_cents * 10000) <> e.used;
$$;
comment on function keyfund.audit_account(uuid) is
  'What does not agree within the database: payments and ledger, ledger and credits.';

create function keyfund.describe_books(p_account_id uuid) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object('user_id', p.id,
    'confirmed', coalesce(a.confirmed_at is not null, false),
    -- With a key parked the account's revision stays behind, but its wallet is confirmed.
    'pushed', coalesce((a.revision = a.confirmed_revision or (a.next_attempt_at is null and a.refusals = 0))
      and a.confirmed_at is not null
      and coalesce(a.unsettled_until <= now(), true) and coalesce(a.lease_expires_at <= now(), true), false),
    'outstanding', coalesce(a.revision > a.confirmed_revision, false),
    'parked', coalesce(a.revision > a.confirmed_revision and a.next_attempt_at is null and a.refusals > 0, false),
    'budget_micros', case when w.account_id is not null then keyfund.budget_micros(w) end,
    'seen_micros', coalesce(w.seen_micros, 0),
    'payments', (select count(*) from public.transactions t where t.account_id = p.id and t.credited_at is not null),
    'differences', coalesce((select jsonb_agg(d) from keyfund.audit_account(p.id) as d), '[]'))
  from keyfund.accounts p left join keyfund.pushes a on a.account_id = p.id
  left join keyfund.wallets w on w.account_id = p.id where p.id = p_account_id;
$$;

create function public.read_books(p_after uuid, p_limit integer, p_before timestamptz) returns jsonb
language sql stable security definer set search_path = '' as $$
  -- One value, not a set of rows: a limit on rows anywhere on the way could cut a set short unseen.
  select coalesce(jsonb_agg(keyfund.describe_books(page.id) order by page.id), '[]')
  from (
    select p.id from keyfund.accounts p
    where p.created_at <= p_before and (p_after is null or p.id > p_after)
    order by p.id limit p_limit) page;
$$;
comment on function public.read_books(uuid, integer, timestamptz) is
  'A page of accounts after that id: what LiteLLM should show of each, and what does not agree within the '
  'database.';

create function public.read_book(p_account_id uuid) returns jsonb
language sql stable security definer set search_path = '' as $$
  select keyfund.describe_books(p_account_id);
$$;
comment on function public.read_book(uuid) is 'The same of one account.';

create function public.read_payments(p_references text[]) returns jsonb
language sql stable security definer set search_path = '' as $$
  select coalesce(jsonb_agg(jsonb_build_object(
    'reference', t.reference, 'status', t.status, 'currency', t.paid_currency, 'paid_amount', t.paid_amount,
    'refunded_amount', t.refunded_amount, 'disputed_amount', keyfund.disputed_amount(t))), '[]')
  from public.transactions t where t.reference = any(p_references)
    and not (t.credits = 0 and t.paid_amount is null and t.status in ('success', 'reversed')); -- final before Keyfund
$$;
comment on function public.read_payments(text[]) is
  'What we hold of these payments; left out are references that are not ours, and those that were taken over as '
  'paid: what was paid for them we were never told.';

create function public.list_paid(
  p_provider text, p_after text, p_limit integer, p_from timestamptz, p_until timestamptz
) returns jsonb
language sql stable security definer set search_path = '' as $$
  select jsonb_build_object(
    'references', coalesce((select jsonb_agg(page.reference order by page.reference) from (
      select t.reference from public.transactions t
      where t.provider = p_provider and t.paid_amount is not null and t.created_at >= p_from
        and t.created_at < p_until and (p_after is null or t.reference > p_after)
      order by t.reference limit p_limit) page), '[]'),
    'total', (select count(*) from public.transactions t
      where t.provider = p_provider and t.paid_amount is not null and t.created_at >= p_from
        and t.created_at < p_until));
$$;
comment on function public.list_paid(text, text, integer, timestamptz, timestamptz) is
  'References of a provider''s orders of that time which we hold to be paid, after that one, and how many there are '
  'in all.';

-- -------------------------------------------------------------------- results

create table keyfund.reconciliations (
  id bigint generated always as identity primary key,
  began_at timestamptz not null,
  ended_at timestamptz not null default now(),
  complete boolean not null,
  differences integer not null,
  report jsonb not null
);
comment on table keyfund.reconciliations is 'What each reconciliation found; the last hundred are kept.';
alter table keyfund.reconciliations enable row level security;

create function public.record_reconciliation(
  p_began_at timestamptz, p_complete boolean, p_differences integer, p_report jsonb
)
returns void
language sql security definer set search_path = '' as $$
  insert into keyfund.reconciliations (began_at, complete, differences, report)
  values (p_began_at, p_complete, p_differences, p_report);
  delete from keyfund.reconciliations where id <= (
    select id from keyfund.reconciliations order by id desc offset 100 limit 1);
$$;
comment on function public.record_reconciliation(timestamptz, boolean, integer, jsonb) is
  'Keeps a report for administrators.';

create function public.read_reconciliation() returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
begin
  perform keyfund.check_administrator();
  perform keyfund.note('reconciliation_read', null);
  return (select to_jsonb(r) from keyfund.reconciliations r order by r.id desc limit 1);
end;
$$;
comment on function public.read_reconciliation() is 'For administrators: the last reconciliation, check by check.';

revoke all on function public.open_books, public.read_books, public.read_book, public.read_payments,
  public.list_paid, public.record_reconciliation, public.read_reconciliation from public, anon, authenticated,
  service_role;
