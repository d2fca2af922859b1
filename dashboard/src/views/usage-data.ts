import { useCallback, useEffect, useState } from "preact/hooks";
import type { Usage } from "../api/types";
import { useApp } from "../app-context";
import { useAsked, type Asked } from "../asked";

const AGAIN_MS = 60_000;

/** What was used, and whether of all models and keys, as the wallet is; read again each minute while somebody may look. */
export function useUsage(query: string | undefined, isWhole: boolean): Asked<Usage & { isWhole: boolean }> {
  const { api } = useApp();
  const load = useCallback(async () => ({ ...(await api.get<Usage>(`/api/analytics/usage?${query}`)), isWhole }), [api, query, isWhole]);
  const asked = useAsked(query === undefined ? undefined : load);
  const { reload } = asked;
  useEffect(() => {
    const timer = setInterval(() => !document.hidden && reload(), AGAIN_MS);
    return () => clearInterval(timer);
  }, [reload]);
  return asked;
}

/** Every model that was seen, so that choosing one does not hide the others from the choice. */
export function useSeenModels(usage: Usage | undefined): string[] {
  const [seen, setSeen] = useState<string[]>([]);
  useEffect(() => {
    if (usage) setSeen((before) => [...new Set([...before, ...usage.days.map((row) => row.model)])].sort());
  }, [usage]);
  return seen;
}
