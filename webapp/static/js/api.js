// The reference of the API: finding an entry, and sending a request. Without it the page reads the
// same, and shows the command instead.
"use strict";

const tools = document.getElementById("api-tools");
const tags = document.querySelectorAll(".api-tag");
const entries = [...document.querySelectorAll(".api-entry")];
tools.hidden = false;
tools.addEventListener("submit", (event) => event.preventDefault());

// What an entry says, without what nearly all of them say: the command, which names the site, and
// the errors ("see Retry-After", "belongs to another company").
const isError = (one) => one.matches(".api-answer") && /^\s*[45]/.test(one.textContent);
const contents = new Map(entries.map((entry) => {
  const parts = [...entry.children].filter((one) => !one.matches(".api-try") && !isError(one));
  return [entry, parts.map((one) => one.textContent).join(" ").toLowerCase()];
}));

document.getElementById("api-find").addEventListener("input", (event) => {
  const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
  let found = 0;
  for (const entry of entries) {
    entry.hidden = !words.every((word) => contents.get(entry).includes(word));
    found += !entry.hidden;
  }
  for (const tag of tags) {
    const count = tag.querySelectorAll(".api-entry:not([hidden])").length;
    tag.querySelector(".api-count").textContent = count;
    tag.hidden = !count;
    tag.open = words.length > 0;
  }
  // What is looked for is shown once it is found.
  for (const entry of entries) entry.open = words.length > 0 && found <= 3 && !entry.hidden;
  document.getElementById("api-found").textContent = words.length ? `${found} of ${entries.length} addresses` : "";
});

// An address leads to its entry, wherever that is folded; paper shows all of them.
function openAddressed() {
  const entry = document.getElementById(location.hash.slice(1));
  if (!entry?.matches(".api-entry")) return;
  entry.open = entry.closest(".api-tag").open = true;
  entry.scrollIntoView();
}
window.addEventListener("hashchange", openAddressed);
openAddressed();
window.addEventListener("beforeprint", () => {
  for (const part of document.querySelectorAll("details")) part.open = true;
});

async function send(form) {
  const fields = new FormData(form);
  const query = new URLSearchParams();
  let path = form.dataset.path;
  for (const [name, value] of fields) {
    const [place, field] = name.split(":");
    if (place === "path") path = path.replace(`{${field}}`, encodeURIComponent(value));
    if (place === "query" && value) query.append(field, value);
  }
  const headers = { Accept: "application/json" };
  const { key, secret } = tools.elements;
  if (key.value) headers.Authorization = `Basic ${btoa(`${key.value}:${secret.value}`)}`;
  const options = { method: form.dataset.method, headers };
  if (fields.get("body")) {
    options.body = fields.get("body");
    headers["Content-Type"] = form.dataset.type;
  }
  const answer = await fetch(query.size ? `${path}?${query}` : path, options);
  const text = await answer.text();
  let shown = text;
  try {
    shown = JSON.stringify(JSON.parse(text), null, 2);
  } catch { /* it is no JSON */ }
  return `${answer.status} ${answer.statusText}\n\n${shown}`;
}

for (const form of document.querySelectorAll(".api-try form")) {
  form.hidden = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const said = form.querySelector("pre");
    said.textContent = "Sending…";
    said.textContent = await send(form).catch((error) => `No answer: ${error.message}`);
  });
}
