// Who calls: the gateway's API key, then the bearer's JWT as PostgREST checks it.
import { createHmac, timingSafeEqual, verify } from "node:crypto";
import { Failure } from "./failure.mjs";

const SKEW_SECONDS = 30;

const refuse = (code, message, details = null) =>
  new Failure(401, code, message, {
    details,
    headers: { "www-authenticate": `Bearer error="invalid_token", error_description=${JSON.stringify(message)}` },
  });

/** The claims that the request acts with; they name the role. */
export function claimsOf(request, settings, publicKey) {
  const bearer = /^bearer +(.*)$/i.exec(request.headers.get("authorization") ?? "")?.[1].trim();
  const roles = new Map([[settings.publishableKey, "anon"], [settings.secretKey, "service_role"]]);
  const key = request.headers.get("apikey") ?? new URL(request.url).searchParams.get("apikey") ?? bearer;
  if (!key) throw new Failure(401, "no_api_key", "No API key found in request");
  if (!roles.has(key)) throw new Failure(401, "invalid_api_key", "Invalid API key");
  if (bearer === undefined || roles.has(bearer)) return { role: roles.get(bearer ?? key) };
  const claims = check(bearer, settings, publicKey);
  return { ...claims, role: typeof claims.role === "string" ? claims.role : JSON.stringify(claims.role ?? "anon") };
}

function check(token, settings, publicKey) {
  if (token === "") throw refuse("PGRST301", "Empty JWT is sent in Authorization header");
  const parts = token.split(".");
  if (parts.length !== 3) throw refuse("PGRST301", `Expected 3 parts in JWT; got ${parts.length}`);
  if (!isSigned(parts, settings, publicKey)) {
    throw refuse("PGRST301", "No suitable key or wrong key type", "None of the keys was able to decode the JWT");
  }
  const claims = decode(parts[1]);
  if (claims === null || typeof claims !== "object" || Array.isArray(claims)) throw refuse("PGRST303", "Parsing claims failed");
  checkTimes(claims);
  return claims;
}

function isSigned([head, body, signature], settings, publicKey) {
  const signed = Buffer.from(`${head}.${body}`);
  const given = Buffer.from(signature, "base64url");
  if (decode(head)?.alg !== (publicKey ? "ES256" : "HS256")) return false;
  if (publicKey) return verify("sha256", signed, { key: publicKey, dsaEncoding: "ieee-p1363" }, given);
  const right = createHmac("sha256", settings.jwtSecret).update(signed).digest();
  return given.length === right.length && timingSafeEqual(given, right);
}

function decode(part) {
  try {
    return JSON.parse(Buffer.from(part, "base64url"));
  } catch {
    return null;
  }
}

function checkTimes(claims) {
  const now = Math.floor(Date.now() / 1000);
  for (const name of ["exp", "nbf", "iat"]) {
    const given = claims[name];
    if (given !== undefined && given !== null && typeof given !== "number") {
      throw refuse("PGRST303", `The JWT '${name}' claim must be a number`);
    }
  }
  if (now - SKEW_SECONDS > claims.exp) throw refuse("PGRST303", "JWT expired");
  if (now + SKEW_SECONDS < claims.nbf) throw refuse("PGRST303", "JWT not yet valid");
  if (now + SKEW_SECONDS < claims.iat) throw refuse("PGRST303", "JWT issued at future");
}
