-- Booking what LiteLLM shows as spent, for all accounts that were active.

alter table keyfund.gateways add column spend_mark timestamptz;
alter table keyfund.gateways add column settle_at timestamptz not null default '-infinity';
comment on column keyfund.gateways.spend_mark is 'LiteLLM''s own time of the newest change that is booked.';
comment on column keyfund.gateways.settle_at is 'When the next settlement is due; whoever moves it carries it out.';

create function public.claim_settlement(p_every_seconds integer) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_mark timestamptz;
begin
  update keyfund.gateways set settle_at = now() + make_interval(secs => p_every_seconds)
  where name = 'litellm' and settle_at <= now() and opened_at is null
  returning spend_mark into v_mark;
  if not found then
    return null;
  end if;
  return jsonb_build_object('mark', v_mark, 'asked_at', clock_timestamp());
end;
$$;
comment on function public.claim_settlement(integer) is 'For the one process whose turn it is: up to where spend is booked; null for all others.';

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

create function public.finish_settlement(p_mark timestamptz) returns void
language sql security definer set search_path = '' as $$
  update keyfund.gateways set spend_mark = greatest(spend_mark, p_mark) where name = 'litellm';
$$;
comment on function public.finish_settlement(timestamptz) is 'All changes up to this time of LiteLLM''s are booked.';

revoke all on function public.claim_settlement(integer) from public, anon, authenticated, service_role;
revoke all on function public.settle_usage(jsonb, timestamptz) from public, anon, authenticated, service_role;
revoke all on function public.finish_settlement(timestamptz) from public, anon, authenticated, service_role;
grant execute on function public.claim_settlement(integer) to service_role;
grant execute on function public.settle_usage(jsonb, timestamptz) to service_role;
grant execute on function public.finish_settlement(timestamptz) to service_role;
