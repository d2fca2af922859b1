// A Supabase project's HTTP side on one machine: a PostgREST of its own (rest/), and @supabase/lite's GoTrue,
// corrected where it differs from hosted Supabase in what this project relies on.
//
//   node serve.mjs                 serves; settings from the environment, see `settings` below
//   node serve.mjs --auth-schema   prints the SQL of the auth schema
//
// Each half logs in as the role that the real service uses, so privileges, RLS and triggers meet the same roles as on
// hosted: PostgREST as `authenticator`, its schema cache read as `postgres`, GoTrue as `supabase_auth_admin`.
//
// Still unlike hosted: safeupdate is enforced on requests, but not inside functions; the database has none of the
// extensions; PostgREST has no aggregates, many-to-many embedding, fuzzy hints or OpenAPI document; and there is no
// admin API, Realtime, Storage, Edge Functions or pg_graphql.
import { createHmac, createPrivateKey, createPublicKey, sign, verify } from "node:crypto";
import { serve } from "@hono/node-server";
import { App } from "@supabase/lite";
import { PostgresConnection } from "@supabase/lite/postgres";
import { Pkce } from "./pkce.mjs";
import { Rest } from "./rest/rest.mjs";

const settings = {
  port: Number(process.env.PORT),
  url: process.env.SUPABASE_URL,
  restDatabase: process.env.REST_DATABASE_URL,
  authDatabase: process.env.AUTH_DATABASE_URL,
  catalogDatabase: process.env.CATALOG_DATABASE_URL,
  publishableKey: process.env.SUPABASE_ANON_KEY,
  secretKey: process.env.SUPABASE_SERVICE_ROLE_KEY,
  jwtSecret: process.env.SUPABASE_JWT_SECRET,
  signingKey: process.env.SIGNING_KEY ? JSON.parse(process.env.SIGNING_KEY) : undefined,
  api: JSON.parse(process.env.API_CONFIG ?? "{}"),
  auth: JSON.parse(process.env.AUTH_CONFIG ?? "{}"),
};

// --- values on the wire ---------------------------------------------------------------------------------------

const iso = (text) =>
  /^\d{4}-\d\d-\d\d \d/.test(text) ? text.replace(" ", "T").replace(/([+-]\d\d)$/, "$1:00") : text;
const fromDate = (value) => (value instanceof Date ? value.toISOString() : value);
// Lite hands objects over as JSON text already, and a JSON string as the string itself.
const isJsonText = (text) => {
  try {
    return typeof JSON.parse(text) === "object";
  } catch {
    return false;
  }
};
const jsonText = (value) => (typeof value === "string" && isJsonText(value) ? value : JSON.stringify(value));
const hex = (value) => (typeof value === "string" ? value : `\\x${Buffer.from(value).toString("hex")}`);

const types = {
  timestamptz: { to: 1184, from: [1184], serialize: fromDate, parse: iso },
  timestamp: { to: 1114, from: [1114], serialize: fromDate, parse: iso },
  numeric: { to: 1700, from: [1700], serialize: String, parse: Number },
  bytea: { to: 17, from: [17], serialize: hex, parse: (text) => text },
  json: { to: 114, from: [114], serialize: jsonText, parse: JSON.parse },
  jsonb: { to: 3802, from: [3802], serialize: jsonText, parse: JSON.parse },
};

const connect = (Kind, url, name, max) =>
  new Kind({
    url,
    postgresOptions: {
      max,
      types,
      onnotice() {},
      connect_timeout: 5,
      backoff: () => 0.2, // the default waits up to 20 s after the database was away
      connection: { TimeZone: "UTC", application_name: name },
    },
  });

// --- GoTrue ---------------------------------------------------------------------------------------------------

const base64url = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
const decoded = (part) => JSON.parse(Buffer.from(part, "base64url"));
const claimsOf = (token) => decoded(token.split(".")[1]);

function hs256(claims) {
  const body = `${base64url({ alg: "HS256", typ: "JWT" })}.${base64url(claims)}`;
  return `${body}.${createHmac("sha256", settings.jwtSecret).update(body).digest("base64url")}`;
}

// Lite knows HS256 alone. With a signing key, tokens are ES256 outside this process and HS256 inside it.
const raw = "ieee-p1363"; // JWS signatures are not DER
const { kty, crv, x, y, kid } = settings.signingKey ?? {};
const publicJwk = { kty, crv, x, y, kid, alg: "ES256", use: "sig", key_ops: ["verify"], ext: true };
const privateKey = settings.signingKey && createPrivateKey({ key: settings.signingKey, format: "jwk" });
const publicKey = settings.signingKey && createPublicKey({ key: settings.signingKey, format: "jwk" });
const jwks = () => Response.json({ keys: settings.signingKey ? [publicJwk] : [] });

function signed(claims) {
  if (!privateKey) return hs256(claims);
  const body = `${base64url({ alg: "ES256", kid, typ: "JWT" })}.${base64url(claims)}`;
  const signature = sign("sha256", Buffer.from(body), { key: privateKey, dsaEncoding: raw });
  return `${body}.${signature.toString("base64url")}`;
}

