/**
 * Build id: the package version, and a hash of everything that determines the behavior of the bundle.
 *
 * It hashes sources, not the output, because Vite compiles it into the output. It depends on no clock and no absolute path,
 * so that two machines compute the same id for the same sources. `hatch_build.py` computes the same id.
 */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join, relative, sep } from "node:path";

/** Hexadecimal digits of the hash: 48 bits distinguish the builds of one version. */
const HASH_DIGITS = 12;

/** Tests are beside the sources and are left out: a changed test must not make open tabs ask for a reload. */
const TEST_FILE = /\.test\.ts$|^testing\.ts$/;

export function buildId(root: string): string {
  const version = readVersion(join(root, "package.json"));
  const hash = createHash("sha256");
  const files = [...sourcesUnder(join(root, "frontend", "src")), join(root, "package-lock.json")];
  for (const file of files) {
    hash.update(relative(root, file).split(sep).join("/"));
    hash.update("\0");
    hash.update(readFileSync(file));
    hash.update("\0");
  }
  return `${version}+${hash.digest("hex").slice(0, HASH_DIGITS)}`;
}

function readVersion(path: string): string {
  const content: unknown = JSON.parse(readFileSync(path, "utf8"));
  if (typeof content === "object" && content !== null && "version" in content) {
    return String(content.version);
  }
  throw new Error(`${path} has no version`);
}

function sourcesUnder(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".ts") && !TEST_FILE.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}
