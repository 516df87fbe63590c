// What every page may need: fields that belong to a choice, questions before a deed, focus where
// something is wrong, messages that go when all is well again. Without it everything still works.
"use strict";

function settleFields(form) {
  for (const field of form.querySelectorAll("[data-when]")) {
    const other = new FormData(form).get(field.dataset.when) ?? "";
    const isOff = !field.dataset.whenValue.split("|").includes(other);
    field.classList.toggle("is-off", isOff);
    // What is hidden is not sent either: the server would refuse what belongs to another choice.
    for (const input of field.querySelectorAll("input, select")) input.disabled = isOff;
  }
}

for (const form of document.querySelectorAll("form[data-whens]")) {
  form.addEventListener("change", () => settleFields(form));
  settleFields(form);
}

// A form gone back to keeps what was typed, and its choices with it.
window.addEventListener("pageshow", () => {
  document.querySelectorAll("form[data-whens]").forEach(settleFields);
});

// A span fills in its months; a choice fills in what it says of other fields.
document.addEventListener("click", (event) => {
  const button = event.target.closest?.('button[name="preset"]');
  if (!button) return;
  event.preventDefault();
  const [start, end] = button.value.split(":");
  const { elements } = button.form;
  Object.assign(elements.start, { value: start });
  Object.assign(elements.end, { value: end });
  elements.end.dispatchEvent(new Event("change", { bubbles: true }));
});

for (const says of document.querySelectorAll("script[data-fills]")) {
  const { elements } = says.closest("form");
  const fills = JSON.parse(says.textContent);
  elements[says.dataset.fills]?.addEventListener("change", (event) => {
    for (const [name, value] of Object.entries(fills[event.target.value] ?? {})) elements[name].value = value;
  });
}

document.addEventListener("submit", (event) => {
  const question = event.target.dataset?.confirm;
  if (question && !window.confirm(question)) event.preventDefault();
});

document.addEventListener("keydown", (event) => {
  const open = event.key === "Escape" && event.target.closest?.("details.ask[open]");
  if (!open) return;
  open.open = false;
  open.querySelector("summary").focus();
});

document.addEventListener("click", (event) => {
  for (const open of document.querySelectorAll("details.menu[open]")) if (!open.contains(event.target)) open.open = false;
});

for (const text of navigator.clipboard ? document.querySelectorAll("[data-copy]") : []) {
  const button = document.createElement("button");
  Object.assign(button, { type: "button", className: "button is-quiet is-small", textContent: "Copy" });
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text.innerText);
    button.textContent = "Copied";
    document.getElementById("said").textContent = "Copied.";
  });
  text.after(" ", button);
}

document.querySelector("[data-focus]")?.focus();

// Browsers break a line after the hyphen of 2025-03, and no style forbids it for words alone: months
// and dates stand in elements that do not wrap. The text stays as it is, also for who copies it.
const DATES = /\b\d{4}-\d{2}(?:-\d{2})?(?![\w-])/g;
const NOT_PROSE = ".is-date, svg, textarea, option, script, style";

function inElement(text, name) {
  const element = document.createElement("span");
  if (name) element.className = name;
  text.replaceWith(element);
  element.append(text);
}

function keepDatesWhole(root) {
  const texts = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  const found = [];
  while (texts.nextNode()) if (texts.currentNode.data.search(DATES) >= 0) found.push(texts.currentNode);
  for (const text of found) {
    const parent = text.parentElement;
    if (parent.closest(NOT_PROSE)) continue;
    // There, each piece would be laid out apart from the others.
    if (/flex|grid/.test(getComputedStyle(parent).display)) inElement(text);
    for (const { 0: date, index } of [...text.data.matchAll(DATES)].reverse()) {
      const whole = text.splitText(index);
      whole.splitText(date.length);
      inElement(whole, "is-date");
    }
  }
}

keepDatesWhole(document.body);
new MutationObserver((changes) => {
  for (const { addedNodes } of changes) {
    for (const node of addedNodes) if (node.isConnected) keepDatesWhole(node.nodeType === 1 ? node : node.parentNode);
  }
}).observe(document.body, { childList: true, subtree: true });

// Ctrl-K goes anywhere: words find reports, kinds and settings; arrows walk through what was found.
const palette = document.querySelector("#palette");
const words = document.querySelector("#palette-words");

function openPalette() {
  palette.showModal();
  words.select();
  htmx.trigger(words, "open");
}

document.addEventListener("keydown", (event) => {
  if (!palette) return;
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
    event.preventDefault();
    if (!palette.open) openPalette();
  }
  // A search field would only empty itself, and ask for a second one.
  if (palette.open && event.key === "Escape") { event.preventDefault(); palette.close(); }
  if (!palette.open || !["ArrowDown", "ArrowUp", "Enter"].includes(event.key)) return;
  const links = [...palette.querySelectorAll(".found a")];
  const at = links.indexOf(document.activeElement);
  if (event.key === "Enter") {
    if (at < 0 && links.length) { event.preventDefault(); links[0].click(); }
    return;
  }
  event.preventDefault();
  const next = event.key === "ArrowDown" ? at + 1 : at - 1;
  (links[next] ?? (next < 0 ? words : links.at(-1)))?.focus();
});

palette?.addEventListener("click", (event) => { if (event.target === palette) palette.close(); });
document.querySelector("#to-search")?.addEventListener("click", (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  openPalette();
});

// The pages above scroll sideways on a phone: the present one of each row is in sight.
for (const present of document.querySelectorAll(".nav [aria-current]")) {
  const pages = present.closest("ul");
  pages.scrollLeft = present.offsetLeft - (pages.clientWidth - present.offsetWidth) / 2;
}

document.addEventListener("htmx:after:swap", (event) => {
  const status = event.detail?.ctx?.response?.status ?? 0;
  if (status && status < 400) document.querySelectorAll("#messages .is-transient").forEach((one) => one.remove());
});

// A grid that was sorted, filtered or turned says so to who cannot see it.
document.addEventListener("htmx:after:swap", (event) => {
  const id = event.detail?.ctx?.target?.id;
  const grid = id && document.getElementById(id);
  if (grid?.dataset.said) document.getElementById("said").textContent = grid.dataset.said;
});
