/** `<version>+<hash of sources>`, compiled in by Vite. */
declare const __BUILD__: string;
