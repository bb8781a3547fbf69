/** Set an element's style, property by property: a page's content policy may forbid style attributes. */
export function paint(element: HTMLElement, rules: Readonly<Record<string, string>>): void {
  for (const [property, value] of Object.entries(rules)) {
    element.style.setProperty(property, value);
  }
}
