// The loader's small life: a clock that ticks, lines kept in sight, and a way on when the stream of
// lines is refused. The lines themselves, and what comes after a break, are hx-sse's work.
"use strict";

const LINES_KEPT = 1000;
const AGAIN_AFTER_MS = 3000;
// The server says something at least every 15 s.
const SILENCE_MS = 40000;
const started = new WeakMap();

function spanOf(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

function tick() {
  for (const clock of document.querySelectorAll("[data-elapsed]")) {
    const said = clock.dataset.elapsed;
    let start = started.get(clock);
    if (!start || start.said !== said) {
      start = { said, at: performance.now() - Number(said) * 1000 };
      started.set(clock, start);
    }
    clock.textContent = spanOf((performance.now() - start.at) / 1000);
  }
}

setInterval(tick, 1000);

// Lines stay in sight unless the reader has scrolled up to read earlier ones.
let follows = true;

function lines() {
  return document.querySelector("#report[data-status] .loader #lines");
}

function followLines() {
  const list = lines();
  if (!list) return;
  while (list.children.length > LINES_KEPT) list.firstElementChild.remove();
  if (follows) list.scrollTop = list.scrollHeight;
}

document.addEventListener("scroll", (event) => {
  const list = lines();
  if (event.target !== list) return;
  follows = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
}, true);

document.addEventListener("htmx:after:swap", () => { tick(); followLines(); });

// A stream that was refused (too many readers, a server that restarts) is not asked again by
// hx-sse when it never stood; one behind a proxy that holds everything back says nothing at all.
// Asking for the loader shows what came meanwhile and tries anew, so the page arrives by polling.
let heardAt = performance.now();
let hasHeard = false;

function again() {
  heardAt = performance.now();
  hasHeard = false;
  htmx.trigger("#report", "again");
}

function watch() {
  const patience = hasHeard ? SILENCE_MS : AGAIN_AFTER_MS;
  if (document.hidden) heardAt = performance.now();
  else if (lines()?.hasAttribute("hx-sse:connect") && performance.now() - heardAt > patience) again();
}

setInterval(watch, 1000);

for (const name of ["htmx:sse:before:message", "htmx:sse:after:connection"]) {
  document.addEventListener(name, () => {
    heardAt = performance.now();
    hasHeard = true;
  });
}

// The tab tells how far it is, and so does a notice at the end, where the reader asked for one.
const site = document.title.split(" · ").at(-1);
function tell() {
  const report = document.querySelector("#report");
  if (!report) return;
  const word = document.querySelector("#meters")?.dataset.tab;
  document.title = [word, report.dataset.title, site].filter(Boolean).join(" · ");
  const button = document.querySelector("#notify");
  if (button) button.hidden = !("Notification" in window) || Notification.permission !== "default";
}

document.addEventListener("click", async (event) => {
  if (event.target.id !== "notify") return;
  const answer = await Notification.requestPermission();
  document.querySelector("#said").textContent = answer === "granted"
    ? "You will be told when the report ends." : "The browser shows no notices of this site.";
  tell();
});

function notify(report) {
  if (!document.hidden || !("Notification" in window) || Notification.permission !== "granted") return;
  const notice = new Notification(report.dataset.title, { body: `The report is ${report.dataset.status}.`, tag: report.dataset.title });
  notice.addEventListener("click", () => { window.focus(); notice.close(); });
}

// The finished report takes the loader's place: whoever was in it goes on at its heading.
let status = document.querySelector("#report")?.dataset.status;
document.addEventListener("htmx:after:swap", () => {
  tell();
  const report = document.querySelector("#report");
  if (!report || report.dataset.status === status) return;
  status = report.dataset.status;
  if (!["queued", "running"].includes(status)) notify(report);
  if (document.activeElement === document.body) report.querySelector("h1")?.focus({ preventScroll: true });
});

tell();
tick();
followLines();
