import { useEffect, useState } from "preact/hooks";

export type Theme = "light" | "dark";

const NAME = "keyfund-theme";
const dark = matchMedia("(prefers-color-scheme: dark)");

/** The person's choice, or what their system prefers. */
export function currentTheme(): Theme {
  const chosen = localStorage.getItem(NAME);
  if (chosen === "light" || chosen === "dark") return chosen;
  return dark.matches ? "dark" : "light";
}

export function applyTheme(): void {
  document.documentElement.dataset.theme = currentTheme();
}

export function useTheme(): [Theme, () => void] {
  const [theme, setTheme] = useState(currentTheme);
  useEffect(() => {
    const follow = () => setTheme(currentTheme());
    dark.addEventListener("change", follow);
    return () => dark.removeEventListener("change", follow);
  }, []);
  useEffect(applyTheme, [theme]);
  const toggle = () => {
    const other = theme === "dark" ? "light" : "dark";
    localStorage.setItem(NAME, other);
    applyTheme(); // before anything that reads colours renders again
    setTheme(other);
  };
  return [theme, toggle];
}
