-- Taking over who came before: their balances become opening entries, their payments history. `keyfund takeover`
-- calls these in the transaction that moves the tables of before to keyfund_before, and makes keys theirs with
-- adopt_key().
--
-- The balance is taken as what is left to spend: what LiteLLM showed as spent until then is seen, and never booked.
-- Where credits were never lowered they are what was ever given, and an operator has that spend booked at once. Either
-- way the budget in LiteLLM becomes the wallet, less what is booked, and what was seen: nothing counts twice, and
-- nothing that was spent becomes spendable again.
-- Of a payment of before nobody knows what it bought: it has 0 credits and no entry. One that was paid is final; any
-- other that turns out paid waits for a person, because the balance may hold it already.

set local check_function_bodies = off; -- a function may name what a later file makes

create function keyfund.take_over_account(
  p_user_id uuid, p_credits bigint, p_seen_micros bigint, p_spent_micros bigint, p_created_at timestamptz
) returns void
language plpgsql set search_path = '' as $$
declare
  v_user auth.users;
  v_hash text;
  v_wallet keyfund.wallets;
begin
  select * into strict v_user from auth.users where id = p_user_id and deleted_at is null;
  insert into public.profiles (id, email, created_at)
  values (p_user_id, v_user.email, coalesce(p_created_at, now()));
  -- They had their credits at their sign-up: no grant, not for another sign-up of the same person either.
  insert into keyfund.signups (user_id, grant_settled, grant_checked_at) values (p_user_id, true, now());
  v_hash := keyfund.hash_identity(keyfund.identity_of(to_jsonb(v_user), false));
  if v_hash is not null then
    insert into keyfund.signup_grants (identity_hash, user_id, confirmed, created_at)
    values (v_hash, p_user_id, keyfund.is_confirmed(to_jsonb(v_user)),
      least(p_created_at, now() - interval '1 hour')) -- none of this hour's grants
    on conflict (identity_hash) do nothing;
  end if;
  perform keyfund.ensure_account(p_user_id);
  if p_credits <> 0 then
    perform keyfund.append_entry(p_user_id, p_credits, 'opening', 'takeover:' || p_user_id);
  end if;
  select * into strict v_wallet from keyfund.wallets where account_id = p_user_id;
  perform keyfund.book_usage(v_wallet, p_spent_micros);
  update keyfund.wallets set seen_micros = p_seen_micros where account_id = p_user_id;
end;
$$;
comment on function keyfund.take_over_account(uuid, bigint, bigint, bigint, timestamptz) is
  'Makes the account of somebody who had p_credits before. In micro-dollars: what LiteLLM shows of its user as spent, '
  'and what of before is booked.';

create function keyfund.take_over_payment(
  p_id uuid, p_user_id uuid, p_reference text, p_amount bigint, p_currency text, p_status text,
  p_created_at timestamptz
) returns void
language plpgsql set search_path = '' as $$
declare
  v_order_id uuid;
begin
  insert into keyfund.orders (account_id, user_id, provider, package_id, amount, currency, credits, created_at)
  values (p_user_id, p_user_id, 'paystack', 'taken-over', p_amount, p_currency, 0, p_created_at)
  returning id into v_order_id;
  insert into public.transactions (id, account_id, user_id, order_id, provider, package_id, reference, amount,
    currency, credits, status, created_at, next_verify_at)
  values (coalesce(p_id, gen_random_uuid()), p_user_id, p_user_id, v_order_id, 'paystack', 'taken-over', p_reference,
    p_amount, p_currency, 0, p_status, p_created_at,
    case when p_status = 'pending' then now() + interval '2 minutes' end);
end;
$$;
comment on function keyfund.take_over_payment(uuid, uuid, text, bigint, text, text, timestamptz) is
  'Keeps a payment of before. A pending one is asked about, and of the others the provider''s list and webhook tell: '
  'should one be paid after all, a person decides.';
