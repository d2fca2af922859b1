import { useTheme } from "../theme";

export const Brand = () => (
  <span class="brand">
    <svg viewBox="0 0 32 32" width="26" height="26" aria-hidden="true">
      <rect width="32" height="32" rx="9" class="brand-box" />
      <circle cx="12" cy="16" r="5" class="brand-line" />
      <path d="M17 16h8m-3 0v4" class="brand-line" />
    </svg>
    Keyfund
  </span>
);

export function ThemeButton() {
  const [theme, toggle] = useTheme();
  const other = theme === "dark" ? "light" : "dark";
  return (
    <button type="button" class="quiet icon" aria-label={`Use the ${other} theme`} title={`Use the ${other} theme`} onClick={toggle}>
      <svg viewBox="0 0 20 20" width="18" height="18" aria-hidden="true" fill="none" stroke="currentColor" stroke-width="1.6">
        {theme === "dark" ? (
          <>
            <circle cx="10" cy="10" r="3.4" />
            <path
              stroke-linecap="round"
              d="M10 2.5v1.6M10 15.9v1.6M2.5 10h1.6M15.9 10h1.6M4.7 4.7l1.1 1.1M14.2 14.2l1.1 1.1M4.7 15.3l1.1-1.1M14.2 5.8l1.1-1.1"
            />
          </>
        ) : (
          <path stroke-linejoin="round" d="M16.5 12.3A7 7 0 0 1 7.7 3.5a7 7 0 1 0 8.8 8.8z" />
        )}
      </svg>
    </button>
  );
}
