import { defineConfig } from "vite";

export default defineConfig({
  base: "/analytics/",
  build: {
    target: "es2022",
    assetsInlineLimit: 0, // the page's policy allows no inline styles or scripts
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 700,
  },
});
