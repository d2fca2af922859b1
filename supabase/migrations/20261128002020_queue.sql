-- Whose turn it is to be pushed.
--
-- Blocks and revocations overtake every other push, so people who block and unblock without end would keep everybody
-- else waiting. Two rules bound that. An account whose owner changes its keys again and again is restless: of all
-- restless accounts one is pushed at a time, in the order in which they became due, so they cost everybody else
-- little, and each gets its turn. And of what is claimed at once a quarter is kept for what is not urgent.

alter table keyfund.accounts add column calm_at timestamptz;
alter table keyfund.accounts add column claimed_at timestamptz;
comment on column keyfund.accounts.calm_at is
  'Each change that the owner makes to keys moves it on by ten seconds; more than half a minute ahead, the account is restless.';
comment on column keyfund.accounts.claimed_at is 'When the account was last leased for a push.';

create function keyfund.note_claim() returns trigger
language plpgsql set search_path = '' as $$
begin
  new.claimed_at := now();
  return new;
end;
$$;
create trigger accounts_claims_are_noted before update of lease_token on keyfund.accounts
  for each row when (new.lease_token is not null and new.lease_token is distinct from old.lease_token)
  execute function keyfund.note_claim();

create function keyfund.stir_account() returns trigger
language plpgsql set search_path = '' as $$
begin
  -- The account is locked already by whoever writes this down.
  update keyfund.accounts
  set calm_at = least(greatest(calm_at, now()) + interval '10 seconds', now() + interval '2 minutes')
  where user_id = new.account_id;
  return null;
end;
$$;
create trigger audit_log_stirs_the_account after insert on public.audit_log
  for each row when (new.actor_id = new.account_id and new.key_id is not null) execute function keyfund.stir_account();

create function keyfund.is_restless(p_account keyfund.accounts) returns boolean
language sql stable set search_path = '' as $$
  select coalesce(p_account.calm_at > now() + interval '30 seconds', false);
$$;

drop index keyfund.accounts_due_idx;
-- What is due, by class and turn: the only rows that a claim looks at.
create index accounts_turn_idx on keyfund.accounts (urgent, patient, greatest(next_attempt_at, calm_at))
  where next_attempt_at is not null;
create index accounts_claimed_idx on keyfund.accounts (claimed_at) where lease_token is not null;

create function keyfund.list_due(p_urgent boolean, p_patient boolean, p_limit integer) returns setof uuid
language sql stable set search_path = '' as $$
  select a.user_id from keyfund.accounts a
  where a.urgent = p_urgent and a.patient = p_patient and greatest(a.next_attempt_at, a.calm_at) <= now() + interval '30 seconds'
    and a.next_attempt_at <= now() and (a.lease_expires_at is null or a.lease_expires_at <= now())
  order by greatest(a.next_attempt_at, a.calm_at) limit p_limit;
$$;
comment on function keyfund.list_due(boolean, boolean, integer) is 'Calm accounts of a class that are due, in the order of their turn.';

create function keyfund.next_restless() returns setof uuid
language sql stable set search_path = '' as $$
  select a.user_id from keyfund.accounts a
  where a.urgent in (true, false) and a.patient in (true, false)
    and greatest(a.next_attempt_at, a.calm_at) > now() + interval '30 seconds' and a.calm_at > now() + interval '30 seconds'
    and a.next_attempt_at <= now() and (a.lease_expires_at is null or a.lease_expires_at <= now())
    and not exists (
      -- A holder that has not come back by then has died, or is very slow.
      select from keyfund.accounts held
      where held.lease_token is not null and held.claimed_at > now() - interval '10 seconds' and keyfund.is_restless(held))
  order by a.next_attempt_at limit 1;
$$;
comment on function keyfund.next_restless() is 'The restless account whose turn it is; none while another one is being pushed.';

create function keyfund.choose_due(p_limit integer) returns setof uuid
language sql stable set search_path = '' as $$
  select due.user_id from (
    select user_id, 1 as rank, 0 as place from keyfund.next_restless() as restless (user_id)
    union all
    select user_id, case when place <= p_limit / 4 then 2 else 4 end, place
    from keyfund.list_due(false, false, p_limit) with ordinality as plain (user_id, place)
    union all
    select user_id, 3, place from keyfund.list_due(true, false, p_limit) with ordinality as urgent (user_id, place)
    union all
    select user_id, 3, place from keyfund.list_due(true, true, p_limit) with ordinality as urgent (user_id, place)
    union all
    select user_id, 5, place from keyfund.list_due(false, true, p_limit) with ordinality as patient (user_id, place)
  ) due order by case when due.rank = 1 and p_limit < 4 then 6 else due.rank end, due.place limit p_limit;
$$;
comment on function keyfund.choose_due(integer) is
  'Whom to claim: one who is restless, the quarter that is kept for what is not urgent, then what is, then the rest, and what concerns everybody last.';

create or replace function public.claim_pushes(p_limit integer, p_lease_seconds integer, p_key_limit integer default 50) returns setof jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_account keyfund.accounts;
begin
  if exists (select from keyfund.gateways where name = 'litellm' and opened_at is not null) then
    return;
  end if;
  for v_account in
    select * from keyfund.accounts
    where user_id = any (array(select keyfund.choose_due(least(p_limit, 1000))))
      and next_attempt_at <= now() and (lease_expires_at is null or lease_expires_at <= now())
    order by urgent desc, patient, greatest(next_attempt_at, calm_at)
    for update skip locked
  loop
    return next keyfund.lease_account(v_account, p_lease_seconds, p_key_limit);
  end loop;
end;
$$;
comment on function public.claim_pushes(integer, integer, integer) is
  'Leases accounts that are due: blocks and revocations first but for the places that are kept for others, changes that concern everybody last. None while the breaker is open.';

create or replace function public.claim_push(p_user_id uuid, p_lease_seconds integer, p_key_limit integer default 50) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_account keyfund.accounts;
begin
  select * into v_account from keyfund.accounts a
  where a.user_id = p_user_id and a.next_attempt_at is not null and (a.lease_expires_at is null or a.lease_expires_at <= now())
    and not exists (select from keyfund.gateways where name = 'litellm' and opened_at is not null)
    -- A restless account has its turn in the worker's line while another one is pushed.
    and not (keyfund.is_restless(a) and exists (
      select from keyfund.accounts held
      where held.lease_token is not null and held.claimed_at > now() - interval '10 seconds' and keyfund.is_restless(held)))
  for update skip locked;
  if v_account.user_id is null then
    return null;
  end if;
  return keyfund.lease_account(v_account, p_lease_seconds, p_key_limit);
end;
$$;
comment on function public.claim_push(uuid, integer, integer) is
  'Leases one account that has something outstanding; null when another process has it, LiteLLM is away, or it is restless and another such is being pushed.';

revoke all on function public.claim_pushes(integer, integer, integer) from public, anon, authenticated, service_role;
revoke all on function public.claim_push(uuid, integer, integer) from public, anon, authenticated, service_role;
grant execute on function public.claim_pushes(integer, integer, integer) to service_role;
grant execute on function public.claim_push(uuid, integer, integer) to service_role;
revoke all on all functions in schema keyfund from public, anon, authenticated, service_role;
