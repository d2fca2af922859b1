import { useCallback, useEffect, useState } from "preact/hooks";
import { asApiError, type ApiError } from "./api/api";

export interface Asked<T> {
  data: T | undefined;
  error: ApiError | undefined;
  reload: () => Promise<void>;
}

/** Something that is asked for once, and again when told to; `load` must be stable. */
export function useAsked<T>(load: () => Promise<T>): Asked<T> {
  const [data, setData] = useState<T>();
  const [error, setError] = useState<ApiError>();
  const reload = useCallback(async () => {
    try {
      setData(await load());
      setError(undefined);
    } catch (thrown) {
      setError(asApiError(thrown));
    }
  }, [load]);
  useEffect(() => void reload(), [reload]);
  return { data, error, reload };
}
