-- Whose turn it is to be pushed.
--
-- Blocks and revocations overtake every other push, so people who block and unblock without end would keep everybody
-- else waiting. Two rules bound that: of what is claimed at once a quarter is kept for what is not urgent; and an
-- account that was claimed a moment ago stands, within its class, behind those that were not, without waiting for
-- anything else. A place in line never gets worse, so nobody waits for ever.

alter table keyfund.accounts add column rests_until timestamptz;
comment on column keyfund.accounts.rests_until is
  'Until then the account, claimed a moment ago, lets others of its class go first; it is pushed at once where nobody waits.';

create function keyfund.rest_account() returns trigger
language plpgsql set search_path = '' as $$
begin
  new.rests_until := now() + interval '30 seconds';
  return new;
end;
$$;
create trigger accounts_rest_after_a_claim before update of lease_token on keyfund.accounts
  for each row when (new.lease_token is not null and new.lease_token is distinct from old.lease_token)
  execute function keyfund.rest_account();

drop index keyfund.accounts_due_idx;
-- What is due, by class and turn: the only rows that a claim looks at.
create index accounts_turn_idx on keyfund.accounts (urgent, patient, greatest(next_attempt_at, rests_until))
  where next_attempt_at is not null;

create function keyfund.list_due(p_urgent boolean, p_patient boolean, p_limit integer) returns setof uuid
language sql stable set search_path = '' as $$
  select user_id from keyfund.accounts
  where urgent = p_urgent and patient = p_patient
    and next_attempt_at <= now() and (lease_expires_at is null or lease_expires_at <= now())
  order by greatest(next_attempt_at, rests_until) limit p_limit;
$$;
comment on function keyfund.list_due(boolean, boolean, integer) is 'Accounts of a class that are due, in the order of their turn.';

create function keyfund.kept_places(p_limit integer) returns integer
language sql stable set search_path = '' as $$
  select greatest(p_limit / 4, (p_limit > 0 and exists (
    select from keyfund.accounts where next_attempt_at <= now() and urgent and rests_until > now()))::integer);
$$;
comment on function keyfund.kept_places(integer) is
  'How many of so many places are kept for what is not urgent: a quarter, and one at least while somebody blocks again and again.';

create function keyfund.choose_due(p_limit integer) returns setof uuid
language sql stable set search_path = '' as $$
  select due.user_id from (
    select user_id, case when place <= keyfund.kept_places(p_limit) then 1 else 3 end as rank, place
    from keyfund.list_due(false, false, p_limit) with ordinality as plain (user_id, place)
    union all
    select user_id, 2, place from keyfund.list_due(true, false, p_limit) with ordinality as urgent (user_id, place)
    union all
    select user_id, 2, place from keyfund.list_due(true, true, p_limit) with ordinality as urgent (user_id, place)
    union all
    select user_id, 4, place from keyfund.list_due(false, true, p_limit) with ordinality as patient (user_id, place)
  ) due order by due.rank, due.place limit p_limit;
$$;
comment on function keyfund.choose_due(integer) is
  'Whom to claim: the places that are kept for what is not urgent, then what is, then the rest, and what concerns everybody last.';

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
    where user_id = any (array(select keyfund.choose_due(p_limit)))
      and next_attempt_at <= now() and (lease_expires_at is null or lease_expires_at <= now())
    order by urgent desc, patient, greatest(next_attempt_at, rests_until)
    for update skip locked
  loop
    return next keyfund.lease_account(v_account, p_lease_seconds, p_key_limit);
  end loop;
end;
$$;
comment on function public.claim_pushes(integer, integer, integer) is
  'Leases accounts that are due: blocks and revocations first but for the places that are kept for others, changes that concern everybody last. None while the breaker is open.';

revoke all on function public.claim_pushes(integer, integer, integer) from public, anon, authenticated, service_role;
grant execute on function public.claim_pushes(integer, integer, integer) to service_role;
revoke all on all functions in schema keyfund from public, anon, authenticated, service_role;
