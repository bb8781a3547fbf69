/**
 * The browser's own question before a page with unsaved edits is left. The listener is there only while it is needed: a page
 * with one is kept out of the back-forward cache.
 */
export class LeaveWarning {
  private isOn = false;

  constructor(private readonly page: Pick<Window, "addEventListener" | "removeEventListener">) {}

  set(isNeeded: boolean): void {
    if (isNeeded !== this.isOn) {
      this.isOn = isNeeded;
      if (isNeeded) {
        this.page.addEventListener("beforeunload", askBeforeLeaving);
      } else {
        this.page.removeEventListener("beforeunload", askBeforeLeaving);
      }
    }
  }
}

function askBeforeLeaving(event: Event): void {
  event.preventDefault();
}
