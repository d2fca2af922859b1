import { createClient, type SupabaseClient } from "@supabase/supabase-js";
import type { Config } from "./types";

const SESSION = "keyfund-session";

export async function loadConfig(): Promise<Config> {
  const response = await fetch("/analytics/config.json");
  if (!response.ok) throw new Error(`config.json: ${response.status}`);
  return (await response.json()) as Config;
}

export function connect(config: Config): SupabaseClient {
  return createClient(config.supabase_url, config.supabase_anon_key, {
    // A link in a mail may be opened on another device, where a PKCE verifier would be missing.
    auth: { flowType: "implicit", detectSessionInUrl: true, storageKey: SESSION },
  });
}

/** End the session here even when Supabase cannot be asked to. */
export async function signOut(supabase: SupabaseClient): Promise<void> {
  const { error } = await supabase.auth.signOut({ scope: "local" });
  if (error) {
    localStorage.removeItem(SESSION);
    location.reload();
  }
}
