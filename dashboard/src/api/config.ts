import { createClient, type SupabaseClient } from "@supabase/supabase-js";
import type { Config } from "./types";

const SESSION = "keyfund-session";
const LONGEST_MS = 20_000;

/** A connection that hangs fails in the end; for ever, the status line would say that all is well. */
export const timed: typeof fetch = (input, init) => {
  const limit = AbortSignal.timeout(LONGEST_MS);
  return fetch(input, { ...init, signal: init?.signal ? AbortSignal.any([init.signal, limit]) : limit });
};

export async function loadConfig(): Promise<Config> {
  const response = await timed("/analytics/config.json");
  if (!response.ok) throw new Error(`config.json: ${response.status}`);
  return (await response.json()) as Config;
}

export function connect(config: Config): SupabaseClient {
  return createClient(config.supabase_url, config.supabase_anon_key, {
    // A link in a mail may be opened on another device, where a PKCE verifier would be missing.
    auth: { flowType: "implicit", detectSessionInUrl: takesLink, storageKey: SESSION },
    db: { retry: false }, // what matters is asked again anyway, and an outage is told of at once
    global: { fetch: timed },
  });
}

const ANOTHER = "This link signs you out and in to another account. Anybody can send such a link. Did you ask for it?";

/**
 * Whether to sign in with what a link from a mail brought. Its tokens leave the address at once, or they would stay in
 * the tab's history; and they end nobody else's session unasked, lest somebody buy credits for a stranger.
 */
function takesLink(_address: URL, { access_token: token }: Record<string, string>): boolean {
  const brought = new URLSearchParams(location.hash.slice(1));
  if (!token && !brought.has("error_description")) return false;
  history.replaceState(history.state, "", location.pathname);
  if (!token) return false; // why it failed is told elsewhere
  const before = localStorage.getItem(SESSION);
  return !before || personOf((JSON.parse(before) as { access_token: string }).access_token) === personOf(token) || confirm(ANOTHER);
}

/** Whose token it is, as it says itself; Supabase checks it. */
function personOf(token: string): unknown {
  const payload = (token.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/");
  return (JSON.parse(atob(payload)) as { sub?: unknown }).sub;
}
