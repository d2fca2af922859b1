import { useState } from "preact/hooks";
import { asApiError, type ApiError } from "./api/api";

export interface Action {
  busy: boolean;
  error: ApiError | undefined;
  /** Whether it succeeded. */
  run: (does: () => Promise<void>) => Promise<boolean>;
}

/** Something that a person started: whether it is under way, and why it failed. */
export function useAction(): Action {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<ApiError | undefined>();
  const run = async (does: () => Promise<void>) => {
    setBusy(true);
    setError(undefined);
    try {
      await does();
      return true;
    } catch (thrown) {
      setError(asApiError(thrown));
      return false;
    } finally {
      setBusy(false);
    }
  };
  return { busy, error, run };
}
