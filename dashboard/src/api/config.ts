import { createClient, type SupabaseClient } from "@supabase/supabase-js";
import { SESSION } from "./link";
import type { Config } from "./types";

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
    // What a link brings beside a code is taken out of the address before: see link.ts.
    auth: { flowType: "pkce", storageKey: SESSION },
    // The types know no other schema.
    db: { schema: config.supabase_schema as "public", retry: false }, // what matters is asked again anyway, and an outage is told of at once
    global: { fetch: timed },
  });
}