function isOurs(token) {
  const [header, claims, signature] = token.split(".");
  try {
    const { alg } = decoded(header);
    const bytes = Buffer.from(signature, "base64url");
    const key = { key: publicKey, dsaEncoding: raw };
    return alg === "ES256" && verify("sha256", Buffer.from(`${header}.${claims}`), key, bytes);
  } catch {
    return false;
  }
}

function translated(request) {
  const token = request.headers.get("authorization")?.match(/^Bearer (.+\..+\..+)$/)?.[1];
  if (!privateKey || !token) return request;
  const headers = new Headers(request.headers);
  headers.set("authorization", `Bearer ${isOurs(token) ? hs256(claimsOf(token)) : "not.our.token"}`);
  return new Request(request, { headers });
}

// Lite's tokens lack claims that GoTrue's have, the issuer first among them.
function withClaims(session) {
  const { user } = session;
  const claims = claimsOf(session.access_token);
  const more = {
    iss: `${settings.url}/auth/v1`,
    phone: user.phone ?? "",
    app_metadata: user.app_metadata ?? {},
    user_metadata: user.user_metadata ?? {},
    aal: "aal1",
    amr: [{ method: user.is_anonymous ? "anonymous" : "password", timestamp: claims.iat }],
    is_anonymous: user.is_anonymous ?? false,
  };
  return { ...session, access_token: signed({ ...claims, ...more }) };
}

async function completed(response) {
  if (!response.ok || !response.headers.get("content-type")?.includes("json")) return response;
  const body = await response.json();
  const headers = new Headers(response.headers);
  headers.delete("content-length");
  return Response.json(body?.access_token && body.user ? withClaims(body) : body, { status: response.status, headers });
}

// --- the gateway ----------------------------------------------------------------------------------------------

const keys = () => ({
  publishable_key: settings.publishableKey,
  secret_key: settings.secretKey,
  jwt_secret: settings.jwtSecret,
});
const options = (...middlewares) => ({ server: { admin: false, disableStudio: true, middlewares } });

async function makeAuth() {
  const connection = connect(PostgresConnection, settings.authDatabase, "gotrue", 5);
  const auth = { jwt_expiry: 3600, ...settings.auth, ...keys(), enabled: true };
  return new App({ connection, api: { enabled: false }, auth, options: options(async (_, next) => next()) }).init();
}

// Hosted answers browsers of every origin at the gateway. Lite's GoTrue names no allowed headers, and its PostgREST
// knows no function with arguments when it is asked without them.
const isPreflight = (request) => request.method === "OPTIONS" && request.headers.has("access-control-request-method");
const allow = (request) =>
  new Response(null, {
    status: 204,
    headers: {
      "access-control-allow-origin": "*",
      "access-control-allow-methods": "GET,HEAD,PUT,PATCH,POST,DELETE",
      "access-control-allow-headers": request.headers.get("access-control-request-headers") ?? "*",
    },
  });

const pkce = new Pkce();

async function answerAuth(request, peer, auth) {
  await pkce.note(request);
  const userOf = async (token) => {
    const headers = { apikey: settings.publishableKey, authorization: `Bearer ${token}` };
    return (await auth.fetch(new Request(`${settings.url}/auth/v1/user`, { headers }), peer)).json();
  };
  const given = pkce.isExchange(request) ? await pkce.exchange(request, userOf) : pkce.redirect(await auth.fetch(request, peer));
  const response = await completed(given);
  const headers = new Headers(response.headers);
  headers.set("access-control-allow-origin", "*");
  headers.delete("access-control-allow-credentials"); // browsers refuse it beside "*"
  return new Response(response.body, { status: response.status, headers });
}

async function readiness(rest) {
  try {
    await rest.catalog.read();
    return Response.json({ ready: true });
  } catch (error) {
    return error.response();
  }
}

async function route(request, peer, { auth, rest }) {
  if (new URL(request.url).pathname.startsWith("/auth/v1/")) request = translated(request);
  const { pathname } = new URL(request.url);
  if (isPreflight(request)) return allow(request);
  if (pathname === "/auth/v1/.well-known/jwks.json") return jwks();
  if (pathname.startsWith("/auth/v1/")) return answerAuth(request, peer, auth);
  return pathname === "/ready" ? readiness(rest) : rest.answer(request);
}

async function main() {
  if (process.argv.includes("--auth-schema")) {
    const { connection } = await makeAuth();
    console.log(connection.config.baseSchema);
    return;
  }
  const apps = { auth: await makeAuth(), rest: new Rest(settings, publicKey) };
  serve({
    port: settings.port,
    hostname: "127.0.0.1",
    fetch: (request, env) => route(request, { peerAddress: env.incoming?.socket?.remoteAddress ?? null }, apps),
  });
  for (const name of ["SIGTERM", "SIGINT"]) process.on(name, () => process.exit(0));
}

await main();
