import type { ComponentChildren } from "preact";
import type { ApiError } from "../api/api";
import type { Asked } from "../asked";
import { capital } from "../format";
import { Failure, Skeleton } from "./parts";

interface Props<T> {
  asked: Asked<T>;
  what: string;
  lines?: number;
  children: (data: T) => ComponentChildren;
}

/** What was asked for, as far as it is known: with why there is nothing newer, where that failed. */
export function Loaded<T>({ asked, what, lines = 3, children }: Props<T>) {
  const { data, error, isStale, reload } = asked;
  if (data === undefined) return error ? <Missing error={error} what={what} retry={reload} /> : <Skeleton label={what} lines={lines} />;
  return (
    <>
      <Failure error={error} retry={reload} />
      <div class={isStale ? "loaded stale" : "loaded"} aria-busy={isStale && !error}>
        {children(data)}
      </div>
    </>
  );
}

function Missing({ error, what, retry }: { error: ApiError; what: string; retry: () => unknown }) {
  const gone = error.status === 404;
  return (
    <div class="empty">
      <p>
        <strong>{gone ? `${capital(what)}: not available here yet.` : `${capital(what)} cannot be shown right now.`}</strong>
      </p>
      {!gone && <p>{error.message}</p>}
      {!gone && (
        <button type="button" onClick={retry}>
          Try again
        </button>
      )}
    </div>
  );
}
