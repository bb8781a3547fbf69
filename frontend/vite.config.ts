import { writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { transformWithEsbuild } from "vite";
import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";

import { buildId } from "./build-id";

const root = resolve(import.meta.dirname, "..");
const output = join(root, "streamlit_crdt", "static");
const build = buildId(root);

/** Write the build id for the Python side, so that both sides compare the same string. */
function writeBuildId(): Plugin {
  return {
    name: "write-build-id",
    apply: "build",
    writeBundle() {
      writeFileSync(join(output, "build.json"), `${JSON.stringify({ build })}\n`);
    },
  };
}

/**
 * Minify the bundle. Vite keeps the whitespace of ES libraries, because tree shaking of a later bundle needs it; this bundle
 * is final. `generateBundle` is the hook, because Vite prints each chunk again after `renderChunk`.
 */
function minifyBundle(): Plugin {
  return {
    name: "minify-bundle",
    apply: "build",
    async generateBundle(_options, bundle) {
      for (const chunk of Object.values(bundle)) {
        if (chunk.type === "chunk") {
          const options = { minify: true, legalComments: "none" } as const;
          chunk.code = (await transformWithEsbuild(chunk.code, chunk.fileName, options)).code;
        }
      }
    },
  };
}

export default defineConfig({
  root: import.meta.dirname,
  define: { __BUILD__: JSON.stringify(build) },
  plugins: [minifyBundle(), writeBuildId()],
  build: {
    outDir: output,
    emptyOutDir: true,
    target: "es2022",
    lib: { entry: "src/index.ts", formats: ["es"] },
    rollupOptions: {
      output: { entryFileNames: "streamlit-crdt-[hash].js", inlineDynamicImports: true },
    },
  },
  test: {
    include: ["src/**/*.test.ts"],
    environment: "node",
    // A loaded machine needs longer than the default of 5 s for the largest logs.
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
