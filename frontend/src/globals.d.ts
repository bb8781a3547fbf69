/** Build id, `<version>+<hash of sources>`. Vite compiles it in. */
declare const __BUILD__: string;
