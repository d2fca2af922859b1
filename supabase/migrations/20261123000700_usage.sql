-- Booking what LiteLLM shows as spent, for all accounts that were active.

alter table keyfund.gateways add column read_mark timestamptz;
alter table keyfund.gateways add column read_at timestamptz not null default '-infinity';
comment on column keyfund.gateways.read_mark is 'Up to where its changes are read, in its own time.';
comment on column keyfund.gateways.read_at is 'When its changes are read next; whoever moves it carries it out.';

create function public.claim_reading(p_name text, p_every_seconds integer) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_mark timestamptz;
begin
  update keyfund.gateways set read_at = now() + make_interval(secs => p_every_seconds)
  where name = p_name and read_at <= now() and opened_at is null
  returning read_mark into v_mark;
  if not found then
    return null;
  end if;
  return jsonb_build_object('mark', v_mark, 'asked_at', clock_timestamp());
end;
$$;
comment on function public.claim_reading(text, integer) is 'For the one process whose turn it is to read what changed: up to where it is read; null for all others.';

create function public.settle_usage(p_spenders jsonb, p_asked_at timestamptz) returns integer
language plpgsql security definer set search_path = '' as $$
declare
  v_spender record;
  v_account keyfund.accounts;
  v_booked integer := 0;
begin
  for v_spender in
    select s.user_id, s.spend_micros
    from jsonb_to_recordset(p_spenders) as s (user_id uuid, spend_micros bigint)
    join keyfund.accounts a on a.user_id = s.user_id
    where s.spend_micros is distinct from a.seen_micros and a.confirmed_at is not null
    order by s.user_id
  loop
    perform from public.profiles where id = v_spender.user_id for update;
    select * into strict v_account from keyfund.accounts where user_id = v_spender.user_id for update;
    if v_account.epoch_at > p_asked_at then
      continue; -- read before LiteLLM lost its spend: it says nothing about the new epoch
    elsif v_spender.spend_micros > v_account.seen_micros then
      perform keyfund.book_usage(v_account, v_spender.spend_micros);
      v_booked := v_booked + 1;
    elsif v_spender.spend_micros is null or v_spender.spend_micros < v_account.seen_micros then
      -- Gone or gone backwards: a push looks again, under the account's lease.
      update keyfund.accounts set next_attempt_at = now()
      where user_id = v_spender.user_id and (next_attempt_at is null or next_attempt_at > now())
        and (lease_expires_at is null or lease_expires_at <= now());
    end if;
  end loop;
  return v_booked;
end;
$$;
comment on function public.settle_usage(jsonb, timestamptz) is
  'Books users'' spends as LiteLLM showed them after p_asked_at; spend_micros null: the user row is missing. Repeating it changes nothing.';

create function public.finish_reading(p_name text, p_mark timestamptz) returns void
language sql security definer set search_path = '' as $$
  update keyfund.gateways set read_mark = greatest(read_mark, p_mark) where name = p_name;
$$;
comment on function public.finish_reading(text, timestamptz) is 'All changes up to this time are dealt with.';

revoke all on function public.claim_reading(text, integer) from public, anon, authenticated, service_role;
revoke all on function public.settle_usage(jsonb, timestamptz) from public, anon, authenticated, service_role;
revoke all on function public.finish_reading(text, timestamptz) from public, anon, authenticated, service_role;
grant execute on function public.claim_reading(text, integer) to service_role;
grant execute on function public.settle_usage(jsonb, timestamptz) to service_role;
grant execute on function public.finish_reading(text, timestamptz) to service_role;
