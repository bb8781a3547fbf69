/**
 * The component has no picture, so it must take no room in the app: not its element container, and not the block that a
 * fragment puts around it, each of which would cost one gap.
 *
 * A style sheet decides about the block, not a look at its children at mount time: the block that holds nothing but us now
 * may be the page's main block, whose other elements are still to come.
 */

const MARK = "data-streamlit-crdt";
const STYLE_ID = "streamlit-crdt-layout";
const BLOCK = '[data-testid="stVerticalBlock"]';
const RULES = [
  `[${MARK}]`,
  `[data-testid="stLayoutWrapper"]:has(> ${BLOCK} > [${MARK}]):not(:has(> ${BLOCK} > :not([${MARK}])))`,
].map((selector) => `${selector} { display: none !important; }`);

/** The element that stands for `parent` in the page; a shadow root's is its host. */
export function hostElement(parent: HTMLElement | ShadowRoot): Element {
  return parent instanceof Element ? parent : parent.host;
}

/** Take `host`'s element container out of the layout; the answer undoes it. Does nothing to a page built otherwise. */
export function takeNoRoom(host: Element): () => void {
  const container = containerOf(host);
  if (container === null) {
    return () => undefined;
  }
  installRules(container.ownerDocument);
  container.setAttribute(MARK, "");
  return () => {
    container.removeAttribute(MARK);
  };
}

/** The nearest element container, also through the shadow roots around `host`. */
function containerOf(host: Element): Element | null {
  const container = host.closest('[data-testid="stElementContainer"]');
  if (container !== null) {
    return container;
  }
  const root = host.getRootNode();
  return "host" in root ? containerOf((root as ShadowRoot).host) : null;
}

/** The sheet stays for the page's life: the next mount then leaves no gap even for a moment. */
function installRules(page: Document): void {
  if (page.getElementById(STYLE_ID) === null) {
    const style = page.createElement("style");
    style.id = STYLE_ID;
    style.textContent = RULES.join("\n");
    page.head.append(style);
  }
}

/** Set an element's style, property by property: a page's content policy may forbid style attributes. */
export function setStyles(element: HTMLElement, rules: Readonly<Record<string, string>>): void {
  for (const [property, value] of Object.entries(rules)) {
    element.style.setProperty(property, value);
  }
}
