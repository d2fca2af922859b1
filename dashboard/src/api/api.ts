import type { SupabaseClient } from "@supabase/supabase-js";

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

const UNREACHABLE = "The service cannot be reached. Check your connection; this page tries again by itself.";

/** The HTTP API and PostgREST, called as the person who is signed in. */
export class Api {
  constructor(
    readonly supabase: SupabaseClient,
    private readonly onSignedOut: () => void,
  ) {}

  get<T>(path: string, signal?: AbortSignal): Promise<T> {
    return this.json<T>("GET", path, undefined, signal);
  }

  post<T>(path: string, body: object = {}): Promise<T> {
    return this.json<T>("POST", path, body);
  }

  patch<T>(path: string, body: object): Promise<T> {
    return this.json<T>("PATCH", path, body);
  }

  delete<T>(path: string): Promise<T> {
    return this.json<T>("DELETE", path);
  }

  /** The answer as it comes, for what is not JSON. */
  async text(path: string): Promise<string> {
    return (await this.fetch("GET", path)).text();
  }

  /** Call a database function. */
  async rpc<T>(name: string, args: Record<string, unknown> = {}): Promise<T> {
    const { data, error, status } = await this.supabase.rpc(name, args);
    if (error) throw this.databaseError(status, error);
    return data as T;
  }

  async isAdministrator(): Promise<boolean> {
    return (await this.rpc<boolean | null>("is_administrator")) === true;
  }

  databaseError(status: number, error: { message: string; details?: string | null; code?: string }): ApiError {
    if (status === 401) this.onSignedOut();
    if (!status) return new ApiError(0, "unreachable", UNREACHABLE);
    return new ApiError(status, error.details || error.code || "database", error.message || UNREACHABLE);
  }

  private async json<T>(method: string, path: string, body?: object, signal?: AbortSignal): Promise<T> {
    return (await (await this.fetch(method, path, body, signal)).json()) as T;
  }

  private async fetch(method: string, path: string, body?: object, signal?: AbortSignal): Promise<Response> {
    const { data } = await this.supabase.auth.getSession();
    const headers: Record<string, string> = { authorization: `Bearer ${data.session?.access_token ?? ""}` };
    if (body) headers["content-type"] = "application/json";
    let response: Response;
    try {
      response = await fetch(path, { method, headers, body: body ? JSON.stringify(body) : null, signal: signal ?? null });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new ApiError(0, "unreachable", UNREACHABLE);
    }
    if (response.ok) return response;
    if (response.status === 401) this.onSignedOut();
    const told = (await response.json().catch(() => null)) as { error?: { code: string; message: string } } | null;
    throw new ApiError(
      response.status,
      told?.error?.code ?? `http_${response.status}`,
      told?.error?.message ?? `The service answered ${response.status}.`,
    );
  }
}
