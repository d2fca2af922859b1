// What PostgREST answers when it refuses or fails: its codes, and its table of SQLSTATE to HTTP status.

const STATUS = {
  "08": 503, "09": 500, "0L": 403, "0P": 403, 21: 500, 23503: 409, 23505: 409, 25: 500, 25006: 405, 28: 403,
  "2D": 500, 38: 500, 39: 500, "3B": 500, 40: 500, 42501: 403, 42883: 404, "42P01": 404, "42P17": 500, 53: 503,
  53400: 500, 54: 500, 55: 500, 57: 500, "57P01": 503, 58: 500, F0: 500, HV: 500, P0: 500, P0001: 400, XX: 500,
};

export class Failure extends Error {
  constructor(status, code, message, { details = null, hint = null, headers = {} } = {}) {
    super(message);
    Object.assign(this, { status, code, details, hint, headers });
  }

  response() {
    const { code, details, hint, message } = this;
    return new Response(JSON.stringify({ code, details, hint, message }), {
      status: this.status,
      headers: {
        "content-type": "application/json; charset=utf-8",
        "proxy-status": `PostgREST; error=${code}`,
        ...(this.status === 401 && { "www-authenticate": "Bearer" }),
        ...this.headers,
      },
    });
  }
}

export const noSchemaCache = () =>
  new Failure(503, "PGRST002", "Could not query the database for the schema cache. Retrying.");
export const poolIsFull = () => new Failure(504, "PGRST003", "Timed out acquiring connection from connection pool.");
export const killed = () => new Failure(503, "57P01", "terminating connection due to administrator command");
export const unparsable = (what, near) =>
  new Failure(400, "PGRST100", `"failed to parse ${what} (${near})" (line 1, column 1)`, { details: `unexpected "${near}"` });
export const noMedia = (accept) =>
  new Failure(406, "PGRST107", `None of these media types are available: ${accept}`);
export const notSingular = (rows) =>
  new Failure(406, "PGRST116", "Cannot coerce the result to a single JSON object", {
    details: `The result contains ${rows} rows`,
  });

/** What PostgREST makes of an error of the database's. `isKnown`: the caller is somebody, not anon. */
export function ofDatabase(error, isKnown) {
  if (error instanceof Failure) return error;
  const { code = "", message = String(error), detail = null, hint = null } = error;
  if (!/^[0-9A-Z]{5}$/.test(code) || /^E[A-Z]{4}$/.test(code)) return ofConnection(code, message);
  if (code === "PGRST") return raised(message, detail);
  const status = statusOf(code, message, isKnown);
  return new Failure(status, code, message, { details: detail, hint });
}

const ofConnection = (code, message) =>
  /^(ECONNREFUSED|ENOENT|ETIMEDOUT)/.test(code)
    ? new Failure(503, "PGRST000", "Database connection error.", { details: message })
    : new Failure(503, "PGRST001", "Database client error. Retrying the connection.", { details: message });

function statusOf(code, message, isKnown) {
  if (code.startsWith("PT")) return Number(code.slice(2)) || 500;
  if (code === "42501") return isKnown ? 403 : 401;
  if (code === "21000" && message.endsWith("requires a WHERE clause")) return 400;
  if (code === "22023" && /^role .* does not exist$/.test(message)) return 401;
  return STATUS[code] ?? STATUS[code.slice(0, 2)] ?? 400;
}

/** `raise sqlstate 'PGRST'` says the whole answer itself. */
function raised(message, detail) {
  try {
    const { code, message: told, details, hint } = JSON.parse(message);
    const { status, headers } = JSON.parse(detail);
    return new Failure(status, code, told, { details, hint, headers });
  } catch {
    return new Failure(500, "PGRST121", `Could not parse JSON in the "RAISE SQLSTATE 'PGRST'" error`);
  }
}
