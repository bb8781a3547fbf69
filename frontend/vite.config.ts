import { writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { transformWithEsbuild } from "vite";
import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";

import { buildId } from "./build-id";

const root = resolve(import.meta.dirname, "..");
const output = join(root, "streamlit_crdt", "static");
const build = buildId(root);

/** Leaves the build id where the Python side reads it, so that both sides compare the same string. */
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
 * Vite keeps the whitespace of ES libraries for the sake of tree shaking; nobody bundles this one again. Done last, because
 * Vite prints a chunk anew after every `renderChunk` hook of ours.
 */
function minifyWhole(): Plugin {
  return {
    name: "minify-whole",
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
  plugins: [minifyWhole(), writeBuildId()],
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
  },
});
