import { isAuthRetryableFetchError, type PostgrestSingleResponse, type SupabaseClient } from "@supabase/supabase-js";
import { timed } from "./config";

/** A refusal or a failure, in words for people; `code` is for the program. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }

  /** Whether trying again later may help. */
  get isTransient(): boolean {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

export const asApiError = (error: unknown): ApiError =>
  error instanceof ApiError ? error : new ApiError(0, "unexpected", "Something went wrong here. Reload the page.");

const UNREACHABLE = "The service cannot be reached. Check your connection.";
const UNANSWERED = "No answer came; it may have been done. Look before you try again.";
const REFUSED = "The service refused this. Ask the people who run it if that goes on.";

/** Where the service did not say why in its own words: a gateway's page and a database's text help nobody. */
function unexplained(status: number, changes: boolean): ApiError {
  if (status > 0 && status < 500) return new ApiError(status, `http_${status}`, REFUSED);
  return changes ? new ApiError(status, "unanswered", UNANSWERED) : new ApiError(status, "unreachable", UNREACHABLE);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // the page of something in between
  }
}

/** The HTTP API and PostgREST, called as the person who is signed in. */
export class Api {
  constructor(
    readonly supabase: SupabaseClient,
    private readonly onSignedOut: () => void,
  ) {}

  get = <T>(path: string) => this.json<T>("GET", path, undefined, false);
  /** A question that is too long for an address; it changes nothing. */
  ask = <T>(path: string, body: object) => this.json<T>("POST", path, body, false);
  post = <T>(path: string, body: object = {}) => this.json<T>("POST", path, body);
  patch = <T>(path: string, body: object) => this.json<T>("PATCH", path, body);
  delete = <T>(path: string) => this.json<T>("DELETE", path);
  /** The answer as it comes, for what is not JSON. */
  text = (path: string) => this.fetch("GET", path, undefined, false);

  /** Call a database function: one that only reads, or one that changes something. */
  read = <T>(name: string, args: object = {}) => this.query<T>((supabase) => supabase.rpc(name, args));
  change = <T>(name: string, args: object) => this.query<T>((supabase) => supabase.rpc(name, args), true);

  /** The newest rows of a table, or the newest before an id; all that one may read, or those of one's personal account. */
  async newest<Row>(table: string, columns: string, size: number, before: number | null, personal: boolean): Promise<Row[]> {
    const { data } = await this.supabase.auth.getSession();
    return this.query<Row[]>((supabase) => {
      const all = supabase.from(table).select(columns).order("id", { ascending: false }).limit(size);
      const rows = personal ? all.eq("account_id", data.session?.user.id ?? "") : all;
      return before === null ? rows : rows.lt("id", before);
    });
  }

  /** Ask PostgREST as supabase-js does. */
  async query<T>(build: (supabase: SupabaseClient) => PromiseLike<PostgrestSingleResponse<unknown>>, changes = false): Promise<T> {
    await this.token(); // without one supabase-js goes on, as nobody
    const { data, error, status } = await build(this.supabase);
    if (!error) return data as T;
    if (status === 401) this.onSignedOut();
    if (error.code?.startsWith("PT")) throw new ApiError(status, error.details || error.code, error.message);
    throw unexplained(status, changes);
  }

  private async json<T>(method: string, path: string, body?: object, changes = true): Promise<T> {
    const told = parse(await this.fetch(method, path, body, changes));
    if (told === undefined) throw unexplained(0, changes);
    return told as T;
  }

  private async fetch(method: string, path: string, body: object | undefined, changes: boolean): Promise<string> {
    const headers: Record<string, string> = { authorization: `Bearer ${await this.token()}` };
    if (body) headers["content-type"] = "application/json";
    let response: Response;
    let text: string;
    try {
      response = await timed(path, { method, headers, body: body ? JSON.stringify(body) : null });
      text = await response.text();
    } catch {
      throw unexplained(0, changes);
    }
    if (response.ok) return text;
    if (response.status === 401) this.onSignedOut();
    const told = parse(text) as { error?: { code: string; message: string } } | undefined;
    if (told?.error) throw new ApiError(response.status, told.error.code, told.error.message);
    throw unexplained(response.status, changes);
  }

  /** Empty when nobody is signed in: the answer is 401, and that ends the session here. */
  private async token(): Promise<string> {
    const { data, error } = await this.supabase.auth.getSession();
    // Away just as a token ends, Supabase Auth leaves us without one, but not signed out.
    if (isAuthRetryableFetchError(error)) throw unexplained(0, false);
    return data.session?.access_token ?? "";
  }
}
