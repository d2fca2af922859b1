// Links of mails for browsers that asked with a PKCE challenge, as GoTrue answers them: the link brings a code instead
// of tokens, and the code is worth a session only beside the verifier that the browser kept.
import { createHash, randomUUID } from "node:crypto";

const ASKING = new Set(["/auth/v1/recover", "/auth/v1/signup", "/auth/v1/otp", "/auth/v1/magiclink", "/auth/v1/resend"]);
const CODE_MS = 5 * 60_000;

const refuse = (status, code, msg) => Response.json({ code: status, error_code: code, msg }, { status });
const claimsOf = (token) => JSON.parse(Buffer.from(token.split(".")[1], "base64url"));

export class Pkce {
  challenges = new Map(); // by address: of the last mail that was asked for
  sessions = new Map(); // by code

  /** Remember the challenge with which a mail is asked for. */
  async note(request) {
    if (request.method !== "POST" || !ASKING.has(new URL(request.url).pathname)) return;
    const { email, code_challenge, code_challenge_method } = await request.clone().json().catch(() => ({}));
    if (typeof email !== "string") return;
    if (code_challenge) this.challenges.set(email.toLowerCase(), { code_challenge, code_challenge_method });
    else this.challenges.delete(email.toLowerCase());
  }

  /** Where a link leads: with a code, if its mail was asked for with a challenge. */
  redirect(response) {
    const location = response.headers.get("location");
    const brought = new URLSearchParams(location?.split("#")[1] ?? "");
    const token = brought.get("access_token");
    const email = token && String(claimsOf(token).email ?? "").toLowerCase();
    const challenge = email && this.challenges.get(email);
    if (!challenge) return response;
    this.challenges.delete(email);
    const code = randomUUID();
    this.sessions.set(code, { challenge, session: Object.fromEntries(brought), until: Date.now() + CODE_MS });
    const to = new URL(location);
    to.hash = "";
    to.searchParams.set("code", code);
    return new Response(null, { status: response.status, headers: { ...Object.fromEntries(response.headers), location: to.href } });
  }

  isExchange(request) {
    const url = new URL(request.url);
    return url.pathname === "/auth/v1/token" && url.searchParams.get("grant_type") === "pkce";
  }

  /** A code and its verifier for a session; each code once. `userOf`: who an access token is. */
  async exchange(request, userOf) {
    const { auth_code, code_verifier } = await request.json().catch(() => ({}));
    const kept = this.sessions.get(auth_code);
    if (!kept || kept.until < Date.now()) return refuse(404, "flow_state_not_found", "invalid flow state, no valid flow state found");
    if (!fits(kept.challenge, String(code_verifier))) {
      return refuse(400, "bad_code_verifier", "code challenge does not match previously saved code verifier");
    }
    this.sessions.delete(auth_code);
    const { access_token, refresh_token, expires_in, expires_at } = kept.session;
    return Response.json({
      access_token, refresh_token, token_type: "bearer", expires_in: Number(expires_in), expires_at: Number(expires_at),
      user: await userOf(access_token),
    });
  }
}

function fits({ code_challenge, code_challenge_method }, verifier) {
  const isHashed = code_challenge_method?.toLowerCase() === "s256";
  return code_challenge === (isHashed ? createHash("sha256").update(verifier).digest("base64url") : verifier);
}
