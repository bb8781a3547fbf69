/**
 * A small fixed notice in the page's corner, for the few things that a person has to act on. In normal operation there is
 * none.
 *
 * It hangs on the page's body, because the component's own container is out of the layout; Streamlit's `--st-*` variables
 * are set around the component and therefore copied over, so that light and dark themes just work.
 */

import { setStyles } from "./layout";

const ATTRIBUTE = "data-streamlit-crdt-notice";

/** Custom properties that the notice is painted with. */
const VARIABLES = [
  "--st-background-color",
  "--st-text-color",
  "--st-border-color",
  "--st-primary-color",
  "--st-base-radius",
  "--st-font",
];

const BOX: Readonly<Record<string, string>> = {
  position: "fixed",
  right: "1rem",
  bottom: "1rem",
  "z-index": "1000000",
  "max-width": "24rem",
  display: "flex",
  gap: "0.75rem",
  "align-items": "center",
  padding: "0.75rem 1rem",
  "font-family": "var(--st-font, sans-serif)",
  "font-size": "0.875rem",
  color: "var(--st-text-color, #31333f)",
  background: "var(--st-background-color, #ffffff)",
  border: "1px solid var(--st-border-color, #d6d6d9)",
  "border-radius": "var(--st-base-radius, 0.5rem)",
};

const BUTTON: Readonly<Record<string, string>> = {
  padding: "0.25rem 0.75rem",
  font: "inherit",
  color: "inherit",
  background: "transparent",
  border: "1px solid var(--st-primary-color, #ff4b4b)",
  "border-radius": "var(--st-base-radius, 0.5rem)",
  cursor: "pointer",
};

const QUIET: Readonly<Record<string, string>> = {
  ...BUTTON,
  "border-color": "var(--st-border-color, #d6d6d9)",
  "white-space": "nowrap",
};

const LIST: Readonly<Record<string, string>> = {
  margin: "0.5rem 0 0",
  padding: "0 0 0 1.25rem",
  "max-height": "40vh",
  overflow: "auto",
  "overflow-wrap": "anywhere",
};

/** Streamlit's own rules for lists in the page would make it larger than the text above it. */
const ENTRY: Readonly<Record<string, string>> = { "font-size": "inherit" };

export interface Notice {
  /** One of a kind is shown at a time, however many rooms the page is in. */
  readonly kind: string;
  readonly text: string;
  /** Shown as a list below the text. */
  readonly items?: readonly string[];
  readonly button: string;
  readonly onClick: () => void;
  /** Label of a second button, which only takes the notice away. */
  readonly dismiss?: string;
}

/** Show a notice in the page of `themed`, coloured as that element is; the answer takes it away. */
export function showNotice(themed: Element, notice: Notice): () => void {
  const page = themed.ownerDocument;
  if (page.querySelector(`[${ATTRIBUTE}="${notice.kind}"]`) !== null) {
    return () => undefined;
  }
  const box = page.createElement("div");
  box.setAttribute(ATTRIBUTE, notice.kind);
  box.setAttribute("role", "status");
  setStyles(box, BOX);
  copyVariables(themed, box);
  const words = page.createElement("div");
  words.textContent = notice.text;
  if (notice.items !== undefined && notice.items.length > 0) {
    words.append(listOf(page, notice.items));
  }
  const close = (): void => {
    box.remove();
  };
  box.append(
    words,
    buttonOf(page, notice.button, BUTTON, () => {
      close();
      notice.onClick();
    }),
  );
  if (notice.dismiss !== undefined) {
    box.append(buttonOf(page, notice.dismiss, QUIET, close));
  }
  page.body.append(box);
  return close;
}

function listOf(page: Document, items: readonly string[]): HTMLElement {
  const list = page.createElement("ul");
  setStyles(list, LIST);
  for (const item of items) {
    const entry = page.createElement("li");
    setStyles(entry, ENTRY);
    entry.textContent = item;
    list.append(entry);
  }
  return list;
}

function copyVariables(from: Element, to: HTMLElement): void {
  const style = getComputedStyle(from);
  for (const variable of VARIABLES) {
    const value = style.getPropertyValue(variable);
    if (value !== "") {
      to.style.setProperty(variable, value);
    }
  }
}

function buttonOf(
  page: Document,
  label: string,
  style: Readonly<Record<string, string>>,
  onClick: () => void,
): HTMLButtonElement {
  const button = page.createElement("button");
  button.type = "button";
  button.textContent = label;
  setStyles(button, style);
  button.addEventListener("click", onClick);
  return button;
}
