import { useCallback } from "preact/hooks";
import type { Api } from "../api/api";
import { useAsked } from "../asked";

/** The models that can be called; undefined until it is known, empty where it cannot be: then names are typed in. */
export function useModels(api: Api): string[] | undefined {
  const load = useCallback(() => api.get<{ models: string[] }>("/api/usage/models"), [api]);
  const { data, error } = useAsked(load);
  return data?.models ?? (error && []);
}
