import { useEffect, useState } from "preact/hooks";
import type { Api } from "../api/api";

/** The models that can be called; empty while unknown. */
export function useModels(api: Api): string[] {
  const [models, setModels] = useState<string[]>([]);
  useEffect(() => {
    api.get<{ models: string[] }>("/api/usage/models").then(
      (answer) => setModels(answer.models),
      () => setModels([]), // the fields that offer them can be typed into as well
    );
  }, [api]);
  return models;
}
