import type { SupabaseClient } from "@supabase/supabase-js";

export const SESSION = "keyfund-session";

const DEAD = "That link does not work, or not any more. Ask for another.";
const ELSEWHERE = "Open that link in the browser in which you asked for it. If it confirmed your address, you can sign in now.";
const ASKED = "Anybody can send such a link. Did you ask for it?";
const QUESTIONS = {
  nobody: `This link signs you in to an account that may not be yours. ${ASKED}`,
  another: `This link signs you out and in to another account. ${ASKED}`,
};

export interface Link {
  tokens?: { access_token: string; refresh_token: string };
  /** What the link could not do, in our words: anybody can make a link with theirs. */
  notice: string;
  leadsToPassword: boolean;
}

/**
 * What a link from a mail brought, taken out of the address at once: its tokens would stay in the tab's history.
 *
 * A link that this browser asked for brings a code, which is worth something only beside the verifier that was kept
 * here. One with tokens may come from anybody, so it signs nobody in unasked: they would buy credits for a stranger.
 */
export function takeLink(): Link {
  const [hash, query] = [new URLSearchParams(location.hash.slice(1)), new URLSearchParams(location.search)];
  const link: Link = { notice: "", leadsToPassword: false };
  const [access_token, refresh_token] = [hash.get("access_token"), hash.get("refresh_token")];
  if (hash.has("error_description") || query.has("error_description")) link.notice = DEAD;
  else if (query.has("code") && !hasAsked()) link.notice = ELSEWHERE;
  else if (access_token && refresh_token && isWanted(access_token)) {
    link.tokens = { access_token, refresh_token };
    link.leadsToPassword = hash.get("type") === "recovery";
  }
  if (link.notice || access_token) clean();
  return link;
}

/** Sign in with what a link brought; says what a person should know, or nothing. */
export async function follow(supabase: SupabaseClient, link: Link): Promise<string> {
  const hadCode = new URLSearchParams(location.search).has("code");
  const { error } = await supabase.auth.initialize(); // where a code is exchanged
  const refused = link.tokens ? (await supabase.auth.setSession(link.tokens)).error : hadCode && error;
  if (!refused) return link.notice;
  clean();
  return DEAD;
}

const clean = () => history.replaceState(history.state, "", location.pathname);
const hasAsked = () => Object.keys(localStorage).some((name) => name.startsWith(`${SESSION}-code-verifier`));

function isWanted(token: string): boolean {
  const before = localStorage.getItem(SESSION);
  if (!before) return confirm(QUESTIONS.nobody);
  return personOf((JSON.parse(before) as { access_token: string }).access_token) === personOf(token) || confirm(QUESTIONS.another);
}

/** Whose token it is, as it says itself; Supabase checks it. */
function personOf(token: string): unknown {
  try {
    const payload = (token.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/");
    return (JSON.parse(atob(payload)) as { sub?: unknown }).sub;
  } catch {
    return undefined;
  }
}
