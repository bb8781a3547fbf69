// Runs in the page before anything else and notes when what happens, in milliseconds since 1970.
(() => {
  const notes = [];
  const waiting = [];
  const now = () => performance.timeOrigin + performance.now();
  const note = (what, at_ms = now()) => notes.push([what, at_ms]);

  addEventListener(
    "keydown",
    (event) => {
      if (event.key === "Enter") {
        note("key", performance.timeOrigin + event.timeStamp);
      }
    },
    { capture: true },
  );

  window.WebSocket = class extends WebSocket {
    constructor(url, protocols) {
      super(url, protocols);
      this.place = String(url).includes("/_stcore/") ? "host" : "room";
      this.addEventListener("message", () => note(`${this.place}-received`));
    }
    send(message) {
      note(`${this.place}-sent`);
      super.send(message);
    }
  };

  let shown = null;
  const look = () => {
    const text = document.querySelector(".st-key-shown [data-testid='stText']")?.textContent ?? null;
    if (text !== null && text !== shown) {
      shown = text;
      note(`shown ${text}`);
      waiting.splice(0).forEach((wake) => wake());
    }
  };
  new MutationObserver(look).observe(document, { subtree: true, childList: true, characterData: true });

  window.stopwatch = {
    take: () => notes.splice(0),
    until: async (text) => {
      while (shown !== text) {
        await new Promise((wake) => waiting.push(wake));
      }
    },
    // How the page is treated by the browser, and how far its clock is from the system's.
    condition: async () => {
      const frames = [];
      for (let count = 0; count < 11; count++) {
        frames.push(await new Promise(requestAnimationFrame));
      }
      return {
        visibility: document.visibilityState,
        frame_ms: (frames[10] - frames[0]) / 10,
        clock_off_ms: now() - Date.now(),
      };
    },
  };
})();
