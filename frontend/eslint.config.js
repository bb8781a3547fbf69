import js from "@eslint/js";
import tseslint from "typescript-eslint";

export default tseslint.config(
  { ignores: ["**/eslint.config.js"] },
  js.configs.recommended,
  ...tseslint.configs.strictTypeChecked,
  {
    languageOptions: {
      parserOptions: { project: "./tsconfig.json", tsconfigRootDir: import.meta.dirname },
    },
    rules: {
      "no-restricted-properties": [
        "error",
        { property: "innerHTML", message: "Use textContent: what a peer wrote is never markup." },
      ],
      "@typescript-eslint/restrict-template-expressions": [
        "error",
        { allowNumber: true, allowBoolean: true },
      ],
    },
  },
  {
    files: ["**/*.test.ts"],
    rules: {
      // Fakes are taken apart by destructuring, and a test's page is its own markup.
      "@typescript-eslint/unbound-method": "off",
      "no-restricted-properties": "off",
    },
  },
);
