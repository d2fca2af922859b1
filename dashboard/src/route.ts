import { useEffect, useState } from "preact/hooks";

export const VIEWS = ["keys", "usage", "credits", "estimate", "admin"] as const;
export type View = (typeof VIEWS)[number];

const read = (): View => VIEWS.find((view) => location.hash === `#/${view}`) ?? "keys";

/** The view that the address names. */
export function useView(): View {
  const [view, setView] = useState(read);
  useEffect(() => {
    const follow = () => setView(read());
    addEventListener("hashchange", follow);
    return () => removeEventListener("hashchange", follow);
  }, []);
  return view;
}
