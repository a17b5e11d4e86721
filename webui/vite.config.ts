import { defineConfig } from "vite";

/** Everything becomes files of our own that a strict Content-Security-Policy admits: nothing inline, nothing from elsewhere. */
export default defineConfig({
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    outDir: "../tmrld/control/page",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: "es2022",
  },
  server: {
    proxy: { "/api": { target: "http://127.0.0.1:7400", ws: true } },
  },
});
