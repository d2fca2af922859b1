-- What people and the doctor are told of the limits: a new key's, the highest, the account's, and so many an hour.

create function public.read_limits() returns jsonb
language sql stable security definer set search_path = '' as $$
  select jsonb_build_object(
    'key_rpm_limit', least(s.key_rpm_limit, s.most_rpm_limit), 'key_tpm_limit', least(s.key_tpm_limit, s.most_tpm_limit),
    'key_budget_duration', s.key_budget_duration, 'key_max_parallel', s.key_max_parallel,
    'most_rpm_limit', s.most_rpm_limit, 'most_tpm_limit', s.most_tpm_limit, 'most_max_budget', s.most_max_budget,
    'account_rpm_limit', s.account_rpm_limit, 'account_tpm_limit', s.account_tpm_limit,
    'account_max_parallel', s.account_max_parallel, 'keys_per_account', s.keys_per_account,
    'key_creations_per_hour', s.key_creations_per_hour, 'key_rotations_per_hour', s.key_rotations_per_hour,
    'key_changes_per_hour', s.key_changes_per_hour, 'key_unblocks_per_hour', s.key_unblocks_per_hour,
    'key_resyncs_per_hour', s.key_resyncs_per_hour, 'open_orders_per_hour', s.open_orders_per_hour)
  from keyfund.settings s;
$$;
comment on function public.read_limits() is
  'What a new key may do a minute, the highest that one may be set to (null: any), what an account may do over all of its keys, and so many an hour.';
revoke all on function public.read_limits() from public, anon, authenticated, service_role;
grant execute on function public.read_limits() to authenticated, service_role;
