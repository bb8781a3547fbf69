/**
 * The build id: package version plus a hash of everything that decides what the bundle does.
 *
 * It is made of sources, not of the output, so that it can be compiled into the output, and holds no clock and no
 * path, so that two machines that build the same sources agree.
 */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join, relative, sep } from "node:path";

/** Hexadecimal digits of the hash that are kept: 48 bits, plenty to tell two builds of one version apart. */
const HASH_DIGITS = 12;

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
  throw new Error(`${path} states no version`);
}

/** Tests lie beside the sources and are left out: changing one must not tell every open tab to reload. */
const TEST_FILE = /\.test\.ts$|^testing\.ts$/;

function sourcesUnder(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".ts") && !TEST_FILE.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}
