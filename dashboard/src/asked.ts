import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { asApiError, type ApiError } from "./api/api";

export interface Asked<T> {
  data: T | undefined;
  error: ApiError | undefined;
  /** Whether `data` answers what was asked before, not what is asked now. */
  isStale: boolean;
  reload: () => unknown;
}

/**
 * Something that is asked for when `load` changes (it must be stable), again when `turn` does or one says so, and not at
 * all while there is no `load`. What was seen before stays until there is something newer.
 */
export function useAsked<T>(load: (() => Promise<T>) | undefined, turn?: unknown): Asked<T> {
  const [answer, setAnswer] = useState<{ data: T; load: unknown }>();
  const [error, setError] = useState<ApiError>();
  const latest = useRef(0);
  const reload = useCallback(async () => {
    const number = ++latest.current;
    if (!load) return;
    try {
      const data = await load();
      if (number !== latest.current) return; // an older answer must not hide a newer one
      setAnswer({ data, load });
      setError(undefined);
    } catch (thrown) {
      if (number === latest.current) setError(asApiError(thrown));
    }
  }, [load]);
  useEffect(() => void reload(), [reload, turn]);
  return { data: answer?.data, error, isStale: answer?.load !== load, reload };
}
