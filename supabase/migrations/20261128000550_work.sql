-- Who does what is due: chores, workers, and the one look for all of it.
--
-- Work is claimed, then finished, failed or released. A claim is one statement on the rows that are due: it passes
-- over rows that another holds, and moves next_attempt_at to where the lease ends. So a holder that dies is followed
-- by another, and nobody waits. Where two holders could do harm the claim leaves a lease_token, and whoever finishes
-- without that token is refused.
--
--   what          rows                      claimed by                 ended by
--   pushes        keyfund.pushes            claim_pushes, claim_push   finish_push, fail_push, release_push
--   events        keyfund.events            claim_events               finish_event, fail_event
--   orders        public.transactions       claim_verifications        credit_, review_, observe_payment
--   days          keyfund.roll_ups          claim_rollups              record_usage
--   chores        keyfund.chores            claim_chore                finish_chore
--
-- A chore is what recurs: one row each. Everything else is due on its own row, where the change that makes it due
-- is written anyway.
--
-- Workers share the looking. One of them looks: its call waits in the database until something is due, for four
-- seconds at most (half of statement_timeout), so work is taken up at once and an empty look costs one transaction.
-- The others come by in turns, one of them every 1.25 seconds: they take up what is due, too, and one of them becomes
-- the one that looks when that one is gone.

set local check_function_bodies = off; -- a function may name what a later file makes

-- --------------------------------------------------------------------- chores

create table keyfund.chores (
  name text primary key,
  gateway text references keyfund.gateways (name),
  nightly boolean not null default false,
  state jsonb,
  next_attempt_at timestamptz not null default now(),
  lease_token uuid
);
comment on table keyfund.chores is 'What is done again and again, by whichever worker claims it.';
comment on column keyfund.chores.gateway is 'Not done while this gateway''s breaker is open.';
comment on column keyfund.chores.nightly is 'Once it is finished it is due again the next night.';
comment on column keyfund.chores.state is 'Up to where it is done: what the next one begins with.';
comment on column keyfund.chores.next_attempt_at is
  'When it is done next; while it is being done, when its lease ends.';
comment on column keyfund.chores.lease_token is 'Given to the last one that claimed it: nobody else may finish it.';
alter table keyfund.chores enable row level security;
create index chores_gateway_idx on keyfund.chores (gateway);

create function keyfund.next_night() returns timestamptz
language sql stable set search_path = '' as $$
  select min(night) from keyfund.settings s,
    lateral (select ((date_trunc('day',
      now() at time zone 'UTC') + days * interval '1 day') + s.nightly_at) at time zone 'UTC' as night
      from generate_series(0, 1) as days) nights
  where night > now();
$$;

insert into keyfund.chores (name, gateway, nightly, next_attempt_at) values
  ('reconcile', null, true, keyfund.next_night()),
  ('heal_accounts', null, false, now()),
  ('redact_events', null, false, now()),
  ('forget_keys', null, false, now()),
  ('delete_keys', 'litellm', false, now()),
  ('compare_keys', 'litellm', false, now()),
  ('settle_usage', 'litellm', false, now()),
  ('watch_litellm', 'litellm', false, now()),
  ('sweep_paystack', 'paystack', false, now());

create function keyfund.is_closed(p_gateway text) returns boolean
language sql stable set search_path = '' as $$
  select not exists (select from keyfund.gateways where name = p_gateway and opened_at is not null);
$$;
comment on function keyfund.is_closed(text) is
  'Whether a gateway''s breaker is closed; true where there is no gateway.';

create function public.claim_chore(p_name text, p_lease_seconds integer) returns jsonb
language sql security definer set search_path = '' as $$
  update keyfund.chores
  set lease_token = gen_random_uuid(), next_attempt_at = now() + make_interval(secs => p_lease_seconds)
  where name = p_name and next_attempt_at <= now() and keyfund.is_closed(gateway)
  returning jsonb_build_object('token', lease_token, 'state', state, 'asked_at', clock_timestamp());
$$;
comment on function public.claim_chore(text, integer) is
  'For the one worker whose turn it is: a token, and up to where the chore is done. Null for all others. It is due '
  'again after the lease, finished or not.';

create function public.finish_chore(
  p_name text, p_token uuid, p_state jsonb default null, p_after_seconds double precision default null
) returns boolean
language plpgsql security definer set search_path = '' as $$
begin
  update keyfund.chores
  set state = coalesce(p_state, state), lease_token = null,
      next_attempt_at = case when nightly then keyfund.next_night()
        else coalesce(now() + make_interval(secs => p_after_seconds), next_attempt_at) end
  where name = p_name and lease_token = p_token;
  return found;
end;
$$;
comment on function public.finish_chore(text, uuid, jsonb, double precision) is
  'Done: the next one begins with p_state, after p_after_seconds or when the lease would have ended. False: another '
  'worker has it now.';

-- -------------------------------------------------------------------- workers

create table keyfund.workers (
  name text primary key,
  last_seen timestamptz not null default now(),
  comes_at timestamptz
);
comment on table keyfund.workers is 'When each worker was last heard of.';
comment on column keyfund.workers.comes_at is 'When it is to come by next; null: it is the one that looks.';
alter table keyfund.workers enable row level security;

