import { createContext } from "preact";
import { useContext } from "preact/hooks";
import type { User } from "@supabase/supabase-js";
import type { Api } from "./api/api";
import type { Config } from "./api/types";
import type { Asked } from "./asked";
import type { Live, Part, Picture } from "./live";

/** What every view works with. */
export interface AppParts {
  config: Config;
  api: Api;
  user: User;
  live: Live;
  say: (message: string) => void;
}

export const AppContext = createContext<AppParts | null>(null);

export function useApp(): AppParts {
  const parts = useContext(AppContext);
  if (!parts) throw new Error("outside of the application");
  return parts;
}

/** A part of the picture, for `Loaded`. Where it is old, the status line tells, for all of them. */
export function usePart<Name extends keyof Picture>(name: Name): Asked<Exclude<Picture[Name]["data"], undefined>> {
  const { live } = useApp();
  const { data, error } = (live.picture?.[name] ?? {}) as Partial<Part<Exclude<Picture[Name]["data"], undefined>>>;
  return { data, error: data === undefined ? error : undefined, isStale: false, reload: live.refresh };
}
