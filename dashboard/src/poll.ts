import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { asApiError, type ApiError } from "./api/api";

const BUSY_SECONDS = 2;
const CALM_SECONDS = 8;
const SLOWEST_SECONDS = 60;

export interface Polled<T> {
  data: T | undefined;
  error: ApiError | undefined;
  refresh: () => Promise<void>;
}

/**
 * Look again and again: quickly while `isBusy`, ever more slowly while nothing happens or it fails, and not at
 * all while the tab is hidden. `load` is told what was seen last; `refresh` looks at once.
 */
export function usePolled<T>(load: (before?: T) => Promise<T>, isBusy: (data: T) => boolean): Polled<T> {
  const [state, setState] = useState<{ data: T | undefined; error: ApiError | undefined }>({ data: undefined, error: undefined });
  const looking = useRef<() => Promise<void>>(async () => undefined);

  useEffect(() => {
    let timer = 0;
    let calm = 0;
    let latest = 0;
    let ended = false;
    let seen: T | undefined;
    const look = async (): Promise<void> => {
      if (ended) return; // whoever began something here may come back after leaving
      clearTimeout(timer);
      const number = ++latest;
      let busy = false;
      try {
        const data = await load(seen);
        if (ended || number !== latest) return; // an older answer must not hide a newer one
        seen = data;
        busy = isBusy(data);
        setState({ data, error: undefined });
      } catch (error) {
        if (ended || number !== latest) return;
        setState(({ data }) => ({ data, error: asApiError(error) }));
      }
      calm = busy ? 0 : calm + 1;
      const seconds = busy ? BUSY_SECONDS : Math.min(SLOWEST_SECONDS, CALM_SECONDS * 1.5 ** (calm - 1));
      if (!document.hidden) timer = window.setTimeout(look, seconds * 1000 * (0.9 + Math.random() / 5));
    };
    const again = () => {
      calm = 0;
      return look();
    };
    const follow = () => {
      if (document.hidden) clearTimeout(timer);
      else void again();
    };
    looking.current = again;
    document.addEventListener("visibilitychange", follow);
    window.addEventListener("online", follow);
    void look();
    return () => {
      ended = true;
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", follow);
      window.removeEventListener("online", follow);
    };
  }, [load]);

  const refresh = useCallback(() => looking.current(), []);
  return { ...state, refresh };
}

/** Re-render now and then, so that "a minute ago" stays true. */
export function useNow(seconds: number): number {
  const [, tick] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => tick((count) => count + 1), seconds * 1000);
    return () => clearInterval(timer);
  }, [seconds]);
  return Date.now(); // not the last tick's: what arrived since then would lie in the future
}
