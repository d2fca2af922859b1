import { useState } from "preact/hooks";
import { asApiError, type ApiError } from "./api/api";

export interface Action {
  busy: boolean;
  error: ApiError | undefined;
  /** Whether it succeeded. */
  run: (does: () => Promise<void>) => Promise<boolean>;
}

/**
 * Something that a person started: whether it is under way, and why it failed. `refresh` reads anew what it may have
 * changed, also after a failure: perhaps only the answer was lost.
 */
export function useAction(refresh?: () => unknown): Action {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<ApiError | undefined>();
  const run = async (does: () => Promise<void>) => {
    setBusy(true);
    setError(undefined);
    try {
      await does();
      await refresh?.();
      return true;
    } catch (thrown) {
      setError(asApiError(thrown));
      void refresh?.();
      return false;
    } finally {
      setBusy(false);
    }
  };
  return { busy, error, run };
}
