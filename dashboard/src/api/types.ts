/** What the API answers, by the names that it uses. */

export interface Config {
  supabase_url: string;
  supabase_anon_key: string;
  /** Where Keyfund's tables and functions are. */
  supabase_schema: string;
  credit_value_cents: number;
  payments: boolean;
  realtime: boolean;
  /** Who sells the credits, as receipts name them. */
  seller: string | null;
}

export interface Key {
  id: string;
  name: string;
  litellm_key_id: string | null;
  key_preview?: string | null;
  state: "placeholder" | "active" | "blocked" | "revoked";
  blocked_by: "owner" | "team" | "administrator" | "suspension" | null;
  cap: "wallet" | "fixed";
  max_budget: number | null;
  budget_duration: string | null;
  rpm_limit: number | null;
  tpm_limit: number | null;
  sync_status: "pending" | "synced" | "failed";
  last_synced_at: string | null;
  last_error: string | null;
  next_attempt_at: string | null;
  retires_at?: string | null;
  former?: Key | null;
  period?: { spent_cents: number | null; resets_at: string | null } | null;
}

export interface KeyList {
  keys: Key[];
  litellm: { status: "connected" | "unreachable" | "not_configured"; base_url: string | null };
  /** Where the next page begins; null: there is none. */
  next: string | null;
}

export interface Status {
  litellm: {
    configured: boolean;
    connected: boolean;
    breaker: "closed" | "open" | "half-open";
    last_ok_at: string | null;
    warnings: string[];
  };
  paystack: { configured: boolean };
  backlog_of: "account" | "everybody";
  backlog: { keys: number; events: number; parked: number; oldest_seconds: number };
  worker: { last_seen: string | null };
}

export interface Balance {
  credits: number;
  after_top_up: number | null;
  notice: 50 | 20 | 5 | null;
}

/** At the end of a day, UTC. */
export interface DailyBalance {
  day: string;
  credits: number;
}

export interface Package {
  id: string;
  name: string;
  credits: number;
  amount: number;
  currency: string;
}

export type Step = "ordered" | "webhook" | "verified" | "credited" | "pushed" | "effective";

export interface Payment {
  reference: string;
  status: string;
  credits: number;
  amount: number;
  currency: string;
  authorization_url: string | null;
  /** How it stands; nothing is called given back before it is. */
  standing: string;
  granted_credits: number | null;
  refunded_amount: number;
  refunded_at: string | null;
  /** A person decided against it. */
  refused: boolean;
  waiting_for: Step | null;
  timeline: Record<Step, string | null>;
}

/** What `read_receipt` answers, amounts in subunits. The lines add up to `paid_amount`. */
export interface Receipt {
  reference: string;
  email: string | null;
  provider: string;
  provider_id: number;
  paid_at: string;
  currency: string;
  lines: { what: "credits" | "fee" | "beyond"; amount: number }[];
  paid_amount: number;
  refunded_amount: number;
  total: number;
  credits: number;
  withheld_credits: number;
}

export interface LedgerEntry {
  id: number;
  delta: number;
  kind: "signup_grant" | "purchase" | "withheld" | "usage" | "adjustment" | "opening";
  reason: string | null;
  balance_after: number;
  created_at: string;
}

export interface Tally {
  requests: number;
  prompt_tokens: number;
  completion_tokens: number;
  spend_micros: number;
  credits: number;
}

export interface Usage {
  source: "litellm" | "local";
  as_of: string | null;
  time_zone: string;
  start_date: string;
  end_date: string;
  days: (Tally & { date: string; model: string })[];
  keys: (Tally & { key_id: string | null; name: string })[];
  total: Tally;
}

export interface Estimate {
  prompt_tokens: number;
  completion_tokens: number;
  spend_micros: number;
  credits: number;
  source: { tokens: "litellm" | "flat"; cost: "litellm" | "flat" };
  /** A guess at a flat rate, which may be far too low. */
  rough: boolean;
}

// ------------------------------------------------------------------ administrators

export interface FailingKey {
  id: string;
  user_id: string;
  name: string;
  sync_status: string;
  last_error: string | null;
  next_attempt_at: string | null;
}

export interface Resync {
  id: number | null;
  started_at: string | null;
  ended_at: string | null;
  accounts: number;
  keys: number;
  outstanding_accounts: number;
  failing_accounts: number;
}

export interface Concerns {
  needs_review: number;
  failing_events: number;
  unknown_payments: number;
  paid_after_deletion: number;
  refused_not_returned: number;
  parked_accounts: number;
  parked_keys: number;
  self_dealings: number;
  large_adjustments: number;
  waiting_grants: number;
  missing_triggers: number;
  reconciliation: { differences: number } | null;
  drift: { differences: number } | null;
}

export interface FoundPayment {
  reference: string;
  user_id: string;
  email: string | null;
  status: string;
  review_reason: string | null;
  credits: number;
  amount: number;
  currency: string;
  paid_amount: number | null;
  paid_currency: string | null;
  refunded_amount: number;
  standing: string;
  granted_credits: number | null;
  timeline: Record<Step, string | null>;
}

export interface PaymentDetail extends FoundPayment {
  events: InboxEvent[];
  ledger: { delta: number; kind: string; created_at: string }[];
}

export interface InboxEvent {
  id: number;
  event: string;
  reference: string | null;
  received_at: string;
  outcome: string | null;
  attempts: number;
  last_error: string | null;
}

export interface FoundAccount {
  account_id: string;
  /** A person's address. */
  email: string | null;
  /** A team's name. */
  name: string | null;
  status: "active" | "suspended" | "deleted";
  suspended_at: string | null;
  banned_until: string | null;
  credits: number;
  created_at: string;
  keys: number;
  failing_keys: number;
  wallet_confirmed: boolean;
}

export interface AuditEntry {
  id: number;
  at: string;
  actor: string;
  actor_id: string | null;
  action: string;
  account_id: string | null;
  details: Record<string, unknown>;
}
