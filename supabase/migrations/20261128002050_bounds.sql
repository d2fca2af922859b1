-- What an operator sets is refused when it is set, not by the first person whose key it breaks.

-- Values from before that would be refused now go back to what they are by default, or to the nearest that is taken.
do $$
begin
  if exists (select from keyfund.settings where key_budget_duration !~ '^([1-9][0-9]{0,4}[smhdw]|1mo)$') then
    raise warning 'keyfund: key_budget_duration was no duration that LiteLLM takes; it is 30d again';
  end if;
end;
$$;
update keyfund.settings set
  key_budget_duration = case when key_budget_duration ~ '^([1-9][0-9]{0,4}[smhdw]|1mo)$' then key_budget_duration else '30d' end,
  signup_credits = least(signup_credits, 1000000000),
  keys_per_account = least(keys_per_account, 1000000),
  open_orders_per_hour = least(open_orders_per_hour, 1000000),
  parking_refusals = least(parking_refusals, 1000),
  redact_events_after_days = least(redact_events_after_days, 36500),
  allowed_models = nullif(array_remove(array_remove(allowed_models, null), ''), '{}')
where key_budget_duration !~ '^([1-9][0-9]{0,4}[smhdw]|1mo)$' or signup_credits > 1000000000 or keys_per_account > 1000000
  or open_orders_per_hour > 1000000 or parking_refusals > 1000 or redact_events_after_days > 36500
  or array_position(allowed_models, null) is not null or '' = any (allowed_models);

alter table keyfund.settings
  -- The same as a key's own: what is set here is copied there.
  add constraint settings_key_budget_duration_check check (key_budget_duration ~ '^([1-9][0-9]{0,4}[smhdw]|1mo)$'),
  add constraint settings_signup_credits_range check (signup_credits <= 1000000000),
  add constraint settings_keys_per_account_range check (keys_per_account <= 1000000),
  add constraint settings_open_orders_per_hour_range check (open_orders_per_hour <= 1000000),
  add constraint settings_parking_refusals_range check (parking_refusals <= 1000),
  add constraint settings_redact_events_after_days_range check (redact_events_after_days <= 36500),
  add constraint settings_allowed_models_named check (
    array_position(allowed_models, null) is null and array_position(allowed_models, '') is null);
comment on column keyfund.settings.key_budget_duration is
  'The period of a new key''s cap, as LiteLLM writes it: a number and s, m, h, d or w, or 1mo.';
