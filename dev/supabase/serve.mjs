// A Supabase project's HTTP side on one machine: @supabase/lite's PostgREST and GoTrue, corrected where they
// differ from hosted Supabase in what this project relies on.
//
//   node serve.mjs                 serves; settings from the environment, see `settings` below
//   node serve.mjs --auth-schema   prints the SQL of the auth schema
//
// Lite runs everything as one superuser and grants all to everybody at the first request. Here each half logs in
// as the role that the real service uses, so privileges, RLS and triggers meet the same roles as on hosted:
// PostgREST as `authenticator`, its schema cache read as `postgres`, GoTrue as `supabase_auth_admin`.
//
// Still unlike hosted: bigint beyond 2^53 is rounded; `Prefer: missing=default` is ignored; a jsonb argument that is
// a string holding JSON text arrives parsed; safeupdate is enforced on requests, but not inside functions; the
// database has none of the extensions; and there is no admin API, Realtime, Storage, Edge Functions or pg_graphql.
import { createHmac, createPrivateKey, createPublicKey, sign, verify } from "node:crypto";
import { serve } from "@hono/node-server";
import { App } from "@supabase/lite";
import { PostgresConnection } from "@supabase/lite/postgres";
import { sql } from "kysely";

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

// --- errors: PostgREST's table of SQLSTATE to HTTP status -----------------------------------------------------

const STATUS = {
  "08": 503, "09": 500, "0L": 403, "0P": 403, 21: 500, 23503: 409, 23505: 409, 25: 500, 25006: 405, 28: 403,
  "2D": 500, 38: 500, 39: 500, "3B": 500, 40: 500, 53: 503, 53400: 500, 54: 500, 55: 500, 57: 500, "57P01": 503,
  "57P03": 503, 58: 500, "42P01": 404, "42P17": 500, F0: 500, HV: 500, P0: 500, P0001: 400, XX: 500,
};
const LITE_IS_RIGHT = new Set(["42501", "42703", "42883"]);
const status = (code) => STATUS[code] ?? STATUS[code.slice(0, 2)] ?? 400;

// Lite answers with any status and body for the error that `raise sqlstate 'PGRST'` makes.
const answer = (httpStatus, code, error) => ({
  code: "PGRST",
  message: JSON.stringify({ code, message: error.message, details: error.detail ?? null, hint: error.hint ?? null }),
  detail: JSON.stringify({ status: httpStatus, headers: {} }),
});
const lost = (error) => /^(CONNECT|ECONN|EPIPE)/.test(error?.code ?? "");

// --- PostgREST ------------------------------------------------------------------------------------------------

class Rest extends PostgresConnection {
  catalog = connect(PostgresConnection, settings.catalogDatabase, "postgrest-schema-cache", 2);
  cached = undefined;

  // Lite reads information_schema, which shows a role only what it may use: `authenticator` would see nothing.
  introspect() {
    this.cached ??= this.readCatalog().catch((error) => {
      this.cached = undefined;
      throw error;
    });
    return this.cached;
  }

  async readCatalog() {
    const roles = await sql`select rolname, rolconfig from pg_roles where rolconfig is not null`.execute(
      this.catalog.kysely,
    );
    this.roleSettings = Object.fromEntries(
      roles.rows.map((role) => [role.rolname, role.rolconfig.map((pair) => pair.split(/=(.*)/s).slice(0, 2))]),
    );
    return this.catalog.introspect();
  }

  async followChanges() {
    const forget = () => (this.cached = undefined);
    await this.catalog.driver.listen("pgrst", forget, forget);
  }

  async ensureRlsContext() {
    return true; // Lite's own would grant everything to everybody
  }

  async applyJwtSessionContext(transaction, context) {
    const role = context.auth?.role ?? "anon";
    const path = [...settings.api.schemas, "extensions"].map((name) => `"${name}"`).join(", ");
    const values = [
      ["search_path", path],
      ...(this.roleSettings[role] ?? []),
      ["request.jwt.claims", JSON.stringify(context.auth?.jwt ?? { role })],
      ["role", role],
    ];
    const calls = values.map(([name, value]) => sql`set_config(${name}, ${value}, true)`);
    await sql`select ${sql.join(calls)}`.execute(transaction);
  }

  async applyRpcRequestGucs(transaction, request) {
    await sql`select set_config('response.status', '', true), set_config('response.headers', '', true),
      set_config('request.method', ${request.method}, true), set_config('request.path', ${request.path}, true),
      set_config('request.headers', ${JSON.stringify(request.requestHeaders ?? {})}, true)`.execute(transaction);
  }

  normalizeDbError(thrown) {
    const error = super.normalizeDbError(thrown);
    if (lost(error)) return answer(503, "PGRST001", { message: "Database client error. Retrying the connection." });
    const code = error?.code;
    const ours = typeof code === "string" && /^[0-9A-Z]{5}$/.test(code) && !/^(PGRST|PT)/.test(code);
    return ours && !LITE_IS_RIGHT.has(code) ? answer(status(code), code, error) : error;
  }
}

// Lite looks every user and session up before a REST call. PostgREST trusts the token's signature and expiry, and
// `authenticator` may not read the auth tables.
const trustTokens = async (context, next) => {
  const found = async () => ({});
  context.set("authService", { repo: { findUserById: found, findSessionById: found } });
  await next();
};

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

async function makeRest() {
  const connection = connect(Rest, settings.restDatabase, "postgrest", 10);
  const api = { enabled: true, pg_safe_update: true, ...settings.api };
  const auth = { enabled: true, ...keys() };
  return new App({ connection, api, auth, options: options(trustTokens) }).init();
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

async function answerAuth(request, peer, auth) {
  const response = await completed(await auth.fetch(request, peer));
  const headers = new Headers(response.headers);
  headers.set("access-control-allow-origin", "*");
  headers.delete("access-control-allow-credentials"); // browsers refuse it beside "*"
  return new Response(response.body, { status: response.status, headers });
}

const unavailable = () =>
  Response.json(
    { code: "PGRST002", message: "Could not query the database for the schema cache. Retrying.", details: null, hint: null },
    { status: 503 },
  );

async function reachable(rest) {
  try {
    await rest.connection.introspect();
    return true;
  } catch (error) {
    console.error("schema cache:", error.message);
    return false;
  }
}

async function route(request, peer, { auth, rest }) {
  const { pathname } = new URL(request.url);
  if (isPreflight(request)) return allow(request);
  if (pathname === "/auth/v1/.well-known/jwks.json") return jwks();
  if (pathname.startsWith("/auth/v1/")) return answerAuth(request, peer, auth);
  if (!(await reachable(rest))) return unavailable();
  return pathname === "/ready" ? Response.json({ ready: true }) : rest.fetch(request, peer);
}

async function main() {
  if (process.argv.includes("--auth-schema")) {
    const { connection } = await makeAuth();
    console.log(connection.config.baseSchema);
    return;
  }
  const apps = { auth: await makeAuth(), rest: await makeRest() };
  await apps.rest.connection.followChanges();
  serve({
    port: settings.port,
    hostname: "127.0.0.1",
    fetch: (request, env) => route(translated(request), { peerAddress: env.incoming?.socket?.remoteAddress ?? null }, apps),
  });
  for (const name of ["SIGTERM", "SIGINT"]) process.on(name, () => process.exit(0));
}

await main();
