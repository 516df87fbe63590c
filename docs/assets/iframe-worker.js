// Search from the disk: browsers start no workers for file:, so what asks for one gets a frame that
// runs the same script and answers the same way.
"use strict";

if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      document.body.append(this.frame);
      const inside = this.frame.contentWindow;
      this.ready = new Promise((resolve) => this.frame.addEventListener("load", resolve, { once: true }));
      inside.document.open();
      inside.document.write(
        `<body><script>
          postMessage = (data) => parent.dispatchEvent(new CustomEvent("frame-worker", { detail: data }));
          importScripts = (...urls) => urls.forEach((one) => document.write('<script src="' + one + '"><\\/script>'));
        <\/script><script src="${url}"><\/script>`,
      );
      inside.document.close();
      window.addEventListener("frame-worker", ({ detail }) => {
        const event = new MessageEvent("message", { data: detail });
        this.dispatchEvent(event);
        this.onmessage?.(event);
      });
    }

    async postMessage(data) {
      await this.ready;
      this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data }));
    }

    terminate() {
      this.frame.remove();
    }
  };
}
