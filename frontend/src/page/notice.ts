/**
 * Fixed notice in the corner of the page, for the few events that need an action of the person.
 *
 * It is a child of the page's body, because the container of the component is hidden. Streamlit defines the `--st-*`
 * variables around the component. The notice copies them, so that it follows light and dark themes.
 */
import { setStyles } from "./layout";

const ATTRIBUTE = "data-streamlit-crdt-notice";

/** Custom properties that the styles of the notice use. */
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

const PRIMARY_BUTTON: Readonly<Record<string, string>> = {
  padding: "0.25rem 0.75rem",
  font: "inherit",
  color: "inherit",
  background: "transparent",
  border: "1px solid var(--st-primary-color, #ff4b4b)",
  "border-radius": "var(--st-base-radius, 0.5rem)",
  cursor: "pointer",
};

const SECONDARY_BUTTON: Readonly<Record<string, string>> = {
  ...PRIMARY_BUTTON,
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

/** Streamlit's rules for lists in the page would make the font larger than that of the text above. */
const ITEM: Readonly<Record<string, string>> = { "font-size": "inherit" };

export interface Notice {
  /** The page shows one notice of each kind at a time, for any number of rooms. */
  readonly kind: string;
  readonly text: string;
  /** List below the text. */
  readonly items?: readonly string[];
  readonly button: string;
  readonly onClick: () => void;
  /** Label of a second button, which only closes the notice. */
  readonly dismiss?: string;
}

/** Show a notice in the page of `themed`, in the theme of that element. Returns the undo. */
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
  const close = (): void => {
    box.remove();
  };
  box.append(
    textOf(page, notice),
    buttonOf(page, notice.button, PRIMARY_BUTTON, () => {
      close();
      notice.onClick();
    }),
  );
  if (notice.dismiss !== undefined) {
    box.append(buttonOf(page, notice.dismiss, SECONDARY_BUTTON, close));
  }
  page.body.append(box);
  return close;
}

function textOf(page: Document, { text, items = [] }: Notice): HTMLElement {
  const element = page.createElement("div");
  element.textContent = text;
  if (items.length > 0) {
    element.append(listOf(page, items));
  }
  return element;
}

function listOf(page: Document, items: readonly string[]): HTMLElement {
  const list = page.createElement("ul");
  setStyles(list, LIST);
  for (const item of items) {
    const element = page.createElement("li");
    setStyles(element, ITEM);
    element.textContent = item;
    list.append(element);
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
