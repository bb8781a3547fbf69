/**
 * Layout of the component in the page, and element styles.
 *
 * The component is invisible. Its element container, and the block that a fragment puts around it, would each cost one gap
 * in the app, so a style sheet hides both. A style sheet decides this, not a check of the block's children at mount time:
 * a block that contains only this component now may be the page's main block, whose other elements follow.
 */

const MARK = "data-streamlit-crdt";
const STYLE_ID = "streamlit-crdt-layout";
const BLOCK = '[data-testid="stVerticalBlock"]';
const RULES = [
  `[${MARK}]`,
  `[data-testid="stLayoutWrapper"]:has(> ${BLOCK} > [${MARK}]):not(:has(> ${BLOCK} > :not([${MARK}])))`,
].map((selector) => `${selector} { display: none !important; }`);

/** Return the element of `parent` in the page. For a shadow root this is its host. */
export function hostElement(parent: HTMLElement | ShadowRoot): Element {
  return parent instanceof Element ? parent : parent.host;
}

/** Remove the element container of `host` from the layout. Returns the undo. Does nothing in a page with other markup. */
export function hideContainer(host: Element): () => void {
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

/** Set styles property by property. A content security policy may forbid style attributes. */
export function setStyles(element: HTMLElement, rules: Readonly<Record<string, string>>): void {
  for (const [property, value] of Object.entries(rules)) {
    element.style.setProperty(property, value);
  }
}

/** Return the nearest element container, also outside of the shadow roots around `host`. */
function containerOf(host: Element): Element | null {
  const container = host.closest('[data-testid="stElementContainer"]');
  if (container !== null) {
    return container;
  }
  const root = host.getRootNode();
  return "host" in root ? containerOf((root as ShadowRoot).host) : null;
}

/** Add the style sheet. It stays until the page unloads, so that the next mount never shows a gap. */
function installRules(page: Document): void {
  if (page.getElementById(STYLE_ID) === null) {
    const style = page.createElement("style");
    style.id = STYLE_ID;
    style.textContent = RULES.join("\n");
    page.head.append(style);
  }
}