create table keyfund.lookout (
  id boolean primary key default true check (id),
  worker text,
  held_until timestamptz not null default '-infinity'
);
comment on table keyfund.lookout is
  'One row: the worker that looks. The row is locked while it waits, and kept for it until held_until otherwise.';
alter table keyfund.lookout enable row level security;
insert into keyfund.lookout default values;

create function keyfund.list_due_work(p_kinds text[], p_at timestamptz) returns text[]
language plpgsql stable set search_path = '' as $$
begin -- in this language the plan is kept from call to call
  return (select coalesce(array_agg(kind), '{}') from unnest(p_kinds) kind
  where case kind
    when 'push_accounts' then keyfund.is_closed('litellm') and exists (select keyfund.choose_due(1, p_at))
    when 'handle_events' then exists (
      select from keyfund.events where handled_at is null and next_attempt_at <= p_at)
    when 'verify_orders' then exists (
      select from public.transactions
      where next_verify_at <= p_at and credited_at is null
        and status in ('pending', 'failed', 'abandoned', 'reversed'))
    when 'roll_up_usage' then keyfund.is_closed('litellm') and exists (
      select from keyfund.roll_ups where roll_at <= p_at)
    when 'count_shares' then keyfund.is_closed('litellm') and exists (
      select from public.virtual_keys where count_at <= p_at)
    when 'retire_keys' then exists (
        select from public.virtual_keys
        where successor_id is not null and state <> 'revoked' and retires_at <= p_at)
      or exists (select from public.virtual_keys where period_ends_at <= p_at)
    when 'probe_litellm' then exists (
      select from keyfund.gateways g where g.name = 'litellm' and keyfund.needs_probe(g, p_at))
    else exists (
      select from keyfund.chores c where c.name = kind and c.next_attempt_at <= p_at and keyfund.is_closed(c.gateway))
    end);
end;
$$;
comment on function keyfund.list_due_work(text[], timestamptz) is
  'Which of these kinds of work have something to claim: the same conditions as the claims have, over the same '
  'indexes.';

create function keyfund.book_turn(p_worker text, p_looks boolean) returns double precision
language plpgsql set search_path = '' as $$
declare
  c_turn constant interval := '1250 milliseconds';
  v_now timestamptz := clock_timestamp();
  v_comes_at timestamptz;
begin
  if not p_looks then
    select greatest(max(comes_at), v_now) + c_turn into v_comes_at from keyfund.workers
    where name <> p_worker and last_seen > v_now - interval '1 minute';
  end if;
  insert into keyfund.workers (name, last_seen, comes_at) values (p_worker, v_now, v_comes_at)
  on conflict (name) do update set last_seen = excluded.last_seen, comes_at = excluded.comes_at;
  delete from keyfund.workers where last_seen < v_now - interval '1 day';
  return coalesce(extract(epoch from v_comes_at - v_now), 0);
end;
$$;
comment on function keyfund.book_turn(text, boolean) is
  'Notes that a worker lives. Returns in how many seconds it comes again: the one that looks at once, the others in '
  'turns, so that one of them comes every 1.25 seconds however many there are.';

create function keyfund.longest_wait_seconds() returns double precision
language sql stable set search_path = '' as $$
  select case when setting::integer > 0 then setting::integer / 2000.0 end
  from pg_catalog.pg_settings where name = 'statement_timeout';
$$;
comment on function keyfund.longest_wait_seconds() is
  'Half of what a statement may take here, so that a call which waits is never cut off; null: as long as it likes.';

create function public.look_for_work(
  p_worker text, p_kinds text[], p_wait_seconds double precision default 4
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_until timestamptz := clock_timestamp()
    + make_interval(secs => least(greatest(p_wait_seconds, 0), 4, keyfund.longest_wait_seconds()));
  v_looks boolean;
  v_due text[];
begin
  perform from keyfund.lookout where worker = p_worker or held_until <= clock_timestamp() for update skip locked;
  v_looks := found;
  loop
    -- Each statement sees what was committed before it; only now() stands still.
    v_due := keyfund.list_due_work(p_kinds, clock_timestamp());
    exit when not v_looks or v_due <> '{}' or clock_timestamp() >= v_until;
    perform pg_sleep(0.1);
  end loop;
  if v_looks then
    update keyfund.lookout set worker = p_worker, held_until = clock_timestamp() + interval '1 second' where id;
  end if;
  return jsonb_build_object('due', to_jsonb(v_due), 'looks', v_looks,
    'again_in_seconds', keyfund.book_turn(p_worker, v_looks));
end;
$$;
comment on function public.look_for_work(text, text[], double precision) is
  'Which of the kinds of work that a worker would take up are due now, and in how many seconds it looks again. The '
  'one that looks is answered once something is due, after p_wait_seconds (4 at most) at the latest.';

revoke all on function public.claim_chore, public.finish_chore, public.look_for_work from public, anon, authenticated,
  service_role;
