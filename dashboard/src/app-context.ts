import { createContext } from "preact";
import { useContext } from "preact/hooks";
import type { User } from "@supabase/supabase-js";
import type { Api } from "./api/api";
import type { Config } from "./api/types";
import type { Live } from "./live";

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
